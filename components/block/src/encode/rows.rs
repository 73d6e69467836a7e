//! The rows of one row group: traces in order, page boundaries, and everything derived from a whole trace.

use tempo_model::TraceId;

use super::{BlockContext, levels::Stream};
use crate::{
    columns::{
        EMPTY, TraceEntry,
        order::{Ordered, Orderer},
    },
    nested_set::{NestedSet, Node, Place},
};

const ERROR: i32 = 2;

/// One row group before it is encoded.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) ids: Vec<TraceId>,
    /// Resource groups, scope groups and spans of all rows.
    pub(super) ordered: Ordered,
    /// Rows of each page.
    pub(super) page_rows: Vec<usize>,
    pub(super) resources: Stream,
    pub(super) scopes: Stream,
    pub(super) spans: Stream,
    /// By span.
    pub(super) places: Vec<Place>,
    /// By row.
    pub(super) start: Vec<u64>,
    pub(super) end: Vec<u64>,
    pub(super) root_service: Vec<u32>,
    pub(super) root_name: Vec<u32>,
    /// How many services each row has; their counts follow each other in `services`.
    pub(super) service_counts: Vec<u32>,
    pub(super) services: Vec<ServiceStats>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceStats {
    pub(super) name: u32,
    pub(super) spans: u32,
    pub(super) errors: u32,
}

/// Builds the rows of row groups, one after the other.
#[derive(Debug)]
pub(super) struct RowBuilder<'a> {
    context: &'a BlockContext<'a>,
    orderer: Orderer<'a>,
    nested_set: NestedSet,
    nodes: Vec<Node>,
}

impl<'a> RowBuilder<'a> {
    pub(super) fn new(context: &'a BlockContext<'a>) -> RowBuilder<'a> {
        let orderer = Orderer::new(context.columns);
        RowBuilder { context, orderer, nested_set: NestedSet::default(), nodes: Vec::new() }
    }

    pub(super) fn build(&mut self, traces: &[(TraceId, TraceEntry)]) -> Rows {
        let mut rows = Rows::default();
        let mut levels = Levels::default();
        let mut page_spans = 0;
        for (id, entry) in traces {
            if page_spans == 0 {
                levels.begin_page();
                rows.page_rows.push(0);
            }
            let first = (rows.ordered.resources.len(), rows.ordered.scopes.len(), rows.ordered.spans.len());
            self.orderer.push_trace(*entry, &mut rows.ordered);
            levels.push_row(&rows.ordered, first);
            rows.ids.push(*id);
            self.derive(&mut rows, first);

            if let Some(page) = rows.page_rows.last_mut() {
                *page += 1;
            }
            page_spans += rows.ordered.spans.len() - first.2;
            if page_spans >= self.context.spans_per_page {
                page_spans = 0;
            }
        }
        levels.begin_page();
        rows.resources = Stream::dense(levels.resources, 1, levels.resource_pages);
        rows.scopes = Stream::dense(levels.scopes, 2, levels.scope_pages);
        rows.spans = Stream::dense(levels.spans, 3, levels.span_pages);
        rows
    }

    /// Computes what belongs to the trace that was added last and begins at `first`.
    fn derive(&mut self, rows: &mut Rows, first: (usize, usize, usize)) {
        let columns = self.context.columns;
        let Rows { ordered, places, services, .. } = rows;
        self.nodes.clear();
        let (mut start, mut end) = (u64::MAX, 0);
        let (mut root_name, mut root_service) = (EMPTY, EMPTY);
        let id = rows.ids.last().copied().unwrap_or_default();
        let first_service = services.len();
        let (mut scope, mut at) = (first.1, first.2);
        for resource in &ordered.resources[first.0..] {
            let name = self.context.services[resource.resource as usize];
            let mut stats = ServiceStats { name, spans: 0, errors: 0 };
            for _ in 0..resource.scope_count {
                let count = ordered.scopes[scope].span_count as usize;
                scope += 1;
                for &span in &ordered.spans[at..at + count] {
                    let index = span as usize;
                    let node = Node {
                        id: columns.spans.id[index],
                        parent_id: columns.spans.parent_id[index],
                        kind: columns.spans.kind(span),
                    };
                    start = start.min(columns.spans.start[index]);
                    end = end.max(columns.spans.end[index]);
                    stats.spans += 1;
                    stats.errors += u32::from(columns.spans.status(span) == ERROR);
                    if node.parent_id == 0 && !self.context.is_child_by_link(span, &id) {
                        (root_name, root_service) = (columns.spans.name[index], name);
                    }
                    self.nodes.push(node);
                }
                at += count;
            }
            services.push(stats);
        }
        self.nested_set.number(&self.nodes, places);
        merge_services(services, first_service, |name| columns.attributes.strings.get(name));
        rows.service_counts.push(u32::try_from(services.len() - first_service).unwrap_or(u32::MAX));
        rows.start.push(start);
        rows.end.push(end);
        rows.root_name.push(root_name);
        rows.root_service.push(root_service);
    }
}

/// Adds up the entries of one service, and sorts by its name.
fn merge_services<'a>(services: &mut Vec<ServiceStats>, first: usize, text: impl Fn(u32) -> &'a [u8]) {
    services[first..].sort_unstable_by_key(|s| s.name);
    let mut kept = first;
    for at in first..services.len() {
        let stats = services[at];
        if kept > first && services[kept - 1].name == stats.name {
            services[kept - 1].spans += stats.spans;
            services[kept - 1].errors += stats.errors;
        } else {
            services[kept] = stats;
            kept += 1;
        }
    }
    services.truncate(kept);
    services[first..].sort_unstable_by_key(|s| text(s.name));
}

/// Repetition levels of the three upper groups, and where pages begin.
#[derive(Debug, Default)]
struct Levels {
    resources: Vec<u8>,
    scopes: Vec<u8>,
    spans: Vec<u8>,
    resource_pages: Vec<usize>,
    scope_pages: Vec<usize>,
    span_pages: Vec<usize>,
}

impl Levels {
    fn begin_page(&mut self) {
        self.resource_pages.push(self.resources.len());
        self.scope_pages.push(self.scopes.len());
        self.span_pages.push(self.spans.len());
    }

    fn push_row(&mut self, ordered: &Ordered, first: (usize, usize, usize)) {
        let mut rep = 0;
        let mut scopes = ordered.scopes[first.1..].iter();
        for resource in &ordered.resources[first.0..] {
            self.resources.push(rep);
            for scope in scopes.by_ref().take(resource.scope_count as usize) {
                self.scopes.push(rep);
                self.spans.push(rep);
                self.spans.resize(self.spans.len() + scope.span_count as usize - 1, 3);
                rep = 2;
            }
            rep = 1;
        }
    }
}
