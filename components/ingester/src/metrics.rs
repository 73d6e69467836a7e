//! The ingester's metrics; Tempo's names where it has one.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tempo_model::TenantId;

use crate::cut::CutReason;

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    live_traces: IntGaugeVec,
    live_trace_bytes: IntGaugeVec,
    traces_created: IntCounterVec,
    bytes_received: IntCounterVec,
    heads_cut: IntCounterVec,
    head_memory: IntGauge,
    sealed_heads: IntGauge,
    pushes_refused: IntCounter,
    blocks_flushed: IntCounter,
    failed_flushes: IntCounter,
    flush_retries: IntCounter,
    quarantined: IntGauge,
    complete_duration: Histogram,
    flush_duration: Histogram,
    flush_size: Histogram,
    queue_length: IntGauge,
    replay_errors: IntCounterVec,
    replayed_records: IntCounter,
}

impl Metrics {
    #[expect(clippy::too_many_lines, reason = "one list of all metrics")]
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(name, help).and_then(|m| keep(registry, m));
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).and_then(|m| keep(registry, m));
        let counters = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).and_then(|m| keep(registry, m))
        };
        let gauges = |name: &str, help: &str, label: &str| {
            IntGaugeVec::new(Opts::new(name, help), &[label]).and_then(|m| keep(registry, m))
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let options = HistogramOpts::new(name, help).buckets(buckets);
            Histogram::with_opts(options).and_then(|m| keep(registry, m))
        };
        let seconds = prometheus::exponential_buckets(0.01, 2.0, 14)?;
        let bytes = prometheus::exponential_buckets(1024.0 * 1024.0, 2.0, 10)?;
        Ok(Metrics {
            live_traces: gauges(
                "tempo_ingester_live_traces",
                "The current number of live traces per tenant.",
                "tenant",
            )?,
            live_trace_bytes: gauges(
                "tempo_ingester_live_trace_bytes",
                "The current size of all live traces per tenant, in OTLP bytes.",
                "tenant",
            )?,
            traces_created: counters(
                "tempo_ingester_traces_created_total",
                "The total number of traces created per tenant.",
                "tenant",
            )?,
            bytes_received: counters(
                "tempo_ingester_bytes_received_total",
                "The total bytes received per tenant.",
                "tenant",
            )?,
            heads_cut: counters("tempo_ingester_heads_cut_total", "Heads sealed, by reason.", "reason")?,
            head_memory: gauge(
                "tempo_ingester_head_memory_bytes",
                "Memory of all heads, sealed ones included.",
            )?,
            sealed_heads: gauge("tempo_ingester_sealed_heads", "Sealed heads that are not a block yet.")?,
            pushes_refused: counter(
                "tempo_ingester_pushes_refused_total",
                "Pushes told to come back because every head waits to be written.",
            )?,
            blocks_flushed: counter(
                "tempo_ingester_blocks_flushed_total",
                "The total number of blocks flushed",
            )?,
            failed_flushes: counter(
                "tempo_ingester_failed_flushes_total",
                "The total number of failed flushes",
            )?,
            flush_retries: counter(
                "tempo_ingester_flush_failed_retries_total",
                "The total number of failed retries after a failed flush",
            )?,
            quarantined: gauge(
                "tempo_ingester_quarantined_blocks",
                "Blocks that could not be made; their spans stay in the WAL until somebody looks.",
            )?,
            complete_duration: histogram(
                "tempo_ingester_complete_duration_seconds",
                "Time to make a block of a sealed head.",
                seconds.clone(),
            )?,
            flush_duration: histogram(
                "tempo_ingester_flush_duration_seconds",
                "Records the amount of time to flush a complete block.",
                seconds,
            )?,
            flush_size: histogram(
                "tempo_ingester_flush_size_bytes",
                "Size in bytes of blocks flushed.",
                bytes,
            )?,
            queue_length: gauge(
                "tempo_ingester_flush_queue_length",
                "The total number of heads and blocks pending in the flush queue.",
            )?,
            replay_errors: counters(
                "tempo_ingester_replay_errors_total",
                "The total number of replay errors received per tenant.",
                "tenant",
            )?,
            replayed_records: counter(
                "tempo_ingester_replayed_records_total",
                "WAL records replayed at start.",
            )?,
        })
    }

    pub(crate) fn live(&self, tenant: &TenantId, traces: u64, bytes: u64) {
        self.live_traces.with_label_values(&[tenant.as_str()]).set(signed(traces));
        self.live_trace_bytes.with_label_values(&[tenant.as_str()]).set(signed(bytes));
    }

    /// A tenant without data takes its series with it.
    pub(crate) fn tenant_is_gone(&self, tenant: &TenantId) {
        for gauge in [&self.live_traces, &self.live_trace_bytes] {
            // An error means the series was never made.
            gauge.remove_label_values(&[tenant.as_str()]).ok();
        }
        for counter in [&self.traces_created, &self.bytes_received] {
            counter.remove_label_values(&[tenant.as_str()]).ok();
        }
    }

    pub(crate) fn traces_created(&self, tenant: &TenantId, traces: u64) {
        self.traces_created.with_label_values(&[tenant.as_str()]).inc_by(traces);
    }

    pub(crate) fn bytes_received(&self, tenant: &TenantId, bytes: usize) {
        self.bytes_received.with_label_values(&[tenant.as_str()]).inc_by(bytes as u64);
    }

    pub(crate) fn head_cut(&self, reason: CutReason) {
        self.heads_cut.with_label_values(&[reason.as_str()]).inc();
    }

    pub(crate) fn heads(&self, memory_bytes: usize, sealed: usize) {
        self.head_memory.set(signed(memory_bytes as u64));
        self.sealed_heads.set(signed(sealed as u64));
    }

    pub(crate) fn push_refused(&self) {
        self.pushes_refused.inc();
    }

    pub(crate) fn completed(&self, took: Duration) {
        self.complete_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn flushed(&self, took: Duration, size_bytes: u64) {
        self.blocks_flushed.inc();
        self.flush_duration.observe(took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a histogram bucket needs no exact byte count")]
        self.flush_size.observe(size_bytes as f64);
    }

    pub(crate) fn flush_failed(&self, is_retry: bool) {
        self.failed_flushes.inc();
        if is_retry {
            self.flush_retries.inc();
        }
    }

    pub(crate) fn block_quarantined(&self) {
        self.quarantined.inc();
    }

    pub(crate) fn quarantined_blocks(&self) -> u64 {
        u64::try_from(self.quarantined.get()).unwrap_or(0)
    }

    pub(crate) fn queue_length(&self, blocks: usize) {
        self.queue_length.set(signed(blocks as u64));
    }

    pub(crate) fn record_replayed(&self) {
        self.replayed_records.inc();
    }

    pub(crate) fn replay_failed(&self, tenant: &str) {
        self.replay_errors.with_label_values(&[tenant]).inc();
    }
}

fn keep<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
