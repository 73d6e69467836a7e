//! What the tokio runtime did during an interval, as JSON lines (`/debug/pprof/trace`; not Go's trace format).
//!
//! One object per interval:
//! - `ts` RFC 3339 end of the interval; `interval_ms` its real length;
//! - `workers` number of worker threads; `alive_tasks`, `global_queue_depth` at the end of the interval;
//! - `busy` per worker: the share of the interval spent polling tasks, 0 to 1;
//! - `parks` per worker: how often it went to sleep in the interval.

use std::time::Duration;

use serde::Serialize;
use tokio::{runtime::RuntimeMetrics, time::Instant};

use super::ProfileError;

#[derive(Serialize)]
struct Line {
    ts: String,
    interval_ms: u64,
    workers: usize,
    alive_tasks: usize,
    global_queue_depth: usize,
    busy: Vec<f64>,
    parks: Vec<u64>,
}

pub(super) async fn record(lasting: Duration, interval: Duration) -> Result<String, ProfileError> {
    let metrics = tokio::runtime::Handle::current().metrics();
    let end = Instant::now() + lasting;
    let mut out = String::new();
    let mut before = Sample::take(&metrics);
    while before.at < end {
        tokio::time::sleep(interval).await;
        let after = Sample::take(&metrics);
        let line = before.line_until(&after, &metrics);
        out.push_str(&serde_json::to_string(&line).map_err(|e| ProfileError::Failed(e.to_string()))?);
        out.push('\n');
        before = after;
    }
    Ok(out)
}

struct Sample {
    at: Instant,
    busy: Vec<Duration>,
    parks: Vec<u64>,
}

impl Sample {
    fn take(metrics: &RuntimeMetrics) -> Sample {
        let workers = 0..metrics.num_workers();
        Sample {
            at: Instant::now(),
            busy: workers.clone().map(|w| metrics.worker_total_busy_duration(w)).collect(),
            parks: workers.map(|w| metrics.worker_park_count(w)).collect(),
        }
    }

    fn line_until(&self, after: &Sample, metrics: &RuntimeMetrics) -> Line {
        let elapsed = after.at.duration_since(self.at);
        let share = |(before, after): (&Duration, &Duration)| {
            let share = after.saturating_sub(*before).as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
            (share.min(1.0) * 1000.0).round() / 1000.0
        };
        Line {
            ts: jiff::Timestamp::now().to_string(),
            interval_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            workers: metrics.num_workers(),
            alive_tasks: metrics.num_alive_tasks(),
            global_queue_depth: metrics.global_queue_depth(),
            busy: self.busy.iter().zip(&after.busy).map(share).collect(),
            parks: self.parks.iter().zip(&after.parks).map(|(b, a)| a.saturating_sub(*b)).collect(),
        }
    }
}
