//! Deterministic spans like a shop's: 20 services, 15 attributes, request ids, some events.

use prost::Message as _;
use tempo_model::{PushBatch, PushBatchBuilder, TraceId};
use tempo_proto::{
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    trace::{Span, Status, span},
};

const SERVICES: usize = 20;
const SPANS_PER_TRACE: usize = 25;

/// Batches of 20 traces, and their bytes.
pub(crate) fn batches(traces: usize) -> (Vec<PushBatch>, u64) {
    let mut random = Random(42);
    let batches: Vec<PushBatch> = (0..traces / 20).map(|_| batch(&mut random)).collect();
    let bytes = batches.iter().map(|batch| batch.size_bytes() as u64).sum();
    (batches, bytes)
}

fn batch(random: &mut Random) -> PushBatch {
    let mut builder = PushBatchBuilder::default();
    for service in 0..SERVICES {
        builder.push_context(&resource(service).encode_to_vec(), &[]);
    }
    for _ in 0..20 {
        let id =
            TraceId::from_bytes((u128::from(random.next()) << 64 | u128::from(random.next())).to_be_bytes());
        builder.begin_trace(id);
        let mut parent = Vec::new();
        let start = 1_700_000_000_000_000_000 + random.next() % 60_000_000_000;
        for at in 0..SPANS_PER_TRACE as u64 {
            let service = random.below(SERVICES);
            let span = span(random, id, (&parent, start + at * 1_000_000), service);
            parent.clone_from(&span.span_id);
            builder.push_span(service, &span.encode_to_vec());
        }
    }
    builder.finish()
}

fn resource(service: usize) -> Resource {
    let mut attributes = vec![text("service.name", format!("service-{service}"))];
    attributes
        .extend((0..10).map(|n| text(&format!("resource.key.{n}"), format!("value-{}", service * 7 + n))));
    Resource { attributes, ..Resource::default() }
}

fn span(random: &mut Random, id: TraceId, (parent, start): (&[u8], u64), service: usize) -> Span {
    let mut attributes = vec![
        text("http.request.method", ["GET", "PUT", "POST"][random.below(3)].to_owned()),
        text("http.route", format!("/api/v1/things/{}", random.below(60))),
        text("request.id", format!("{:016x}-{:016x}", random.next(), random.next())),
        text("session.id", format!("{:016x}", random.next() % 1000)),
        int("http.response.status_code", 200),
        int("thread.id", random.below(64) as i64),
        int("message.size", random.below(100_000) as i64),
    ];
    let names = ["peer", "tenant", "flag", "arm", "zone", "pool", "user", "shard"];
    attributes.extend(
        names.iter().map(|name| text(&format!("app.{name}"), format!("{name}-{}", random.below(40)))),
    );
    let is_error = random.below(50) == 0;
    let exception = span::Event {
        time_unix_nano: start + 5,
        name: "exception".to_owned(),
        attributes: vec![text("exception.message", "connection refused".to_owned())],
        dropped_attributes_count: 0,
    };
    Span {
        trace_id: id.as_bytes().to_vec(),
        span_id: random.next().to_be_bytes().to_vec(),
        parent_span_id: parent.to_vec(),
        name: format!("operation {}", service * 5 + random.below(5)),
        kind: i32::try_from(random.below(6)).unwrap_or(0),
        start_time_unix_nano: start,
        end_time_unix_nano: start + random.next() % 50_000_000,
        attributes,
        events: if is_error { vec![exception] } else { Vec::new() },
        status: Some(Status { code: if is_error { 2 } else { 0 }, message: String::new() }),
        ..Span::default()
    }
}

fn text(key: &str, value: String) -> KeyValue {
    attribute(key, Value::StringValue(value))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }
}
