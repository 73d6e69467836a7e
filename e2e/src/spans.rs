//! Spans that can be checked without keeping them: everything in a trace follows from its number.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span::Event},
};

/// Makes traces by number; the seed separates runs.
#[derive(Debug, Clone, Copy)]
pub struct SpanMaker {
    pub seed: u64,
    pub spans_per_trace: u64,
}

/// One export request and the numbers of the traces in it.
#[derive(Debug, Clone)]
pub struct Batch {
    pub body: Bytes,
    pub traces: Range<u64>,
}

impl SpanMaker {
    pub fn trace_id(&self, trace: u64) -> [u8; 16] {
        let mut rng = SmallRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ trace);
        rng.random()
    }

    pub fn trace_id_hex(&self, trace: u64) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id(trace)))
    }

    pub fn span_id(&self, span: u64) -> [u8; 8] {
        (span + 1).to_be_bytes()
    }

    fn span(&self, trace: u64, span: u64) -> Span {
        let start = 1_700_000_000_000_000_000 + trace * 1_000_000 + span * 1_000;
        Span {
            trace_id: self.trace_id(trace).to_vec(),
            span_id: self.span_id(span).to_vec(),
            parent_span_id: if span == 0 { Vec::new() } else { self.span_id(span / 2).to_vec() },
            name: format!("operation-{}", (trace + span) % 50),
            kind: i32::try_from(span % 6).unwrap_or_default(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 500,
            attributes: vec![
                text("http.request.method", "GET"),
                text("request.id", &format!("{trace:016x}-{span:016x}")),
                number("http.response.status_code", 200),
                text("payload", &"x".repeat(usize::try_from((trace * 7 + span) % 120).unwrap_or_default())),
            ],
            events: vec![Event {
                time_unix_nano: start + 100,
                name: "cache.miss".into(),
                ..Event::default()
            }],
            status: Some(Status {
                code: i32::try_from(span % 3).unwrap_or_default(),
                message: String::new(),
            }),
            ..Span::default()
        }
    }

    /// One request with `traces` whole traces, starting at number `first`.
    pub fn batch(&self, first: u64, traces: u64) -> Batch {
        let spans = |trace| (0..self.spans_per_trace).map(move |span| (trace, span));
        let body = self.request((first..first + traces).flat_map(spans).collect());
        Batch { body, traces: first..first + traces }
    }

    /// One request with some spans of one trace.
    pub fn part(&self, trace: u64, spans: Range<u64>) -> Bytes {
        self.request(spans.map(|span| (trace, span)).collect())
    }

    /// The spans, given by trace and number, spread over three services.
    fn request(&self, spans: Vec<(u64, u64)>) -> Bytes {
        let of_service = |service: u64| {
            let spans = spans.iter().filter(|(trace, span)| (trace + span) % 3 == service);
            ResourceSpans {
                resource: Some(Resource {
                    attributes: vec![
                        text("service.name", &format!("service-{service}")),
                        text("host.name", "e2e"),
                    ],
                    ..Resource::default()
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: "e2e".into(),
                        ..InstrumentationScope::default()
                    }),
                    spans: spans.map(|&(trace, span)| self.span(trace, span)).collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }
        };
        let request = ExportTraceServiceRequest { resource_spans: (0..3).map(of_service).collect() };
        request.encode_to_vec().into()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    key_value(key, Value::IntValue(value))
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
