//! Every row of the table in `receiver/jaeger/translation.rs`, in every encoding; and what is no batch.

use prost::Message as _;
use tempo_distributor::{JaegerFormat, JaegerToOtlp};
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    jaeger as proto,
    resource::Resource,
    trace::{
        ResourceSpans, ScopeSpans, Span as OtlpSpan, Status,
        span::{Event, Link},
    },
};

use crate::jaeger_batch::{Batch, Binary, Compact, Reference, Span, Tag, tag, text};

const TRACE: u128 = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;

fn convert(format: JaegerFormat, input: &[u8]) -> Result<(Vec<ResourceSpans>, u64), String> {
    let mut out = Vec::new();
    let spans = JaegerToOtlp::default().append(format, input, &mut out).map_err(|fault| fault.to_string())?;
    let request = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();
    assert_eq!(request.encoded_len(), out.len(), "lengths have their shortest form");
    Ok((request.resource_spans, spans))
}

fn encoded(batch: &Batch) -> [(JaegerFormat, Vec<u8>); 4] {
    [
        (JaegerFormat::ThriftBatch, batch.thrift_batch()),
        (JaegerFormat::CompactMessage, batch.message::<Compact>()),
        (JaegerFormat::BinaryMessage, batch.message::<Binary>()),
        (JaegerFormat::PostSpans, batch.post_spans()),
    ]
}

/// What every encoding of a batch becomes.
fn translated(batch: &Batch) -> Vec<ResourceSpans> {
    let mut results = encoded(batch).map(|(format, bytes)| convert(format, &bytes).unwrap());
    for (others, result) in results.iter().zip(results.iter().skip(1)) {
        assert_eq!(others, result);
    }
    let [(resource_spans, spans), ..] = &mut results;
    assert_eq!(*spans, batch.spans.len() as u64);
    std::mem::take(resource_spans)
}

fn batch(span: Span) -> Batch {
    Batch { service: "shop".to_owned(), process_tags: Vec::new(), spans: vec![span] }
}

fn span() -> Span {
    Span { trace_id: TRACE, span_id: 7, ..Span::default() }
}

/// What one span becomes.
fn translated_span(span: Span) -> OtlpSpan {
    let resource_spans = translated(&batch(span));
    assert_eq!(resource_spans.len(), 1);
    let [ScopeSpans { spans, .. }] = resource_spans[0].scope_spans.as_slice() else { panic!("one scope") };
    spans[0].clone()
}

