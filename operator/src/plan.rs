//! What to do next: a pure function of what is wanted and what is there. It does no I/O, takes the time as an argument,
//! remembers nothing and reads no `.status` of the cluster, so an operator that is killed anywhere goes on where it was.
//!
//! `roll.rs` plans for a cluster that lives, `removal.rs` for one that is being deleted. Whatever is there:
//!
//! - one action at a time, and never one that takes a working pod away while another pod is not ready;
//! - whatever takes a pod, a volume or the StatefulSet names it by uid;
//! - a volume is deleted only with the proof on it that it is empty;
//! - a pod is outdated when its revision is not the StatefulSet's, in whichever direction: going back is going forward;
//! - a deadline changes what is reported, never what is done.

mod removal;
mod roll;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt as _;

use crate::{
    crd::{DrainPolicy, TempoCluster, VolumePolicy},
    observe::{Observed, PodView, Problem, Record, VolumeView},
    volumes::{Shape, VolumeRef},
};

/// Takes the cluster's drain off: it is deleted at once, its volumes stay.
pub const SKIP_DRAIN: &str = "tempo-rs.dev/skip-drain";
/// Keeps a deleted cluster until it is drained.
pub const FINALIZER: &str = "tempo-rs.dev/drain";

const DEFAULT_SOAK: Duration = Duration::from_secs(60);
const DEFAULT_PROGRESS_DEADLINE: Duration = Duration::from_mins(30);
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_mins(15);

/// When to look again although nothing was heard: while something is under way, and when all is well.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN_DRAINING: Duration = Duration::from_secs(2);
const LOOK_AGAIN_SETTLED: Duration = Duration::from_mins(10);
/// An action's effect is usually heard of before.
const AFTER_ACTION: Duration = Duration::from_secs(2);

/// What the user wants, as far as the planner goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    pub replicas: u32,
    /// Pods are left as they are.
    pub is_paused: bool,
    pub soak: Duration,
    pub progress_deadline: Duration,
    /// `None` when nothing was rendered.
    pub shape: Option<Shape>,
    pub removal: Option<Removal>,
}

/// How a cluster that is being deleted ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub since: Timestamp,
    pub timeout: Duration,
    pub volumes: VolumePolicy,
    /// Why nothing is drained, if so.
    pub skipped: Option<&'static str>,
    /// Pods that are not running cannot start any more.
    pub is_secret_missing: bool,
    /// Otherwise the cluster is gone as soon as the API server likes.
    pub has_finalizer: bool,
}

impl Desired {
    /// `rendered` is the StatefulSet of this reconcile, if it came that far.
    pub fn of(cluster: &TempoCluster, rendered: Option<&StatefulSet>, is_secret_missing: bool) -> Desired {
        let rollout = cluster.spec.rollout.clone().unwrap_or_default();
        let replicas = rendered.and_then(|set| set.spec.as_ref()?.replicas).unwrap_or(1);
        // What does not parse was refused before; the default is as good as any then.
        let duration = |text: Option<crate::crd::DurationText>, default| {
            text.and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Desired {
            replicas: u32::try_from(replicas).unwrap_or(0),
            is_paused: rollout.paused.unwrap_or(false),
            soak: duration(rollout.soak, DEFAULT_SOAK),
            progress_deadline: duration(rollout.progress_deadline, DEFAULT_PROGRESS_DEADLINE),
            shape: rendered.map(Shape::of),
            removal: cluster.metadata.deletion_timestamp.as_ref().map(|deleted| {
                let policy = cluster.spec.deletion_policy.clone().unwrap_or_default();
                let skipped = if cluster.annotations().contains_key(SKIP_DRAIN) {
                    Some("the annotation tempo-rs.dev/skip-drain asks for it")
                } else {
                    match policy.drain.unwrap_or_default() {
                        DrainPolicy::Skip => Some("deletionPolicy.drain is Skip"),
                        DrainPolicy::Flush => None,
                    }
                };
                Removal {
                    since: deleted.0,
                    timeout: duration(policy.timeout, DEFAULT_DRAIN_TIMEOUT),
                    volumes: policy.volumes.unwrap_or_default(),
                    skipped,
                    is_secret_missing,
                    has_finalizer: cluster.finalizers().iter().any(|name| name == FINALIZER),
                }
            }),
        }
    }
}

/// A pod, and no other one of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    pub name: String,
    pub uid: String,
    pub ip: Option<std::net::IpAddr>,
}

impl From<&PodView> for PodRef {
    fn from(pod: &PodView) -> PodRef {
        PodRef { name: pod.name.clone(), uid: pod.uid.clone(), ip: pod.ip }
    }
}

/// One step; all of them may be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    None,
    /// Nothing can be done now; the progress says why.
    Hold,
    /// Flushes a ready pod of an old revision, then evicts it; its successor finds what was not flushed in the WAL.
    FlushAndEvict {
        pod: PodRef,
    },
    /// Deletes a pod that serves nothing and must be made anew or not come back.
    DeletePod {
        pod: PodRef,
        why: String,
    },
    /// The pod is needed again: what the volume says about its content becomes wrong, so it goes first.
    ForgetRecord {
        volume: VolumeRef,
    },
    CancelDrain {
        pod: PodRef,
    },
    GrowVolumes {
        volumes: Vec<VolumeRef>,
        size: String,
    },
    /// Deletes the StatefulSet, not its pods; it is applied again by the next reconcile.
    RecreateStatefulSet {
        name: String,
        uid: String,
    },
    Drain {
        pod: PodRef,
    },
    WriteRecord {
        volume: VolumeRef,
        pod: Option<PodRef>,
        record: Record,
        at: Timestamp,
    },
    ScaleToZero {
        name: String,
        uid: String,
    },
    DeleteVolumes {
        volumes: Vec<VolumeRef>,
    },
    RemoveFinalizer {
        farewell: Farewell,
    },
}

