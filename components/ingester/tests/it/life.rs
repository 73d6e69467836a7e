//! The life of a span from push to backend, and the limits on its way.

use std::time::Duration;

use tempo_config::{ByteSize, GoDuration};
use tempo_ingester::{DiscardReason, FlushError};
use tempo_model::{TenantId, WaitKind};

use crate::fixture::{Bucket, Running, batch, config, tenant, trace_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_at_once_and_at_every_later_stage() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1, 2], 0, 3)).await.unwrap();
    running.assert_has([1, 2], 3).await;

    let report = running.ingester.flush(None, true).await.unwrap();

    assert_eq!(report.flushed.len(), 1);
    assert_eq!(bucket.metas().await.len(), 1);
    running.assert_has([1, 2], 3).await;
    assert!(running.find(trace_id(3)).await.is_none());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_told_what_is_waited_for_and_which_tasks_run() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 3)).await.unwrap();
    running.ingester.flush(None, true).await.unwrap();

    let waits = running.waits.totals(WaitKind::Queue);

    let names: Vec<_> = waits.iter().map(|wait| wait.name).collect();
    assert!(names.contains(&"ingester: sync of the WAL"), "{names:?}");
    let tasks = running.tasks.0.lock().clone();
    assert!(tasks.contains(&"ingester: head to block"), "{tasks:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_trace_in_head_and_block_are_one_trace() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 3)).await.unwrap();
    running.ingester.flush(None, true).await.unwrap();
    running.ingester.push(&tenant(), batch([1], 2, 3)).await.unwrap();

    running.assert_has([1], 5).await;

    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_wal_gives_everything_back_and_the_backend_is_not_asked_twice() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..50, 0, 4)).await.unwrap();
    running.ingester.flush(None, true).await.unwrap();
    running.ingester.push(&tenant(), batch(50..80, 0, 4)).await.unwrap();
    running.stop().await;

    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.assert_has(50..80, 4).await;
    assert!(running.ingester.find_trace(&tenant(), &trace_id(3)).await.unwrap().is_none());
    let report = running.ingester.flush(None, true).await.unwrap();

    assert_eq!(report.flushed.len(), 1);
    assert_eq!(bucket.metas().await.len(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_heads_become_blocks_by_themselves_and_the_wal_shrinks() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.tempo_rs.head_bytes = ByteSize::from_kib(256);
    config.ingester.tempo_rs.wal_segment_bytes = ByteSize::from_kib(64);
    let running = Running::start(dir.path(), &bucket, &config).await;

    for round in 0..20u64 {
        running.ingester.push(&tenant(), batch(round * 100..(round + 1) * 100, 0, 20)).await.unwrap();
    }
    running.ingester.flush(None, true).await.unwrap();

    assert!(bucket.metas().await.len() > 3);
    running.assert_has((0..2000).step_by(37), 20).await;
    let segments = std::fs::read_dir(dir.path().join("wal")).unwrap();
    let wal_files = segments.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "wal")).count();
    assert!(wal_files <= 2, "{wal_files} segments are left");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_heads_are_cut_by_age() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.max_block_duration = GoDuration::from(Duration::from_millis(100));
    let running = Running::start(dir.path(), &bucket, &config).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();

    let listed = running.blocklist.changes().wait_for(|list| list.tenant(&tenant()).is_some()).await.is_ok();

    assert!(listed);
    running.assert_has([1], 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_past_a_limit_are_left_out_and_the_others_are_kept() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.set_limits(|limits| limits.ingestion.max_traces_per_user = 2);

    let outcome = running.ingester.push(&tenant(), batch([1, 2, 3], 0, 5)).await.unwrap();
    running.set_limits(|limits| limits.global.max_bytes_per_trace = ByteSize::from_bytes(1200));
    let too_large = running.ingester.push(&tenant(), batch([1], 5, 20)).await.unwrap();

    assert_eq!(outcome.discarded.len(), 1);
    assert_eq!((outcome.discarded[0].trace_id, outcome.discarded[0].spans), (trace_id(3), 5));
    assert_eq!(outcome.discarded[0].reason, DiscardReason::LiveTracesExceeded);
    assert_eq!(too_large.discarded[0].reason, DiscardReason::TraceTooLarge);
    running.assert_has([1, 2], 5).await;
    assert!(running.find(trace_id(3)).await.is_none());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushing_a_tenant_without_data_is_an_error_and_others_are_not_touched() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();

    let unknown = TenantId::parse("nobody").unwrap();
    let error = running.ingester.flush(Some(&unknown), true).await.unwrap_err();

    assert!(matches!(error, FlushError::UnknownTenant(tenant) if tenant == unknown));
    assert!(bucket.metas().await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_flushes_everything_where_it_is_configured() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.flush_all_on_shutdown = true;
    let running = Running::start(dir.path(), &bucket, &config).await;
    running.ingester.push(&tenant(), batch([1, 2], 0, 3)).await.unwrap();

    running.stop().await;

    assert_eq!(bucket.metas().await.len(), 1);
}
