//! The distributor's metrics, under Tempo's names where it has one.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, core::Collector};
use tempo_model::TenantId;

use crate::truncate::Truncated;

/// How a request came in: labels of the receiver's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Grpc,
}

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    ingress_bytes: IntCounterVec,
    bytes_received: IntCounterVec,
    spans_received: IntCounterVec,
    discarded_spans: IntCounterVec,
    attributes_truncated: IntCounterVec,
    push_duration: Histogram,
    traces_per_batch: Histogram,
    ingester_appends: IntCounterVec,
    ingester_append_failures: IntCounterVec,
    inflight: InflightMetrics,
    accepted_spans: IntCounterVec,
    refused_spans: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            register(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?)
        };
        Ok(Metrics {
            ingress_bytes: counter(
                "tempo_distributor_ingress_bytes_total",
                "Bytes of requests per tenant before any limit",
                &["tenant"],
            )?,
            bytes_received: counter(
                "tempo_distributor_bytes_received_total",
                "Bytes of requests per tenant that passed the rate limit",
                &["tenant"],
            )?,
            spans_received: counter(
                "tempo_distributor_spans_received_total",
                "Spans per tenant that were taken in",
                &["tenant"],
            )?,
            discarded_spans: counter(
                "tempo_discarded_spans_total",
                "Spans that were discarded, by reason",
                &["reason", "tenant"],
            )?,
            attributes_truncated: counter(
                "tempo_distributor_attributes_truncated_total",
                "Attribute keys and values that were cut, by where they were",
                &["tenant", "scope"],
            )?,
            push_duration: histogram(
                "tempo_distributor_push_duration_seconds",
                "Time from a complete request to its acknowledgement",
                prometheus::exponential_buckets(0.0005, 2.0, 15)?,
            )?,
            traces_per_batch: histogram(
                "tempo_distributor_traces_per_batch",
                "Traces in one request",
                prometheus::exponential_buckets(2.0, 3.0, 7)?,
            )?,
            ingester_appends: counter(
                "tempo_distributor_ingester_appends_total",
                "Batches sent to ingesters",
                &["ingester"],
            )?,
            ingester_append_failures: counter(
                "tempo_distributor_ingester_append_failures_total",
                "Batches that ingesters did not take, by reason",
                &["ingester", "reason"],
            )?,
            inflight: InflightMetrics {
                bytes: register(
                    registry,
                    IntGauge::new("tempo_distributor_inflight_bytes", "Bytes of requests in flight")?,
                )?,
                refused: counter(
                    "tempo_distributor_inflight_refused_total",
                    "Requests that were refused while bytes in flight were full, or the distributor was draining",
                    &["reason"],
                )?,
            },
            accepted_spans: counter(
                "tempo_receiver_accepted_spans",
                "Spans that a receiver passed on",
                &["receiver", "transport"],
            )?,
            refused_spans: counter(
                "tempo_receiver_refused_spans",
                "Spans that a receiver could not pass on",
                &["receiver", "transport"],
            )?,
        })
    }

    pub(crate) fn request_came(&self, tenant: &TenantId, bytes: usize) {
        self.ingress_bytes.with_label_values(&[tenant.as_str()]).inc_by(bytes as u64);
    }

    pub(crate) fn request_passed_limits(&self, tenant: &TenantId, bytes: usize) {
        self.bytes_received.with_label_values(&[tenant.as_str()]).inc_by(bytes as u64);
    }

    pub(crate) fn spans_came(&self, tenant: &TenantId, spans: u64) {
        self.spans_received.with_label_values(&[tenant.as_str()]).inc_by(spans);
    }

    pub(crate) fn spans_discarded(&self, reason: &str, tenant: &TenantId, spans: u64) {
        self.discarded_spans.with_label_values(&[reason, tenant.as_str()]).inc_by(spans);
    }

    pub(crate) fn attributes_truncated(&self, tenant: &TenantId, truncated: &Truncated) {
        let Truncated { span, resource, scope, event, link } = *truncated;
        let places =
            [("span", span), ("resource", resource), ("scope", scope), ("event", event), ("link", link)];
        for (place, count) in places.into_iter().filter(|(_, count)| *count > 0) {
            self.attributes_truncated.with_label_values(&[tenant.as_str(), place]).inc_by(count);
        }
    }

    pub(crate) fn batch_built(&self, traces: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a request has far fewer than 2^53 traces")]
        self.traces_per_batch.observe(traces as f64);
    }

    pub(crate) fn batch_sent(&self) {
        self.ingester_appends.with_label_values(&["local"]).inc();
    }

    pub(crate) fn batch_failed(&self, reason: &str) {
        self.ingester_append_failures.with_label_values(&["local", reason]).inc();
    }

    pub(crate) fn pushed(&self, seconds: f64) {
        self.push_duration.observe(seconds);
    }

    pub(crate) fn inflight(&self) -> &InflightMetrics {
        &self.inflight
    }

    pub(crate) fn receiver_accepted(&self, transport: Transport, spans: u64) {
        self.accepted_spans.with_label_values(&["otlp", transport.as_str()]).inc_by(spans);
    }

    pub(crate) fn receiver_refused(&self, transport: Transport, spans: u64) {
        self.refused_spans.with_label_values(&["otlp", transport.as_str()]).inc_by(spans);
    }
}

/// What `inflight` counts.
#[derive(Debug, Clone)]
pub(crate) struct InflightMetrics {
    bytes: IntGauge,
    refused: IntCounterVec,
}

impl InflightMetrics {
    pub(crate) fn taken(&self, bytes: usize) {
        self.bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn given_back(&self, bytes: usize) {
        self.bytes.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}

impl Transport {
    fn as_str(self) -> &'static str {
        match self {
            Transport::Http => "http",
            Transport::Grpc => "grpc",
        }
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
