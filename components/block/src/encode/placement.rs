//! Which attribute goes to which column: static columns first, then dedicated ones, then the generic list.
//!
//! vParquet4 has fixed columns for a few well-known keys and ten spare string columns each for spans and resources.
//! `dedicatedColumns` of the meta names what is in the spares; entries take `String01`, `String02`, ... in order.

use tempo_config::{DedicatedColumn, DedicatedColumnScope, DedicatedColumnType};

use crate::columns::{AttributeList, Kind, SpanColumns};

/// Spare columns of each scope.
pub(super) const SPARES: usize = 10;
pub(super) const RESOURCE_STATIC: [&str; 9] = [
    "service.name",
    "cluster",
    "namespace",
    "pod",
    "container",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
];
pub(super) const SPAN_STATIC: [&str; 2] = ["http.method", "http.url"];
pub(super) const STATUS_CODE: &str = "http.status_code";
/// How many spans are looked at to choose columns.
const SAMPLE_SPANS: usize = 50_000;
/// What an entry of the generic list costs besides its value: key, levels of seven columns, a longer code.
const ENTRY_BYTES: u64 = 6;

/// Where the values of a key go in one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Generic,
    /// An optional string column: static ones first, then the spares.
    Column(u8),
    StatusCode,
}

/// The columns of a block.
#[derive(Debug)]
pub(crate) struct Placement {
    /// By key of the head.
    pub(super) span: Vec<Target>,
    pub(super) resource: Vec<Target>,
    /// What the meta says, in order.
    pub(crate) dedicated_columns: Vec<DedicatedColumn>,
}

impl Placement {
    /// Uses the configured columns as far as vParquet4 can hold them; then, if `choose`, fills the spares with the keys
    /// that cost most in this block.
    pub(crate) fn new(columns: &SpanColumns, configured: &[DedicatedColumn], choose: bool) -> Placement {
        let mut dedicated_columns: Vec<DedicatedColumn> = Vec::new();
        for column in configured {
            if is_possible(column)
                && !dedicated_columns.contains(column)
                && has_spare(&dedicated_columns, column.scope)
            {
                dedicated_columns.push(column.clone());
            }
        }
        if choose {
            for (scope, costs) in costs(columns) {
                for name in costs {
                    let options = Vec::new();
                    let column = DedicatedColumn { scope, name, kind: DedicatedColumnType::String, options };
                    if !has_spare(&dedicated_columns, scope) {
                        break;
                    }
                    if is_possible(&column) && !dedicated_columns.contains(&column) {
                        dedicated_columns.push(column);
                    }
                }
            }
        }
        let span = targets(columns, DedicatedColumnScope::Span, &dedicated_columns);
        let resource = targets(columns, DedicatedColumnScope::Resource, &dedicated_columns);
        Placement { span, resource, dedicated_columns }
    }
}

fn static_names(scope: DedicatedColumnScope) -> &'static [&'static str] {
    match scope {
        DedicatedColumnScope::Span => &SPAN_STATIC,
        DedicatedColumnScope::Resource => &RESOURCE_STATIC,
        DedicatedColumnScope::Event => &[],
    }
}

fn is_possible(column: &DedicatedColumn) -> bool {
    let DedicatedColumn { scope, name, kind, options } = column;
    let has_columns = match scope {
        DedicatedColumnScope::Span => name != STATUS_CODE,
        DedicatedColumnScope::Resource => true,
        DedicatedColumnScope::Event => false,
    };
    has_columns
        && *kind == DedicatedColumnType::String
        && options.is_empty()
        && !static_names(*scope).contains(&name.as_str())
}

fn has_spare(columns: &[DedicatedColumn], scope: DedicatedColumnScope) -> bool {
    columns.iter().filter(|c| c.scope == scope).count() < SPARES
}

fn targets(columns: &SpanColumns, scope: DedicatedColumnScope, dedicated: &[DedicatedColumn]) -> Vec<Target> {
    let names = static_names(scope).iter().copied();
    let names = names.chain(dedicated.iter().filter(|c| c.scope == scope).map(|c| c.name.as_str()));
    let names: Vec<&str> = names.collect();
    let keys = (0..).zip(&columns.attributes.keys);
    keys.map(|(number, key)| {
        let name = columns.key_name(number);
        match key.kind {
            Kind::String => match (0..).zip(&names).find(|(_, n)| n.as_bytes() == name) {
                Some((column, _)) => Target::Column(column),
                None => Target::Generic,
            },
            Kind::Int if scope == DedicatedColumnScope::Span && name == STATUS_CODE.as_bytes() => {
                Target::StatusCode
            }
            Kind::Int | Kind::Double | Kind::Bool | Kind::Encoded => Target::Generic,
        }
    })
    .collect()
}

/// String keys of resources and spans, most expensive first; ties by name.
fn costs(columns: &SpanColumns) -> [(DedicatedColumnScope, Vec<String>); 2] {
    let resources = columns.resources.iter().map(|r| r.attributes);
    let step = (columns.spans.len() / SAMPLE_SPANS).max(1);
    let spans = columns.spans.attributes.iter().step_by(step).copied();
    [
        (DedicatedColumnScope::Resource, ranked(columns, resources)),
        (DedicatedColumnScope::Span, ranked(columns, spans)),
    ]
}

fn ranked(columns: &SpanColumns, lists: impl Iterator<Item = AttributeList>) -> Vec<String> {
    let mut costs = vec![0u64; columns.attributes.keys.len()];
    let mut shapes = ShapeKeys::new(columns);
    for list in lists {
        for (&key, &value) in shapes.keys(list.shape).iter().zip(columns.attributes.list_values(list)) {
            if columns.attributes.keys[key as usize].kind == Kind::String {
                costs[key as usize] += ENTRY_BYTES + columns.attributes.strings.get(value).len() as u64 / 8;
            }
        }
    }
    let mut keys: Vec<(u64, &[u8])> = (0..)
        .zip(costs)
        .filter(|(_, cost)| *cost > 0)
        .map(|(key, cost)| (cost, columns.key_name(key)))
        .collect();
    keys.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    keys.iter().filter_map(|(_, name)| String::from_utf8(name.to_vec()).ok()).collect()
}

/// The keys of shapes, looked up once each.
#[derive(Debug)]
pub(super) struct ShapeKeys<'a> {
    columns: &'a SpanColumns,
    /// Place in `keys` of each shape of the head; `u32::MAX` for those not met yet.
    starts: Vec<u32>,
    keys: Vec<u32>,
}

impl<'a> ShapeKeys<'a> {
    pub(super) fn new(columns: &'a SpanColumns) -> ShapeKeys<'a> {
        ShapeKeys { columns, starts: vec![u32::MAX; columns.attributes.shape_count()], keys: Vec::new() }
    }

    pub(super) fn keys(&mut self, shape: u32) -> &[u32] {
        let start = &mut self.starts[shape as usize];
        if *start == u32::MAX {
            *start = u32::try_from(self.keys.len()).expect("keys of shapes in use are fewer than values");
            self.columns.attributes.shape_keys(shape, &mut self.keys);
        }
        let start = *start as usize;
        &self.keys[start..start + self.columns.attributes.shape_len(shape)]
    }
}
