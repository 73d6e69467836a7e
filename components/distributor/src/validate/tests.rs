use prost::Message;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span::Event, span::Link},
};

use super::*;

const NO_LIMIT: WalkOptions = WalkOptions { max_attribute_bytes: 0 };

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn span(trace: u8) -> Span {
    Span { trace_id: vec![trace; 16], span_id: vec![1; 8], name: "s".to_owned(), ..Span::default() }
}

fn resource_spans(spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource::default()),
        scope_spans: vec![ScopeSpans { scope: None, spans, schema_url: String::new() }],
        schema_url: String::new(),
    }
}

fn encode(spans: Vec<Span>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans: vec![resource_spans(spans)] }.encode_to_vec()
}

fn walk(request: &[u8], options: WalkOptions) -> Result<RequestWalk, Fault> {
    let mut walk = RequestWalk::default();
    walk.walk(request, options)?;
    Ok(walk)
}

fn hard_fault(request: &[u8]) -> String {
    walk(request, NO_LIMIT).unwrap_err().to_string()
}

/// What is lost, why, and how many spans stay.
fn local_fault(request: &[u8]) -> (String, Vec<(RejectReason, u64)>, usize) {
    let mut walk = walk(request, NO_LIMIT).unwrap();
    let lost = walk.take_rejected();
    (walk.first_fault().unwrap().to_string(), lost, walk.span_count())
}

fn decoded(walk: &RequestWalk, request: &[u8]) -> Vec<Span> {
    walk.spans.iter().map(|s| Span::decode(walk.bytes(request, s.bytes)).unwrap()).collect()
}

fn tagged(field: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::wire::put_bytes(&mut out, field, value);
    out
}

#[test]
fn a_bad_trace_id_costs_its_span_only() {
    let short = Span { trace_id: vec![1; 8], ..span(1) };
    let none = Span { trace_id: vec![], ..span(1) };
    let zero = Span { trace_id: vec![0; 16], ..span(1) };

    let want = |bits| {
        let text = format!("trace ids must be 128 bit, received {bits} bits");
        (text, vec![(RejectReason::InvalidTraceId, 1)], 2)
    };
    assert_eq!(local_fault(&encode(vec![span(1), short, span(2)])), want(64));
    assert_eq!(local_fault(&encode(vec![span(1), none, span(2)])), want(0));
    assert_eq!(local_fault(&encode(vec![span(1), zero, span(2)])), want(0));
}

#[test]
fn a_bad_span_id_costs_its_trace() {
    let short = Span { span_id: vec![1; 4], ..span(1) };
    let zero = Span { span_id: vec![0; 8], ..span(2) };

    let (fault, lost, left) =
        local_fault(&encode(vec![span(1), short, span(2), span(3), zero, span(2), span(1)]));

    assert_eq!(fault, "span ids must be 64 bit and not all zero, received 32 bits");
    assert_eq!(lost, [(RejectReason::InvalidSpanId, 6)]);
    assert_eq!(left, 1);
    let (fault, ..) = local_fault(&encode(vec![Span { span_id: vec![0; 8], ..span(2) }]));
    assert_eq!(fault, "span ids must be 64 bit and not all zero, received 0 bits");
}

#[test]
fn ids_of_parents_and_links_may_be_absent_but_not_short() {
    let parent = Span { parent_span_id: vec![1; 7], ..span(1) };
    let link = |trace_id: Vec<u8>| Span {
        links: vec![Link { trace_id, span_id: vec![2; 8], ..Link::default() }],
        ..span(1)
    };

    let (fault, lost, _) = local_fault(&encode(vec![span(2), parent]));
    assert_eq!(
        fault,
        "resource_spans[0].scope_spans[0].spans[1]: parent span ids must be 64 bit, received 56 bits at byte 71"
    );
    assert_eq!(lost, [(RejectReason::InvalidSpanId, 1)]);
    let (fault, ..) = local_fault(&encode(vec![link(vec![9; 8])]));
    assert!(
        fault.contains("spans[0].links[0]: trace ids of links must be 128 bit, received 64 bits"),
        "{fault}"
    );
    assert!(walk(&encode(vec![link(vec![])]), NO_LIMIT).unwrap().first_fault().is_none());
}

