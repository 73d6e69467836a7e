//! Traces to write: made ones with every odd thing in them, and the way into columns and blocks.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use prost::Message as _;
use tempo_backend::{BlockMeta, keys};
use tempo_block::{SpanColumns, WriteOptions, write_block};
use tempo_model::{BlockId, PushBatch, PushBatchBuilder, TenantId, TraceId, trace::Trace};
use tempo_proto::{
    common::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span},
};

use crate::fixtures::Fixture;

/// A batch of the spans of these traces, as a distributor makes it.
pub(crate) fn batch(traces: &[Trace]) -> PushBatch {
    let mut builder = PushBatchBuilder::default();
    let mut spans: BTreeMap<TraceId, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
    for resource_spans in traces.iter().flat_map(|trace| &trace.resource_spans) {
        let resource = resource_spans.resource.clone().unwrap_or_default().encode_to_vec();
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.clone().unwrap_or_default().encode_to_vec();
            let context = builder.push_context(&resource, &scope);
            for span in &scope_spans.spans {
                let id = TraceId::from_slice(&span.trace_id).unwrap();
                spans.entry(id).or_default().push((context, span.encode_to_vec()));
            }
        }
    }
    for (id, spans) in spans {
        builder.begin_trace(id);
        spans.iter().for_each(|(context, span)| builder.push_span(*context, span));
    }
    builder.finish()
}

pub(crate) fn columns(traces: &[Trace]) -> SpanColumns {
    let mut columns = SpanColumns::new();
    columns.append(&batch(traces)).unwrap();
    columns
}

pub(crate) fn options() -> WriteOptions {
    WriteOptions {
        block_id: BlockId::from_bytes([7; 16]),
        tenant: TenantId::single(),
        dedicated_columns: Vec::new(),
        choose_dedicated: false,
        bloom_fp: 0.01,
        bloom_shard_bytes: 102_400,
        spans_per_row_group: 32_768,
        spans_per_page: 4096,
        sidecar: true,
        zstd_level: 1,
        replication_factor: 1,
        threads: 1,
    }
}

/// Writes a block and reads its objects back.
pub(crate) fn write(columns: &SpanColumns, options: &WriteOptions) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let meta = write_block(columns, options, folder.path()).unwrap();
    Fixture {
        name: "own".to_owned(),
        objects: objects(folder.path(), &meta),
        meta,
        expected: BTreeMap::new(),
    }
}

fn objects(folder: &Path, meta: &BlockMeta) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let bytes = Bytes::from(std::fs::read(entry.path()).unwrap());
        objects.insert(entry.file_name().into_string().unwrap(), bytes);
    }
    assert_eq!(objects[keys::DATA].len() as u64, meta.size);
    objects
}

pub(crate) fn data(block: &Fixture) -> Bytes {
    block.objects[keys::DATA].clone()
}

/// Deterministic numbers (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

