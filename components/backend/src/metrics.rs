//! Metrics of object storage and the blocklist, with Tempo's names where it has one.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use tempo_model::TenantId;

/// Handles to this crate's metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    request_duration: HistogramVec,
    requests_hedged: IntCounter,
    requests_repeated: IntCounter,
    available: IntGauge,
    blocklist_length: IntGaugeVec,
    poll_duration: Histogram,
    poll_errors: IntCounterVec,
    poll_last_success: Gauge,
    quarantined_blocks: IntGaugeVec,
    index_errors: IntCounterVec,
    index_builder: IntGaugeVec,
    index_age: IntGaugeVec,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let request_duration = HistogramVec::new(
            HistogramOpts::new(
                "tempodb_backend_request_duration_seconds",
                "Time spent doing backend storage requests.",
            )
            .buckets(prometheus::exponential_buckets(0.0005, 4.0, 8)?),
            &["operation", "status_code"],
        )?;
        let poll_duration = Histogram::with_opts(
            HistogramOpts::new(
                "tempodb_blocklist_poll_duration_seconds",
                "Time to refresh the blocklist of all tenants.",
            )
            .buckets(prometheus::exponential_buckets(0.01, 4.0, 8)?),
        )?;
        let poll_last_success = Gauge::new(
            "tempo_backend_blocklist_poll_last_success_timestamp_seconds",
            "Unix time of the last poll in which every tenant was read.",
        )?;
        let metrics = Metrics {
            request_duration,
            requests_hedged: IntCounter::new(
                "tempodb_backend_hedged_roundtrips_total",
                "Reads that were sent a second time because the first was slow.",
            )?,
            requests_repeated: IntCounter::new(
                "tempo_backend_request_retries_total",
                "Requests to object storage that were repeated after a failure.",
            )?,
            available: IntGauge::new(
                "tempo_backend_available",
                "1 if the last call to object storage was answered, 0 if it failed; /ready says why.",
            )?,
            blocklist_length: gauges(
                "tempodb_blocklist_length",
                "Number of live blocks a tenant has in the blocklist.",
            )?,
            poll_duration,
            poll_errors: counters(
                "tempodb_blocklist_poll_errors_total",
                "Polls of a tenant that failed; the tenant keeps its old list.",
            )?,
            poll_last_success,
            quarantined_blocks: gauges(
                "tempo_backend_blocklist_quarantined_blocks",
                "Blocks left out of the blocklist because their meta cannot be read.",
            )?,
            index_errors: counters(
                "tempodb_blocklist_tenant_index_errors_total",
                "Tenant indexes that could not be read or written.",
            )?,
            index_builder: gauges(
                "tempodb_blocklist_tenant_index_builder",
                "1 if this process builds the tenant's index.",
            )?,
            index_age: gauges(
                "tempodb_blocklist_tenant_index_age_seconds",
                "Age of the tenant's index when it was last read or written.",
            )?,
        };
        metrics.register_all(registry)?;
        Ok(metrics)
    }

    fn register_all(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let Metrics {
            request_duration,
            requests_hedged,
            requests_repeated,
            available,
            blocklist_length,
            poll_duration,
            poll_errors,
            poll_last_success,
            quarantined_blocks,
            index_errors,
            index_builder,
            index_age,
        } = self;
        registry.register(Box::new(request_duration.clone()))?;
        registry.register(Box::new(available.clone()))?;
        for counter in [requests_hedged, requests_repeated] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(poll_duration.clone()))?;
        registry.register(Box::new(poll_last_success.clone()))?;
        for counters in [poll_errors, index_errors] {
            registry.register(Box::new(counters.clone()))?;
        }
        for gauges in [blocklist_length, quarantined_blocks, index_builder, index_age] {
            registry.register(Box::new(gauges.clone()))?;
        }
        Ok(())
    }

    pub(crate) fn request_ended(&self, operation: &str, status_code: &str, took: Duration) {
        self.request_duration.with_label_values(&[operation, status_code]).observe(took.as_secs_f64());
    }

    pub(crate) fn read_hedged(&self) {
        self.requests_hedged.inc();
    }

    pub(crate) fn request_repeated(&self) {
        self.requests_repeated.inc();
    }

    pub(crate) fn available(&self, is_available: bool) {
        self.available.set(i64::from(is_available));
    }

    pub(crate) fn poll_ended(&self, took: Duration) {
        self.poll_duration.observe(took.as_secs_f64());
    }

    #[expect(clippy::cast_precision_loss, reason = "Unix seconds are far below 2^52")]
    pub(crate) fn poll_succeeded(&self, now: Timestamp) {
        self.poll_last_success.set(now.as_second() as f64);
    }

    /// The list of all tenants could not be read.
    pub(crate) fn poll_failed(&self) {
        self.poll_errors.with_label_values(&[""]).inc();
    }

    pub(crate) fn tenant_poll_failed(&self, tenant: &TenantId) {
        self.poll_errors.with_label_values(&[tenant.as_str()]).inc();
    }

    pub(crate) fn tenant_has(&self, tenant: &TenantId, live: usize, quarantined: usize) {
        let label = [tenant.as_str()];
        self.blocklist_length.with_label_values(&label).set(saturated(live));
        self.quarantined_blocks.with_label_values(&label).set(saturated(quarantined));
    }

    pub(crate) fn tenant_index_failed(&self, tenant: &TenantId) {
        self.index_errors.with_label_values(&[tenant.as_str()]).inc();
    }

    pub(crate) fn tenant_index_used(&self, tenant: &TenantId, is_builder: bool, age: Duration) {
        let label = [tenant.as_str()];
        self.index_builder.with_label_values(&label).set(i64::from(is_builder));
        self.index_age.with_label_values(&label).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// Drops the series of a tenant that has no blocks any more.
    pub(crate) fn tenant_gone(&self, tenant: &TenantId) {
        for gauges in [&self.blocklist_length, &self.quarantined_blocks, &self.index_builder, &self.index_age]
        {
            // An error says that there was no such series.
            drop(gauges.remove_label_values(&[tenant.as_str()]));
        }
    }
}

fn gauges(name: &str, help: &str) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), &["tenant"])
}

fn counters(name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help), &["tenant"])
}

fn saturated(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
