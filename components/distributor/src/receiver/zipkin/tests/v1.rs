//! Rows of the table of `v1`, in JSON.

use super::*;

fn found(fields: &str) -> ResourceSpans {
    let mut all = convert(ZipkinFormat::V1Json, request(fields).as_bytes());
    assert_eq!(all.len(), 1, "{fields}");
    all.remove(0)
}

fn v1_span(fields: &str) -> Span {
    only_span(found(fields))
}

fn resource(fields: &str) -> Vec<(String, Any)> {
    attributes(&found(fields).resource.unwrap().attributes)
}

const CORE: &str = r#""annotations":[
    {"timestamp":100,"value":"sr","endpoint":{"serviceName":"back","ipv4":"10.0.0.2","ipv6":"::2","port":80}},
    {"timestamp":150,"value":"cache miss","endpoint":{"serviceName":"other"}},
    {"timestamp":300,"value":"ss","endpoint":{"serviceName":"back","ipv4":"10.0.0.2","port":80}}]"#;

#[test]
fn core_annotations_are_kind_times_and_endpoint() {
    let found = found(CORE);

    assert_eq!(
        attributes(&found.resource.clone().unwrap().attributes),
        [text("service.name", "back"), text("ipv4", "10.0.0.2"), text("ipv6", "::2"), text("port", "80")]
    );
    let span = only_span(found);
    assert_eq!((span.kind, span.start_time_unix_nano, span.end_time_unix_nano), (2, 100_000, 300_000));
    assert_eq!(span.events.len(), 1);
    assert_eq!((span.events[0].time_unix_nano, span.events[0].name.as_str()), (150_000, "cache miss"));
    assert_eq!(span.attributes, []);
}

