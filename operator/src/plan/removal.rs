//! The plan of a cluster that is being deleted: drain its pods, prove it, stop them, and let it go. From the top:
//!
//! 1. nothing to wait for (the namespace goes as a whole, the user said so): let it go, volumes stay;
//! 2. every pod that is there gets a record on its volume: `Drained` when the pod proves that nothing is left, or
//!    `Unflushed` when it cannot be asked and will not answer (in trouble, or no Secret to start with), when it says that
//!    no try will help, or when the time is up;
//! 3. scale to zero;
//! 4. delete the volumes that are proved empty, if the policy says so;
//! 5. let it go.
//!
//! It always ends: what waits for a pod waits no longer than the timeout, and for its end no longer than that again.
//! The record on a volume stays true while the volume's drain marker is there (`components/ingester/src/drain.rs`): no
//! pod on it takes spans, and only `roll.rs` has the marker removed, after the record.

use std::time::Duration;

use super::{
    Action, Farewell, LOOK_AGAIN, LOOK_AGAIN_DRAINING, Plan, PodRef, Progress, Removal, Step, elapsed,
};
use crate::{
    crd::VolumePolicy,
    observe::{DrainAnswer, Observed, PodView, Record, VolumeView},
    pods::{DrainPhase, DrainState},
    volumes::VolumeRef,
};

/// After the timeout, pods that do not stop are waited for this much longer.
const STOP_PATIENCE: Duration = Duration::from_mins(6);

pub(super) fn plan(removal: &Removal, observed: &Observed) -> Plan {
    if !removal.has_finalizer {
        let progress = Progress::new(Step::Deleting, "nothing is left to do");
        return Plan { requeue: LOOK_AGAIN, action: Action::None, progress, data_at_risk: None };
    }
    if observed.is_namespace_terminating {
        return let_go(Farewell::Skipped("the namespace is being deleted".to_owned()));
    }
    if let Some(why) = removal.skipped {
        return let_go(Farewell::Skipped(why.to_owned()));
    }
    let waiting = Waiting { removal, observed, elapsed: elapsed(observed.now, removal.since) };
    let drained = observed.pods.iter().find_map(|pod| waiting.drain(pod));
    drained
        .or_else(|| waiting.volumes_without_pod())
        .or_else(|| waiting.stop())
        .or_else(|| waiting.delete_volumes())
        .unwrap_or_else(|| let_go(farewell(observed)))
}

fn let_go(farewell: Farewell) -> Plan {
    let progress = Progress::new(Step::Deleting, "letting the cluster go");
    Plan::act(Action::RemoveFinalizer { farewell }, progress)
}

fn farewell(observed: &Observed) -> Farewell {
    let kept = observed.volumes.iter().filter_map(|volume| match &volume.record {
        Some(Record::Unflushed { reason, .. }) => Some((volume.name.clone(), reason.clone())),
        Some(Record::Drained { .. }) => None,
        None => Some((volume.name.clone(), "nobody asked what is on it".to_owned())),
    });
    let kept: Vec<(String, String)> = kept.collect();
    if kept.is_empty() { Farewell::Drained } else { Farewell::Unflushed(kept) }
}

/// What to do about one pod.
enum Verdict {
    Begin,
    Wait(String),
    Empty,
    GiveUp(String),
}

struct Waiting<'a> {
    removal: &'a Removal,
    observed: &'a Observed,
    elapsed: Duration,
}