#[test]
fn invalid_utf8_is_located_and_costs_its_trace() {
    let mut request =
        encode(vec![span(1), Span { attributes: vec![text("a", "b"), text("key", "€uro")], ..span(2) }]);
    let at = request.windows(4).position(|w| w == "€u".as_bytes()).unwrap();
    request[at + 1] = b'x';

    let (fault, lost, left) = local_fault(&request);

    assert_eq!(
        fault,
        format!(
            "resource_spans[0].scope_spans[0].spans[1].attributes[1].value: string_value is not valid UTF-8 at byte {at}"
        )
    );
    assert_eq!((lost, left), (vec![(RejectReason::InvalidUtf8, 1)], 1));
}

#[test]
fn every_string_is_checked() {
    let full = Span {
        name: "span name é".to_owned(),
        trace_state: "state é".to_owned(),
        attributes: vec![
            text("key é", "x"),
            attribute(
                "list",
                Value::KvlistValue(KeyValueList { values: vec![text("inner é", "inner value é")] }),
            ),
            attribute(
                "array",
                Value::ArrayValue(ArrayValue {
                    values: vec![AnyValue { value: Some(Value::StringValue("element é".to_owned())) }],
                }),
            ),
        ],
        events: vec![Event {
            name: "event é".to_owned(),
            attributes: vec![text("event key é", "")],
            ..Event::default()
        }],
        links: vec![Link {
            trace_state: "link é".to_owned(),
            attributes: vec![text("k", "link value é")],
            ..Link::default()
        }],
        status: Some(Status { message: "status é".to_owned(), code: 2 }),
        ..span(1)
    };
    let mut group = resource_spans(vec![full]);
    group.schema_url = "schema é".to_owned();
    group.resource =
        Some(Resource { attributes: vec![text("resource é", "resource value é")], ..Resource::default() });
    group.scope_spans[0].schema_url = "scope schema é".to_owned();
    group.scope_spans[0].scope = Some(InstrumentationScope {
        name: "scope é".to_owned(),
        version: "version é".to_owned(),
        attributes: vec![text("scope key é", "")],
        ..InstrumentationScope::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
    assert!(walk(&request, NO_LIMIT).unwrap().first_fault().is_none());

    let places: Vec<usize> =
        (0..request.len()).filter(|&at| request[at..].starts_with("é".as_bytes())).collect();
    assert_eq!(places.len(), 18);
    for at in places {
        let mut broken = request.clone();
        broken[at + 1] = b'x';
        let (fault, lost, left) = local_fault(&broken);
        assert!(fault.ends_with(&format!("is not valid UTF-8 at byte {at}")), "{fault}");
        assert_eq!((lost, left), (vec![(RejectReason::InvalidUtf8, 1)], 0), "{fault}");
    }
}

#[test]
fn a_bad_resource_costs_every_trace_below_it() {
    let mut bad = resource_spans(vec![span(1), span(2)]);
    bad.resource = Some(Resource { attributes: vec![text("a", "é")], ..Resource::default() });
    let mut request =
        ExportTraceServiceRequest { resource_spans: vec![resource_spans(vec![span(2), span(3)]), bad] }
            .encode_to_vec();
    let at = request.windows(2).position(|w| w == "é".as_bytes()).unwrap();
    request[at] = 0xff;

    let (fault, lost, left) = local_fault(&request);

    assert_eq!(
        fault,
        format!(
            "resource_spans[1].resource.attributes[0].value: string_value is not valid UTF-8 at byte {at}"
        )
    );
    assert_eq!((lost, left), (vec![(RejectReason::InvalidUtf8, 3)], 1));
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| {
        let leaf = AnyValue { value: Some(Value::IntValue(1)) };
        let value = (0..levels).fold(leaf, |inner, _| AnyValue {
            value: Some(Value::ArrayValue(ArrayValue { values: vec![inner] })),
        });
        let deep = KeyValue { key: "k".to_owned(), value: Some(value), ..KeyValue::default() };
        encode(vec![Span { attributes: vec![deep], ..span(1) }, span(2)])
    };

    assert!(walk(&nested(31), NO_LIMIT).unwrap().first_fault().is_none());
    let (fault, lost, left) = local_fault(&nested(32));
    assert!(fault.contains("attributes[0].value.array_value[0].array_value[0]"), "{fault}");
    assert!(fault.contains("value is nested deeper than 64 messages at byte"), "{fault}");
    assert_eq!((lost, left), (vec![(RejectReason::NestedTooDeep, 1)], 1));
    // Far beyond what the stack would bear.
    let mut value = Vec::new();
    for _ in 0..10_000 {
        value = tagged(5, &tagged(1, &value));
    }
    let deep = [tagged(1, &[1; 16]), tagged(2, &[1; 8]), tagged(9, &tagged(2, &value))].concat();
    assert_eq!(local_fault(&tagged(1, &tagged(2, &tagged(2, &deep)))).2, 0);
}

#[test]
fn bytes_that_cannot_be_followed_fail_the_request_and_say_where() {
    let good = encode(vec![span(1), span(2)]);
    let span_with = |bytes: &[u8]| {
        let spans = [tagged(2, &span(1).encode_to_vec()), tagged(2, bytes)].concat();
        tagged(1, &tagged(2, &spans))
    };

    assert_eq!(hard_fault(&good[..good.len() - 1]), format!("field 1 is cut off at byte {}", good.len() - 1));
    assert_eq!(
        hard_fault(&span_with(&tagged(9, &[0x0a, 5, b'a']))),
        "resource_spans[0].scope_spans[0].spans[1].attributes[0]: field 1 is cut off at byte 44"
    );
    assert_eq!(
        hard_fault(&span_with(&[0x07])),
        "resource_spans[0].scope_spans[0].spans[1]: bad field tag at byte 39"
    );
    assert_eq!(
        hard_fault(&span_with(&[0x0b])),
        "resource_spans[0].scope_spans[0].spans[1]: field 1 has wire type 3 at byte 40, which it cannot have"
    );
    assert_eq!(
        hard_fault(&span_with(&[0x83, 0x02])),
        "resource_spans[0].scope_spans[0].spans[1]: field 32 is a group at byte 41, groups are not supported"
    );
    assert_eq!(
        hard_fault(&span_with(&[0x48, 1])),
        "resource_spans[0].scope_spans[0].spans[1]: field 9 has wire type 0 at byte 40, which it cannot have"
    );
    assert_eq!(hard_fault(b"hello"), "field 13 is a group at byte 3, groups are not supported");
    assert_eq!(hard_fault(b"\x00"), "bad field tag at byte 0");
}

#[test]
fn a_resource_may_follow_its_spans_and_may_come_in_parts() {
    let a = Resource { attributes: vec![text("a", "1")], ..Resource::default() }.encode_to_vec();
    let b = Resource { attributes: vec![text("b", "2")], ..Resource::default() }.encode_to_vec();
    let scope =
        InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() }.encode_to_vec();
    let spans = [tagged(2, &span(1).encode_to_vec()), tagged(1, &scope)].concat();
    let request = tagged(1, &[tagged(1, &a), tagged(2, &spans), tagged(1, &b)].concat());

    let walk = walk(&request, NO_LIMIT).unwrap();

    assert_eq!((walk.spans.len(), walk.contexts.len()), (1, 1));
    let resource = Resource::decode(walk.bytes(&request, walk.contexts[0].resource)).unwrap();
    assert_eq!(resource.attributes, [text("a", "1"), text("b", "2")]);
    assert_eq!(walk.bytes(&request, walk.contexts[0].scope), scope);
}

#[test]
fn a_fault_in_a_late_resource_is_found() {
    let bad = Resource { attributes: vec![text("a", "é")], ..Resource::default() }.encode_to_vec();
    let spans = tagged(2, &tagged(2, &span(1).encode_to_vec()));
    let mut request = tagged(1, &[spans, tagged(1, &bad)].concat());
    let at = request.len() - 1;
    request[at] = b'x';

    assert_eq!(local_fault(&request).1, [(RejectReason::InvalidUtf8, 1)]);
}

#[test]
fn unknown_fields_are_kept_and_fields_of_a_newer_version_are_no_error() {
    let mut bytes = span(1).encode_to_vec();
    bytes.extend_from_slice(&[0x98, 0x06, 5]);
    let request = tagged(1, &tagged(2, &[tagged(2, &bytes), vec![0x98, 0x06, 5]].concat()));

    let walk = walk(&request, NO_LIMIT).unwrap();

    assert_eq!(walk.bytes(&request, walk.spans[0].bytes), bytes);
}

#[test]
fn long_attributes_are_cut_and_counted_where_they_are() {
    let long = "0123456789".repeat(3);
    let full = Span {
        attributes: vec![text("short", "ok"), text(&long, &long), attribute("n", Value::IntValue(7))],
        events: vec![Event { name: long.clone(), attributes: vec![text("e", &long)], ..Event::default() }],
        links: vec![Link { attributes: vec![text(&long, "l")], ..Link::default() }],
        flags: 257,
        ..span(1)
    };
    let mut group = resource_spans(vec![full.clone(), span(2)]);
    group.resource = Some(Resource { attributes: vec![text("r", &long)], ..Resource::default() });
    group.scope_spans[0].scope = Some(InstrumentationScope {
        name: long.clone(),
        attributes: vec![text("s", &long)],
        ..InstrumentationScope::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();

    let walk = walk(&request, WalkOptions { max_attribute_bytes: 12 }).unwrap();

    let cut = "012345678901";
    let want = Span {
        attributes: vec![text("short", "ok"), text(cut, cut), attribute("n", Value::IntValue(7))],
        events: vec![Event { name: long.clone(), attributes: vec![text("e", cut)], ..Event::default() }],
        links: vec![Link { attributes: vec![text(cut, "l")], ..Link::default() }],
        ..full
    };
    assert_eq!(decoded(&walk, &request), [want, span(2)]);
    let context = walk.contexts[0];
    assert_eq!(
        Resource::decode(walk.bytes(&request, context.resource)).unwrap().attributes,
        [text("r", cut)]
    );
    let scope = InstrumentationScope::decode(walk.bytes(&request, context.scope)).unwrap();
    assert_eq!((scope.name, scope.attributes), (long, vec![text("s", cut)]));
    assert_eq!(*walk.truncated(), Truncated { span: 2, resource: 1, scope: 1, event: 1, link: 1 });
}

#[test]
fn a_cut_does_not_split_characters() {
    for (max, want) in [(1, ""), (2, ""), (3, "€"), (5, "€"), (6, "€€")] {
        let request = encode(vec![Span { attributes: vec![text("", "€€€")], ..span(1) }]);
        let walk = walk(&request, WalkOptions { max_attribute_bytes: max }).unwrap();
        assert_eq!(decoded(&walk, &request)[0].attributes, [text("", want)]);
    }
}

#[test]
fn spans_are_counted_without_a_walk() {
    let request = encode(vec![span(1), span(1), span(2)]);

    assert_eq!(count_spans(&request), 3);
    assert!(has_spans(&request));
    assert!(!has_spans(b""));
    assert!(!has_spans(&encode(vec![])));
    assert!(has_spans(&request[..request.len() - 1]), "the walk is to say what is wrong");
}

#[test]
fn a_walk_can_be_used_again_after_a_fault() {
    let mut walk = RequestWalk::default();
    let good = encode(vec![span(1)]);

    assert!(walk.walk(&good[..10], NO_LIMIT).is_err());
    walk.walk(&encode(vec![Span { span_id: vec![], ..span(1) }]), NO_LIMIT).unwrap();
    walk.walk(&good, NO_LIMIT).unwrap();

    assert_eq!((walk.span_count(), walk.take_rejected(), walk.first_fault()), (1, vec![], None));
}

#[test]
fn millions_of_bad_spans_take_no_memory() {
    let request = tagged(1, &tagged(2, &tagged(2, b"").repeat(1_000_000)));
    let mut walk = walk(&request, NO_LIMIT).unwrap();

    assert!(walk.capacity_bytes() < 1000);
    assert_eq!(walk.take_rejected(), [(RejectReason::InvalidTraceId, 1_000_000)]);
}

#[test]
fn a_resource_in_a_million_parts_is_refused() {
    let request = tagged(1, &tagged(1, b"").repeat(1_000_000));

    assert_eq!(hard_fault(&request), "resource_spans[0]: field 1 is repeated too often at byte 40");
}