pub(crate) fn attribute(key: &str, value: Option<Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

pub(crate) fn text(value: &str) -> Option<Value> {
    Some(Value::StringValue(value.to_owned()))
}

fn any(values: impl IntoIterator<Item = Option<Value>>) -> Vec<AnyValue> {
    values.into_iter().map(|value| AnyValue { value }).collect()
}

fn array(values: impl IntoIterator<Item = Option<Value>>) -> Option<Value> {
    Some(Value::ArrayValue(ArrayValue { values: any(values) }))
}

/// Values of every kind, empty and odd ones too.
fn values() -> Vec<Option<Value>> {
    let ints = [0, 1, -1, i64::MAX, i64::MIN, 1 << 31, (1 << 31) - 1].map(Value::IntValue).map(Some);
    let doubles = [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::MIN].map(Value::DoubleValue).map(Some);
    let nested = Value::KvlistValue(KeyValueList {
        values: vec![attribute("k", array([text("x"), None])), attribute("", Some(Value::IntValue(3)))],
    });
    let mut values = vec![
        None,
        text(""),
        text("plain"),
        text("grüße 世界 \u{10ffff}"),
        text(&"long ".repeat(300)),
        Some(Value::BoolValue(true)),
        Some(Value::BoolValue(false)),
        Some(Value::BytesValue(vec![0, 255, 1])),
        Some(Value::BytesValue(Vec::new())),
        Some(nested),
        Some(Value::KvlistValue(KeyValueList::default())),
        array([]),
        array([text("a"), text(""), text("plain")]),
        array([Some(Value::IntValue(-5))]),
        array([Some(Value::DoubleValue(0.5)), Some(Value::DoubleValue(1e300))]),
        array([Some(Value::BoolValue(true)), Some(Value::BoolValue(false))]),
        array([text("mixed"), Some(Value::IntValue(1))]),
        array([None]),
        array([array([text("inner")])]),
    ];
    values.extend(ints);
    values.extend(doubles);
    values
}

fn attributes(random: &mut Random, keys: &[&str], most: usize) -> Vec<KeyValue> {
    let values = values();
    let count = random.below(most + 1);
    (0..count).map(|_| attribute(random.pick(keys), random.pick(&values))).collect()
}

const KEYS: [&str; 14] = [
    "a",
    "b",
    "",
    "http.method",
    "http.url",
    "http.status_code",
    "db.statement",
    "ключ",
    "service.name",
    "cluster",
    "k8s.pod.name",
    "x.1",
    "x.2",
    "x.3",
];
const TIMES: [u64; 5] = [0, 1, 1_700_000_000_000_000_000, 1_700_000_000_123_456_789, u64::MAX];

/// A trace with a little of everything: shared ids, several roots, orphans, times that go backwards.
pub(crate) fn odd_trace(random: &mut Random, id: TraceId, spans: usize) -> Trace {
    let resources: Vec<Resource> = (0..1 + random.below(4)).map(|_| resource(random)).collect();
    let scopes: Vec<InstrumentationScope> = (0..1 + random.below(3)).map(|_| scope(random)).collect();
    let ids: Vec<[u8; 8]> = (0..spans.max(1)).map(|_| (random.next() | 1).to_be_bytes()).collect();
    let mut trace = Trace::default();
    for at in 0..spans {
        let twin = random.below(8) == 0;
        let own = if twin { random.pick(&ids) } else { ids[at] };
        let parent = match random.below(10) {
            0 => Vec::new(),
            1 => (random.next() | 1).to_be_bytes().to_vec(),
            _ if at == 0 => Vec::new(),
            _ => ids[random.below(at)].to_vec(),
        };
        let span = odd_span(random, id, (&own, parent));
        let (resource, scope) = (random.pick(&resources), random.pick(&scopes));
        let scope_spans =
            vec![ScopeSpans { scope: Some(scope), spans: vec![span], schema_url: String::new() }];
        trace.resource_spans.push(ResourceSpans {
            resource: Some(resource),
            scope_spans,
            schema_url: String::new(),
        });
    }
    trace
}

fn odd_span(random: &mut Random, id: TraceId, (own, parent): (&[u8; 8], Vec<u8>)) -> Span {
    let is_rare = random.below(4) == 0;
    let rare = |n: u32| if is_rare { n } else { 0 };
    let mut spread = |time: u64| time.wrapping_add(random.next() % 1000);
    let (start, end) = (spread(TIMES[2]), spread(TIMES[3]));
    let (start, end) =
        if random.below(20) == 0 { (random.pick(&TIMES), random.pick(&TIMES)) } else { (start, end) };
    Span {
        trace_id: id.as_bytes().to_vec(),
        span_id: own.to_vec(),
        trace_state: if is_rare { "vendor=1".to_owned() } else { String::new() },
        parent_span_id: parent,
        flags: 0,
        name: random.pick(&["", "GET /", "оплата", "a name that is longer than sixteen bytes"]).to_owned(),
        kind: random.pick(&[0, 1, 2, 3, 4, 5, 77, -1]),
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        attributes: attributes(random, &KEYS, 12),
        dropped_attributes_count: rare(3),
        events: (0..random.below(3)).map(|_| event(random, start)).collect(),
        dropped_events_count: rare(u32::MAX),
        links: if is_rare { vec![link(random, id), link(random, id)] } else { Vec::new() },
        dropped_links_count: rare(1),
        status: Some(Status {
            code: random.pick(&[0, 0, 1, 2, 9]),
            message: random.pick(&["", "", "kaputt"]).to_owned(),
        }),
    }
}

fn event(random: &mut Random, start: u64) -> span::Event {
    span::Event {
        time_unix_nano: random.pick(&[start.wrapping_add(5), start.wrapping_sub(5), 0]),
        name: random.pick(&["exception", "", "log"]).to_owned(),
        attributes: attributes(random, &["exception.message", "e"], 3),
        dropped_attributes_count: random.pick(&[0, 0, 9]),
    }
}

fn link(random: &mut Random, id: TraceId) -> span::Link {
    span::Link {
        trace_id: random.pick(&[id.as_bytes().to_vec(), vec![9; 16], Vec::new()]),
        span_id: random.pick(&[vec![3; 8], Vec::new()]),
        trace_state: random.pick(&["", "x=y"]).to_owned(),
        attributes: attributes(random, &["l"], 2),
        dropped_attributes_count: random.pick(&[0, 4]),
        flags: 0,
    }
}

fn resource(random: &mut Random) -> Resource {
    let mut attributes = attributes(random, &KEYS, 4);
    if random.below(4) > 0 {
        let name = random.pick(&["shop", "cart", ""]);
        attributes.insert(0, attribute("service.name", text(name)));
    }
    Resource { attributes, dropped_attributes_count: random.pick(&[0, 0, 2]), entity_refs: Vec::new() }
}

fn scope(random: &mut Random) -> InstrumentationScope {
    InstrumentationScope {
        name: random.pick(&["", "lib"]).to_owned(),
        version: random.pick(&["", "1.2"]).to_owned(),
        attributes: attributes(random, &["s"], 2),
        dropped_attributes_count: random.pick(&[0, 1]),
    }
}

/// Traces of 1 to `most` spans.
pub(crate) fn odd_traces(seed: u64, count: usize, most: usize) -> Vec<Trace> {
    let mut random = Random(seed);
    let id = |random: &mut Random| {
        let short = random.below(10) == 0;
        let high = if short { 0 } else { u128::from(random.next()) << 64 };
        TraceId::from_bytes((high | u128::from(random.next())).to_be_bytes())
    };
    let trace = |_| {
        let id = id(&mut random);
        let spans = 1 + random.below(most);
        odd_trace(&mut random, id, spans)
    };
    (0..count).map(trace).collect()
}

pub(crate) fn id_of(trace: &Trace) -> TraceId {
    TraceId::from_slice(&trace.resource_spans[0].scope_spans[0].spans[0].trace_id).unwrap()
}
