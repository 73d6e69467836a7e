use prost::Message;
use tempo_proto::push;

use super::*;

fn sample() -> PushBatch {
    let mut builder = PushBatchBuilder::default();
    let a = builder.push_context(b"resource-a", b"");
    let b = builder.push_context(b"resource-b", b"scope-b");
    builder.begin_trace(TraceId::from_bytes([1; 16]));
    builder.push_span(a, b"s1");
    builder.push_span(a, b"s2");
    builder.push_span(b, b"s3");
    builder.begin_trace(TraceId::from_bytes([2; 16]));
    builder.push_span(b, &[7; 300]);
    builder.finish()
}

type Flat = Vec<(TraceId, Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>)>;

fn flatten(batch: &PushBatch) -> Flat {
    let span = |s: FragmentSpan<'_>| {
        let context = batch.context(s.context).unwrap();
        (context.resource.to_vec(), context.scope.to_vec(), s.bytes.to_vec())
    };
    batch.traces().map(|t| (t.trace_id, t.spans().map(span).collect())).collect()
}

#[test]
fn what_the_builder_wrote_is_the_protobuf_message_of_the_spec() {
    let batch = sample();

    let message = push::PushBatch::decode(batch.payload().clone()).unwrap();

    assert_eq!(message.contexts[1].scope, "scope-b");
    assert_eq!(message.traces.len(), 2);
    assert_eq!(message.traces[0].span_count, 3);
    assert_eq!(message.traces[0].runs[0].spans, ["s1", "s2"]);
    assert_eq!(message.traces[0].runs[1].context, 1);
    assert_eq!(message.traces[1].runs[0].spans[0].len(), 300);
}

#[test]
fn decoding_gives_back_the_same_spans() {
    let batch = sample();

    let decoded = PushBatch::decode(batch.payload().clone()).unwrap();

    assert_eq!(flatten(&decoded), flatten(&batch));
    assert_eq!(decoded.span_count(), 4);
}

#[test]
fn retain_drops_whole_traces_and_keeps_contexts() {
    let batch = sample();

    let kept = batch.retain(|t| t.trace_id == TraceId::from_bytes([2; 16]));

    assert_eq!(flatten(&kept), flatten(&batch)[1..]);
    assert_eq!(PushBatch::decode(kept.payload().clone()).unwrap().trace_count(), 1);
}

#[test]
fn every_truncation_and_every_flipped_byte_is_refused_or_still_consistent() {
    let bytes = sample().payload().to_vec();

    for len in 0..bytes.len() {
        let _result = PushBatch::decode(Bytes::copy_from_slice(&bytes[..len])).map(|b| flatten(&b));
    }
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << bit;
            if let Ok(batch) = PushBatch::decode(damaged.into()) {
                let spans: usize = batch.traces().map(|t| t.spans().count()).sum();
                assert_eq!(spans as u64, batch.span_count());
            }
        }
    }
}
