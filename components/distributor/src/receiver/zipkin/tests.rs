//! The tables of `translation`, `attributes` and `v1`, row by row, and what is refused.

use prost::Message;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, KeyValue, any_value::Value as Any},
    trace::{ResourceSpans, Span, Status},
};

use super::*;

mod v1;

fn convert(format: ZipkinFormat, body: &[u8]) -> Vec<ResourceSpans> {
    let bytes = zipkin_to_otlp(format, false, body)
        .unwrap_or_else(|fault| panic!("{}: {fault}", String::from_utf8_lossy(body)));
    ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap().resource_spans
}

fn fault(format: ZipkinFormat, body: &[u8]) -> String {
    zipkin_to_otlp(format, false, body).unwrap_err().to_string()
}

/// One span in JSON with these fields besides its ids.
fn request(fields: &str) -> String {
    format!(r#"[{{"traceId":"463ac35c9f6413ad48485a3953bb6124","id":"a2fb4a1d1a96d312",{fields}}}]"#)
}

fn resource_spans(fields: &str) -> ResourceSpans {
    let mut all = convert(ZipkinFormat::V2Json, request(fields).as_bytes());
    assert_eq!(all.len(), 1, "{fields}");
    all.remove(0)
}

fn span(fields: &str) -> Span {
    only_span(resource_spans(fields))
}

fn only_span(mut resource_spans: ResourceSpans) -> Span {
    let mut scope_spans = resource_spans.scope_spans.remove(0);
    assert_eq!((resource_spans.scope_spans.len(), scope_spans.spans.len()), (0, 1));
    scope_spans.spans.remove(0)
}

fn attributes(of: &[KeyValue]) -> Vec<(String, Any)> {
    of.iter()
        .map(|pair| (pair.key.clone(), pair.value.clone().and_then(|value| value.value).unwrap()))
        .collect()
}

fn text(key: &str, value: &str) -> (String, Any) {
    (key.to_owned(), Any::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> (String, Any) {
    (key.to_owned(), Any::IntValue(value))
}

fn boolean(key: &str, value: bool) -> (String, Any) {
    (key.to_owned(), Any::BoolValue(value))
}

fn double(key: &str, value: f64) -> (String, Any) {
    (key.to_owned(), Any::DoubleValue(value))
}

/// Attributes of a span that has a timestamp.
fn span_attributes(fields: &str) -> Vec<(String, Any)> {
    attributes(&span(&format!(r#""timestamp":1,{fields}"#)).attributes)
}

fn status(tags: &str) -> (i32, String, Vec<(String, Any)>) {
    let span = span(&format!(r#""timestamp":1,"tags":{{{tags}}}"#));
    let Status { message, code } = span.status.unwrap();
    (code, message, attributes(&span.attributes))
}

#[test]
fn ids_of_128_and_64_bits_are_read() {
    let ids = |trace: &str, rest: &str| {
        let body = format!(r#"[{{"traceId":"{trace}","id":"1"{rest}}}]"#);
        only_span(convert(ZipkinFormat::V2Json, body.as_bytes()).remove(0))
    };
    let of = |id: u128| id.to_be_bytes().to_vec();

    assert_eq!(
        ids("463AC35C9F6413ad48485a3953bb6124", "").trace_id,
        of(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124)
    );
    assert_eq!(ids("48485a3953bb6124", "").trace_id, of(0x4848_5a39_53bb_6124));
    assert_eq!(ids("1", "").span_id, 1u64.to_be_bytes());
    assert_eq!(ids("1", r#","parentId":"00000000000000ff""#).parent_span_id, 255u64.to_be_bytes());
}

#[test]
fn a_parent_that_is_zero_null_or_the_span_itself_is_none() {
    for parent in [r#""0000000000000000""#, r#""""#, "null", r#""a2fb4a1d1a96d312""#] {
        assert!(span(&format!(r#""parentId":{parent}"#)).parent_span_id.is_empty(), "{parent}");
    }
}

#[test]
fn shared_spans_keep_their_id() {
    let body = r#"[
        {"traceId":"1","id":"2","kind":"CLIENT","localEndpoint":{"serviceName":"front"}},
        {"traceId":"1","id":"2","kind":"SERVER","shared":true,"debug":true,"localEndpoint":{"serviceName":"back"}}]"#;

    let spans: Vec<Span> =
        convert(ZipkinFormat::V2Json, body.as_bytes()).into_iter().map(only_span).collect();

    assert_eq!(spans.iter().map(|span| span.kind).collect::<Vec<_>>(), [3, 2]);
    assert!(spans.iter().all(|span| span.span_id == 2u64.to_be_bytes()));
}

#[test]
fn kinds_are_those_of_zipkin_or_of_the_tag() {
    let kinds = [("CLIENT", 3), ("SERVER", 2), ("PRODUCER", 4), ("CONSUMER", 5), ("client", 3), ("ODD", 0)];
    for (kind, want) in kinds {
        assert_eq!(span(&format!(r#""kind":"{kind}""#)).kind, want, "{kind}");
    }
    assert_eq!(span(r#""name":"n""#).kind, 0);

    let tagged = span(r#""timestamp":1,"tags":{"span.kind":"internal"}"#);
    assert_eq!((tagged.kind, tagged.attributes), (1, vec![]));
    let both = span(r#""timestamp":1,"tags":{"span.kind":"internal"},"kind":"SERVER""#);
    assert_eq!((both.kind, attributes(&both.attributes)), (2, vec![text("span.kind", "internal")]));
}

#[test]
fn times_are_microseconds() {
    let times = |fields: &str| {
        let span = span(fields);
        (span.start_time_unix_nano, span.end_time_unix_nano)
    };

    assert_eq!(
        times(r#""timestamp":1472470996199000,"duration":207001"#),
        (1_472_470_996_199_000_000, 1_472_470_996_406_001_000)
    );
    assert_eq!(times(r#""timestamp":5"#), (5000, 5000));
    assert_eq!(times(r#""timestamp":5.4,"duration":2.5"#), (5000, 8000));
    assert_eq!(times(r#""timestamp":18446744073709551615,"duration":1"#), (u64::MAX, u64::MAX));
}

#[test]
fn a_span_without_timestamp_starts_at_zero_and_says_so() {
    for fields in [r#""duration":7"#, r#""timestamp":0,"duration":7"#, r#""timestamp":null,"duration":7"#] {
        let span = span(fields);

        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (0, 7000), "{fields}");
        assert_eq!(
            attributes(&span.attributes),
            [boolean("otel.zipkin.absentField.startTime", true)],
            "{fields}"
        );
    }
}

#[test]
fn endpoints_become_the_service_and_network_attributes() {
    let found = resource_spans(
        r#""timestamp":1,
           "localEndpoint":{"serviceName":"front","ipv4":"10.0.0.1","port":8080},
           "remoteEndpoint":{"serviceName":"db","ipv6":"2001:DB8::c001","port":3306}"#,
    );

    assert_eq!(attributes(&found.resource.clone().unwrap().attributes), [text("service.name", "front")]);
    assert_eq!(
        attributes(&only_span(found).attributes),
        [
            text("peer.service", "db"),
            text("net.host.ip", "10.0.0.1"),
            int("net.host.port", 8080),
            text("net.peer.ip", "2001:db8::c001"),
            int("net.peer.port", 3306),
        ]
    );
}

#[test]
fn ipv6_comes_before_ipv4_and_odd_addresses_are_kept() {
    let table = [
        (r#"{"ipv4":"1.2.3.4","ipv6":"::1"}"#, "::1"),
        (r#"{"ipv6":"::1","ipv4":"1.2.3.4"}"#, "::1"),
        (r#"{"ipv6":"::ffff:1.2.3.4"}"#, "1.2.3.4"),
        (r#"{"ipv4":"somewhere"}"#, "somewhere"),
        (r#"{"ipv6":"::1","ipv4":"somewhere"}"#, "::1"),
    ];
    for (endpoint, want) in table {
        assert_eq!(
            span_attributes(&format!(r#""localEndpoint":{endpoint}"#)),
            [text("net.host.ip", want)],
            "{endpoint}"
        );
    }
    assert_eq!(span_attributes(r#""localEndpoint":{"ipv4":"","port":0}"#), []);
}

#[test]
fn spans_are_grouped_by_service_resource_and_scope() {
    let span = |id: u32, service: &str, tags: &str| {
        format!(
            r#"{{"traceId":"1","id":"{id}","localEndpoint":{{"serviceName":"{service}"}},"tags":{{{tags}}}}}"#
        )
    };
    let body = format!(
        "[{},{},{},{},{},null]",
        span(1, "a", r#""otel.scope.name":"x","otel.scope.version":"1""#),
        span(2, "b", ""),
        span(3, "a", r#""otel.library.name":"y""#),
        span(4, "a", r#""otel.scope.name":"x","otel.scope.version":"1""#),
        span(5, "a", r#""k8s.pod.name":"a-1""#),
    );

    let found = convert(ZipkinFormat::V2Json, body.as_bytes());

    let shape: Vec<_> = found
        .iter()
        .map(|resource_spans| {
            let scopes: Vec<_> = resource_spans
                .scope_spans
                .iter()
                .map(|scope_spans| {
                    let scope = scope_spans.scope.clone().unwrap();
                    let ids: Vec<u8> = scope_spans.spans.iter().map(|span| span.span_id[7]).collect();
                    (scope.name, scope.version, ids)
                })
                .collect();
            (attributes(&resource_spans.resource.clone().unwrap().attributes), scopes)
        })
        .collect();
    let scope = |name: &str, version: &str, ids: &[u8]| (name.to_owned(), version.to_owned(), ids.to_vec());
    assert_eq!(
        shape,
        [
            (vec![text("service.name", "a")], vec![scope("x", "1", &[1, 4]), scope("y", "", &[3])]),
            (vec![text("service.name", "b")], vec![scope("", "", &[2])]),
            (vec![text("service.name", "a"), text("k8s.pod.name", "a-1")], vec![scope("", "", &[5])]),
        ]
    );
}

#[test]
fn tags_of_a_resource_move_to_it() {
    let found = resource_spans(
        r#""timestamp":1,"tags":{"telemetry.sdk.name":"opentelemetry","http.path":"/","host.name":"h"},
           "localEndpoint":{"serviceName":"a"}"#,
    );

    assert_eq!(
        attributes(&found.resource.clone().unwrap().attributes),
        [text("service.name", "a"), text("telemetry.sdk.name", "opentelemetry"), text("host.name", "h")]
    );
    assert_eq!(attributes(&only_span(found).attributes), [text("http.path", "/")]);
}

#[test]
fn the_service_may_come_from_another_key() {
    let resource = |fields: &str| attributes(&resource_spans(fields).resource.unwrap().attributes);

    assert_eq!(
        resource(r#""localEndpoint":{"serviceName":"f"},"tags":{"otlp.service.name.source":"faas.name"}"#),
        [text("faas.name", "f")]
    );
    assert_eq!(
        resource(r#""localEndpoint":{"serviceName":"f"},"tags":{"service.name":"g"}"#),
        [text("service.name", "g")]
    );
    assert_eq!(resource(r#""localEndpoint":{"serviceName":"OTLPResourceNoServiceName"}"#), []);
    assert_eq!(resource(r#""name":"n""#), []);
}

#[test]
fn trace_state_is_a_tag() {
    let span = span(r#""timestamp":1,"tags":{"w3c.tracestate":"a=1,b=2"}"#);

    assert_eq!((span.trace_state.as_str(), span.attributes), ("a=1,b=2", vec![]));
}

#[test]
fn status_comes_from_its_tags() {
    let table = [
        (r#""otel.status_code":"OK""#, 1, ""),
        (r#""otel.status_code":"Ok""#, 1, ""),
        (r#""otel.status_code":"STATUS_CODE_ERROR""#, 2, ""),
        (r#""otel.status_code":"ERROR","otel.status_description":"why""#, 2, "why"),
        (r#""otel.status_code":"Unset""#, 0, ""),
        (r#""error":"true""#, 2, ""),
        (r#""error":true"#, 2, ""),
        (r#""error":"true","otel.status_description":"why""#, 2, "why"),
    ];
    for (tags, code, message) in table {
        assert_eq!(status(tags), (code, message.to_owned(), vec![]), "{tags}");
    }
}

#[test]
fn an_error_with_a_text_is_status_message_and_attribute() {
    let table = [
        (r#""error":"timed out""#, 2, "timed out", vec![text("error", "timed out")]),
        (r#""error":"""#, 2, "", vec![text("error", "")]),
        (r#""error":"a","otel.status_description":"b""#, 2, "b", vec![text("error", "a")]),
        (r#""error":"false""#, 0, "", vec![text("error", "false")]),
        (r#""otel.status_code":"odd""#, 0, "", vec![text("otel.status_code", "odd")]),
        (r#""otel.status_code":"OK","error":"true""#, 2, "", vec![]),
    ];
    for (tags, code, message, left) in table {
        assert_eq!(status(tags), (code, message.to_owned(), left), "{tags}");
    }
}

#[test]
fn other_tags_are_text_unless_types_are_parsed() {
    let fields =
        r#""timestamp":1,"tags":{"n":"12","f":"1.5","b":"true","t":"12px","":"","esc\"aped":"a\nb"}"#;
    let body = request(fields);
    let parsed = zipkin_to_otlp(ZipkinFormat::V2Json, true, body.as_bytes()).unwrap();
    let parsed = ExportTraceServiceRequest::decode(parsed.as_slice()).unwrap().resource_spans.remove(0);

    assert_eq!(
        span_attributes(fields),
        [
            text("n", "12"),
            text("f", "1.5"),
            text("b", "true"),
            text("t", "12px"),
            text("", ""),
            text("esc\"aped", "a\nb")
        ]
    );
    assert_eq!(
        attributes(&only_span(parsed).attributes),
        [
            int("n", 12),
            double("f", 1.5),
            boolean("b", true),
            text("t", "12px"),
            text("", ""),
            text("esc\"aped", "a\nb")
        ]
    );
}

#[test]
fn tags_that_are_no_text_keep_their_type() {
    assert_eq!(
        span_attributes(r#""tags":{"n":-12,"u":18446744073709551615,"f":1.5,"b":false,"none":null}"#),
        [int("n", -12), double("u", 18_446_744_073_709_551_615.0), double("f", 1.5), boolean("b", false)]
    );
}

#[test]
fn long_attributes_have_their_lengths() {
    let key = "k".repeat(130);
    let value = "v".repeat(20_000);

    assert_eq!(span_attributes(&format!(r#""tags":{{"{key}":"{value}"}}"#)), [text(&key, &value)]);
}

#[test]
fn annotations_are_events() {
    let events = span(
        r#""annotations":[{"timestamp":1472470996238000,"value":"foo"},{"value":"a|b","timestamp":2},null,
            {"timestamp":3,"value":"a|{broken|0"},{"timestamp":4,"value":"a|{}|x"},{"timestamp":5}]"#,
    )
    .events;

    let found: Vec<_> = events.iter().map(|event| (event.time_unix_nano, event.name.as_str())).collect();
    assert_eq!(
        found,
        [
            (1_472_470_996_238_000_000, "foo"),
            (2000, "a|b"),
            (3000, "a|{broken|0"),
            (4000, "a|{}|x"),
            (5000, "")
        ]
    );
}

#[test]
fn events_with_attributes_are_taken_apart() {
    let event = |value: &str| {
        let value = serde_json::to_string(value).unwrap();
        span(&format!(r#""annotations":[{{"timestamp":1,"value":{value}}}]"#)).events.remove(0)
    };
    let want = [text("k", "a|b"), int("n", 1), double("f", 0.5), boolean("b", true)];
    let json = r#"{"k":"a|b","n":1,"f":0.5,"b":true}"#;

    for value in [format!("name|{json}|7"), format!(r#""name":{json}"#), format!(r#"{{"name": {json}}}"#)] {
        let event = event(&value);
        assert_eq!(event.name, "name", "{value}");
        assert_eq!(attributes(&event.attributes), want, "{value}");
        assert_eq!(event.dropped_attributes_count, if value.ends_with('7') { 7 } else { 0 }, "{value}");
    }
    assert_eq!(event(r#"{"a":1}"#).name, r#"{"a":1}"#);
    assert_eq!(event(r#"{"a":{"b":1},"c":{}}"#).name, r#"{"a":{"b":1},"c":{}}"#);
}

#[test]
fn lists_in_attributes_of_events_are_kept_up_to_a_depth() {
    let event = |json: &str| {
        let value = serde_json::to_string(&format!("n|{json}|0")).unwrap();
        span(&format!(r#""annotations":[{{"timestamp":1,"value":{value}}}]"#)).events.remove(0)
    };
    let nested = |depth: usize| format!(r#"{{"k":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));

    let list = event(r#"{"k":[1,{"a":"b"},null]}"#);
    let Any::ArrayValue(list) = attributes(&list.attributes).remove(0).1 else { panic!("a list") };
    assert_eq!(list.values[0], AnyValue { value: Some(Any::IntValue(1)) });
    assert!(matches!(&list.values[1].value, Some(Any::KvlistValue(list)) if list.values[0].key == "a"));
    assert_eq!(list.values[2], AnyValue { value: None });

    assert_eq!(event(&nested(16)).name, "n");
    assert_eq!(event(&nested(17)).name, format!("n|{}|0", nested(17)));
    assert_eq!(event(&nested(1000)).name, format!("n|{}|0", nested(1000)));
}

#[test]
fn links_are_tags_of_the_collector() {
    let link = "0af7651916cd43dd8448eb211c80319c|b7ad6b7169203331|a=b|{\\\"why\\\":\\\"a|b\\\"}|2";
    let mut found =
        span(&format!(r#""timestamp":1,"tags":{{"otlp.link.0":"{link}","otlp.link.1":"no|link"}}"#));

    let link = found.links.remove(0);
    assert!(found.links.is_empty());
    assert_eq!(link.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes());
    assert_eq!(link.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!((link.trace_state.as_str(), link.dropped_attributes_count), ("a=b", 2));
    assert_eq!(attributes(&link.attributes), [text("why", "a|b")]);
    assert_eq!(attributes(&found.attributes), [text("otlp.link.1", "no|link")]);
}

#[test]
fn unknown_fields_and_nulls_are_hopped_over() {
    let span = span(
        r#""x":{"y":[[[1]]]},"name":null,"kind":null,"localEndpoint":null,"remoteEndpoint":{"z":1,"port":null},
           "annotations":null,"tags":null,"timestamp":1,"duration":null"#,
    );

    assert_eq!((span.name.as_str(), span.kind, span.attributes, span.events), ("", 0, vec![], vec![]));
}

#[test]
fn an_empty_list_is_an_empty_request() {
    assert_eq!(convert(ZipkinFormat::V2Json, b" [ ] "), []);
    assert_eq!(convert(ZipkinFormat::V1Json, b"[]"), []);
    assert_eq!(convert(ZipkinFormat::V2Protobuf, b""), []);
}

#[test]
fn wrong_json_is_refused_with_its_place() {
    let table = [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "invalid type: map, expected an array of spans at line 1 column 0"),
        (r#"[{"traceId":"1"}]"#, "span has no id, or one of zeros at line 1 column 17"),
        (r#"[{"id":"1"}]"#, "span has no trace id, or one of zeros at line 1 column 12"),
        (r#"[{"traceId":"0","id":"1"}]"#, "span has no trace id, or one of zeros at line 1 column 26"),
        (
            r#"[{"traceId":"xyz"}]"#,
            "[0].traceId: 3 bytes of text where an id of up to 32 hex digits was expected at line 1 column 17",
        ),
        (
            r#"[null,{"id":"00000000000000001"}]"#,
            "[1].id: 17 bytes of text where an id of up to 16 hex digits was expected at line 1 column 31",
        ),
        (
            r#"[{"timestamp":"1"}]"#,
            "[0].timestamp: invalid type: string \"1\", expected microseconds at line 1 column 17",
        ),
        (r#"[{"tags":{"a":[]}}]"#, "[0].tags: invalid type: sequence, expected text at line 1 column 16"),
        (r#"[{"localEndpoint":{"port":70000}}]"#, "[0].localEndpoint: 70000 is no port at line 1 column 31"),
        (r#"[{"name":"a""#, "EOF while parsing an object at line 1 column 12"),
        ("[] x", "trailing characters at line 1 column 4"),
    ];
    let found = table.map(|(body, _)| (body, fault(ZipkinFormat::V2Json, body.as_bytes())));
    assert_eq!(found, table.map(|(body, want)| (body, want.to_owned())));
    assert_eq!(fault(ZipkinFormat::V2Json, b"[{\"name\":\"\xff"), "text is not valid UTF-8 at byte 10");
}

#[test]
fn deep_json_is_refused_or_hopped_over_without_recursion() {
    let deep = format!(r#"[{{"tags":{}"#, "[".repeat(100_000));
    let unknown = format!(r#"[{{"x":{}{}}}]"#, "[".repeat(100_000), "]".repeat(100_000));

    assert!(fault(ZipkinFormat::V2Json, deep.as_bytes()).starts_with("[0].tags: invalid type"));
    let message = fault(ZipkinFormat::V2Json, unknown.as_bytes());
    assert!(message.contains("recursion limit") || message.contains("no trace id"), "{message}");
}

#[test]
fn memory_goes_with_the_body() {
    let span = r#"{"traceId":"1","id":"1"},"#.repeat(1000);
    let body = format!("[{}]", span.trim_end_matches(','));
    let many_scopes: Vec<String> = (0..1000)
        .map(|n| format!(r#"{{"traceId":"1","id":"1","tags":{{"otel.scope.name":"{n}"}}}}"#))
        .collect();
    let many_scopes = format!("[{}]", many_scopes.join(","));

    for body in [body, many_scopes] {
        let otlp = zipkin_to_otlp(ZipkinFormat::V2Json, false, body.as_bytes()).unwrap();
        assert!(otlp.capacity() < body.len() * 6, "{} bytes from {}", otlp.capacity(), body.len());
    }
}

/// A span in protobuf with every field.
fn protobuf_span() -> Vec<u8> {
    let mut span = vec![0x0a, 16];
    span.extend_from_slice(&0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124_u128.to_be_bytes());
    span.extend_from_slice(&[0x12, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    span.extend_from_slice(&[0x1a, 8, 0xa2, 0xfb, 0x4a, 0x1d, 0x1a, 0x96, 0xd3, 0x12]);
    span.extend_from_slice(b"\x20\x02\x2a\x03get");
    span.push(0x31);
    span.extend_from_slice(&1_472_470_996_199_000_u64.to_le_bytes());
    span.extend_from_slice(b"\x38\x07");
    span.extend_from_slice(b"\x42\x0f\x0a\x05front\x12\x04\x0a\x00\x00\x01\x20\x50");
    span.extend_from_slice(b"\x4a\x16\x0a\x02db\x1a\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\xc0\x01");
    span.extend_from_slice(b"\x52\x0e\x09\x02\0\0\0\0\0\0\0\x12\x03foo");
    span.extend_from_slice(b"\x5a\x0a\x0a\x01k\x12\x05value");
    span.extend_from_slice(b"\x5a\x0d\x0a\x05error\x12\x04true");
    span.extend_from_slice(b"\x60\x01\x68\x01");
    span
}

fn list_of(span: &[u8]) -> Vec<u8> {
    let mut list = vec![0x0a];
    crate::wire::put_varint(&mut list, span.len() as u64);
    list.extend_from_slice(span);
    list
}

#[test]
fn protobuf_and_json_become_the_same() {
    let json = request(
        r#""parentId":"1","kind":"SERVER","name":"get","timestamp":1472470996199000,"duration":7,
           "localEndpoint":{"serviceName":"front","ipv4":"10.0.0.1","port":80},
           "remoteEndpoint":{"serviceName":"db","ipv6":"2001:db8::c001"},
           "annotations":[{"timestamp":2,"value":"foo"}],"tags":{"k":"value","error":"true"}"#,
    );

    assert_eq!(
        convert(ZipkinFormat::V2Protobuf, &list_of(&protobuf_span())),
        convert(ZipkinFormat::V2Json, json.as_bytes())
    );
}

#[test]
fn protobuf_ids_may_have_64_bits() {
    let span = b"\x0a\x08\0\0\0\0\0\0\0\x05\x1a\x08\0\0\0\0\0\0\0\x06";

    let found = only_span(convert(ZipkinFormat::V2Protobuf, &list_of(span)).remove(0));

    assert_eq!(found.trace_id, 5u128.to_be_bytes());
}

#[test]
fn an_ipv4_address_in_protobuf_may_have_16_bytes() {
    let mut span = b"\x0a\x08\0\0\0\0\0\0\0\x05\x1a\x08\0\0\0\0\0\0\0\x06\x31\x01\0\0\0\0\0\0\0".to_vec();
    span.extend_from_slice(b"\x4a\x12\x12\x10\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01");

    let found = only_span(convert(ZipkinFormat::V2Protobuf, &list_of(&span)).remove(0));

    assert_eq!(attributes(&found.attributes), [text("net.peer.ip", "10.0.0.1")]);
}

#[test]
fn wrong_protobuf_is_refused_with_its_place() {
    let table: [(&[u8], &str); 6] = [
        (b"\x0a\x04\x0a\x02ab", "spans[0]: trace_id must be 128 bit, received 16 bits at byte 4"),
        (b"\x0a\x0a\x0a\x08\0\0\0\0\0\0\0\x05", "spans[0]: span has no id, or one of zeros"),
        (b"\x0a\x03\x2a\x01\xff", "spans[0]: name is not valid UTF-8 at byte 4"),
        (b"\x0a\x05\x2a", "field 1 is cut off at byte 3"),
        (b"\x0a\x02\x28\x01", "spans[0]: field 5 has wire type 0 at byte 3, which it cannot have"),
        (
            b"\x0a\x06\x42\x04\x12\x02ab",
            "spans[0].local_endpoint: ipv4 must be 32 bit, received 16 bits at byte 6",
        ),
    ];
    for (body, want) in table {
        assert_eq!(fault(ZipkinFormat::V2Protobuf, body), want, "{body:?}");
    }
}

#[test]
fn any_cut_of_a_request_is_refused_or_read() {
    let list = list_of(&protobuf_span());
    let json =
        request(r#""kind":"SERVER","tags":{"a":"\u00e4","otlp.link.0":"x"},"annotations":[{"value":"a"}]"#);

    for end in 0..list.len() {
        assert!(zipkin_to_otlp(ZipkinFormat::V2Protobuf, false, &list[..end]).is_err() || end == 0, "{end}");
    }
    for end in 0..json.len() {
        assert!(zipkin_to_otlp(ZipkinFormat::V2Json, false, &json.as_bytes()[..end]).is_err(), "{end}");
    }
}
