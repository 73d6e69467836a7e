//! A segment written by the first version must stay readable. `golden/00000000000000000007.wal` was written once by
//! [`write_golden`]; if the format changes, keep it and add another beside it.

use std::{fs, path::Path};

use bytes::Bytes;
use tempo_model::TenantId;
use tempo_wal::{Record, Wal, WalOptions};

use crate::{
    fake_disk::FakeDisk,
    fixture::{append, block, metrics, open, recover, segment},
};

const NUMBER: u64 = 7;

fn golden_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/00000000000000000007.wal")
}

fn written() -> Vec<Record> {
    let tenant = |text| TenantId::parse(text).unwrap();
    let repeated = "GET /api/products/{id} 200 ".repeat(40);
    vec![
        Record { block: block(1), tenant: TenantId::single(), payload: Bytes::from_static(b"short, stored") },
        Record { block: block(2), tenant: tenant("team-a"), payload: Bytes::from(repeated) },
        Record { block: block(3), tenant: tenant("released"), payload: Bytes::from_static(b"not wanted") },
        Record { block: block(1), tenant: TenantId::single(), payload: Bytes::new() },
    ]
}

#[test]
fn a_segment_of_version_1_still_reads() {
    let disk = FakeDisk::default();
    disk.write(&segment(NUMBER), &fs::read(golden_path()).unwrap());

    let (wal, recovery) = open(&disk);
    let (records, issues) = recover(recovery);

    let mut expected = written();
    expected.remove(2);
    assert_eq!(records, expected);
    assert!(issues.is_empty(), "{issues:?}");
    assert_eq!(wal.oldest_block(), Some(block(1)));
}

#[tokio::test]
#[ignore = "writes the golden file anew"]
async fn write_golden() {
    let dir = tempfile::tempdir().unwrap();
    // Numbers go on behind what was set aside.
    fs::write(dir.path().join(format!("{:020}.wal.damaged", NUMBER - 1)), b"").unwrap();
    let (wal, _) = Wal::open(WalOptions::new(dir.path()), metrics()).unwrap();
    for record in written() {
        append(&wal, record).await;
    }
    wal.release(block(3)).await.unwrap();
    wal.close().await;
    fs::create_dir_all(golden_path().parent().unwrap()).unwrap();
    fs::copy(dir.path().join(format!("{NUMBER:020}.wal")), golden_path()).unwrap();
}
