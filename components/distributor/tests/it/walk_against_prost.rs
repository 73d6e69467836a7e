//! The walk against prost: what prost encodes is taken and regrouped span by span; whatever bytes come, the walk does
//! not panic, and what it takes prost decodes to the same spans.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::Index};
use prost::Message;
use tempo_distributor::{
    regroup::Regroup,
    validate::{RequestWalk, WalkOptions},
};
use tempo_model::PushBatch;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span::Event, span::Link},
};

const NO_LIMIT: WalkOptions = WalkOptions { max_attribute_bytes: 0 };

type Spans = BTreeMap<Vec<u8>, Vec<(Resource, InstrumentationScope, Span)>>;

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z./_]{0,20}", 1 => "[a-zäß€😀]{0,60}", 1 => "[a-z]{100,200}"]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any_text().prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        (0i64..1000).prop_map(Value::IntValue),
        (-1e9..1e9).prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
    ];
    let value = |value| AnyValue { value: Some(value) };
    let nested = leaf.prop_map(value).prop_recursive(4, 16, 4, move |inner| {
        let values = vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let entry = (any_text(), option::of(inner)).prop_map(|(key, value)| KeyValue {
            key,
            value,
            ..KeyValue::default()
        });
        let list = vec(entry, 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        prop_oneof![values.prop_map(value), list.prop_map(value)]
    });
    prop_oneof![9 => nested, 1 => Just(AnyValue { value: None })]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = (any_text(), option::weighted(0.9, any_value())).prop_map(|(key, value)| KeyValue {
        key,
        value,
        ..KeyValue::default()
    });
    vec(attribute, 0..6)
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any_text(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    let ids = prop_oneof![Just((vec![], vec![])), Just((vec![8; 16], vec![9; 8]))];
    (ids, any_text(), attributes(), any::<u32>()).prop_map(
        |((trace_id, span_id), trace_state, attributes, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count: flags,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (1u8..6, any::<u64>().prop_map(|id| id | 1), option::of(any::<u64>()));
    let details = (attributes(), vec(event(), 0..3), vec(link(), 0..2), option::of((any_text(), 0..3)));
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), 0..6);
    (ids, any_text(), any_text(), details, numbers).prop_map(|(ids, name, trace_state, details, numbers)| {
        let (attributes, events, links, status) = details;
        Span {
            trace_id: vec![ids.0; 16],
            span_id: ids.1.to_be_bytes().to_vec(),
            parent_span_id: ids.2.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            trace_state,
            flags: numbers.2,
            name,
            kind: numbers.4,
            start_time_unix_nano: numbers.0,
            end_time_unix_nano: numbers.1,
            attributes,
            dropped_attributes_count: numbers.3,
            events,
            dropped_events_count: numbers.2,
            links,
            dropped_links_count: numbers.3,
            status: status.map(|(message, code)| Status { message, code }),
        }
    })
}

fn scope_spans() -> impl Strategy<Value = ScopeSpans> {
    let scope = (any_text(), any_text(), attributes()).prop_map(|(name, version, attributes)| {
        InstrumentationScope { name, version, attributes, dropped_attributes_count: 3 }
    });
    (option::of(scope), vec(span(), 0..5), any_text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let resource = attributes().prop_map(|attributes| Resource { attributes, ..Resource::default() });
    let resource_spans = (option::of(resource), vec(scope_spans(), 0..4), any_text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..4).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn spans_of_request(request: &ExportTraceServiceRequest) -> Spans {
    let mut spans = Spans::new();
    for group in &request.resource_spans {
        for scope_spans in &group.scope_spans {
            for span in &scope_spans.spans {
                spans.entry(span.trace_id.clone()).or_default().push((
                    group.resource.clone().unwrap_or_default(),
                    scope_spans.scope.clone().unwrap_or_default(),
                    span.clone(),
                ));
            }
        }
    }
    spans
}

fn spans_of_batch(batch: &PushBatch) -> Spans {
    let decode = |span: tempo_model::push_batch::FragmentSpan<'_>| {
        let context = batch.context(span.context).unwrap();
        (
            Resource::decode(context.resource).unwrap(),
            InstrumentationScope::decode(context.scope).unwrap(),
            Span::decode(span.bytes).unwrap(),
        )
    };
    batch.traces().map(|t| (t.trace_id.as_bytes().to_vec(), t.spans().map(decode).collect())).collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    CutOff(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => any::<Index>().prop_map(Mutation::Remove),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => any::<Index>().prop_map(Mutation::CutOff),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Set(at, byte) => *at.get_mut(bytes) = *byte,
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::CutOff(at) => bytes.truncate(at.index(bytes.len())),
    }
}

fn is_bad_text(error: &prost::DecodeError) -> bool {
    error.to_string().contains("invalid string value")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_prost_encodes_is_regrouped_span_by_span(request in request()) {
        let bytes = request.encode_to_vec();
        let mut walk = RequestWalk::default();

        walk.walk(&bytes, NO_LIMIT).unwrap();
        prop_assert_eq!(walk.take_rejected(), vec![]);
        let batch = Regroup::default().regroup(&walk, &bytes).unwrap();

        prop_assert_eq!(spans_of_batch(&batch), spans_of_request(&request));
        prop_assert!(PushBatch::decode(batch.payload().clone()).is_ok());
    }

    #[test]
    fn whatever_is_taken_prost_decodes_to_the_same_spans(
        request in request(),
        mutations in vec(mutation(), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let mut walk = RequestWalk::default();
        let mut regroup = Regroup::default();

        if walk.walk(&bytes, NO_LIMIT).is_ok() {
            let lost = walk.take_rejected();
            let got = spans_of_batch(&regroup.regroup(&walk, &bytes).unwrap());
            match ExportTraceServiceRequest::decode(bytes.as_slice()) {
                // Compared as text: a mutated double may be a NaN.
                Ok(want) if lost.is_empty() => {
                    prop_assert_eq!(format!("{got:?}"), format!("{:?}", spans_of_request(&want)));
                }
                Ok(_) => {}
                // A text in a resource or scope without spans costs nothing here.
                Err(error) => prop_assert!(is_bad_text(&error) , "{error}"),
            }
        }
        // Rewriting has its own way through the same bytes.
        if walk.walk(&bytes, WalkOptions { max_attribute_bytes: 3 }).is_ok() {
            walk.take_rejected();
            spans_of_batch(&regroup.regroup(&walk, &bytes).unwrap());
        }
    }

    #[test]
    fn bytes_without_any_sense_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        let mut walk = RequestWalk::default();
        if walk.walk(&bytes, NO_LIMIT).is_ok()
            && let Err(error) = ExportTraceServiceRequest::decode(bytes.as_slice())
        {
            prop_assert!(is_bad_text(&error), "{error}");
        }
    }
}
