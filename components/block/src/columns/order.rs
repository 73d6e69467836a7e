//! The order of a trace's spans, scopes and resources, in answers and in blocks.
//!
//! Spans sort by (start, id), then by arrival; scopes by their first span, resources by their first scope. Equal
//! resources are one group, and so are equal scopes in it: equal means encoded to the same bytes.

use super::{SpanColumns, TraceEntry};

const NONE: u32 = u32::MAX;

/// Traces in order, as flat lists: a resource's scopes and a scope's spans follow each other.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    pub(crate) resources: Vec<ResourceGroup>,
    pub(crate) scopes: Vec<ScopeGroup>,
    pub(crate) spans: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ResourceGroup {
    pub(crate) resource: u32,
    pub(crate) scope_count: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ScopeGroup {
    pub(crate) scope: u32,
    pub(crate) span_count: u32,
}

/// Sorts traces one after the other; keeps its buffers between them.
#[derive(Debug)]
pub(crate) struct Orderer<'a> {
    columns: &'a SpanColumns,
    by_start: Vec<(u64, u64, u32)>,
    /// Group of each resource and context of the head in the trace at hand.
    resource_groups: Vec<u32>,
    context_groups: Vec<u32>,
    groups: Vec<Group>,
    group_order: Vec<u32>,
    resources: Vec<u32>,
    span_groups: Vec<u32>,
}

/// One context's spans in the trace at hand.
#[derive(Debug, Clone, Copy)]
struct Group {
    context: u32,
    resource_group: u32,
    spans: u32,
    /// Where its next span goes.
    next: u32,
}

impl<'a> Orderer<'a> {
    pub(crate) fn new(columns: &'a SpanColumns) -> Orderer<'a> {
        Orderer {
            columns,
            by_start: Vec::new(),
            resource_groups: vec![NONE; columns.resources.len()],
            context_groups: vec![NONE; columns.contexts.len()],
            groups: Vec::new(),
            group_order: Vec::new(),
            resources: Vec::new(),
            span_groups: Vec::new(),
        }
    }

    /// Appends a trace to `out`.
    pub(crate) fn push_trace(&mut self, entry: TraceEntry, out: &mut Ordered) {
        self.sort_spans(entry);
        self.find_groups();

        let mut next = u32::try_from(out.spans.len()).unwrap_or(NONE);
        let mut last_resource_group = NONE;
        for &at in &self.group_order {
            let Some(group) = self.groups.get_mut(at as usize) else { continue };
            group.next = next;
            next += group.spans;
            if group.resource_group != last_resource_group {
                last_resource_group = group.resource_group;
                let resource = self.resources.get(last_resource_group as usize).copied().unwrap_or(0);
                out.resources.push(ResourceGroup { resource, scope_count: 0 });
            }
            if let Some(resource) = out.resources.last_mut() {
                resource.scope_count += 1;
            }
            let scope = self.columns.contexts.get(group.context as usize).map_or(0, |c| c.1);
            out.scopes.push(ScopeGroup { scope, span_count: group.spans });
        }
        out.spans.resize(next as usize, 0);
        for (&(_, _, span), &group) in self.by_start.iter().zip(&self.span_groups) {
            if let Some(group) = self.groups.get_mut(group as usize)
                && let Some(place) = out.spans.get_mut(group.next as usize)
            {
                *place = span;
                group.next += 1;
            }
        }
        self.clear_groups();
    }

    fn sort_spans(&mut self, entry: TraceEntry) {
        let spans = &self.columns.spans;
        self.by_start.clear();
        self.by_start.extend(self.columns.trace_spans(entry).filter_map(|span| {
            let at = span as usize;
            Some((*spans.start.get(at)?, *spans.id.get(at)?, span))
        }));
        self.by_start.sort_unstable();
    }

    fn find_groups(&mut self) {
        self.groups.clear();
        self.resources.clear();
        self.span_groups.clear();
        for &(_, _, span) in &self.by_start {
            let context = self.columns.spans.context.get(span as usize).copied().unwrap_or(0);
            let Some(group) = self.context_groups.get_mut(context as usize) else { continue };
            if *group == NONE {
                *group = u32::try_from(self.groups.len()).unwrap_or(NONE);
                let resource = self.columns.contexts.get(context as usize).map_or(0, |c| c.0);
                let Some(resource_group) = self.resource_groups.get_mut(resource as usize) else { continue };
                if *resource_group == NONE {
                    *resource_group = u32::try_from(self.resources.len()).unwrap_or(NONE);
                    self.resources.push(resource);
                }
                self.groups.push(Group { context, resource_group: *resource_group, spans: 0, next: 0 });
            }
            if let Some(group) = self.groups.get_mut(*group as usize) {
                group.spans += 1;
            }
            self.span_groups.push(*group);
        }
        // Scopes of one resource next to each other; otherwise all stay in the order of their first spans.
        self.group_order.clear();
        self.group_order.extend((0u32..).zip(&self.groups).map(|(at, _)| at));
        let groups = &self.groups;
        self.group_order.sort_by_key(|&at| groups.get(at as usize).map(|g| g.resource_group));
    }

    fn clear_groups(&mut self) {
        for group in &self.groups {
            if let Some(slot) = self.context_groups.get_mut(group.context as usize) {
                *slot = NONE;
            }
        }
        for &resource in &self.resources {
            if let Some(slot) = self.resource_groups.get_mut(resource as usize) {
                *slot = NONE;
            }
        }
    }
}
