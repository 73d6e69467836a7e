use proptest::prelude::*;
use tempo_proto::common::{ArrayValue, KeyValueList};

use super::*;

fn set(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(set(value)), ..KeyValue::default() }
}

fn any_value_json(value: &AnyValue) -> String {
    let mut out = String::new();
    write_any_value(&mut out, value);
    out
}

fn string_json(text: &str) -> String {
    let mut out = String::new();
    write_string(&mut out, text);
    out
}

fn f64_json(value: f64) -> String {
    let mut out = String::new();
    write_f64(&mut out, value);
    out
}

fn full_span() -> Span {
    Span {
        trace_id: (0..16).collect(),
        span_id: (0xf8..=0xff).collect(),
        trace_state: "a=b".to_owned(),
        parent_span_id: vec![1; 8],
        flags: 257,
        name: "GET /<cart>".to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: u64::MAX,
        attributes: vec![
            attribute("s", Value::StringValue(String::new())),
            attribute("b", Value::BoolValue(false)),
            attribute("i", Value::IntValue(i64::MIN)),
            attribute("d", Value::DoubleValue(0.5)),
            KeyValue { key: "none".to_owned(), ..KeyValue::default() },
            KeyValue { key: "unset".to_owned(), value: Some(AnyValue::default()), ..KeyValue::default() },
        ],
        dropped_attributes_count: 1,
        events: vec![Event {
            time_unix_nano: 5,
            name: "retry".to_owned(),
            attributes: vec![attribute("n", Value::IntValue(0))],
            dropped_attributes_count: 2,
        }],
        dropped_events_count: 3,
        links: vec![Link {
            trace_id: vec![0xff; 16],
            span_id: vec![0xfe; 8],
            trace_state: "c=d".to_owned(),
            attributes: vec![attribute("l", Value::BytesValue(vec![]))],
            dropped_attributes_count: 4,
            flags: 1,
        }],
        dropped_links_count: 5,
        status: Some(Status { message: "boom".to_owned(), code: StatusCode::Error as i32 }),
    }
}

#[test]
fn every_field_of_a_trace_is_printed_in_proto_order() {
    let scope = InstrumentationScope {
        name: "lib".to_owned(),
        version: "1.0".to_owned(),
        attributes: vec![attribute("sa", Value::BoolValue(true))],
        dropped_attributes_count: 6,
    };
    let resource = Resource {
        attributes: vec![attribute("service.name", Value::StringValue("shop".to_owned()))],
        dropped_attributes_count: 7,
        ..Resource::default()
    };
    let trace = Trace {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![full_span()],
                schema_url: "s".to_owned(),
            }],
            schema_url: "r".to_owned(),
        }],
    };

    let mut out = String::new();
    write_trace(&mut out, &trace, "batches");

    let want = concat!(
        r#"{"batches":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}],"#,
        r#""droppedAttributesCount":7},"scopeSpans":[{"scope":{"name":"lib","version":"1.0","#,
        r#""attributes":[{"key":"sa","value":{"boolValue":true}}],"droppedAttributesCount":6},"#,
        r#""spans":[{"traceId":"AAECAwQFBgcICQoLDA0ODw==","spanId":"+Pn6+/z9/v8=","traceState":"a=b","#,
        r#""parentSpanId":"AQEBAQEBAQE=","flags":257,"name":"GET /\u003ccart\u003e","kind":"SPAN_KIND_SERVER","#,
        r#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"18446744073709551615","#,
        r#""attributes":[{"key":"s","value":{"stringValue":""}},{"key":"b","value":{"boolValue":false}},"#,
        r#"{"key":"i","value":{"intValue":"-9223372036854775808"}},{"key":"d","value":{"doubleValue":0.5}},"#,
        r#"{"key":"none"},{"key":"unset","value":{}}],"droppedAttributesCount":1,"#,
        r#""events":[{"timeUnixNano":"5","name":"retry","attributes":[{"key":"n","value":{"intValue":"0"}}],"#,
        r#""droppedAttributesCount":2}],"droppedEventsCount":3,"#,
        r#""links":[{"traceId":"/////////////////////w==","spanId":"/v7+/v7+/v4=","traceState":"c=d","#,
        r#""attributes":[{"key":"l","value":{"bytesValue":""}}],"droppedAttributesCount":4,"flags":1}],"#,
        r#""droppedLinksCount":5,"status":{"message":"boom","code":"STATUS_CODE_ERROR"}}],"schemaUrl":"s"}],"#,
        r#""schemaUrl":"r"}]}"#,
    );
    assert_eq!(out, want);
}

