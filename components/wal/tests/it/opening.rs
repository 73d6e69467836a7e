//! What `open` refuses, and what it does with files that are odd but harmless. Real files where the system decides.

use std::{fs, os::unix::fs::PermissionsExt};

use tempo_wal::{OpenError, ReplayIssue, Wal, WalOptions};

use crate::{
    fake_disk::{FakeDisk, Operation},
    fixture::{append, block, id, metrics, open, open_with_segments_of, record, recover, segment, try_open},
};

#[tokio::test]
async fn records_come_back_from_real_files_with_all_their_fields() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/wal");
    let options = WalOptions { segment_bytes: 20_000, ..WalOptions::new(&path) };
    let (wal, recovery) = Wal::open(options.clone(), metrics()).unwrap();
    assert!(recover(recovery).0.is_empty());
    let records: Vec<_> = (1..100).map(|id| record(u8::try_from(id % 7).unwrap(), id, 5_000)).collect();
    for record in &records {
        append(&wal, record.clone()).await;
    }
    wal.release(block(3)).await.unwrap();
    wal.close().await;

    let (wal, mut recovery) = Wal::open(options, metrics()).unwrap();
    let mut recovered = Vec::new();
    for item in recovery.by_ref() {
        recovered.push(item.unwrap());
    }

    let expected: Vec<_> = records.into_iter().filter(|record| record.block != block(3)).collect();
    assert_eq!(recovered, expected);
    assert_eq!(recovery.report().records, expected.len() as u64);
    assert!(recovery.report().segments > 3);
    let size = |entry: fs::DirEntry| entry.metadata().unwrap().len();
    let on_disk: u64 = fs::read_dir(&path).unwrap().map(|entry| size(entry.unwrap())).sum();
    assert_eq!(wal.disk_bytes(), on_disk);
    assert_eq!(wal.oldest_block(), Some(block(1)));
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _recovery) = Wal::open(WalOptions::new(dir.path()), metrics()).unwrap();

    let error = Wal::open(WalOptions::new(dir.path()), metrics()).unwrap_err();
    wal.close().await;

    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    Wal::open(WalOptions::new(dir.path()), metrics()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let result = Wal::open(WalOptions::new(dir.path()), metrics());
    if fs::File::create(dir.path().join("root may write anyway")).is_ok() {
        return;
    }

    let error = result.unwrap_err();

    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[test]
fn a_read_only_file_system_is_a_clear_error() {
    let disk = FakeDisk::default();
    disk.fail_next(Operation::Create, std::io::ErrorKind::ReadOnlyFilesystem);

    let error = try_open(&disk).unwrap_err();

    assert_eq!(error.to_string(), "write-ahead log directory /wal is not writable");
}

#[tokio::test]
async fn a_full_disk_can_still_be_opened_and_replayed() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;
    disk.kill_process();
    disk.fail_next(Operation::Create, std::io::ErrorKind::StorageFull);

    let (_wal, recovery) = open(&disk);

    assert_eq!(recover(recovery).0.len(), 1);
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused_and_not_touched() {
    let disk = FakeDisk::default();
    let (wal, _) = open(&disk);
    append(&wal, record(1, 1, 100)).await;
    disk.kill_process();
    let mut bytes = disk.read(&segment(1));
    for copy in bytes[..128].chunks_exact_mut(64) {
        copy[8] = 2;
        let crc = crc32c::crc32c(&copy[..60]);
        copy[60..].copy_from_slice(&crc.to_le_bytes());
    }
    bytes.extend_from_slice(b"what version 2 writes");
    disk.write(&segment(1), &bytes);
    let names = disk.names();

    let error = try_open(&disk).unwrap_err();

    assert!(matches!(error, OpenError::NewerVersion { version: 2, supported: 1, .. }), "{error}");
    assert_eq!(disk.read(&segment(1)), bytes);
    assert_eq!(disk.names(), names);
}

#[tokio::test]
async fn an_empty_newest_segment_is_harmless() {
    for content in [&b""[..], b"TEMPO", &[0; 128]] {
        let disk = FakeDisk::default();
        let (wal, _) = open(&disk);
        append(&wal, record(1, 1, 100)).await;
        disk.kill_process();
        disk.write(&segment(2), content);

        let (wal, recovery) = open(&disk);
        let (records, issues) = recover(recovery);
        append(&wal, record(1, 2, 100)).await;

        assert_eq!(records.len(), 1);
        assert!(issues.is_empty(), "{issues:?}");
        let (records, issues) = crate::fixture::recover_after_kill(&disk);
        assert_eq!(records.iter().map(id).collect::<Vec<_>>(), [1, 2]);
        assert!(issues.is_empty(), "{issues:?}");
    }
}

#[tokio::test]
async fn a_missing_segment_is_reported_and_the_others_are_read() {
    let missing = |issues: &[ReplayIssue]| match issues {
        [ReplayIssue::MissingSegments { first, last }] => (*first, *last),
        other => panic!("{other:?}"),
    };
    for lost in [1, 2, 3] {
        let disk = FakeDisk::default();
        let (wal, _) = open_with_segments_of(&disk, 150);
        for id in 1..=4 {
            append(&wal, record(1, id, 200)).await;
        }
        disk.kill_process();
        disk.remove(&segment(lost));

        let (records, issues) = crate::fixture::recover_after_kill(&disk);

        assert_eq!(missing(&issues), (lost, lost));
        let expected: Vec<_> = (1..=4).filter(|id| *id != lost).collect();
        assert_eq!(records.iter().map(id).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn files_that_are_not_ours_are_left_alone() {
    let disk = FakeDisk::default();
    for name in ["notes.txt", "1.wal", "0000000000000000000x.wal", "blocks"] {
        disk.write(&std::path::Path::new("/wal").join(name), b"mine");
    }

    let (wal, recovery) = open(&disk);
    append(&wal, record(1, 1, 100)).await;

    assert!(recover(recovery).0.is_empty());
    assert_eq!(disk.read(std::path::Path::new("/wal/1.wal")), b"mine");
    assert_eq!(disk.names().len(), 5);
}
