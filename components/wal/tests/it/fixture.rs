//! Opening logs and making records, for all tests here.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use prometheus::Registry;
use tempo_model::{BlockId, TenantId};
use tempo_wal::{Filesystem, Metrics, OpenError, Record, Recovery, ReplayIssue, Wal, WalOptions};

use crate::fake_disk::{FakeDisk, Random};

pub(crate) const DIR: &str = "/wal";

pub(crate) fn segment(number: u64) -> PathBuf {
    PathBuf::from(DIR).join(format!("{number:020}.wal"))
}

pub(crate) fn options(filesystem: Arc<dyn Filesystem>) -> WalOptions {
    WalOptions { filesystem, ..WalOptions::new(DIR) }
}

pub(crate) fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

pub(crate) fn try_open(disk: &FakeDisk) -> Result<(Wal, Recovery), OpenError> {
    Wal::open(options(disk.boot()), metrics())
}

pub(crate) fn open(disk: &FakeDisk) -> (Wal, Recovery) {
    try_open(disk).unwrap()
}

pub(crate) fn open_with_segments_of(disk: &FakeDisk, segment_bytes: u64) -> (Wal, Recovery) {
    Wal::open(WalOptions { segment_bytes, ..options(disk.boot()) }, metrics()).unwrap()
}

/// The block with this number.
pub(crate) fn block(number: u8) -> BlockId {
    BlockId::from_bytes([number; 16])
}

/// A record whose payload begins with its id and goes on half compressible.
pub(crate) fn record(block_number: u8, id: u64, size: usize) -> Record {
    let mut random = Random(id);
    let mut payload = id.to_le_bytes().to_vec();
    while payload.len() < size + 8 {
        payload.extend_from_slice(&random.next().to_le_bytes());
        payload.extend_from_slice(b"service.name=cart");
    }
    payload.truncate(size + 8);
    let tenant = TenantId::parse(&format!("tenant-{}", block_number % 3)).unwrap();
    Record { block: block(block_number), tenant, payload: Bytes::from(payload) }
}

pub(crate) fn id(record: &Record) -> u64 {
    u64::from_le_bytes(record.payload[..8].try_into().unwrap())
}

pub(crate) async fn append(wal: &Wal, record: Record) {
    wal.append(record).unwrap().synced().await.unwrap();
}

pub(crate) fn recover(recovery: Recovery) -> (Vec<Record>, Vec<ReplayIssue>) {
    let mut records = Vec::new();
    let mut issues = Vec::new();
    for item in recovery {
        match item {
            Ok(record) => records.push(record),
            Err(issue) => issues.push(issue),
        }
    }
    (records, issues)
}

/// Reopens after the process was killed and returns what comes back.
pub(crate) fn recover_after_kill(disk: &FakeDisk) -> (Vec<Record>, Vec<ReplayIssue>) {
    disk.kill_process();
    let (_wal, recovery) = open(disk);
    let recovered = recover(recovery);
    disk.kill_process();
    recovered
}