fn with_tags(tags: Vec<(String, Tag)>) -> OtlpSpan {
    translated_span(Span { tags, ..span() })
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn as_text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

fn status(code: i32, message: &str) -> Option<Status> {
    Some(Status { message: message.to_owned(), code })
}

fn resource_of(service: &str, process_tags: Vec<(String, Tag)>) -> Vec<KeyValue> {
    let batch = Batch { service: service.to_owned(), process_tags, spans: vec![span()] };
    translated(&batch)[0].resource.clone().unwrap().attributes
}

#[test]
fn a_whole_batch_is_translated() {
    let full = Span {
        parent_span_id: 6,
        name: "checkout".to_owned(),
        references: vec![
            Reference { trace_id: TRACE, span_id: 6, follows_from: false },
            Reference { trace_id: 5, span_id: u64::MAX, follows_from: true },
        ],
        start_micros: 1_700_000_000_123_456,
        duration_micros: 1_500,
        tags: vec![text("span.kind", "server"), text("grüße", "aus Köln")],
        logs: vec![
            (1_700_000_000_123_500, vec![text("event", "declined"), tag("code", Tag::Long(51))]),
            (1, vec![]),
        ],
        ..span()
    };
    let batch = Batch {
        service: "shop".to_owned(),
        process_tags: vec![text("ip", "10.0.0.1")],
        spans: vec![full, span()],
    };

    let found = translated(&batch);

    let start = 1_700_000_000_123_456_000;
    let first = OtlpSpan {
        trace_id: (1..=16).collect(),
        span_id: 7u64.to_be_bytes().to_vec(),
        parent_span_id: 6u64.to_be_bytes().to_vec(),
        name: "checkout".to_owned(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + 1_500_000,
        attributes: vec![as_text("grüße", "aus Köln")],
        events: vec![
            Event {
                time_unix_nano: start + 44_000,
                name: "declined".to_owned(),
                attributes: vec![key_value("code", Value::IntValue(51))],
                ..Event::default()
            },
            Event { time_unix_nano: 1_000, ..Event::default() },
        ],
        links: vec![Link {
            trace_id: 5u128.to_be_bytes().to_vec(),
            span_id: vec![255; 8],
            attributes: vec![as_text("opentracing.ref_type", "follows_from")],
            ..Link::default()
        }],
        status: Some(Status::default()),
        ..OtlpSpan::default()
    };
    let second = OtlpSpan {
        trace_id: (1..=16).collect(),
        span_id: 7u64.to_be_bytes().to_vec(),
        status: Some(Status::default()),
        ..OtlpSpan::default()
    };
    let wanted = ResourceSpans {
        resource: Some(Resource {
            attributes: vec![as_text("service.name", "shop"), as_text("ip", "10.0.0.1")],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope::default()),
            spans: vec![first, second],
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    };
    assert_eq!(found, [wanted]);
}

#[test]
fn a_process_becomes_the_resource() {
    assert_eq!(resource_of("", vec![]), []);
    assert_eq!(resource_of("OTLPResourceNoServiceName", vec![text("k", "v")]), [as_text("k", "v")]);
    assert_eq!(resource_of("shop", vec![]), [as_text("service.name", "shop")]);
    assert_eq!(resource_of("shop", vec![text("service.name", "tag")]), [as_text("service.name", "tag")]);
    assert_eq!(resource_of("", vec![text("hostname", "h")]), [as_text("host.name", "h")]);
    assert_eq!(
        resource_of("", vec![text("hostname", "h"), text("host.name", "better")]),
        [as_text("host.name", "better"), as_text("hostname", "h")]
    );
    assert_eq!(
        resource_of("", vec![text("jaeger.version", "Go-2.30.0")]),
        [as_text("opencensus.exporterversion", "Jaeger-Go-2.30.0")]
    );
}

#[test]
fn tags_keep_their_types() {
    let found = with_tags(vec![
        text("text", ""),
        tag("yes", Tag::Bool(true)),
        tag("no", Tag::Bool(false)),
        tag("long", Tag::Long(i64::MIN)),
        tag("double", Tag::Double(-0.5)),
        tag("binary", Tag::Binary(vec![0, 255])),
    ]);

    assert_eq!(
        found.attributes,
        [
            as_text("text", ""),
            key_value("yes", Value::BoolValue(true)),
            key_value("no", Value::BoolValue(false)),
            key_value("long", Value::IntValue(i64::MIN)),
            key_value("double", Value::DoubleValue(-0.5)),
            key_value("binary", Value::BytesValue(vec![0, 255])),
        ]
    );
}

#[test]
fn the_last_value_of_a_tag_counts() {
    let found = with_tags(vec![text("a", "1"), text("b", "2"), text("a", "3"), text("span.kind", "client")]);

    assert_eq!((found.attributes, found.kind), (vec![as_text("b", "2"), as_text("a", "3")], 3));
}

#[test]
fn kinds_are_those_of_opentracing() {
    for (kind, wanted) in [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5)] {
        let found = with_tags(vec![text("span.kind", kind)]);
        assert_eq!((found.kind, found.attributes), (wanted, vec![]));
    }
    let unknown = with_tags(vec![text("span.kind", "broker")]);
    assert_eq!((unknown.kind, unknown.attributes), (0, vec![as_text("span.kind", "broker")]));
}

#[test]
fn an_error_is_the_status_whatever_else_is_said() {
    let error = || tag("error", Tag::Bool(true));
    let cases = [
        (vec![error()], status(2, ""), vec![]),
        (vec![text("otel.status_description", "why"), error()], status(2, "why"), vec![]),
        (vec![error(), text("otel.status_code", "OK")], status(2, ""), vec![]),
        (
            vec![error(), text("http.status_message", "Gone")],
            status(2, "Gone"),
            vec![as_text("http.status_message", "Gone")],
        ),
        (
            vec![tag("error", Tag::Bool(false))],
            status(0, ""),
            vec![key_value("error", Value::BoolValue(false))],
        ),
        (vec![text("error", "true")], status(0, ""), vec![as_text("error", "true")]),
    ];
    for (tags, status, attributes) in cases {
        let found = with_tags(tags.clone());
        assert_eq!((found.status, found.attributes), (status, attributes), "{tags:?}");
    }
}

#[test]
fn opentelemetrys_status_is_taken_over() {
    let cases = [
        (vec![text("otel.status_code", "OK")], status(1, ""), vec![]),
        (
            vec![text("otel.status_description", "why"), text("otel.status_code", "error")],
            status(2, "why"),
            vec![],
        ),
        (
            vec![text("otel.status_code", "ERROR"), tag("http.status_code", Tag::Long(200))],
            status(2, ""),
            vec![key_value("http.status_code", Value::IntValue(200))],
        ),
        (vec![text("otel.status_code", "UNSET")], status(0, ""), vec![]),
        (
            vec![text("otel.status_description", "x")],
            status(0, ""),
            vec![as_text("otel.status_description", "x")],
        ),
    ];
    for (tags, status, attributes) in cases {
        let found = with_tags(tags.clone());
        assert_eq!((found.status, found.attributes), (status, attributes), "{tags:?}");
    }
}

#[test]
fn a_failed_http_request_is_an_error() {
    let code = |kind: &str, status: Tag| {
        let tags =
            vec![tag("http.status_code", status), text("http.status_message", "m"), text("span.kind", kind)];
        with_tags(tags).status
    };
    assert_eq!(code("server", Tag::Long(200)), status(0, ""));
    assert_eq!(code("server", Tag::Long(404)), status(0, ""));
    assert_eq!(code("client", Tag::Long(404)), status(2, "m"));
    assert_eq!(code("server", Tag::Long(503)), status(2, "m"));
    assert_eq!(code("client", Tag::Text("500".to_owned())), status(2, "m"));
    assert_eq!(code("client", Tag::Text("fine".to_owned())), status(0, ""));
    assert_eq!(code("client", Tag::Long(999)), status(2, "m"));
}

#[test]
fn parents_come_from_their_field_or_from_references() {
    let reference = |trace_id, span_id, follows_from| Reference { trace_id, span_id, follows_from };
    let link = |trace_id: u128, span_id: u64, ref_type| Link {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        attributes: vec![as_text("opentracing.ref_type", ref_type)],
        ..Link::default()
    };
    let cases = [
        (vec![], 0, vec![]),
        (vec![reference(TRACE, 3, false)], 3, vec![]),
        (
            vec![reference(TRACE, 2, true), reference(TRACE, 3, false)],
            3,
            vec![link(TRACE, 2, "follows_from")],
        ),
        (vec![reference(TRACE, 2, true)], 2, vec![link(TRACE, 2, "follows_from")]),
        (vec![reference(9, 3, false)], 0, vec![link(9, 3, "child_of")]),
    ];
    for (references, parent, links) in cases {
        let found = translated_span(Span { references: references.clone(), ..span() });
        let parent = if parent == 0 { vec![] } else { u64::to_be_bytes(parent).to_vec() };
        assert_eq!((found.parent_span_id, found.links), (parent, links), "{references:?}");
    }
}

#[test]
fn scopes_and_trace_state_come_from_tags() {
    let scoped = |tags| Span { tags, ..span() };
    let batch = Batch {
        spans: vec![
            scoped(vec![text("otel.scope.name", "lib"), text("otel.scope.version", "1")]),
            scoped(vec![text("otel.library.version", "1"), text("otel.library.name", "lib")]),
            scoped(vec![text("otel.scope.version", "2"), text("w3c.tracestate", "a=b")]),
        ],
        ..Batch::default()
    };

    let found = translated(&batch);

    let scope_spans = &found[0].scope_spans;
    let scope = |index: usize| scope_spans[index].scope.clone().unwrap();
    assert_eq!(scope_spans.iter().map(|s| s.spans.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((scope(0).name.as_str(), scope(0).version.as_str()), ("lib", "1"));
    assert_eq!(scope(1), InstrumentationScope::default());
    let last = &scope_spans[1].spans[0];
    assert_eq!(
        (last.trace_state.as_str(), &last.attributes),
        ("a=b", &vec![as_text("otel.scope.version", "2")])
    );
}

#[test]
fn ids_of_64_bits_have_zeros_in_front() {
    let found = translated_span(Span { trace_id: 0xff, ..span() });

    assert_eq!(found.trace_id, 0xffu128.to_be_bytes());
    let short =
        proto::Span { trace_id: vec![1, 2].into(), span_id: vec![3].into(), ..proto::Span::default() };
    let batch = proto::Batch { spans: vec![short], process: None };
    let request = proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec();
    let (found, _) = convert(JaegerFormat::PostSpans, &request).unwrap();
    let found = &found[0].scope_spans[0].spans[0];
    assert_eq!(
        (found.trace_id.as_slice(), found.span_id.as_slice()),
        (0x0102u128.to_be_bytes().as_slice(), 3u64.to_be_bytes().as_slice())
    );
}

#[test]
fn times_that_no_clock_has_are_cut() {
    let early = translated_span(Span { start_micros: -5, duration_micros: 10, ..span() });
    let late = translated_span(Span { start_micros: 5, duration_micros: -10, ..span() });

    assert_eq!((early.start_time_unix_nano, early.end_time_unix_nano), (0, 5_000));
    assert_eq!((late.start_time_unix_nano, late.end_time_unix_nano), (5_000, 0));
}

#[test]
fn a_span_may_have_a_process_of_its_own() {
    let process = |service: &str| proto::Process { service_name: service.to_owned(), tags: vec![] };
    let span = |id: u8, process| proto::Span {
        trace_id: vec![1; 16].into(),
        span_id: vec![id; 8].into(),
        process,
        ..proto::Span::default()
    };
    let batch = proto::Batch {
        spans: vec![
            span(1, None),
            span(2, Some(process("other"))),
            span(3, Some(process("other"))),
            span(4, None),
        ],
        process: Some(process("shop")),
    };
    let request = proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec();

    let (found, spans) = convert(JaegerFormat::PostSpans, &request).unwrap();

    let services = found.iter().map(|resource_spans| {
        let attributes = resource_spans.resource.clone().unwrap().attributes;
        (attributes, resource_spans.scope_spans[0].spans.len())
    });
    assert_eq!(
        services.collect::<Vec<_>>(),
        [("shop", 1), ("other", 2), ("shop", 1)].map(|(name, n)| (vec![as_text("service.name", name)], n))
    );
    assert_eq!(spans, 4);
}

#[test]
fn a_batch_without_spans_is_nothing() {
    for (format, bytes) in encoded(&Batch { service: "shop".to_owned(), ..Batch::default() }) {
        assert_eq!(convert(format, &bytes).unwrap(), (vec![], 0), "{format:?}");
    }
}

#[test]
fn batches_concatenate_to_one_request() {
    let (mut out, mut converter) = (Vec::new(), JaegerToOtlp::default());

    for (format, bytes) in encoded(&batch(span())) {
        converter.append(format, &bytes, &mut out).unwrap();
        converter.append(format, b"no batch", &mut out).unwrap_err();
    }

    assert_eq!(ExportTraceServiceRequest::decode(out.as_slice()).unwrap().resource_spans.len(), 4);
}

#[test]
fn a_batch_that_is_cut_off_anywhere_is_refused() {
    let mut whole = batch(Span { tags: vec![text("k", "v")], ..span() });
    whole.process_tags.push(tag("n", Tag::Long(300)));
    for (format, bytes) in encoded(&whole) {
        for len in 0..bytes.len() {
            let found = convert(format, &bytes[..len]);
            // Protobuf has no end of its own: a request without its batch is one, empty.
            if found.as_ref().is_ok_and(|(found, _)| found.is_empty()) && format == JaegerFormat::PostSpans {
                continue;
            }
            let message = found.unwrap_err();
            assert!(message.contains(" at byte "), "{format:?} {len}: {message}");
        }
    }
}

#[test]
fn another_method_is_refused() {
    let mut bytes = batch(span()).message::<Compact>();
    let at = bytes.windows(9).position(|window| window == b"emitBatch").unwrap();
    bytes[at] = b'o';

    assert_eq!(
        convert(JaegerFormat::CompactMessage, &bytes).unwrap_err(),
        "thrift method \"omitBatch\" is not emitBatch"
    );
}

#[test]
fn spans_of_almost_nothing_do_not_take_much_memory() {
    // A span id and nothing else, two bytes each in the compact encoding.
    let spans = 100_000;
    let mut bytes = Vec::from(*b"\x82\x81\x00\x09emitBatch\x1c\x29\xfc");
    bytes.extend_from_slice(&[0xa0, 0x8d, 0x06]);
    bytes.extend(std::iter::repeat_n([0x36, 2, 0], spans).flatten());
    bytes.extend_from_slice(&[0, 0]);

    let refused = convert(JaegerFormat::CompactMessage, &bytes).unwrap_err();

    assert_eq!(refused, format!("{} bytes of spans would take far more memory than they have", bytes.len()));
}

#[test]
fn spans_in_several_lists_share_their_process() {
    let process = [&[0x0c, 0, 1, 0x0b, 0, 1, 0, 0, 0, 4][..], b"shop", &[0]].concat();
    let list =
        |id| [&[0x0f, 0, 2, 0x0c, 0, 0, 0, 1, 0x0a, 0, 3][..], &[0, 0, 0, 0, 0, 0, 0, id], &[0]].concat();
    let bytes = [process, list(1), list(2), list(3), vec![0]].concat();

    let (resource_spans, spans) = convert(JaegerFormat::ThriftBatch, &bytes).unwrap();

    assert_eq!(spans, 3);
    let [ResourceSpans { resource, scope_spans, .. }] = resource_spans.as_slice() else { panic!("one") };
    assert_eq!(resource.as_ref().unwrap().attributes, [as_text("service.name", "shop")]);
    let [ScopeSpans { spans, .. }] = scope_spans.as_slice() else { panic!("one scope") };
    assert_eq!(spans.iter().map(|span| span.span_id[7]).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_large_process_is_not_read_for_every_span() {
    let tag = || proto::KeyValue { key: "k".to_owned(), v_str: "v".to_owned(), ..proto::KeyValue::default() };
    let large = proto::Process { service_name: "shop".to_owned(), tags: (0..5_000).map(|_| tag()).collect() };
    let own = proto::Process { service_name: "own".to_owned(), ..proto::Process::default() };
    let span = |process| proto::Span { span_id: vec![1].into(), process, ..proto::Span::default() };
    let request = |spans| {
        let batch = proto::Batch { spans, process: Some(large.clone()) };
        proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec()
    };
    let together = request((0..100).map(|_| span(None)).collect());
    let in_turn = request((0..100).map(|n| span((n % 2 == 0).then(|| own.clone()))).collect());

    let (resource_spans, spans) = convert(JaegerFormat::PostSpans, &together).unwrap();
    let refused = convert(JaegerFormat::PostSpans, &in_turn).unwrap_err();

    assert_eq!((resource_spans.len(), spans), (1, 100));
    assert_eq!(
        refused,
        format!("{} bytes of spans would take far more memory than they have", in_turn.len())
    );
}

#[test]
fn ids_that_are_too_long_are_refused() {
    let span = proto::Span { trace_id: vec![1; 17].into(), ..proto::Span::default() };
    let batch = proto::Batch { spans: vec![span], process: None };
    let request = proto::PostSpansRequest { batch: Some(batch) }.encode_to_vec();

    assert_eq!(
        convert(JaegerFormat::PostSpans, &request).unwrap_err(),
        "trace and span ids have at most 16 and 8 bytes, one at byte 6 has 17"
    );
}
