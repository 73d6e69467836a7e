//! Metrics of the query-frontend, under Tempo's names where it has one.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};
use tempo_model::TenantId;
use tokio::time::{Duration, Instant};

/// The operation label of a lookup by id.
const TRACES: &str = "traces";

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    queries: IntCounterVec,
    queries_within_slo: IntCounterVec,
    bytes_inspected: IntCounterVec,
    bytes_per_second: HistogramVec,
    retries: Histogram,
    queue_length: IntGaugeVec,
    queue_duration: Histogram,
    discarded_requests: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let query_labels = &["tenant", "op", "result"];
        let metrics = Metrics {
            queries: IntCounterVec::new(
                Opts::new("tempo_query_frontend_queries_total", "Queries, by how they ended."),
                query_labels,
            )?,
            queries_within_slo: IntCounterVec::new(
                Opts::new("tempo_query_frontend_queries_within_slo_total", "Queries within the objective."),
                query_labels,
            )?,
            bytes_inspected: IntCounterVec::new(
                Opts::new(
                    "tempo_query_frontend_bytes_inspected_total",
                    "Bytes that queriers read to answer.",
                ),
                &["tenant", "op"],
            )?,
            bytes_per_second: HistogramVec::new(
                HistogramOpts::new(
                    "tempo_query_frontend_bytes_processed_per_second",
                    "Bytes a second that queriers read for one query.",
                )
                .buckets(exponential_buckets(8.0 * 1024.0 * 1024.0, 2.0, 12)?),
                &["tenant", "op"],
            )?,
            retries: Histogram::with_opts(
                HistogramOpts::new("tempo_query_frontend_retries", "Times a job was tried again.")
                    .buckets(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            )?,
            queue_length: IntGaugeVec::new(
                Opts::new("tempo_query_frontend_queue_length", "Jobs waiting for a querier."),
                &["user"],
            )?,
            queue_duration: Histogram::with_opts(HistogramOpts::new(
                "tempo_query_frontend_queue_duration_seconds",
                "Time a job waited for a querier.",
            ))?,
            discarded_requests: IntCounterVec::new(
                Opts::new("tempo_query_frontend_discarded_requests_total", "Jobs refused by a full queue."),
                &["user"],
            )?,
        };
        registry.register(Box::new(metrics.queries.clone()))?;
        registry.register(Box::new(metrics.queries_within_slo.clone()))?;
        registry.register(Box::new(metrics.bytes_inspected.clone()))?;
        registry.register(Box::new(metrics.bytes_per_second.clone()))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.queue_length.clone()))?;
        registry.register(Box::new(metrics.queue_duration.clone()))?;
        registry.register(Box::new(metrics.discarded_requests.clone()))?;
        Ok(metrics)
    }

    /// Starts the clock of one lookup by id; it counts as canceled unless [`RunningQuery::finished`] is called.
    pub(crate) fn trace_query_started(&self, tenants: String, slo: Slo) -> RunningQuery {
        RunningQuery { metrics: self.clone(), tenants, slo, started: Instant::now(), is_finished: false }
    }

    pub(crate) fn job_finished(&self, retries: u32) {
        self.retries.observe(f64::from(retries));
    }

    pub(crate) fn job_left_queue(&self, waited: Duration) {
        self.queue_duration.observe(waited.as_secs_f64());
    }

    pub(crate) fn queue_is(&self, tenant: &TenantId, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.queue_length.with_label_values(&[tenant.as_str()]).set(waiting);
    }

    pub(crate) fn job_discarded(&self, tenant: &TenantId) {
        self.discarded_requests.with_label_values(&[tenant.as_str()]).inc();
    }
}

/// The objective of one kind of query; a zero is not part of it, all zero: every query meets it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slo {
    pub(crate) duration: Duration,
    pub(crate) throughput_bytes: u64,
}

/// A query between its arrival and its answer.
#[derive(Debug)]
pub(crate) struct RunningQuery {
    metrics: Metrics,
    tenants: String,
    slo: Slo,
    started: Instant,
    is_finished: bool,
}

impl RunningQuery {
    /// The query was answered with a result after reading so many bytes.
    pub(crate) fn finished(mut self, inspected_bytes: u64) {
        self.is_finished = true;
        let Slo { duration, throughput_bytes } = self.slo;
        let took = self.started.elapsed();
        // A float's 53 bits are enough for a rate.
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let bytes_per_second = inspected_bytes as f64 / took.as_secs_f64().max(1e-9);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
        let wanted_bytes_per_second = throughput_bytes as f64;
        let has_slo = !duration.is_zero() || throughput_bytes > 0;
        let is_fast = !duration.is_zero() && took <= duration;
        let is_busy = throughput_bytes > 0 && bytes_per_second >= wanted_bytes_per_second;

        let query = [self.tenants.as_str(), TRACES, "completed"];
        self.metrics.queries.with_label_values(&query).inc();
        if !has_slo || is_fast || is_busy {
            self.metrics.queries_within_slo.with_label_values(&query).inc();
        }
        let labels = [self.tenants.as_str(), TRACES];
        self.metrics.bytes_inspected.with_label_values(&labels).inc_by(inspected_bytes);
        self.metrics.bytes_per_second.with_label_values(&labels).observe(bytes_per_second);
    }

    /// The query was answered with an error.
    pub(crate) fn failed(mut self) {
        self.is_finished = true;
        self.metrics.queries.with_label_values(&[self.tenants.as_str(), TRACES, "failed"]).inc();
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        if !self.is_finished {
            self.metrics.queries.with_label_values(&[self.tenants.as_str(), TRACES, "canceled"]).inc();
        }
    }
}