#[test]
fn zero_values_are_left_out_but_present_messages_are_printed() {
    let span = Span { status: Some(Status::default()), ..Span::default() };
    let scope =
        ScopeSpans { scope: Some(InstrumentationScope::default()), spans: vec![span], ..Default::default() };
    let bare = ResourceSpans::default();
    let empty =
        ResourceSpans { resource: Some(Resource::default()), scope_spans: vec![scope], ..Default::default() };

    let mut out = String::new();
    write_trace(&mut out, &Trace { resource_spans: vec![bare, empty] }, "resourceSpans");

    assert_eq!(
        out,
        r#"{"resourceSpans":[{},{"resource":{},"scopeSpans":[{"scope":{},"spans":[{"status":{}}]}]}]}"#
    );
}

#[test]
fn an_empty_trace_is_an_empty_object() {
    let mut out = String::new();
    write_trace(&mut out, &Trace::default(), "batches");

    assert_eq!(out, "{}");
}

#[test]
fn a_response_prints_its_trace_even_if_empty_and_its_status_by_name() {
    let whole = TraceByIdResponse {
        trace: Some(Trace::default()),
        metrics: Some(TraceByIdMetrics { inspected_bytes: 123 }),
        ..TraceByIdResponse::default()
    };
    let partial = TraceByIdResponse {
        trace: Some(Trace::default()),
        metrics: Some(TraceByIdMetrics::default()),
        status: PartialStatus::Partial as i32,
        message: "too \"large\"".to_owned(),
    };

    let [mut first, mut second] = [String::new(), String::new()];
    write_trace_by_id_response(&mut first, &whole);
    write_trace_by_id_response(&mut second, &partial);

    assert_eq!(first, r#"{"trace":{},"metrics":{"inspectedBytes":"123"}}"#);
    assert_eq!(second, r#"{"trace":{},"metrics":{},"status":"PARTIAL","message":"too \"large\""}"#);
}

#[test]
fn a_kind_without_a_name_is_printed_as_a_number() {
    let mut out = String::new();
    write_span(&mut out, &Span { kind: -7, ..Span::default() });

    assert_eq!(out, r#"{"kind":-7}"#);
}

#[test]
fn values_are_printed_as_tempo_stores_unsupported_ones() {
    let mixed = set(Value::ArrayValue(ArrayValue {
        values: vec![set(Value::StringValue("a".to_owned())), set(Value::IntValue(1)), AnyValue::default()],
    }));
    let map =
        set(Value::KvlistValue(KeyValueList { values: vec![attribute("k1", Value::DoubleValue(f64::NAN))] }));

    assert_eq!(
        any_value_json(&mixed),
        r#"{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":"1"},{}]}}"#
    );
    assert_eq!(
        any_value_json(&map),
        r#"{"kvlistValue":{"values":[{"key":"k1","value":{"doubleValue":"NaN"}}]}}"#
    );
    assert_eq!(any_value_json(&set(Value::BytesValue(vec![0, 1, 0xff]))), r#"{"bytesValue":"AAH/"}"#);
    assert_eq!(any_value_json(&set(Value::ArrayValue(ArrayValue::default()))), r#"{"arrayValue":{}}"#);
    assert_eq!(any_value_json(&AnyValue::default()), "{}");
}

#[test]
fn strings_are_escaped_as_go_does() {
    assert_eq!(string_json("plain é 語 🦀 €"), "\"plain é 語 🦀 €\"");
    assert_eq!(string_json("\"\\/"), r#""\"\\/""#);
    assert_eq!(string_json("\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}"), "\"\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}\"");
    assert_eq!(string_json("<a&b>"), r#""\u003ca\u0026b\u003e""#);
    assert_eq!(string_json("\u{2027}\u{2028}\u{2029}"), "\"\u{2027}\\u2028\\u2029\"");
}

#[test]
fn floats_are_written_as_go_does() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (9.5e-7, "9.5e-7"),
        (123_456_789.0, "123456789"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (f64::INFINITY, "\"Infinity\""),
        (f64::NEG_INFINITY, "\"-Infinity\""),
    ];

    for (value, want) in cases {
        assert_eq!(f64_json(value), want);
    }
}

#[test]
fn values_are_read_in_every_spelling_that_jsonpb_takes() {
    let cases = [
        ("{}", None),
        (" null ", None),
        (r#"{"stringValue":null}"#, None),
        (
            r#" { "stringValue" : "a\u00e9\ud83e\udd80\n\/" } "#,
            Some(Value::StringValue("aé🦀\n/".to_owned())),
        ),
        (r#"{"string_value":"\ud83e"}"#, Some(Value::StringValue("\u{fffd}".to_owned()))),
        (r#"{"stringValue":"\ud83e\u0041"}"#, Some(Value::StringValue("\u{fffd}A".to_owned()))),
        (r#"{"intValue":"-9223372036854775808"}"#, Some(Value::IntValue(i64::MIN))),
        (r#"{"intValue":12}"#, Some(Value::IntValue(12))),
        (r#"{"doubleValue":-1.5e3}"#, Some(Value::DoubleValue(-1500.0))),
        (r#"{"doubleValue":"-Infinity"}"#, Some(Value::DoubleValue(f64::NEG_INFINITY))),
        (r#"{"bytesValue":"AAH/"}"#, Some(Value::BytesValue(vec![0, 1, 0xff]))),
        (r#"{"bytesValue":"AAH_"}"#, Some(Value::BytesValue(vec![0, 1, 0xff]))),
        (r#"{"boolValue":true}"#, Some(Value::BoolValue(true))),
        (r#"{"arrayValue":{"values":null}}"#, Some(Value::ArrayValue(ArrayValue::default()))),
    ];

    for (text, want) in cases {
        assert_eq!(parse_any_value(text), Some(AnyValue { value: want }), "{text}");
    }
}

#[test]
fn what_is_not_a_value_is_refused() {
    let texts = [
        "",
        "{",
        "[]",
        "{}x",
        r#"{"stringValue":"a"#,
        r#"{"stringValue":1}"#,
        r#"{"stringValue":"a","intValue":"1"}"#,
        r#"{"other":1}"#,
        r#"{"intValue":"9223372036854775808"}"#,
        r#"{"intValue":1.5}"#,
        r#"{"doubleValue":"inf"}"#,
        r#"{"boolValue":1}"#,
        r#"{"bytesValue":"*"}"#,
        r#"{"stringValue":"\u12"}"#,
        r#"{"stringValue":"\ud83e\u00é"}"#,
        r#"{"stringValue":"\x"}"#,
        "{\"stringValue\":\"\n\"}",
        r#"{"arrayValue":[]}"#,
        r#"{"stringValue":"a",}"#,
    ];

    for text in texts {
        assert_eq!(parse_any_value(text), None, "{text}");
    }
}

#[test]
fn values_nested_as_deep_as_protobuf_allows_are_read_and_deeper_ones_refused() {
    let nested = |depth: usize| {
        let mut value = set(Value::IntValue(1));
        for _ in 0..depth {
            value = set(Value::ArrayValue(ArrayValue { values: vec![value] }));
        }
        value
    };

    assert_eq!(parse_any_value(&any_value_json(&nested(50))), Some(nested(50)));
    assert_eq!(parse_any_value(&any_value_json(&nested(65))), None);
    assert_eq!(parse_any_value(&r#"{"arrayValue":{"values":["#.repeat(100_000)), None);
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        any::<String>().prop_map(|text| Some(Value::StringValue(text))),
        any::<bool>().prop_map(|flag| Some(Value::BoolValue(flag))),
        any::<i64>().prop_map(|number| Some(Value::IntValue(number))),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(|f| Some(Value::DoubleValue(f))),
        any::<Vec<u8>>().prop_map(|bytes| Some(Value::BytesValue(bytes))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(6, 40, 5, |inner| {
        let pair = (any::<String>(), proptest::option::of(inner.clone())).prop_map(|(key, value)| KeyValue {
            key,
            value,
            ..KeyValue::default()
        });
        prop_oneof![
            prop::collection::vec(inner, 0..5)
                .prop_map(|values| set(Value::ArrayValue(ArrayValue { values }))),
            prop::collection::vec(pair, 0..5)
                .prop_map(|values| set(Value::KvlistValue(KeyValueList { values }))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        prop_assert_eq!(parse_any_value(&any_value_json(&value)), Some(value));
    }

    #[test]
    fn hostile_text_never_panics(text in any::<String>(), value in any_value(), cut in any::<prop::sample::Index>()) {
        let mut json = any_value_json(&value);
        let mut at = cut.index(json.len());
        while !json.is_char_boundary(at) {
            at -= 1;
        }
        json.insert_str(at, &text);

        drop(parse_any_value(&text));
        drop(parse_any_value(&json));
    }
}
