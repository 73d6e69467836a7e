//! The backend fails, the process dies: nothing acknowledged is lost, and nothing leaves the WAL too early.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempo_backend::{Fault, When};
use tempo_config::{ByteSize, GoDuration};

use crate::fixture::{Bucket, Running, batch, config, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_costs_nothing_and_flushing_goes_on_when_it_is_back() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
    let wait = running.ingester.flush(None, true);
    let waited = tokio::time::timeout(Duration::from_millis(300), wait).await;
    assert!(waited.is_err(), "nothing was flushed, so nobody may say so");
    assert!(bucket.metas().await.is_empty());

    bucket.faults.heal();
    running.ingester.flush(None, true).await.unwrap();

    assert_eq!(bucket.metas().await.len(), 1);
    running.stop().await;
    let running = Running::start(dir.path(), &bucket, &config()).await;
    assert_eq!(bucket.metas().await.len(), 1, "the block was not written again");
    running.stop().await;
}

/// The process dies at call n of the store, for every n of a flush: the next process has every span.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_call_to_the_backend_loses_nothing() {
    for call in 0.. {
        let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
        let running = Running::start(dir.path(), &bucket, &config()).await;
        running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
        let before = bucket.faults.total_calls();
        bucket.breaks(When::From(before + call), Fault::Unavailable);
        let flushed =
            tokio::time::timeout(Duration::from_millis(150), running.ingester.flush(None, true)).await;
        running.stop().await;
        bucket.faults.heal();

        let running = Running::start(dir.path(), &bucket, &config()).await;
        running.ingester.flush(None, true).await.unwrap();
        assert!(!bucket.metas().await.is_empty(), "death at call {call}");
        let poll = tempo_backend::BlockMeta::from_json;
        for key in bucket.metas().await {
            let meta = tempo_backend::Store::get(bucket.memory.as_ref(), &key).await.unwrap();
            running.blocklist.add(std::sync::Arc::new(poll(&meta).unwrap()));
        }
        running.assert_has(0..10, 3).await;
        running.stop().await;
        if flushed.is_ok() {
            assert!(call > 4, "a flush makes more than {call} calls");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_larger_than_the_replay_memory_is_replayed_in_pieces() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    for round in 0..20u64 {
        running.ingester.push(&tenant(), batch(round * 50..(round + 1) * 50, 0, 20)).await.unwrap();
    }
    running.stop().await;
    assert!(bucket.metas().await.is_empty());

    let mut config = config();
    config.ingester.tempo_rs.replay_memory_bytes = ByteSize::from_kib(512);
    let running = Running::start(dir.path(), &bucket, &config).await;
    running.assert_has((0..1000).step_by(17), 20).await;
    running.ingester.flush(None, true).await.unwrap();

    assert!(bucket.metas().await.len() > 1);
    running.assert_has((0..1000).step_by(17), 20).await;
    running.stop().await;
    let running = Running::start(dir.path(), &bucket, &config).await;
    let report = running.ingester.flush(None, true).await.unwrap();
    assert!(report.flushed.is_empty(), "the WAL still had what is in the backend: {report:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_backend_is_away_does_not_hang() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
    running.ingester.flush(None, false).await.unwrap();

    let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;

    assert!(stopped.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_away_at_the_start_is_asked_once_and_costs_nothing() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    for block in 0..5 {
        running.ingester.push(&tenant(), batch(block * 10..block * 10 + 10, 0, 3)).await.unwrap();
        running.ingester.flush(None, false).await.unwrap();
    }
    running.stop().await;

    let running = Running::start(dir.path(), &bucket, &config()).await;

    assert_eq!(running.questions_at_start, 1);
    running.assert_has(0..50, 3).await;
    running.ingester.push(&tenant(), batch(50..60, 0, 3)).await.unwrap();
    bucket.faults.heal();
    running.ingester.flush(None, true).await.unwrap();
    running.assert_has(0..60, 3).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_local_block_is_thrown_away_and_replayed() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
    running.ingester.flush(None, false).await.unwrap();
    let block = complete_block(dir.path()).await;
    running.stop().await;
    let data = std::fs::read(block.join("data.parquet")).unwrap();
    std::fs::remove_file(block.join("data.parquet")).unwrap();
    std::fs::write(block.join("data.parquet"), &data[..data.len() / 2]).unwrap();
    bucket.faults.heal();

    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.assert_has(0..10, 3).await;
    running.ingester.flush(None, true).await.unwrap();

    running.assert_has(0..10, 3).await;
    assert_eq!(bucket.metas().await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_breaks_on_local_disk_is_put_aside_and_made_again_from_the_wal() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
    running.ingester.flush(None, false).await.unwrap();
    let block = complete_block(dir.path()).await;
    std::fs::remove_file(block.join("bloom-0")).unwrap();
    std::fs::remove_file(block.join("data.parquet")).unwrap();
    std::fs::write(block.join("data.parquet"), b"PAR1").unwrap();

    let report = running.ingester.flush(None, true).await.unwrap();

    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    let aside = dir.path().join("wal/quarantine").join(tenant().as_str()).join(block.file_name().unwrap());
    assert!(aside.join("meta.json").is_file());
    running.stop().await;
    bucket.faults.heal();
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.flush(None, true).await.unwrap();
    running.assert_has(0..10, 3).await;
    running.stop().await;
}

/// The first complete block on local disk.
async fn complete_block(dir: &Path) -> PathBuf {
    let blocks = dir.join("wal/blocks").join(tenant().as_str());
    let mut every = tokio::time::interval(Duration::from_millis(5));
    loop {
        every.tick().await;
        let entries = std::fs::read_dir(&blocks).into_iter().flatten().flatten();
        if let Some(found) = entries.map(|e| e.path()).find(|path| path.join("meta.json").is_file()) {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_never_ends_is_given_up_and_tried_again() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.flush_op_timeout = GoDuration::from(Duration::from_millis(200));
    let running = Running::start(dir.path(), &bucket, &config).await;
    let next = bucket.faults.total_calls();
    bucket.breaks(When::Call(next), Fault::Delayed(Duration::from_secs(3600)));
    running.ingester.push(&tenant(), batch([1], 0, 3)).await.unwrap();

    running.ingester.flush(None, true).await.unwrap();

    assert_eq!(bucket.metas().await.len(), 1);
    running.stop().await;
}
