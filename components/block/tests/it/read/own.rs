//! Blocks of ours: what a lookup costs with the sidecar, and without one that can be used.

use tempo_backend::{Operation, keys};
use tempo_block::WriteOptions;
use tempo_model::{TraceId, trace::Trace};
use tempo_proto::trace::Span;

use crate::{
    fixtures::{Fixture, trace_json},
    traces::{Random, columns, id_of, odd_trace, odd_traces, options, write},
};

/// Several row groups of several pages.
fn block() -> (Vec<Trace>, Fixture) {
    let traces = odd_traces(11, 300, 20);
    let options = WriteOptions { spans_per_row_group: 1_000, spans_per_page: 100, ..options() };
    let block = write(&columns(&traces), &options);
    (traces, block)
}

#[tokio::test]
async fn a_cold_block_costs_three_reads_and_a_known_one_at_most_two() {
    let (traces, block) = block();

    for trace in traces.iter().step_by(37) {
        let opened = block.open().await;
        let cold = opened.reader.find_trace(&id_of(trace)).await.unwrap();
        assert_eq!((opened.store.calls(Operation::Get), opened.store.calls(Operation::GetRange)), (2, 1));

        opened.store.reset_calls();
        let warm = opened.reader.find_trace(&id_of(trace)).await.unwrap();
        assert_eq!(opened.store.calls(Operation::Get), 0);
        assert!(opened.store.calls(Operation::GetRange) <= 2);
        assert!(warm.inspected_bytes < cold.inspected_bytes);
        assert_eq!(trace_json(&cold.trace.unwrap()), trace_json(&warm.trace.unwrap()));
    }
}

#[tokio::test]
async fn no_data_is_read_when_bloom_or_sidecar_say_no() {
    let (traces, block) = block();
    let opened = block.open().await;
    let absent = |n: u128| TraceId::from_bytes(n.to_be_bytes());

    // The bloom lets about one in a hundred through, to the sidecar.
    for n in 1..1_000 {
        assert_eq!(opened.reader.find_trace(&absent(n << 100)).await.unwrap().trace, None);
    }
    assert_eq!(opened.store.calls(Operation::GetRange), 0);

    opened.reader.find_trace(&id_of(&traces[0])).await.unwrap();
    opened.store.reset_calls();
    for n in 1..1_000 {
        assert_eq!(opened.reader.find_trace(&absent(n)).await.unwrap().trace, None);
    }
    assert_eq!(opened.store.total_calls(), 0);
}

#[tokio::test]
async fn without_a_usable_sidecar_the_footer_gives_the_same_traces() {
    let (traces, block) = block();
    let mut without = block.clone();
    without.objects.remove(keys::SIDECAR);
    let sidecar = &block.objects[keys::SIDECAR];
    let mut newer = sidecar.to_vec();
    newer[8] = 2;
    let cut = block.with_object(keys::SIDECAR, sidecar.slice(..sidecar.len() / 2));
    let newer = block.with_object(keys::SIDECAR, newer);

    let with = block.open().await;
    for other in [without, cut, newer] {
        let opened = other.open().await;
        for trace in traces.iter().step_by(7) {
            let expected = with.reader.find_trace(&id_of(trace)).await.unwrap().trace.unwrap();
            let found = opened.reader.find_trace(&id_of(trace)).await.unwrap().trace.unwrap();
            assert_eq!(trace_json(&found), trace_json(&expected));
        }
    }
}

#[tokio::test]
async fn leaves_without_values_are_left_out_and_the_trace_is_whole() {
    let options = WriteOptions { spans_per_row_group: 1_000, spans_per_page: 100, ..options() };
    let strip: [fn(&mut Span); 4] = [
        |span| span.links.clear(),
        |span| span.events.iter_mut().for_each(|event| event.attributes.clear()),
        |span| span.attributes.clear(),
        |span| {
            span.events.clear();
            span.links.iter_mut().for_each(|link| link.attributes.clear());
        },
    ];
    for strip in strip {
        let mut traces = odd_traces(14, 300, 20);
        let groups = traces.iter_mut().flat_map(|t| &mut t.resource_spans);
        groups.flat_map(|r| &mut r.scope_spans).flat_map(|s| &mut s.spans).for_each(strip);
        let block = write(&columns(&traces), &options);
        let mut without = block.clone();
        without.objects.remove(keys::SIDECAR);

        let (with, without) = (block.open().await, without.open().await);
        for trace in traces.iter().step_by(7) {
            let expected = without.reader.find_trace(&id_of(trace)).await.unwrap().trace.unwrap();
            let found = with.reader.find_trace(&id_of(trace)).await.unwrap().trace.unwrap();
            assert_eq!(trace_json(&found), trace_json(&expected));
        }
    }
}

#[tokio::test]
async fn every_flipped_bit_of_the_sidecar_still_gives_the_trace() {
    let traces = odd_traces(12, 5, 4);
    let block = write(&columns(&traces), &options());
    let id = id_of(&traces[2]);
    let expected = block.open().await.reader.find_trace(&id).await.unwrap().trace;
    let sidecar = &block.objects[keys::SIDECAR];

    for at in 0..sidecar.len() {
        let mut damaged = sidecar.to_vec();
        damaged[at] ^= 1 << (at % 8);
        let opened = block.with_object(keys::SIDECAR, damaged).open().await;
        let found = opened.reader.find_trace(&id).await.unwrap().trace;
        assert_eq!(found, expected, "byte {at}");
    }
}

#[tokio::test]
async fn a_trace_of_100_000_spans_is_found() {
    let big = odd_trace(&mut Random(5), TraceId::from_bytes([9; 16]), 100_000);
    let mut traces = odd_traces(13, 10, 5);
    traces.push(big);
    let block = write(&columns(&traces), &options());
    let opened = block.open().await;

    let found = opened.reader.find_trace(&TraceId::from_bytes([9; 16])).await.unwrap().trace.unwrap();

    let spans = found.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len());
    assert_eq!(spans.sum::<usize>(), 100_000);
}
