//! Disks that fail or fill up while the log is running: nothing is acknowledged falsely, and it goes on by itself.

use std::io;

use tempo_wal::{AppendError, Wal, WalOptions};

use crate::{
    fake_disk::{FakeDisk, Operation, Tear},
    fixture::{append, block, id, metrics, open, options, record, recover, recover_after_kill},
};

fn ids(records: &[tempo_wal::Record]) -> Vec<u64> {
    records.iter().map(id).collect()
}

#[tokio::test]
async fn a_full_disk_recovers_without_a_restart() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;

    disk.limit_free_bytes(Some(60));
    let refused = wal.append(record(1, 2, 1000)).unwrap().synced().await.unwrap_err();
    let refused_again = wal.append(record(1, 3, 1000)).unwrap().synced().await.unwrap_err();
    disk.limit_free_bytes(None);
    append(&wal, record(1, 4, 100)).await;

    for error in [refused, refused_again] {
        let AppendError::Io { operation: _, path: _, source } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    }
    let (records, issues) = recover_after_kill(&disk);
    assert_eq!(ids(&records), [1, 4]);
    assert!(issues.is_empty(), "{issues:?}");
}

/// Pushes go on while the disk is full, so that a release shares its batch with records that do not fit.
#[tokio::test]
async fn a_release_makes_room_on_a_full_disk_although_records_come_with_it() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 5000)).await;
    disk.limit_free_bytes(Some(1000));
    disk.hold_syncs(true);
    let first = wal.append(record(2, 2, 100)).unwrap();
    disk.wait_for_held_sync();

    let refused = wal.append(record(2, 3, 5000)).unwrap();
    let log = wal.clone();
    let release = tokio::spawn(async move { log.release(block(1)).await });
    // Runs the task until it waits for the disk: its release is queued behind the record.
    tokio::task::yield_now().await;
    disk.hold_syncs(false);

    first.synced().await.unwrap();
    refused.synced().await.unwrap_err();
    release.await.unwrap().unwrap();
    let (records, issues) = recover_after_kill(&disk);
    assert_eq!(ids(&records), [2]);
    assert!(issues.is_empty(), "{issues:?}");
}

#[tokio::test]
async fn a_disk_that_stays_full_is_not_littered_with_segments() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;
    let before = disk.names().len();

    disk.limit_free_bytes(Some(200));
    for id in 2..50 {
        wal.append(record(1, id, 1000)).unwrap().synced().await.unwrap_err();
    }

    assert_eq!(disk.names().len(), before);
}

#[tokio::test]
async fn bytes_of_a_failed_sync_are_not_trusted_although_they_can_be_read() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;

    disk.fail_next(Operation::Sync, io::ErrorKind::Other);
    wal.append(record(1, 2, 100)).unwrap().synced().await.unwrap_err();
    append(&wal, record(1, 3, 100)).await;

    let (records, issues) = recover_after_kill(&disk);
    assert_eq!(ids(&records), [1, 3]);
    assert!(issues.is_empty(), "{issues:?}");
    disk.cut_power(7, Tear::Holes);
    assert_eq!(ids(&recover_after_kill(&disk).0), [1, 3]);
}

#[tokio::test]
async fn a_segment_whose_name_may_not_be_durable_takes_no_record() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);

    disk.fail_next(Operation::SyncDir, io::ErrorKind::Other);
    wal.append(record(1, 1, 100)).unwrap().synced().await.unwrap_err();
    append(&wal, record(1, 2, 100)).await;

    disk.cut_power(3, Tear::Prefix);
    let (records, issues) = recover_after_kill(&disk);
    assert_eq!(ids(&records), [2]);
    assert!(issues.is_empty(), "{issues:?}");
}

#[tokio::test]
async fn a_release_that_failed_releases_nothing() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;

    disk.fail_next(Operation::Append, io::ErrorKind::StorageFull);
    wal.release(crate::fixture::block(1)).await.unwrap_err();

    assert_eq!(wal.oldest_block(), Some(crate::fixture::block(1)));
    assert_eq!(ids(&recover_after_kill(&disk).0), [1]);
}

#[tokio::test]
async fn a_full_queue_says_retry_and_takes_records_again_once_written() {
    let disk = FakeDisk::default();
    let options = WalOptions { max_pending_bytes: 10_000, ..options(disk.boot()) };
    let (wal, recovery) = Wal::open(options, metrics()).unwrap();
    drop(recover(recovery));
    disk.hold_syncs(true);
    let mut tickets = Vec::new();
    let mut next = 1;

    let refused = loop {
        match wal.append(record(1, next, 1000)) {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
        next += 1;
    };
    disk.hold_syncs(false);
    for ticket in tickets.drain(..) {
        ticket.synced().await.unwrap();
    }
    append(&wal, record(1, next, 1000)).await;

    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("retry"));
    assert_eq!(next, 8, "10,000 bytes hold seven records of 1,000");
    assert_eq!(recover_after_kill(&disk).0.len(), 8);
}

#[tokio::test]
async fn a_record_larger_than_the_queue_is_taken_alone() {
    let disk = FakeDisk::default();
    let options = WalOptions { max_pending_bytes: 1_000, ..options(disk.boot()) };
    let (wal, _) = Wal::open(options, metrics()).unwrap();

    append(&wal, record(1, 1, 50_000)).await;

    assert_eq!(ids(&recover_after_kill(&disk).0), [1]);
}

#[tokio::test]
async fn a_payload_beyond_what_a_reader_would_take_is_refused() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    let mut huge = record(1, 1, 0);
    huge.payload = vec![0; (1 << 28) + 1].into();

    let error = wal.append(huge).unwrap_err();

    assert!(matches!(error, AppendError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn closing_writes_what_is_queued_and_refuses_the_rest() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    let clone = wal.clone();
    let tickets: Vec<_> = (1..20).map(|id| wal.append(record(1, id, 100)).unwrap()).collect();

    wal.close().await;

    for ticket in tickets {
        ticket.synced().await.unwrap();
    }
    assert!(matches!(clone.append(record(1, 20, 1)), Err(AppendError::Closed)));
    let (_wal, recovery) = open(&disk);
    assert_eq!(recover(recovery).0.len(), 19, "and the directory is free again");
}

#[tokio::test]
async fn a_read_error_during_replay_is_reported_and_keeps_the_segment() {
    let disk = FakeDisk::default();
    let (wal, _) = crate::fixture::open_with_segments_of(&disk, 200);
    append(&wal, record(1, 1, 100)).await;
    append(&wal, record(2, 2, 100)).await;
    disk.kill_process();

    let (wal, recovery) = open(&disk);
    disk.fail_next(Operation::Read, io::ErrorKind::Other);
    let (records, issues) = recover(recovery);
    for block in [1, 2] {
        wal.release(crate::fixture::block(block)).await.unwrap();
    }

    assert_eq!(ids(&records), [2]);
    assert_eq!(issues.iter().map(|issue| issue.kind()).collect::<Vec<_>>(), ["read"]);
    assert!(disk.names().iter().any(|name| name.ends_with("1.wal.damaged")), "{:?}", disk.names());
}
