//! What the log tells about itself. The caller gives the registry; nothing is registered globally.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::{AppendError, ReplayIssue};

/// Which step of the disk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Write,
    Sync,
    Remove,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Sync => "sync",
            Operation::Remove => "remove",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Metrics {
    records: IntCounter,
    payload_bytes: IntCounter,
    written_bytes: IntCounter,
    sync_duration: Histogram,
    commit_records: Histogram,
    errors: IntCounterVec,
    rejected: IntCounterVec,
    segments: IntGauge,
    disk_bytes: IntGauge,
    pending_bytes: IntGauge,
    damaged_segments: IntGauge,
    replayed_records: IntCounter,
    replayed_bytes: IntCounter,
    replay_issues: IntCounterVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str, buckets| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let seconds = prometheus::exponential_buckets(0.000_1, 2.0, 16)?;
        let batch = prometheus::exponential_buckets(1.0, 2.0, 11)?;
        Ok(Metrics {
            records: counter("tempo_ingester_wal_records_total", "Records acknowledged by the WAL.")?,
            payload_bytes: counter(
                "tempo_ingester_wal_payload_bytes_total",
                "Bytes of acknowledged records before compression.",
            )?,
            written_bytes: counter(
                "tempo_ingester_wal_written_bytes_total",
                "Bytes written to WAL segments.",
            )?,
            sync_duration: histogram(
                "tempo_ingester_wal_sync_duration_seconds",
                "Time to make one group of records durable.",
                seconds,
            )?,
            commit_records: histogram(
                "tempo_ingester_wal_commit_records",
                "Records that shared one write and one sync.",
                batch,
            )?,
            errors: counters(
                "tempo_ingester_wal_errors_total",
                "Failed operations on WAL files; the log moves to a new segment.",
                "operation",
            )?,
            rejected: counters(
                "tempo_ingester_wal_rejected_records_total",
                "Records refused before they were written.",
                "reason",
            )?,
            segments: gauge("tempo_ingester_wal_segments", "Segment files of the WAL.")?,
            disk_bytes: gauge("tempo_ingester_wal_disk_bytes", "Bytes in WAL segment files.")?,
            pending_bytes: gauge("tempo_ingester_wal_pending_bytes", "Bytes that wait for the disk.")?,
            damaged_segments: gauge(
                "tempo_ingester_wal_damaged_segments",
                "Segment files that were set aside because they were damaged, as seen at start.",
            )?,
            replayed_records: counter(
                "tempo_ingester_wal_replayed_records_total",
                "Records read back at start.",
            )?,
            replayed_bytes: counter(
                "tempo_ingester_wal_replayed_bytes_total",
                "Bytes of records read back at start, before compression.",
            )?,
            replay_issues: counters(
                "tempo_ingester_wal_replay_issues_total",
                "What was found torn, damaged or missing at start.",
                "kind",
            )?,
        })
    }

    pub(crate) fn committed(
        &self,
        records: usize,
        payload_bytes: usize,
        written_bytes: usize,
        sync: Duration,
    ) {
        self.records.inc_by(records as u64);
        self.payload_bytes.inc_by(payload_bytes as u64);
        self.written_bytes.inc_by(written_bytes as u64);
        self.sync_duration.observe(sync.as_secs_f64());
        self.commit_records.observe(records as f64);
    }

    pub(crate) fn failed(&self, operation: Operation) {
        self.errors.with_label_values(&[operation.as_str()]).inc();
    }

    pub(crate) fn rejected(&self, error: &AppendError) {
        let reason = match error {
            AppendError::Full { pending_bytes: _, limit_bytes: _ } => "full",
            AppendError::TooLarge { bytes: _, limit_bytes: _ } => "too_large",
            AppendError::Closed => "closed",
            AppendError::Io { operation: _, path: _, source: _ } => "io",
        };
        self.rejected.with_label_values(&[reason]).inc();
    }

    pub(crate) fn set_disk(&self, segments: usize, bytes: u64) {
        self.segments.set(i64::try_from(segments).unwrap_or(i64::MAX));
        self.disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_pending(&self, bytes: usize) {
        self.pending_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn set_damaged_segments(&self, files: usize) {
        self.damaged_segments.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    pub(crate) fn replayed(&self, payload_bytes: usize) {
        self.replayed_records.inc();
        self.replayed_bytes.inc_by(payload_bytes as u64);
    }

    pub(crate) fn replay_issue(&self, issue: &ReplayIssue) {
        self.replay_issues.with_label_values(&[issue.kind()]).inc();
    }
}
