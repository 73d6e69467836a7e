//! Many callers at once: one sync serves them all, and the order of calls is kept.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::Registry;
use tempo_wal::{Metrics, Wal, WalOptions};

use crate::{
    fake_disk::FakeDisk,
    fixture::{block, id, metrics, open, options, record, recover, recover_after_kill},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_syncs_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let options = WalOptions { segment_bytes: 1 << 20, ..WalOptions::new(dir.path()) };
    let (wal, _) = Wal::open(options.clone(), metrics).unwrap();
    let next = Arc::new(Mutex::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64_u8 {
        let (wal, next) = (wal.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            for _ in 0..50 {
                let ticket = {
                    let mut next = next.lock();
                    *next += 1;
                    wal.append(record(task % 8, *next, 700)).unwrap()
                };
                ticket.synced().await.unwrap();
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    wal.close().await;

    let families = registry.gather();
    let find =
        |name: &str| families.iter().find(|family| family.name() == name).unwrap().get_metric()[0].clone();
    let syncs = find("tempo_ingester_wal_sync_duration_seconds").get_histogram().get_sample_count();
    let records = find("tempo_ingester_wal_records_total").get_counter().get_value();
    let (_wal, recovery) = Wal::open(options, crate::fixture::metrics()).unwrap();
    let (recovered, issues) = recover(recovery);
    assert_eq!(records, 3200.0);
    assert!(syncs < 1600, "{syncs} syncs for 3200 records");
    assert!(issues.is_empty());
    assert_eq!(recovered.iter().map(id).collect::<Vec<_>>(), (1..=3200).collect::<Vec<_>>());
}

#[tokio::test]
async fn everything_that_arrives_during_a_sync_shares_the_next() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    disk.hold_syncs(true);
    let mut tickets = vec![wal.append(record(1, 1, 100)).unwrap()];
    disk.wait_for_held_sync();
    tickets.extend((2..=1000).map(|id| wal.append(record(1, id, 100)).unwrap()));

    let before = disk.syncs();
    disk.hold_syncs(false);
    for ticket in tickets {
        ticket.synced().await.unwrap();
    }

    // The new segment's header, the record that was alone, and all others.
    assert_eq!(disk.syncs() - before, 3);
    assert_eq!(recover_after_kill(&disk).0.len(), 1000);
}

#[tokio::test]
async fn a_dropped_ticket_does_not_take_its_record_back() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);

    drop(wal.append(record(1, 1, 100)).unwrap());
    wal.append(record(1, 2, 100)).unwrap().synced().await.unwrap();

    assert_eq!(recover_after_kill(&disk).0.len(), 2);
}

#[tokio::test]
async fn a_release_covers_what_was_appended_before_it_and_not_synced_yet() {
    let disk = FakeDisk::default();
    let (wal, _) = Wal::open(options(disk.boot()), metrics()).unwrap();
    let before = wal.append(record(1, 1, 100)).unwrap();
    let other = wal.append(record(2, 2, 100)).unwrap();

    wal.release(block(1)).await.unwrap();
    let after = wal.append(record(1, 3, 100)).unwrap();
    for ticket in [before, other, after] {
        ticket.synced().await.unwrap();
    }

    assert_eq!(recover_after_kill(&disk).0.iter().map(id).collect::<Vec<_>>(), [2, 3]);
}
