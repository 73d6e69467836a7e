//! The request that the benches work on: like the standard load, always the same bytes.

use prost::Message;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status},
};

const SERVICES: u64 = 20;
const SPANS_PER_SERVICE: u64 = 25;
const TRACES: u64 = 64;

/// One request of some 330 KB: 20 services with 25 spans each, 64 traces in no particular order.
pub(crate) fn encoded() -> Vec<u8> {
    let resource_spans = (0..SERVICES).map(|service| ResourceSpans {
        resource: Some(Resource { attributes: resource_attributes(service), ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "io.opentelemetry.http".to_owned(),
                version: "1.32.0".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans: (0..SPANS_PER_SERVICE).map(|n| span(service * SPANS_PER_SERVICE + n)).collect(),
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn resource_attributes(service: u64) -> Vec<KeyValue> {
    vec![
        text("service.name", &format!("service-{service}")),
        text("k8s.pod.name", &format!("service-{service}-7d9f8b6c5-x2x9z")),
        text("k8s.namespace.name", "shop"),
        text("telemetry.sdk.language", "java"),
    ]
}

fn span(n: u64) -> Span {
    let random = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let trace = (random % TRACES + 1).wrapping_mul(0xd134_2543_de82_ef95);
    Span {
        trace_id: [trace.to_be_bytes(), (!trace).to_be_bytes()].concat(),
        span_id: random.to_be_bytes().to_vec(),
        parent_span_id: random.rotate_left(17).to_be_bytes().to_vec(),
        name: "GET /api/v1/products/{id}".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + n * 1_000_003,
        end_time_unix_nano: 1_700_000_000_000_000_000 + n * 1_000_003 + random % 1_000_000,
        attributes: span_attributes(n, random),
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn span_attributes(n: u64, random: u64) -> Vec<KeyValue> {
    vec![
        text("http.request.method", "GET"),
        number("http.response.status_code", 200),
        text("url.path", &format!("/api/v1/products/{n}")),
        text(
            "url.full",
            &format!("http://catalog.shop.svc.cluster.local:8080/api/v1/products/{n}?page=3&size=50"),
        ),
        text("url.scheme", "http"),
        text("network.peer.address", &format!("10.2.{}.{}", random % 200, random % 251)),
        number("network.peer.port", 32768),
        text(
            "user_agent.original",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)",
        ),
        text("http.route", "/api/v1/products/{id}"),
        text("thread.name", "http-nio-8080-exec-7"),
        number("thread.id", 4711),
        text("app.user.id", &format!("{random:016x}")),
        text("server.address", "catalog.shop.svc.cluster.local"),
        number("server.port", 8080),
    ]
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
