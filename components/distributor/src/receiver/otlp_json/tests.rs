//! Row by row the table of how Tempo's receiver reads OTLP/JSON (reference, crates 4.2).

use prost::Message;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, any_value::Value as Any},
    trace::Span,
};

use super::*;

fn request(json: &str) -> ExportTraceServiceRequest {
    let bytes = to_protobuf(json.as_bytes()).unwrap_or_else(|fault| panic!("{json}: {fault}"));
    ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap()
}

fn with_span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

fn span(fields: &str) -> Span {
    request(&with_span(fields)).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn fault(json: &str) -> String {
    to_protobuf(json.as_bytes()).unwrap_err().to_string()
}

fn value(json: &str) -> Option<Any> {
    let span = span(&format!(r#""attributes":[{{"key":"k","value":{json}}}]"#));
    assert_eq!(span.attributes[0].key, "k");
    span.attributes.into_iter().next().unwrap().value.and_then(|value| value.value)
}

#[test]
fn ids_are_hex_in_either_case() {
    let span =
        span(r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"""#);

    assert_eq!(span.trace_id, 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c_u128.to_be_bytes());
    assert_eq!(span.span_id, 0xeee1_9b7e_c3c1_b174_u64.to_be_bytes());
    assert!(span.parent_span_id.is_empty());
}

#[test]
fn numbers_may_be_strings_and_whole_floats() {
    let text = span(r#""startTimeUnixNano":"1700000000000000001","droppedAttributesCount":"3","kind":"2""#);
    let number = span(r#""startTimeUnixNano":1700000000000000001,"droppedAttributesCount":3.0,"kind":2"#);

    assert_eq!(text.start_time_unix_nano, 1_700_000_000_000_000_001);
    assert_eq!(text.dropped_attributes_count, 3);
    assert_eq!(text, number);
    assert_eq!(span(r#""flags":"257""#).flags, 257);
}

#[test]
fn enums_may_be_names() {
    let span = span(r#""kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR","message":"no"}"#);

    assert_eq!(span.kind, 2);
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    assert_eq!(span.status.unwrap().message, "no");
}

#[test]
fn values_of_every_kind_are_read() {
    assert_eq!(value(r#"{"stringValue":"text"}"#), Some(Any::StringValue("text".to_owned())));
    assert_eq!(value(r#"{"stringValue":""}"#), Some(Any::StringValue(String::new())));
    assert_eq!(value(r#"{"boolValue":false}"#), Some(Any::BoolValue(false)));
    assert_eq!(value(r#"{"intValue":"-9223372036854775808"}"#), Some(Any::IntValue(i64::MIN)));
    assert_eq!(value(r#"{"intValue":-3}"#), Some(Any::IntValue(-3)));
    assert_eq!(value(r#"{"doubleValue":1.5}"#), Some(Any::DoubleValue(1.5)));
    assert_eq!(value(r#"{"doubleValue":2}"#), Some(Any::DoubleValue(2.0)));
    assert_eq!(value(r#"{"doubleValue":"-Infinity"}"#), Some(Any::DoubleValue(f64::NEG_INFINITY)));
    assert_eq!(value(r#"{"bytesValue":"AQI="}"#), Some(Any::BytesValue(vec![1, 2])));
    assert_eq!(value(r#"{"bytesValue":"_-8"}"#), Some(Any::BytesValue(vec![0xff, 0xef])));
    assert_eq!(value("{}"), None);
    assert_eq!(value("null"), None);
    assert!(matches!(value(r#"{"doubleValue":"NaN"}"#), Some(Any::DoubleValue(n)) if n.is_nan()));
}

#[test]
fn lists_may_be_empty_and_nested() {
    let Some(Any::ArrayValue(empty)) = value(r#"{"arrayValue":{}}"#) else { panic!("an array") };
    let Some(Any::KvlistValue(list)) = value(
        r#"{"kvlistValue":{"values":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":1}]}}}]}}"#,
    ) else {
        panic!("a list")
    };

    assert!(empty.values.is_empty());
    let Some(Any::ArrayValue(inner)) = list.values[0].value.clone().unwrap().value else {
        panic!("an array")
    };
    assert_eq!(inner.values, [AnyValue { value: Some(Any::IntValue(1)) }]);
}

#[test]
fn null_is_absent_except_for_ids() {
    let span = span(
        r#""attributes":null,"events":null,"links":null,"status":null,"traceState":null,"name":null,"kind":null"#,
    );

    assert_eq!(span, Span::default());
    assert_eq!(
        fault(&with_span(r#""parentSpanId":null"#)),
        "resourceSpans[0].scopeSpans[0].spans[0].parentSpanId: null is not an id at line 1 column 63"
    );
    assert_eq!(request(r#"{"resourceSpans":null}"#), ExportTraceServiceRequest::default());
}

#[test]
fn names_may_be_snake_case() {
    let request = request(
        r#"{"resource_spans":[{"resource":{"dropped_attributes_count":1},"schema_url":"u","scope_spans":[{"spans":[{
            "trace_id":"5b8efff798038103d269b633813fc60c","span_id":"eee19b7ec3c1b174","parent_span_id":"eee19b7ec3c1b173",
            "start_time_unix_nano":1,"end_time_unix_nano":2,"trace_state":"s",
            "attributes":[{"key":"a","value":{"string_value":"b"}}]}]}]}]}"#,
    );

    let resource_spans = &request.resource_spans[0];
    let span = &resource_spans.scope_spans[0].spans[0];
    assert_eq!(resource_spans.resource.as_ref().unwrap().dropped_attributes_count, 1);
    assert_eq!((span.trace_id.len(), span.parent_span_id.len()), (16, 8));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1, 2));
    assert_eq!(span.attributes[0].value.as_ref().unwrap().value, Some(Any::StringValue("b".to_owned())));
}

#[test]
fn unknown_and_missing_fields_are_no_error() {
    assert_eq!(request("{}"), ExportTraceServiceRequest::default());
    assert_eq!(request(r#"{"resourceSpans":[]}"#), ExportTraceServiceRequest::default());
    assert_eq!(span(r#""nosuch":{"a":[1,{"b":null}]},"name":"n""#).name, "n");
    assert_eq!(span(r#""attributes":[{"key":"k"}]"#).attributes[0].value, None);
}

#[test]
fn ids_of_another_length_are_named() {
    let odd = fault(&with_span(r#""traceId":"abc""#));
    let base64 = fault(&with_span(r#""spanId":"7uGbfsPBsXQ=""#));
    let not_hex = fault(&with_span(r#""spanId":"eee19b7ec3c1b17x""#));

    assert_eq!(
        odd,
        r#"resourceSpans[0].scopeSpans[0].spans[0].traceId: ids of this field have 32 hex digits, found 3 bytes of text at line 1 column 59"#
    );
    assert!(
        base64.starts_with("resourceSpans[0].scopeSpans[0].spans[0].spanId: ids of this field have 16 hex"),
        "{base64}"
    );
    assert!(not_hex.contains("spanId"), "{not_hex}");
}

#[test]
fn wrong_json_is_located() {
    assert_eq!(fault("[]"), "invalid type: sequence, expected an object at line 1 column 0");
    assert_eq!(fault(""), "EOF while parsing a value at line 1 column 0");
    assert_eq!(fault("{} x"), "trailing characters at line 1 column 4");
    assert_eq!(
        fault("{\"resourceSpans\":\n[{\"scopeSpans\": 3}]}"),
        "resourceSpans[0].scopeSpans: a number where an array was expected at line 2 column 17"
    );
    assert!(
        fault(&with_span(r#""kind":"SPAN_KIND_NOSUCH""#))
            .contains("kind: \"SPAN_KIND_NOSUCH\" is not a number")
    );
    assert!(
        fault(&with_span(r#""startTimeUnixNano":-1"#))
            .contains("startTimeUnixNano: number -1 is out of range")
    );
    assert!(fault(&with_span(r#""startTimeUnixNano":1.5"#)).contains("1.5 is not a whole number"));
    assert!(fault(&with_span(r#""droppedEventsCount":4294967296"#)).contains("out of range"));
    assert!(fault(&with_span(r#""name":7"#)).contains("name: a number where text was expected"));
    assert!(to_protobuf(b"{\"resourceSpans\":\"\xff\"}").is_err());
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let open = r#"{"arrayValue":{"values":["#.repeat(100_000);

    let fault = fault(&with_span(&format!(r#""attributes":[{{"key":"k","value":{open}"#)));

    assert!(fault.contains("recursion limit exceeded"), "{fault}");
}
