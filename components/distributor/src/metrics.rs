//! The distributor's metrics, under Tempo's names where it has one.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, core::Collector};
use tempo_model::TenantId;

use crate::truncate::Truncated;

/// How a request came in: labels of the receivers' metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    OtlpHttp,
    OtlpGrpc,
    JaegerGrpc,
    JaegerThriftHttp,
    JaegerThriftCompact,
    JaegerThriftBinary,
    ZipkinV1Json,
    ZipkinV1Thrift,
    ZipkinV2Json,
    ZipkinV2Protobuf,
}

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatagramDropped {
    /// Larger than `max_packet_size`.
    TooLarge,
    /// No thrift message, or none that carries Jaeger spans.
    Malformed,
    /// More than `queue_size` were waiting.
    QueueFull,
    /// Bytes in flight were used up, or the distributor is draining.
    Refused,
    /// By the kernel, because the socket's buffer was full.
    SocketBufferFull,
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
    receivers: ReceiverMetrics,
}

/// What each receiver counts.
#[derive(Debug, Clone)]
struct ReceiverMetrics {
    accepted_spans: IntCounterVec,
    refused_spans: IntCounterVec,
    datagrams: IntCounterVec,
    datagrams_dropped: IntCounterVec,
}

impl ReceiverMetrics {
    fn register(registry: &Registry) -> Result<ReceiverMetrics, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        Ok(ReceiverMetrics {
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
            datagrams: counter(
                "tempo_receiver_datagrams_total",
                "Datagrams that a receiver read from its socket",
                &["receiver", "transport"],
            )?,
            datagrams_dropped: counter(
                "tempo_receiver_datagrams_dropped_total",
                "Datagrams that were dropped with all their spans, by reason",
                &["receiver", "transport", "reason"],
            )?,
        })
    }
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
            receivers: ReceiverMetrics::register(registry)?,
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
        self.receivers.accepted_spans.with_label_values(&transport.labels()).inc_by(spans);
    }

    pub(crate) fn receiver_refused(&self, transport: Transport, spans: u64) {
        self.receivers.refused_spans.with_label_values(&transport.labels()).inc_by(spans);
    }

    pub(crate) fn datagrams_came(&self, transport: Transport, datagrams: u64) {
        self.receivers.datagrams.with_label_values(&transport.labels()).inc_by(datagrams);
    }

    pub(crate) fn datagrams_dropped(&self, transport: Transport, reason: DatagramDropped, datagrams: u64) {
        let [receiver, transport] = transport.labels();
        let labels = [receiver, transport, reason.as_str()];
        self.receivers.datagrams_dropped.with_label_values(&labels).inc_by(datagrams);
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
    /// Receiver and transport, in the OpenTelemetry collector's words.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Transport::OtlpHttp => ["otlp", "http"],
            Transport::OtlpGrpc => ["otlp", "grpc"],
            Transport::JaegerGrpc => ["jaeger", "grpc"],
            Transport::JaegerThriftHttp => ["jaeger", "collector_http"],
            Transport::JaegerThriftCompact => ["jaeger", "udp_thrift_compact"],
            Transport::JaegerThriftBinary => ["jaeger", "udp_thrift_binary"],
            Transport::ZipkinV1Json => ["zipkin", "http_v1_json"],
            Transport::ZipkinV1Thrift => ["zipkin", "http_v1_thrift"],
            Transport::ZipkinV2Json => ["zipkin", "http_v2_json"],
            Transport::ZipkinV2Protobuf => ["zipkin", "http_v2_proto"],
        }
    }
}

impl DatagramDropped {
    fn as_str(self) -> &'static str {
        match self {
            DatagramDropped::TooLarge => "too_large",
            DatagramDropped::Malformed => "malformed",
            DatagramDropped::QueueFull => "queue_full",
            DatagramDropped::Refused => "refused",
            DatagramDropped::SocketBufferFull => "socket_buffer_full",
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
