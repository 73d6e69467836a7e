//! The operator's metrics. Series that name a TempoCluster are deleted with it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
    process_collector::ProcessCollector,
};

use crate::crd::ConditionType;

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconcileResult {
    /// As wanted, or waiting for something that will wake it.
    Success,
    /// The spec is refused until a human changes it.
    Refused,
    /// To be tried again after a pause.
    Failed,
}

impl ReconcileResult {
    fn as_str(self) -> &'static str {
        match self {
            ReconcileResult::Success => "success",
            ReconcileResult::Refused => "refused",
            ReconcileResult::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Metrics {
    reconciles: IntCounterVec,
    reconcile_duration: Histogram,
    reconciles_running: IntGauge,
    last_success: Gauge,
    writes: IntCounterVec,
    watch_errors: IntCounterVec,
    events: IntCounterVec,
    condition: IntGaugeVec,
    rollout_state: IntGaugeVec,
    leader: IntGauge,
    /// The step last shown of each cluster, by namespace and name: its series goes when the next step comes.
    steps: Arc<Mutex<HashMap<(String, String), &'static str>>>,
}

impl Metrics {
    pub fn register(registry: &Registry, version: &str) -> Result<Metrics, prometheus::Error> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|metric| keep(registry, metric))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).and_then(|metric| keep(registry, metric))
        };
        let gauge =
            |name: &str, help: &str| IntGauge::new(name, help).and_then(|metric| keep(registry, metric));
        let duration =
            HistogramOpts::new("tempo_operator_reconcile_duration_seconds", "Time a reconcile takes.")
                .buckets(prometheus::exponential_buckets(0.002, 2.0, 16)?);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        gauges("tempo_operator_build_info", "The version of the operator; always 1.", &["version"])?
            .with_label_values(&[version])
            .set(1);
        Ok(Metrics {
            reconciles: counters(
                "tempo_operator_reconcile_total",
                "Reconciles by result: success, refused (the spec must change), failed (will be tried again).",
                &["result"],
            )?,
            reconcile_duration: Histogram::with_opts(duration).and_then(|metric| keep(registry, metric))?,
            reconciles_running: gauge("tempo_operator_reconciles_running", "Reconciles that run now.")?,
            last_success: Gauge::new(
                "tempo_operator_last_reconcile_success_timestamp_seconds",
                "When a reconcile last ended without an error.",
            )
            .and_then(|metric| keep(registry, metric))?,
            writes: counters(
                "tempo_operator_writes_total",
                "Requests to the API server that change something. A settled operator makes none.",
                &["resource", "verb"],
            )?,
            watch_errors: counters(
                "tempo_operator_watch_errors_total",
                "Watches that failed and began again.",
                &["resource"],
            )?,
            events: counters(
                "tempo_operator_events_total",
                "Events by type and by what became of them.",
                &["type", "result"],
            )?,
            condition: gauges(
                "tempo_operator_condition",
                "Conditions of each TempoCluster: 1 if the condition is True, else 0.",
                &["namespace", "cluster", "type"],
            )?,
            rollout_state: gauges(
                "tempo_operator_rollout_state",
                "What each TempoCluster waits for: 1 for the current step.",
                &["namespace", "cluster", "step"],
            )?,
            leader: gauge("tempo_operator_leader", "1 if this process leads.")?,
            steps: Arc::default(),
        })
    }

    pub(crate) fn reconcile_began(&self) {
        self.reconciles_running.inc();
    }

    pub(crate) fn reconcile_ended(&self, result: ReconcileResult, took: Duration, now: jiff::Timestamp) {
        self.reconciles_running.dec();
        self.reconciles.with_label_values(&[result.as_str()]).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
        match result {
            ReconcileResult::Success | ReconcileResult::Refused => {
                self.last_success.set(now.as_duration().as_secs_f64());
            }
            ReconcileResult::Failed => {}
        }
    }

    pub(crate) fn wrote(&self, resource: &str, verb: &str) {
        self.writes.with_label_values(&[resource, verb]).inc();
    }

    pub(crate) fn watch_failed(&self, resource: &str) {
        self.watch_errors.with_label_values(&[resource]).inc();
    }

    pub(crate) fn event(&self, kind: &str, result: &str) {
        self.events.with_label_values(&[kind, result]).inc();
    }

    pub(crate) fn lead(&self, is_leader: bool) {
        self.leader.set(i64::from(is_leader));
    }

    pub(crate) fn condition(&self, (namespace, cluster): (&str, &str), condition: &str, is_true: bool) {
        self.condition.with_label_values(&[namespace, cluster, condition]).set(i64::from(is_true));
    }

    pub(crate) fn rollout_step(&self, (namespace, cluster): (&str, &str), step: &'static str) {
        let before = self.steps.lock().insert((namespace.to_owned(), cluster.to_owned()), step);
        if let Some(before) = before.filter(|before| *before != step) {
            // An error means that the series is not there, which is what is wanted.
            self.rollout_state.remove_label_values(&[namespace, cluster, before]).ok();
        }
        self.rollout_state.with_label_values(&[namespace, cluster, step]).set(1);
    }

    /// Deletes the series of a cluster that is gone.
    pub(crate) fn forget(&self, (namespace, cluster): (&str, &str)) {
        for condition in ConditionType::ALL {
            self.condition.remove_label_values(&[namespace, cluster, condition.as_str()]).ok();
        }
        if let Some(step) = self.steps.lock().remove(&(namespace.to_owned(), cluster.to_owned())) {
            self.rollout_state.remove_label_values(&[namespace, cluster, step]).ok();
        }
    }
}

fn keep<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::Metrics;

    #[test]
    fn series_of_a_cluster_go_with_it() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, "1.2.3").expect("fresh registry");
        metrics.condition(("tracing", "traces"), "Ready", true);
        metrics.rollout_step(("tracing", "traces"), "Soaking");
        metrics.rollout_step(("tracing", "traces"), "Complete");
        let text = |registry: &Registry| {
            prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("text format")
        };
        assert!(text(&registry).contains(r#"step="Complete""#));
        assert!(!text(&registry).contains(r#"step="Soaking""#));

        metrics.forget(("tracing", "traces"));

        assert!(!text(&registry).contains("traces"));
    }
}