#[test]
fn every_core_annotation_has_its_kind() {
    let kinds = [("cs", 3), ("cr", 3), ("sr", 2), ("ss", 2), ("ms", 4), ("mr", 5), ("ws", 0)];
    for (value, want) in kinds {
        let span = v1_span(&format!(r#""annotations":[{{"timestamp":1,"value":"{value}"}}]"#));
        assert_eq!((span.kind, span.events.len()), (want, usize::from(want == 0)), "{value}");
    }
}

#[test]
fn core_annotations_of_the_other_side_are_events() {
    let span = v1_span(
        r#""annotations":[{"timestamp":1,"value":"cs"},{"timestamp":2,"value":"sr"},{"timestamp":4,"value":"cr"}]"#,
    );

    assert_eq!((span.kind, span.start_time_unix_nano, span.end_time_unix_nano), (3, 1000, 4000));
    assert_eq!(span.events.len(), 1);
    assert_eq!(span.events[0].name, "sr");
}

#[test]
fn timestamp_and_duration_win_over_annotations() {
    let times = |fields: &str| {
        let span = v1_span(&format!("{fields},{CORE}"));
        (span.start_time_unix_nano, span.end_time_unix_nano)
    };

    assert_eq!(times(r#""timestamp":50,"duration":60"#), (50_000, 110_000));
    assert_eq!(times(r#""timestamp":50"#), (50_000, 300_000));
    assert_eq!(times(r#""duration":60"#), (100_000, 160_000));
}

#[test]
fn a_span_without_any_time_starts_at_zero_and_says_so() {
    let span = v1_span(r#""name":"n""#);

    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (0, 0));
    assert_eq!(attributes(&span.attributes), [boolean("otel.zipkin.absentField.startTime", true)]);
}

#[test]
fn the_service_is_looked_for_in_all_endpoints() {
    let table = [
        (r#""name":"n""#, "unknown-service"),
        (r#""binaryAnnotations":[{"key":"lc","value":"spring"}]"#, "spring"),
        (
            r#""binaryAnnotations":[{"key":"lc","value":"spring"},{"key":"k","value":"v","endpoint":{"serviceName":"b"}}]"#,
            "b",
        ),
        (
            r#""binaryAnnotations":[{"key":"k","value":"v","endpoint":{"serviceName":"b"}}],
               "annotations":[{"value":"x","endpoint":{"serviceName":"a"}}]"#,
            "a",
        ),
        (
            r#""annotations":[{"value":"x","endpoint":{"serviceName":"a"}},{"value":"cs","endpoint":{"serviceName":"c"}}]"#,
            "c",
        ),
        (
            r#""binaryAnnotations":[{"key":"sa","value":true,"endpoint":{"serviceName":"s"}}]"#,
            "unknown-service",
        ),
    ];
    for (fields, want) in table {
        assert_eq!(resource(fields), [text("service.name", want)], "{fields}");
    }
}

#[test]
fn address_annotations_are_the_remote_endpoint() {
    let address = |key: &str, core: &str| {
        let span = v1_span(&format!(
            r#""timestamp":1,"annotations":[{core}],"binaryAnnotations":[
               {{"key":"{key}","value":true,"endpoint":{{"serviceName":"peer","ipv6":"::1","port":9}}}}]"#
        ));
        (span.kind, attributes(&span.attributes))
    };
    let core = |value: &str| format!(r#"{{"timestamp":1,"value":"{value}"}}"#);
    let peer = vec![text("peer.service", "peer"), text("net.peer.ip", "::1"), int("net.peer.port", 9)];

    assert_eq!(address("sa", &core("cs")), (3, peer.clone()));
    assert_eq!(address("sa", ""), (0, peer.clone()));
    assert_eq!(address("ca", &core("sr")), (2, peer.clone()));
    assert_eq!(address("ca", ""), (2, peer.clone()));
    assert_eq!(address("ma", &core("ms")), (4, peer.clone()));
    assert_eq!(address("ma", &core("mr")), (5, peer));
    assert_eq!(address("ca", &core("cs")), (3, vec![]));
}

#[test]
fn binary_annotations_keep_their_type() {
    let span = v1_span(
        r#""timestamp":1,"binaryAnnotations":[
            {"key":"text","value":"12"},{"key":"bool","value":false},{"key":"int","value":12},{"key":"double","value":1.5},
            {"key":"i64","type":"I64","value":"9223372036854775807"},{"value":3,"type":"DOUBLE","key":"d"},
            {"key":"b","value":"true","type":"BOOL"},{"key":"odd","value":"x","type":"I16"},
            {"key":"bytes","value":"AQI=","type":"BYTES"},{"key":"lc","value":"c"},{"key":"lc","value":""}]"#,
    );

    assert_eq!(
        attributes(&span.attributes),
        [
            text("text", "12"),
            boolean("bool", false),
            int("int", 12),
            double("double", 1.5),
            int("i64", i64::MAX),
            double("d", 3.0),
            boolean("b", true),
            text("odd", "x"),
            text("bytes", "AQI="),
            text("component", "c"),
        ]
    );
}

#[test]
fn status_may_come_from_census_and_http() {
    let status = |annotations: &str| {
        let span = v1_span(&format!(r#""timestamp":1,"binaryAnnotations":[{annotations}]"#));
        let status = span.status.unwrap();
        (status.code, status.message, span.attributes.len())
    };
    let pair = |key: &str, value: &str| format!(r#"{{"key":"{key}","value":{value}}}"#);

    assert_eq!(status(&pair("census.status_code", r#""0""#)), (1, String::new(), 0));
    assert_eq!(
        status(&format!(
            "{},{}",
            pair("census.status_code", r#""5""#),
            pair("census.status_description", r#""not found""#)
        )),
        (2, "not found".to_owned(), 0)
    );
    assert_eq!(status(&pair("http.status_code", r#""500""#)), (2, String::new(), 1));
    assert_eq!(status(&pair("http.status_code", "404")), (2, String::new(), 1));
    assert_eq!(status(&pair("http.status_code", r#""200""#)), (0, String::new(), 1));
    assert_eq!(status(&pair("error", r#""boom""#)), (2, "boom".to_owned(), 1));
}

#[test]
fn spans_are_grouped_by_endpoint() {
    let body = r#"[
        {"traceId":"1","id":"1","annotations":[{"value":"cs","endpoint":{"serviceName":"a","port":1}}]},
        {"traceId":"1","id":"2","annotations":[{"value":"cs","endpoint":{"serviceName":"a","port":2}}]},
        {"traceId":"1","id":"3","annotations":[{"value":"cs","endpoint":{"serviceName":"a","port":1}}]}]"#;

    let found = convert(ZipkinFormat::V1Json, body.as_bytes());

    let sizes: Vec<usize> = found.iter().map(|r| r.scope_spans[0].spans.len()).collect();
    assert_eq!(sizes, [2, 1]);
}

/// Writes thrift's binary encoding: fields as type, id and value.
fn field(kind: u8, id: u8, value: &[u8]) -> Vec<u8> {
    [&[kind, 0, id], value].concat()
}

fn string(id: u8, value: &[u8]) -> Vec<u8> {
    field(11, id, &[&u32::try_from(value.len()).unwrap().to_be_bytes(), value].concat())
}

fn i64_field(id: u8, value: i64) -> Vec<u8> {
    field(10, id, &value.to_be_bytes())
}

fn structure(fields: &[Vec<u8>]) -> Vec<u8> {
    [fields.concat(), vec![0]].concat()
}

fn structures(values: &[Vec<u8>]) -> Vec<u8> {
    [&[12][..], &u32::try_from(values.len()).unwrap().to_be_bytes(), &values.concat()].concat()
}

fn host(service: &str, address: [u8; 4], port: u16) -> Vec<u8> {
    structure(&[field(8, 1, &address), field(6, 2, &port.to_be_bytes()), string(3, service.as_bytes())])
}

fn binary(key: &str, kind: i32, value: &[u8]) -> Vec<u8> {
    structure(&[string(1, key.as_bytes()), string(2, value), field(8, 3, &kind.to_be_bytes())])
}

fn thrift_span() -> Vec<u8> {
    let annotation = |micros: i64, value: &str| {
        structure(&[
            i64_field(1, micros),
            string(2, value.as_bytes()),
            field(12, 3, &host("back", [10, 0, 0, 2], 65000)),
        ])
    };
    let peer = structure(&[
        string(1, b"ca"),
        string(2, &[1]),
        field(8, 3, &0i32.to_be_bytes()),
        field(12, 4, &structure(&[string(3, b"front"), string(4, &std::net::Ipv6Addr::LOCALHOST.octets())])),
    ]);
    let binaries = [
        peer,
        binary("http.path", 6, "/grüße".as_bytes()),
        binary("bool", 0, &[1]),
        binary("bytes", 1, &[1, 2]),
        binary("i16", 2, &(-3i16).to_be_bytes()),
        binary("i32", 3, &5i32.to_be_bytes()),
        binary("i64", 4, &i64::MIN.to_be_bytes()),
        binary("double", 5, &0.5f64.to_be_bytes()),
        binary("short", 4, &[1]),
        binary("odd", 9, &[1]),
        binary("broken", 6, b"a\xff"),
    ];
    structure(&[
        i64_field(1, 0x4848_5a39_53bb_6124),
        string(3, b"get"),
        i64_field(4, -1),
        i64_field(5, 7),
        field(15, 6, &structures(&[annotation(100, "sr"), annotation(150, "miss"), annotation(300, "ss")])),
        field(15, 8, &structures(&binaries)),
        field(2, 9, &[1]),
        i64_field(10, 110),
        i64_field(11, 20),
        i64_field(12, 0x463a_c35c_9f64_13ad),
        field(13, 99, &[11, 12, 0, 0, 0, 0]),
    ])
}

#[test]
fn thrift_is_read_with_every_field() {
    let found = convert(ZipkinFormat::V1Thrift, &structures(&[thrift_span()])).remove(0);

    assert_eq!(
        attributes(&found.resource.clone().unwrap().attributes),
        [text("service.name", "back"), text("ipv4", "10.0.0.2"), text("port", "65000")]
    );
    let span = only_span(found);
    assert_eq!(span.trace_id, 0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124_u128.to_be_bytes());
    assert_eq!((span.span_id, span.parent_span_id), (vec![255; 8], 7u64.to_be_bytes().to_vec()));
    assert_eq!((span.name.as_str(), span.kind), ("get", 2));
    assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (110_000, 130_000));
    assert_eq!((span.events.len(), span.events[0].name.as_str()), (1, "miss"));
    assert_eq!(
        attributes(&span.attributes),
        [
            text("http.path", "/grüße"),
            boolean("bool", true),
            text("bytes", "AQI="),
            int("i16", -3),
            int("i32", 5),
            int("i64", i64::MIN),
            double("double", 0.5),
            text("short", "AQ=="),
            text("odd", "AQ=="),
            text("broken", "a\u{fffd}"),
            text("peer.service", "front"),
            text("net.peer.ip", "::1"),
        ]
    );
}

#[test]
fn wrong_thrift_is_refused_with_its_place() {
    let no_id = structures(&[structure(&[i64_field(1, 1)])]);
    let table: [(&[u8], &str); 6] = [
        (b"", "[0]: thrift is cut off at byte 0"),
        (
            b"\x0c\x7f\xff\xff\xff",
            "[0]: thrift list of 2147483647 elements is longer than what holds it at byte 5",
        ),
        (b"\x0b\0\0\0\x01\0", "[0]: thrift has no list of structs where one was expected at byte 5"),
        (&no_id, "[0]: span has no id, or one of zeros"),
        (b"\x0c\0\0\0\x01\x08\0\x01\0\0\0\0", "[0]: thrift has no i64 where one was expected at byte 8"),
        (
            b"\x0c\0\0\0\x01\x0b\0\x03\x7f\xff\xff\xff",
            "[0]: thrift length 2147483647 is not possible at byte 12",
        ),
    ];
    for (body, want) in table {
        assert_eq!(fault(ZipkinFormat::V1Thrift, body), want, "{body:?}");
    }
    let whole = structures(&[thrift_span()]);
    for end in 0..whole.len() {
        assert!(zipkin_to_otlp(ZipkinFormat::V1Thrift, false, &whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn an_empty_thrift_list_is_an_empty_request() {
    assert_eq!(convert(ZipkinFormat::V1Thrift, b"\x0c\0\0\0\0"), []);
}
