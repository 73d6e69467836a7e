//! Metrics of the querier.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use tokio::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    jobs: IntCounterVec,
    job_duration: Histogram,
    blocks: IntCounterVec,
    inspected_bytes: IntCounter,
}

/// What looking in one block led to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BlockResult {
    Found,
    NotFound,
    /// Compacted and deleted meanwhile.
    Gone,
    Failed,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let metrics = Metrics {
            jobs: IntCounterVec::new(
                Opts::new("tempo_querier_trace_by_id_jobs_total", "Lookups by id, by how they ended."),
                &["result"],
            )?,
            job_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "tempo_querier_trace_by_id_job_duration_seconds",
                    "Time a lookup by id took.",
                )
                .buckets(prometheus::exponential_buckets(0.000_25, 4.0, 10)?),
            )?,
            blocks: IntCounterVec::new(
                Opts::new("tempo_querier_trace_by_id_blocks_total", "Blocks looked in, by what was found."),
                &["result"],
            )?,
            inspected_bytes: IntCounter::new(
                "tempo_querier_trace_by_id_inspected_bytes_total",
                "Bytes read from the backend to find traces by id.",
            )?,
        };
        registry.register(Box::new(metrics.jobs.clone()))?;
        registry.register(Box::new(metrics.job_duration.clone()))?;
        registry.register(Box::new(metrics.blocks.clone()))?;
        registry.register(Box::new(metrics.inspected_bytes.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn job_finished(&self, succeeded: bool, took: Duration) {
        self.jobs.with_label_values(&[if succeeded { "succeeded" } else { "failed" }]).inc();
        self.job_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn block_searched(&self, result: BlockResult, inspected_bytes: u64) {
        let label = match result {
            BlockResult::Found => "found",
            BlockResult::NotFound => "not_found",
            BlockResult::Gone => "gone",
            BlockResult::Failed => "failed",
        };
        self.blocks.with_label_values(&[label]).inc();
        self.inspected_bytes.inc_by(inspected_bytes);
    }
}
