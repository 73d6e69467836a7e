//! Metrics of the listeners, with the names and labels of Tempo's server library.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntGaugeVec, Opts, Registry};

const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

#[derive(Debug, Clone)]
pub struct Metrics {
    request_duration: HistogramVec,
    inflight: IntGaugeVec,
    connections: IntGaugeVec,
    connections_limit: IntGaugeVec,
    panics: IntCounter,
}

impl Metrics {
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let request_duration = HistogramVec::new(
            HistogramOpts::new(
                "tempo_request_duration_seconds",
                "Time (in seconds) spent serving HTTP requests.",
            )
            .buckets(BUCKETS.to_vec()),
            &["method", "route", "status_code", "ws"],
        )?;
        let inflight = IntGaugeVec::new(
            Opts::new("tempo_inflight_requests", "Current number of inflight requests."),
            &["method", "route"],
        )?;
        let connections = IntGaugeVec::new(
            Opts::new("tempo_tcp_connections", "Current number of accepted TCP connections."),
            &["protocol"],
        )?;
        let connections_limit = IntGaugeVec::new(
            Opts::new(
                "tempo_tcp_connections_limit",
                "The max number of TCP connections that can be accepted.",
            ),
            &["protocol"],
        )?;
        let panics = IntCounter::new("tempo_panic_total", "The total number of panic.")?;
        registry.register(Box::new(request_duration.clone()))?;
        registry.register(Box::new(inflight.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(connections_limit.clone()))?;
        registry.register(Box::new(panics.clone()))?;
        Ok(Metrics { request_duration, inflight, connections, connections_limit, panics })
    }

    /// Counts the request as inflight until the guard is dropped.
    pub(super) fn started(&self, method: &str, route: &str) -> Inflight {
        let gauge = self.inflight.with_label_values(&[method, route]);
        gauge.inc();
        Inflight(gauge)
    }

    pub(super) fn finished(&self, method: &str, route: &str, status: &str, lasted: Duration) {
        let labels = [method, route, status, "false"];
        self.request_duration.with_label_values(&labels).observe(lasted.as_secs_f64());
    }

    pub(super) fn panicked(&self) {
        self.panics.inc();
    }

    pub(super) fn connection_limit(&self, listener: &str, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connections_limit.with_label_values(&[listener]).set(limit);
    }

    /// Counts the connection until the guard is dropped.
    pub(super) fn connected(&self, listener: &str) -> Inflight {
        let gauge = self.connections.with_label_values(&[listener]);
        gauge.inc();
        Inflight(gauge)
    }
}

/// Takes one from its gauge when dropped.
#[derive(Debug)]
pub(super) struct Inflight(prometheus::IntGauge);

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
