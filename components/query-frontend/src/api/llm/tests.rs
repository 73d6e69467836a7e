use tempo_proto::{
    common::{ArrayValue, InstrumentationScope, KeyValueList},
    resource::Resource,
    tempopb::{Trace, TraceByIdMetrics},
};

use super::*;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn written(response: &TraceByIdResponse) -> String {
    let mut out = String::new();
    write_llm(&mut out, TraceId::parse_hex("abc").unwrap(), response);
    out
}

#[test]
fn a_trace_is_plain_json_with_hex_ids() {
    let list =
        [Value::BytesValue(vec![0, 1]), Value::BoolValue(true)].map(|value| AnyValue { value: Some(value) });
    let span = Span {
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        name: "GET".to_owned(),
        kind: SpanKind::Client as i32,
        start_time_unix_nano: 1_000_000,
        end_time_unix_nano: 3_500_000,
        attributes: vec![
            attribute("z", Value::IntValue(-1)),
            attribute("a", Value::ArrayValue(ArrayValue { values: list.to_vec() })),
            attribute("m", Value::KvlistValue(KeyValueList { values: vec![KeyValue::default()] })),
        ],
        events: vec![Event { name: "e".to_owned(), time_unix_nano: 2, ..Event::default() }],
        links: vec![Link { trace_id: vec![3; 16], span_id: vec![4; 8], ..Link::default() }],
        status: Some(Status { code: StatusCode::Error as i32, message: "no".to_owned() }),
        ..Span::default()
    };
    let scope =
        InstrumentationScope { name: "lib".to_owned(), version: "1".to_owned(), ..Default::default() };
    let resource = Resource {
        attributes: vec![attribute("service.name", Value::StringValue("shop".to_owned()))],
        ..Resource::default()
    };
    let response = TraceByIdResponse {
        trace: Some(Trace {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: vec![span],
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            }],
        }),
        metrics: Some(TraceByIdMetrics { inspected_bytes: 7 }),
        ..TraceByIdResponse::default()
    };

    let want = concat!(
        r#"{"trace":{"traceId":"00000000000000000000000000000abc","services":[{"serviceName":"shop","#,
        r#""resource":{"service.name":"shop"},"scopes":[{"name":"lib","version":"1","spans":[{"#,
        r#""spanId":"0101010101010101","name":"GET","parentSpanId":"0202020202020202","#,
        r#""kind":"SPAN_KIND_CLIENT","startTimeUnixNano":"1000000","endTimeUnixNano":"3500000","#,
        r#""durationMs":2.5,"attributes":{"a":["AAE=",true],"m":{"":null},"z":-1},"#,
        r#""events":[{"name":"e","timeUnixNano":"2"}],"#,
        r#""links":[{"traceId":"03030303030303030303030303030303","spanId":"0404040404040404"}],"#,
        r#""status":{"code":"STATUS_CODE_ERROR","message":"no"}}]}]}]},"#,
        r#""metrics":{"inspectedBytes":"7"},"status":"COMPLETE"}"#,
    );
    assert_eq!(written(&response), want);
}

#[test]
fn an_empty_trace_is_an_empty_object() {
    let response = TraceByIdResponse { trace: Some(Trace::default()), ..TraceByIdResponse::default() };

    assert_eq!(written(&response), "{}");
}
