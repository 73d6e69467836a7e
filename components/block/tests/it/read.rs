//! Finding traces by id in blocks of Tempo and of ours.

mod damage;
mod own;
mod requests;

use serde_json::Value;
use tempo_model::{TraceId, trace::Trace};
use tempo_proto::{
    common::{AnyValue, any_value},
    trace::{ResourceSpans, ScopeSpans},
};

use crate::fixtures::{self, trace_json};

#[tokio::test]
async fn every_trace_of_every_tempo_block_is_what_an_independent_decoder_reads() {
    for fixture in fixtures::all() {
        let opened = fixture.open().await;
        assert_eq!(fixture.expected.len() as u64, fixture.meta.total_objects);

        for (id, expected) in &fixture.expected {
            let found = opened.reader.find_trace(id).await.unwrap();
            let found = found.trace.unwrap_or_else(|| panic!("{id} is missing in {}", fixture.name));
            assert_eq!(&trace_json(&found), expected, "trace {id} of {}", fixture.name);
        }
    }
}

/// Times relative to the block's first, since each block's traces were sent anew; what vParquet3 cannot hold is
/// taken away from all.
fn comparable(mut trace: Trace, first: u64) -> Value {
    for resource_spans in &mut trace.resource_spans {
        if let Some(resource) = &mut resource_spans.resource {
            resource.dropped_attributes_count = 0;
        }
        for scope_spans in &mut resource_spans.scope_spans {
            if let Some(scope) = &mut scope_spans.scope {
                scope.attributes.clear();
                scope.dropped_attributes_count = 0;
            }
            for span in &mut scope_spans.spans {
                span.start_time_unix_nano -= first;
                span.end_time_unix_nano -= first;
                span.events.iter_mut().for_each(|event| event.time_unix_nano -= first);
                for attribute in &mut span.attributes {
                    if let Some(AnyValue { value: value @ Some(any_value::Value::BytesValue(_)) }) =
                        &mut attribute.value
                    {
                        *value = None;
                    }
                }
            }
        }
    }
    split_by_span(&trace)
}

/// A trace for each span: the formats batch spans of equal resources differently.
fn split_by_span(trace: &Trace) -> Value {
    let mut spans = Vec::new();
    for resource_spans in &trace.resource_spans {
        for scope_spans in &resource_spans.scope_spans {
            for span in &scope_spans.spans {
                let scope_spans = ScopeSpans { spans: vec![span.clone()], ..scope_spans.clone() };
                let resource_spans =
                    ResourceSpans { scope_spans: vec![scope_spans], ..resource_spans.clone() };
                spans.push(trace_json(&Trace { resource_spans: vec![resource_spans] }));
            }
        }
    }
    spans.sort_by_key(Value::to_string);
    Value::Array(spans)
}

async fn comparable_traces(tenant: &str) -> Vec<(TraceId, Value)> {
    let fixture = fixtures::of_tenant(tenant);
    let opened = fixture.open().await;
    let mut traces = Vec::new();
    for id in fixture.expected.keys() {
        traces.push((*id, opened.reader.find_trace(id).await.unwrap().trace.unwrap()));
    }
    let spans = traces
        .iter()
        .flat_map(|(_, t)| &t.resource_spans)
        .flat_map(|r| &r.scope_spans)
        .flat_map(|s| &s.spans);
    let first = spans.map(|span| span.start_time_unix_nano).min().unwrap();
    traces.into_iter().map(|(id, trace)| (id, comparable(trace, first))).collect()
}

#[tokio::test]
async fn the_three_formats_agree_up_to_what_the_oldest_cannot_hold() {
    let [v3, v4, v5] =
        [comparable_traces("a3").await, comparable_traces("a4").await, comparable_traces("a5").await];

    assert_eq!(v3.len(), v4.len());
    for ((v3, v4), v5) in v3.iter().zip(&v4).zip(&v5) {
        assert_eq!(v4, v5);
        assert_eq!(v3, v4);
    }
}

#[tokio::test]
async fn spans_carry_what_clients_rely_on() {
    let fixture = fixtures::of_tenant("a4");
    let opened = fixture.open().await;

    for id in fixture.expected.keys() {
        let trace = opened.reader.find_trace(id).await.unwrap().trace.unwrap();
        for resource_spans in &trace.resource_spans {
            assert!(resource_spans.resource.is_some());
            for scope_spans in &resource_spans.scope_spans {
                assert!(scope_spans.scope.is_some());
                for span in &scope_spans.spans {
                    assert!(span.status.is_some() && span.trace_id == id.as_bytes());
                }
            }
        }
    }
}

#[tokio::test]
async fn absent_traces_are_not_found_whatever_the_bloom_says() {
    for fixture in fixtures::all() {
        let opened = fixture.open().await;
        let neighbours = fixture.expected.keys().flat_map(|id| {
            let number = u128::from_be_bytes(*id.as_bytes());
            [number.wrapping_sub(1), number.wrapping_add(1)].map(|n| TraceId::from_bytes(n.to_be_bytes()))
        });
        let absent: Vec<TraceId> = neighbours.chain([TraceId::default(), TraceId::MAX]).collect();

        // A filter with every bit set lets all of them through to the trace ids.
        let all_bits = {
            let mut bytes = fixture.objects["bloom-0"].to_vec();
            bytes[24..].fill(0xff);
            fixture.with_object("bloom-0", bytes)
        };
        let unfiltered = all_bits.open().await;

        for id in absent.iter().filter(|id| !fixture.expected.contains_key(id)) {
            assert_eq!(opened.reader.find_trace(id).await.unwrap().trace, None);
            assert_eq!(unfiltered.reader.find_trace(id).await.unwrap().trace, None);
        }
    }
}
