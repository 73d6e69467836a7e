//! How many reads a lookup costs.

use std::sync::Arc;

use tempo_backend::{Fault, Operation, When};
use tempo_block::{BlockCache, ReadError};
use tempo_model::TraceId;

use crate::fixtures::{self, Opened};

/// Whole objects and ranges read since the last call.
fn reads(opened: &Opened) -> (u64, u64) {
    let counts = (opened.store.calls(Operation::Get), opened.store.calls(Operation::GetRange));
    opened.store.reset_calls();
    counts
}

#[tokio::test]
async fn a_tempo_block_costs_few_reads_and_fewer_when_known() {
    let fixture = fixtures::of_tenant("a5");
    let opened = fixture.open().await;
    let ids: Vec<TraceId> = fixture.expected.keys().copied().collect();

    let cold = opened.reader.find_trace(&ids[0]).await.unwrap();
    // Bloom and the sidecar that is not there; footer with page index, page of trace ids, pages of the row.
    let (objects, ranges) = reads(&opened);
    assert_eq!(objects, 2);
    assert!(ranges <= 2 + 16, "{ranges} ranged reads");
    assert!(cold.inspected_bytes > 0);

    let warm = opened.reader.find_trace(&ids[200]).await.unwrap();
    let (objects, warm_ranges) = reads(&opened);
    assert_eq!((objects, warm_ranges), (0, ranges - 1));
    assert!(warm.inspected_bytes < cold.inspected_bytes);
}

#[tokio::test]
async fn a_miss_reads_no_data() {
    let fixture = fixtures::of_tenant("a5");
    let opened = fixture.open().await;

    let found = opened.reader.find_trace(&TraceId::MAX).await.unwrap();

    assert_eq!(found.trace, None);
    assert_eq!(reads(&opened), (1, 0));
}

#[tokio::test]
async fn queries_at_the_same_time_share_their_first_reads() {
    let fixture = fixtures::of_tenant("a4");
    let opened = fixture.open().await;
    let id = *fixture.expected.keys().next().unwrap();

    let finds = futures::future::join_all((0..8).map(|_| opened.reader.find_trace(&id))).await;

    assert!(finds.into_iter().all(|found| found.unwrap().trace.is_some()));
    assert_eq!(reads(&opened).0, 2);
}

#[tokio::test]
async fn a_cache_of_no_size_changes_nothing_but_the_cost() {
    let fixture = fixtures::of_tenant("a3");
    let opened = fixture.open_with(BlockCache::new(0)).await;

    for id in fixture.expected.keys().take(3) {
        assert!(opened.reader.find_trace(id).await.unwrap().trace.is_some());
        assert_eq!(reads(&opened).0, 2);
    }
}

#[tokio::test]
async fn a_failed_read_is_not_remembered() {
    let fixture = fixtures::of_tenant("a4");
    let opened = fixture.open().await;
    let id = *fixture.expected.keys().next().unwrap();

    for suffix in ["bloom-0", "traces.idx", "data.parquet"] {
        for operation in [Operation::Get, Operation::GetRange] {
            opened.store.inject(When::Key { operation, suffix: suffix.to_owned() }, Fault::Unavailable);
        }
        let error = opened.reader.find_trace(&id).await.unwrap_err();
        opened.store.heal();

        assert!(error.is_retryable());
        let ReadError::Store { object, block, source: _ } = &error else { panic!("{error}") };
        assert_eq!((object.as_str(), *block), (suffix, fixture.meta.block_id));
    }
    assert!(opened.reader.find_trace(&id).await.unwrap().trace.is_some());
}

#[tokio::test]
async fn formats_of_the_future_are_refused_when_opened() {
    let mut fixture = fixtures::of_tenant("a4");
    let opened = fixture.open().await;
    fixture.meta.format = "vParquet6".to_owned().into();

    let reader = tempo_block::BlockReader::open(opened.backend, Arc::new(fixture.meta), BlockCache::new(0));

    assert!(matches!(reader, Err(ReadError::UnknownFormat { .. })));
}
