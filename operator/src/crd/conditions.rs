//! The conditions of a TempoCluster: which there are and what each means. Who sets them when is in `status.rs`.
//!
//! All of them are always present, so that `kubectl wait --for=condition=..` never waits for one that cannot come.

use std::fmt;

/// A condition of a TempoCluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Serving, and everything is as the spec says.
    Ready,
    /// Serving, maybe with an older spec.
    Available,
    /// A change is under way; the reason is the step.
    Progressing,
    /// Something needs a look.
    Degraded,
    /// kstatus: the operator is at work on the current generation.
    Reconciling,
    /// kstatus: the operator cannot go on without a change by a human.
    Stalled,
    /// The object storage is described completely, and its Secret is there.
    StorageReady,
    /// The rendered configuration is one that Tempo accepts.
    ConfigValid,
    /// Something unflushed is on a pod or volume that is not coming back by itself.
    DataAtRisk,
    /// `managementState` is not Managed.
    ReconciliationPaused,
}

impl ConditionType {
    /// All conditions, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Ready,
        Self::Available,
        Self::Progressing,
        Self::Degraded,
        Self::Reconciling,
        Self::Stalled,
        Self::StorageReady,
        Self::ConfigValid,
        Self::DataAtRisk,
        Self::ReconciliationPaused,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Available => "Available",
            Self::Progressing => "Progressing",
            Self::Degraded => "Degraded",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::StorageReady => "StorageReady",
            Self::ConfigValid => "ConfigValid",
            Self::DataAtRisk => "DataAtRisk",
            Self::ReconciliationPaused => "ReconciliationPaused",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
