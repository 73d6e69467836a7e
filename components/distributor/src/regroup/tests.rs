use prost::Message;
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span},
};

use super::*;
use crate::validate::WalkOptions;

fn span(trace: u8, n: u8) -> Span {
    Span { trace_id: vec![trace; 16], span_id: vec![n; 8], ..Span::default() }
}

fn request(groups: &[(&str, &[Span])]) -> Vec<u8> {
    let resource_spans = groups.iter().map(|(service, spans)| {
        let value = Some(AnyValue { value: Some(Value::StringValue((*service).to_owned())) });
        let attributes = vec![KeyValue { key: "service.name".to_owned(), value, ..KeyValue::default() }];
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: spans
                .iter()
                .map(|s| ScopeSpans { spans: vec![s.clone()], ..ScopeSpans::default() })
                .collect(),
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn regroup(request: &[u8]) -> Result<PushBatch, ContextsTooLarge> {
    let mut walk = RequestWalk::default();
    walk.walk(request, WalkOptions { max_attribute_bytes: 0 }).unwrap();
    Regroup::default().regroup(&walk, request)
}

#[test]
fn traces_come_in_order_of_their_first_span_with_spans_as_sent() {
    let request = request(&[("a", &[span(2, 1), span(1, 2), span(2, 3)]), ("b", &[span(1, 4), span(2, 5)])]);

    let batch = regroup(&request).unwrap();

    let got: Vec<(u8, Vec<(usize, u8)>)> = batch
        .traces()
        .map(|t| {
            let spans = t.spans().map(|s| (s.context, Span::decode(s.bytes).unwrap().span_id[0]));
            (t.trace_id.as_bytes()[0], spans.collect())
        })
        .collect();
    assert_eq!(got, [(2, vec![(0, 1), (2, 3), (4, 5)]), (1, vec![(1, 2), (3, 4)])]);
    assert_eq!(batch.context(4).unwrap().resource, batch.context(3).unwrap().resource);
    assert!(PushBatch::decode(batch.payload().clone()).is_ok());
}

#[test]
fn a_resource_repeated_by_many_scopes_cannot_blow_a_request_up() {
    let service = "x".repeat(100_000);
    let spans: Vec<Span> = (1..=200u8).cycle().take(10_000).map(|n| span(1, n)).collect();

    let refused = regroup(&request(&[(&service, &spans)])).unwrap_err();

    assert!(
        refused.to_string().starts_with("resources repeated for each of their 10000 scopes take 10"),
        "{refused}"
    );
    assert!(regroup(&request(&[(&service, &spans[..40])])).is_ok());
}