impl Action {
    pub fn is_some(&self) -> bool {
        !matches!(self, Action::None | Action::Hold)
    }
}

/// What is to be said when a cluster goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// Everything was flushed.
    Drained,
    /// Nothing was tried, and why.
    Skipped(String),
    /// These volumes were kept with spans that are nowhere else; each with the reason.
    Unflushed(Vec<(String, String)>),
}

/// Where the cluster is; the names are the reasons of condition `Progressing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Every pod is ready and of the wanted revision.
    Complete,
    Creating,
    /// The StatefulSet's controller has not looked at the newest template.
    WaitingForStatefulSet,
    RecreatingStatefulSet,
    WaitingForPod,
    PodStarting,
    PodTerminating,
    /// A pod does not work; the problem has the reason.
    PodFailing,
    RollingUpdate,
    Soaking,
    Paused,
    /// An outdated pod's volume would go with it.
    VolumeGoing,
    ExpandingVolume,
    VolumeCannotShrink,
    EvictionRefused,
    VolumeNotExpandable,
    CancellingDrain,
    Draining,
    Stopping,
    Deleting,
}

impl Step {
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Complete => "Complete",
            Step::Creating => "Creating",
            Step::WaitingForStatefulSet => "WaitingForStatefulSet",
            Step::RecreatingStatefulSet => "RecreatingStatefulSet",
            Step::WaitingForPod => "WaitingForPod",
            Step::PodStarting => "PodStarting",
            Step::PodTerminating => "PodTerminating",
            Step::PodFailing => "PodFailing",
            Step::RollingUpdate => "RollingUpdate",
            Step::Soaking => "Soaking",
            Step::Paused => "Paused",
            Step::VolumeGoing => "VolumeGoing",
            Step::ExpandingVolume => "ExpandingVolume",
            Step::VolumeCannotShrink => "VolumeCannotShrink",
            Step::EvictionRefused => "EvictionRefused",
            Step::VolumeNotExpandable => "VolumeNotExpandable",
            Step::CancellingDrain => "CancellingDrain",
            Step::Draining => "Draining",
            Step::Stopping => "Stopping",
            Step::Deleting => "Deleting",
        }
    }
}

/// How far the cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    pub message: String,
    /// Pods that are waited for.
    pub pods: Vec<String>,
    /// What is wrong with the first of them.
    pub problem: Option<Problem>,
    /// Nothing has moved for longer than the user allows.
    pub is_past_deadline: bool,
}

impl Progress {
    pub(crate) fn new(step: Step, message: impl Into<String>) -> Progress {
        Progress { step, message: message.into(), pods: Vec::new(), problem: None, is_past_deadline: false }
    }

    fn about(mut self, pod: &PodView) -> Progress {
        self.pods.push(pod.name.clone());
        self.problem.clone_from(&pod.problem);
        self
    }

    pub fn is_done(&self) -> bool {
        self.step == Step::Complete
    }

    /// The reason of condition `Progressing`: what is wrong with the pod, if that is it, or the step.
    pub fn reason(&self) -> &str {
        match (&self.step, &self.problem) {
            (Step::PodFailing, Some(problem)) if is_reason(&problem.reason) => &problem.reason,
            _ => self.step.as_str(),
        }
    }
}

/// Whether the API server takes this as a condition's reason.
fn is_reason(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What to do, where things are, and when to look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub action: Action,
    pub progress: Progress,
    /// Unflushed spans are on a volume that nobody comes back for, or that is about to go.
    pub data_at_risk: Option<String>,
    pub requeue: Duration,
}

impl Plan {
    fn hold(progress: Progress) -> Plan {
        Plan { action: Action::Hold, progress, data_at_risk: None, requeue: LOOK_AGAIN }
    }

    fn act(action: Action, progress: Progress) -> Plan {
        Plan { action, progress, data_at_risk: None, requeue: AFTER_ACTION }
    }

    /// The trouble that a human should know of.
    pub fn problem(&self) -> Option<&Problem> {
        self.progress.problem.as_ref()
    }
}

/// The next step.
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = match &desired.removal {
        Some(removal) => removal::plan(removal, observed),
        None => roll::plan(desired, observed),
    };
    plan.data_at_risk = data_at_risk(desired, observed);
    plan
}

fn data_at_risk(desired: &Desired, observed: &Observed) -> Option<String> {
    let risk = |volume: &VolumeView| {
        let name = &volume.name;
        let is_used = desired.removal.is_none() && volume.ordinal < desired.replicas;
        match &volume.record {
            Some(Record::Drained { .. }) => None,
            Some(Record::Unflushed { reason, .. }) if !is_used => {
                Some(format!("volume {name} has spans that were not flushed: {reason}"))
            }
            Some(Record::Unflushed { .. }) | None if volume.is_lost => {
                Some(format!("volume {name} has lost what was on it"))
            }
            Some(Record::Unflushed { .. }) | None if volume.is_terminating => {
                Some(format!("volume {name} is deleted as soon as its pod stops"))
            }
            None if desired.removal.is_none() && !is_used => {
                Some(format!("volume {name} may have spans that were not flushed, and no pod uses it"))
            }
            Some(Record::Unflushed { .. }) | None => None,
        }
    };
    let risks: Vec<String> = observed.volumes.iter().filter_map(risk).collect();
    (!risks.is_empty()).then(|| risks.join("; "))
}

/// How long ago; nothing is in the future.
fn elapsed(now: Timestamp, since: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
