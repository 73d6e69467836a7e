//! `rollout` and `deletionPolicy` with their defaults. The planner uses them also for a cluster that is refused otherwise.

use std::time::Duration;

use super::Refusal;
use crate::crd::{ConditionType, DeletionPolicySpec, DrainPolicy, DurationText, RolloutSpec, VolumePolicy};

/// How changes reach running pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    pub is_paused: bool,
    pub soak: Duration,
    pub progress_deadline: Duration,
    /// As the user wrote it; a new value restarts pods once.
    pub restarted_at: Option<String>,
}

impl Rollout {
    /// Applies defaults.
    pub fn of(spec: Option<&RolloutSpec>) -> Result<Self, Refusal> {
        let spec = spec.cloned().unwrap_or_default();
        Ok(Self {
            is_paused: spec.paused.unwrap_or(false),
            soak: duration("rollout.soak", spec.soak.as_ref(), Duration::from_secs(60))?,
            progress_deadline: duration(
                "rollout.progressDeadline",
                spec.progress_deadline.as_ref(),
                Duration::from_secs(30 * 60),
            )?,
            restarted_at: spec.restarted_at,
        })
    }
}

/// What happens when the TempoCluster is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    pub drain: DrainPolicy,
    pub timeout: Duration,
    pub volumes: VolumePolicy,
}

impl Deletion {
    /// Applies defaults.
    pub fn of(spec: Option<&DeletionPolicySpec>) -> Result<Self, Refusal> {
        let spec = spec.cloned().unwrap_or_default();
        Ok(Self {
            drain: spec.drain.unwrap_or_default(),
            timeout: duration("deletionPolicy.timeout", spec.timeout.as_ref(), Duration::from_secs(15 * 60))?,
            volumes: spec.volumes.unwrap_or_default(),
        })
    }
}

/// The schema lets nothing through that cannot be parsed, but for sums that are too long.
fn duration(path: &str, text: Option<&DurationText>, default: Duration) -> Result<Duration, Refusal> {
    let Some(text) = text else { return Ok(default) };
    text.parse()
        .map_err(|error| Refusal::spec(ConditionType::Stalled, "InvalidSpec", format!("{path}: {error}")))
}

/// A duration as the status shows it: in the largest unit that divides it.
pub(super) fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis > 0 && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}
