//! `rollout` and `deletionPolicy`: how changes reach running pods, and how the cluster ends.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::text::DurationText;

/// `rollout`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("!has(self.soak) || duration(self.soak) <= duration('24h')")
        .message("soak is at most 24h")
        .field_path(".soak"),
    validation = Rule::new(
        "!has(self.progressDeadline) || (duration(self.progressDeadline) >= duration('1m') && duration(self.progressDeadline) <= duration('24h'))"
    )
    .message("progressDeadline is from 1m to 24h")
    .field_path(".progressDeadline"),
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Whether pods are left as they are for now. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How long a restarted pod must be ready before the rollout goes on or counts as done. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<DurationText>,
    /// Time without progress after which the rollout counts as failed. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<DurationText>,
    /// Restarts pods once, carefully, when it changes; write the current time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub restarted_at: Option<String>,
}

/// `deletionPolicy`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new(
        "!has(self.volumes) || self.volumes != 'Delete' || !has(self.drain) || self.drain == 'Flush'"
    )
    .message("volumes are only deleted after a drain: volumes Delete needs drain Flush"),
    validation = Rule::new(
        "!has(self.timeout) || (duration(self.timeout) >= duration('1m') && duration(self.timeout) <= duration('24h'))"
    )
    .message("timeout is from 1m to 24h")
    .field_path(".timeout"),
)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicySpec {
    /// Flush writes everything to the storage before the pods go; Skip does not wait. Default: Flush.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainPolicy>,
    /// How long the deletion waits for the drain. Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Retain keeps the volumes; Delete removes them once everything on them is flushed, which with storage.filesystem
    /// removes all traces. Default: Retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<VolumePolicy>,
}

/// Whether pods are drained before they are deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DrainPolicy {
    #[default]
    Flush,
    Skip,
}

impl DrainPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flush => "Flush",
            Self::Skip => "Skip",
        }
    }
}

/// What becomes of volumes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum VolumePolicy {
    #[default]
    Retain,
    Delete,
}
