//! The steps of answering one query for a trace of 100,000 spans: combine, sort, print.
//!
//! `cargo bench -p tempo-model`

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use prost::Message;
use tempo_model::{
    json::write_trace,
    trace::{Combiner, Trace, dedupe_zipkin, sort},
};
use tempo_proto::{
    common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};

const SPANS: u64 = 100_000;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn span(id: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().to_vec(),
        parent_span_id: vec![1; 8],
        name: "GET /cart".to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: 1_700_000_000_000_000_000 + id * 1000,
        end_time_unix_nano: 1_700_000_000_000_500_000 + id * 1000,
        attributes: vec![
            attribute("http.request.method", Value::StringValue("GET".to_owned())),
            attribute("url.path", Value::StringValue("/cart/checkout".to_owned())),
            attribute("http.response.status_code", Value::IntValue(200)),
            attribute("thread.id", Value::IntValue(17)),
        ],
        status: Some(Status::default()),
        ..Span::default()
    }
}

/// Spans in scopes of 100, latest first.
fn part(ids: std::ops::Range<u64>) -> Trace {
    let ids: Vec<u64> = ids.rev().collect();
    let scopes = ids.chunks(100).map(|ids| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", Value::StringValue("cart".to_owned()))],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() }),
            spans: ids.iter().map(|&id| span(id)).collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    Trace { resource_spans: scopes.collect() }
}

fn answer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer_100k_spans");
    group.sample_size(10);
    let halves = || (part(0..SPANS * 6 / 10), part(SPANS * 4 / 10..SPANS));
    group.bench_function("combine", |bench| {
        bench.iter_batched(
            halves,
            |(first, second)| {
                let mut combiner = Combiner::new(0);
                combiner.add(first).expect("no limit");
                combiner.add(second).expect("no limit");
                combiner.finish()
            },
            BatchSize::PerIteration,
        );
    });
    let whole = part(0..SPANS);
    group.bench_function("dedupe_zipkin_and_sort", |bench| {
        bench.iter_batched(
            || whole.clone(),
            |mut trace| {
                dedupe_zipkin(&mut trace);
                sort(&mut trace);
                trace
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("json", |bench| {
        bench.iter(|| {
            let mut out = String::new();
            write_trace(&mut out, black_box(&whole), "batches");
            out.len()
        });
    });
    group.bench_function("protobuf", |bench| bench.iter(|| black_box(&whole).encode_to_vec().len()));
    group.finish();
}

criterion_group!(benches, answer);
criterion_main!(benches);
