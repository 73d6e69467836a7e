//! More comes in than goes out: memory and the WAL stay bounded, waits are short, and nobody is stopped by a neighbour.

use std::{path::Path, time::Duration};

use futures::future::join_all;
use tempo_backend::{Fault, Operation, When};
use tempo_config::{ByteSize, Config, GoDuration};
use tempo_ingester::PushError;
use tempo_model::{PushBatchBuilder, TenantId};
use tokio::time::Instant;

use crate::fixture::{Bucket, Running, batch, config, tenant, trace_id};

/// Small heads, so that few pushes fill them.
fn tight() -> Config {
    let mut config = config();
    config.ingester.tempo_rs.head_bytes = ByteSize::from_kib(64);
    config.ingester.tempo_rs.replay_memory_bytes = ByteSize::from_kib(64);
    config
}

/// No block of this tenant can be written to local disk: where its folder should be there is a file.
fn obstruct(dir: &Path, tenant: &TenantId) {
    let blocks = dir.join("wal/blocks");
    std::fs::create_dir_all(&blocks).unwrap();
    std::fs::write(blocks.join(tenant.as_str()), b"").unwrap();
}

fn numbered_tenant(number: u64) -> TenantId {
    TenantId::parse(&format!("tenant-{number}")).unwrap()
}

/// Bytes of all segments of the WAL.
fn wal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("wal")).unwrap().flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "wal"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_cannot_become_blocks_turn_pushes_away_for_good_and_soon() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    obstruct(dir.path(), &tenant());
    let running = Running::start(dir.path(), &bucket, &tight()).await;
    let mut accepted = 0u64;
    while running.ingester.push(&tenant(), batch(accepted * 10..(accepted + 1) * 10, 0, 20)).await.is_ok() {
        accepted += 1;
        assert!(accepted < 100, "memory grows without bound");
    }

    let started = Instant::now();
    let tenant = tenant();
    let pushes = (0..6u64).map(|number| running.ingester.push(&tenant, batch([1_000_000 + number], 0, 1)));
    let outcomes = join_all(pushes).await;

    for outcome in outcomes {
        assert!(matches!(outcome, Err(PushError::Busy(_))), "{outcome:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "pushes waited for each other's patience");
    running.assert_has((0..accepted * 10).step_by(7), 20).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tenants_with_small_heads_do_not_fill_memory() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    (0..100).for_each(|number| obstruct(dir.path(), &numbered_tenant(number)));
    let running = Running::start(dir.path(), &bucket, &tight()).await;

    let mut refused = None;
    for number in 0..100 {
        let pushed = running.ingester.push(&numbered_tenant(number), batch(0..10, 0, 20)).await;
        if let Err(error) = pushed {
            refused = Some((number, error));
            break;
        }
    }

    assert!(matches!(refused, Some((_, PushError::Busy(_)))), "{refused:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_blocks_cannot_be_written_does_not_hold_up_the_others() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let tenant = tenant();
    obstruct(dir.path(), &tenant);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    let other = numbered_tenant(1);
    running.ingester.push(&tenant, batch([1], 0, 1)).await.unwrap();
    running.ingester.push(&other, batch([2], 0, 1)).await.unwrap();
    let stuck = running.ingester.flush(Some(&tenant), true);
    assert!(tokio::time::timeout(Duration::from_millis(300), stuck).await.is_err());

    let flushed =
        tokio::time::timeout(Duration::from_secs(2), running.ingester.flush(Some(&other), true)).await;

    assert_eq!(flushed.expect("the only encoder is free").unwrap().flushed.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_backend_that_never_answers() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();
    bucket.breaks(When::From(0), Fault::Delayed(Duration::from_secs(600)));
    let flush = running.ingester.flush(None, true);
    assert!(tokio::time::timeout(Duration::from_millis(300), flush).await.is_err());

    let stopped = tokio::time::timeout(Duration::from_secs(3), running.stop()).await;

    assert!(stopped.is_ok());
    bucket.faults.heal();
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.assert_has([1], 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_alone_in_a_head_does_not_pin_the_wal() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    let mut builder = PushBatchBuilder::default();
    let context = builder.push_context(b"", b"");
    builder.begin_trace(trace_id(1));
    // A varint without an end, and bytes that do not compress.
    let mut noise = vec![0xff; 16];
    noise.extend((0..500).flat_map(|_| *tempo_model::BlockId::random().as_bytes()));
    builder.push_span(context, &noise);
    let outcome = running.ingester.push(&tenant(), builder.finish()).await;
    assert!(matches!(outcome, Err(PushError::Decode(_))), "{outcome:?}");

    let report = running.ingester.flush(None, true).await.unwrap();

    assert!(report.quarantined.is_empty(), "{report:?}");
    running.stop().await;
    assert!(wal_bytes(dir.path()) < 1000, "{} bytes are left", wal_bytes(dir.path()));
}

/// Several small heads share the oldest segment: all of them go when the WAL is too large.
#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_too_large_cuts_every_head_in_its_oldest_segment() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.flush_check_period = GoDuration::from(Duration::from_millis(500));
    config.ingester.tempo_rs.wal_max_bytes = ByteSize::from_kib(1);
    let running = Running::start(dir.path(), &bucket, &config).await;

    for number in 0..20 {
        running.ingester.push(&numbered_tenant(number), batch([number], 0, 20)).await.unwrap();
    }
    let mut changes = running.blocklist.changes();
    let listed = changes.wait_for(|list| list.tenants().count() == 20);

    assert!(
        tokio::time::timeout(Duration::from_secs(4), listed).await.is_ok(),
        "one head a check is too slow"
    );
    running.stop().await;
}

/// The block is in the backend and the WAL was not released; at the next start the backend does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_the_backend_may_have_is_not_written_over() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch(0..10, 0, 3)).await.unwrap();
    bucket
        .breaks(When::Key { operation: Operation::Get, suffix: "meta.json".to_owned() }, Fault::Unavailable);
    let flush = running.ingester.flush(None, true);
    assert!(tokio::time::timeout(Duration::from_millis(300), flush).await.is_err());
    running.stop().await;
    assert_eq!(bucket.metas().await.len(), 1);
    std::fs::remove_dir_all(dir.path().join("wal/blocks")).unwrap();

    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    bucket.faults.heal();
    running.ingester.flush(None, true).await.unwrap();

    assert_eq!(bucket.metas().await.len(), 2, "the block got an id of its own");
    running.assert_has(0..10, 3).await;
    running.stop().await;
    assert!(wal_bytes(dir.path()) < 1000, "{} bytes are left", wal_bytes(dir.path()));
}

/// Local copies go at once here, while queries read them.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_outlives_the_local_copy_that_it_reads() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let mut config = config();
    config.ingester.complete_block_timeout = GoDuration::from(Duration::ZERO);
    config.ingester.flush_check_period = GoDuration::from(Duration::from_millis(1));
    let running = Running::start(dir.path(), &bucket, &config).await;

    for number in 0..20 {
        running.ingester.push(&tenant(), batch([number], 0, 1)).await.unwrap();
        let queries = async {
            for _ in 0..50 {
                running.assert_has([number], 1).await;
                tokio::task::yield_now().await;
            }
        };
        let (flushed, ()) = tokio::join!(running.ingester.flush(None, true), queries);
        flushed.unwrap();
    }

    running.stop().await;
}
