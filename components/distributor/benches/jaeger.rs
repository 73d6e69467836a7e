//! Jaeger batches to OTLP, per byte of Jaeger: protobuf as over gRPC, the compact encoding as over UDP.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use tempo_distributor::{JaegerFormat, JaegerToOtlp};
use tempo_proto::jaeger as proto;

const SPANS: u64 = 100;

/// Tags like those of the standard load.
fn tags(n: u64) -> Vec<(&'static str, String)> {
    let random = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    vec![
        ("span.kind", "server".to_owned()),
        ("http.method", "GET".to_owned()),
        ("http.url", format!("http://catalog.shop.svc:8080/api/v1/products/{n}?page=3&size=50")),
        ("http.route", "/api/v1/products/{id}".to_owned()),
        ("url.scheme", "http".to_owned()),
        ("peer.address", format!("10.2.{}.{}", random % 200, random % 251)),
        ("user_agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML)".to_owned()),
        ("thread.name", "http-nio-8080-exec-7".to_owned()),
        ("app.user.id", format!("{random:016x}")),
        ("component", "spring-webmvc".to_owned()),
        ("peer.service", "catalog".to_owned()),
        ("server.address", "catalog.shop.svc.cluster.local".to_owned()),
    ]
}

fn post_spans() -> Vec<u8> {
    let tag = |(key, value): (&str, String)| proto::KeyValue {
        key: key.to_owned(),
        v_str: value,
        ..proto::KeyValue::default()
    };
    let span = |n: u64| proto::Span {
        trace_id: [n.to_be_bytes(), (!n).to_be_bytes()].concat().into(),
        span_id: n.to_be_bytes().to_vec().into(),
        operation_name: "GET /api/v1/products/{id}".to_owned(),
        start_time: Some(proto::SecondsAndNanos { seconds: 1_700_000_000, nanos: 5 }),
        duration: Some(proto::SecondsAndNanos { seconds: 0, nanos: 1_500_000 }),
        tags: tags(n).into_iter().map(tag).collect(),
        ..proto::Span::default()
    };
    let process = proto::Process { service_name: "shop".to_owned(), tags: Vec::new() };
    let batch = proto::Batch { spans: (1..=SPANS).map(span).collect(), process: Some(process) };
    proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec()
}

fn compact_message() -> Vec<u8> {
    let mut out = Vec::from(*b"\x82\x81\0\x09emitBatch\x1c\x1c\x18\x04shop\0\x19\xfc");
    varint(&mut out, SPANS);
    for n in 1..=SPANS {
        for id in [n, !n >> 2, n, 0] {
            out.push(0x16);
            varint(&mut out, id << 1);
        }
        out.push(0x18);
        text(&mut out, "GET /api/v1/products/{id}");
        // flags, start, duration, tags
        out.extend_from_slice(&[0x25, 2, 0x16]);
        varint(&mut out, 1_700_000_000_000_000 << 1);
        out.extend_from_slice(&[0x16, 200, 1, 0x19, 0xcc]);
        for (key, value) in tags(n) {
            out.push(0x18);
            text(&mut out, key);
            out.extend_from_slice(&[0x15, 0, 0x18]);
            text(&mut out, &value);
            out.push(0);
        }
        out.push(0);
    }
    out.extend_from_slice(&[0, 0]);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

fn jaeger(c: &mut Criterion) {
    let mut group = c.benchmark_group("jaeger");
    for (name, format, input) in [
        ("post_spans", JaegerFormat::PostSpans, post_spans()),
        ("compact_message", JaegerFormat::CompactMessage, compact_message()),
    ] {
        let (mut converter, mut out) = (JaegerToOtlp::default(), Vec::new());
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let spans = converter.append(format, black_box(&input), &mut out).expect("batch is valid");
                assert_eq!(spans, SPANS);
                black_box(out.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, jaeger);
criterion_main!(benches);