impl Waiting<'_> {
    fn is_time_up(&self) -> bool {
        self.elapsed >= self.removal.timeout
    }

    /// `None`: this pod may be stopped.
    fn drain(&self, pod: &PodView) -> Option<Plan> {
        let volume = self.observed.volume_of(pod);
        let is_recorded = |volume: &VolumeView| match &volume.record {
            Some(Record::Drained { pod_uid } | Record::Unflushed { pod_uid, .. }) => *pod_uid == pod.uid,
            None => false,
        };
        if volume.is_some_and(is_recorded) {
            return None;
        }
        let draining = |message: String| Progress::new(Step::Draining, message).about(pod);
        if pod.is_terminating {
            // Somebody takes it away; its successor on the same volume can be asked.
            let has_successor =
                volume.is_some_and(|volume| volume.record.is_none() && self.is_coming(volume));
            let waits = has_successor && pod.problem.is_none() && !self.is_time_up();
            let progress = draining(format!("waiting for the successor of {}", pod.name));
            return waits.then(|| Plan { requeue: LOOK_AGAIN_DRAINING, ..Plan::hold(progress) });
        }
        let record = match self.judge(pod) {
            Verdict::Begin => {
                let progress = draining(format!("draining {}", pod.name));
                return Some(Plan::act(Action::Drain { pod: PodRef::from(pod) }, progress));
            }
            Verdict::Wait(why) => {
                let progress = draining(format!("{}: {why}", pod.name));
                let left = self.removal.timeout.saturating_sub(self.elapsed);
                let requeue = LOOK_AGAIN_DRAINING.min(left + Duration::from_millis(100));
                return Some(Plan { requeue, ..Plan::hold(progress) });
            }
            Verdict::Empty => Record::Drained { pod_uid: pod.uid.clone() },
            Verdict::GiveUp(reason) => Record::Unflushed { pod_uid: pod.uid.clone(), reason },
        };
        // Without a volume there is nothing to write on, and nothing to keep.
        let volume = volume?;
        let progress = draining(format!("writing down what is on volume {}", volume.name));
        Some(Plan::act(self.write(volume, Some(pod.into()), record), progress))
    }

    fn write(&self, volume: &VolumeView, pod: Option<PodRef>, record: Record) -> Action {
        Action::WriteRecord { volume: volume.into(), pod, record, at: self.observed.now }
    }

    fn judge(&self, pod: &PodView) -> Verdict {
        let problem = pod.problem.as_ref().map(|problem| format!("{}: {}", problem.reason, problem.message));
        let verdict = match &pod.drain {
            DrainAnswer::State(state) => judge_state(state),
            DrainAnswer::Unknown => Verdict::GiveUp("its image has no drain".to_owned()),
            DrainAnswer::NotAsked | DrainAnswer::Silent(_) if problem.is_some() => {
                Verdict::GiveUp(problem.unwrap_or_default())
            }
            DrainAnswer::NotAsked | DrainAnswer::Silent(_)
                if self.removal.is_secret_missing && !pod.is_ready() =>
            {
                Verdict::GiveUp("it is not running, and the Secret that it needs to start is gone".to_owned())
            }
            DrainAnswer::NotAsked => Verdict::Wait("it is not running yet".to_owned()),
            DrainAnswer::Silent(why) => Verdict::Wait(why.clone()),
        };
        match verdict {
            Verdict::Begin if self.is_time_up() => {
                Verdict::GiveUp("the time for the drain was up".to_owned())
            }
            Verdict::Wait(why) if self.is_time_up() => {
                Verdict::GiveUp(format!("the time for the drain was up: {why}"))
            }
            Verdict::Begin | Verdict::Wait(_) | Verdict::Empty | Verdict::GiveUp(_) => verdict,
        }
    }

    /// A volume whose pod is not there: its pod may still come, or it was taken away before it could be asked.
    fn volumes_without_pod(&self) -> Option<Plan> {
        let has_pod = |volume: &VolumeView| {
            self.observed.pods.iter().any(|pod| pod.volume.as_ref() == Some(&volume.name))
        };
        let mut unknown = self.observed.volumes.iter().filter(|volume| volume.record.is_none());
        let volume = unknown.find(|volume| !has_pod(volume))?;
        if self.is_coming(volume) && !self.is_time_up() {
            let message = format!("waiting for the pod of volume {}", volume.name);
            let progress = Progress::new(Step::Draining, message);
            return Some(Plan { requeue: LOOK_AGAIN_DRAINING, ..Plan::hold(progress) });
        }
        let reason = "no pod was there to be asked what is on it".to_owned();
        let record = Record::Unflushed { pod_uid: String::new(), reason };
        let progress =
            Progress::new(Step::Draining, format!("writing down what is on volume {}", volume.name));
        Some(Plan::act(self.write(volume, None, record), progress))
    }

    /// Whether a pod will be started on this volume.
    fn is_coming(&self, volume: &VolumeView) -> bool {
        let set = self.observed.stateful_set.as_ref().filter(|set| !set.is_terminating);
        set.is_some_and(|set| set.replicas > volume.ordinal) && !self.removal.is_secret_missing
    }

    fn stop(&self) -> Option<Plan> {
        let stopping = |message: &str| Progress::new(Step::Stopping, message);
        if let Some(set) = self.observed.stateful_set.as_ref().filter(|set| !set.is_terminating) {
            if set.replicas > 0 {
                let action = Action::ScaleToZero { name: set.name.clone(), uid: set.uid.clone() };
                return Some(Plan::act(action, stopping("stopping all pods")));
            }
        } else if let Some(pod) = self.observed.pods.iter().find(|pod| !pod.is_terminating) {
            // Nobody else would: its StatefulSet is gone.
            let why = "its StatefulSet is gone and the cluster is being deleted".to_owned();
            let action = Action::DeletePod { pod: PodRef::from(pod), why };
            return Some(Plan::act(action, stopping("stopping all pods")));
        }
        let pod = self.observed.pods.first()?;
        let is_patient = self.elapsed < self.removal.timeout + STOP_PATIENCE;
        let progress = stopping("waiting for all pods to stop").about(pod);
        is_patient.then(|| Plan { requeue: LOOK_AGAIN_DRAINING, ..Plan::hold(progress) })
    }

    fn delete_volumes(&self) -> Option<Plan> {
        match self.removal.volumes {
            VolumePolicy::Retain => return None,
            VolumePolicy::Delete => {}
        }
        let is_empty = |volume: &&VolumeView| {
            matches!(volume.record, Some(Record::Drained { .. })) && !volume.is_terminating
        };
        let volumes: Vec<VolumeRef> =
            self.observed.volumes.iter().filter(is_empty).map(VolumeRef::from).collect();
        let progress = Progress::new(Step::Deleting, "deleting the volumes: everything on them is flushed");
        (!volumes.is_empty()).then(|| Plan::act(Action::DeleteVolumes { volumes }, progress))
    }
}

fn judge_state(state: &DrainState) -> Verdict {
    let DrainState {
        phase,
        unflushed_blocks,
        quarantined_blocks,
        damaged_segments,
        last_error,
        safe_to_terminate,
    } = state;
    match phase {
        DrainPhase::Serving => Verdict::Begin,
        DrainPhase::Drained if *safe_to_terminate => Verdict::Empty,
        DrainPhase::Drained => {
            Verdict::GiveUp(format!("{damaged_segments} damaged files of its WAL wait for a human"))
        }
        DrainPhase::Flushing if unflushed_blocks <= quarantined_blocks => {
            Verdict::GiveUp(format!("{quarantined_blocks} blocks are quarantined: no try will flush them"))
        }
        DrainPhase::Flushing => {
            let why = last_error.as_ref().map(|error| format!("; last error: {error}")).unwrap_or_default();
            Verdict::Wait(format!("{unflushed_blocks} blocks are not flushed yet{why}"))
        }
    }
}
