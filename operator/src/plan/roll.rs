//! The plan of a cluster that lives. From the top, the first that applies:
//!
//! 1. no StatefulSet, or one whose controller has not seen the template: wait;
//! 2. a drain that was begun when the cluster was to go, and it was made again: take it back, the record on the volume
//!    first, because it says that the volume is empty;
//! 3. unless paused, a pod that is not ready and of the wrong revision: delete it, it serves nothing. So a fix or a
//!    revert reaches the broken pod first, without a human;
//! 4. any pod terminating, missing, starting, in trouble, or ready for less than the soak time: wait;
//! 5. a pod of the wrong revision: flush and evict it;
//! 6. while 4 waits, or nothing is to be rolled: grow volumes, then make the StatefulSet anew if its templates differ.
//!
//! Rolling goes before growing so that a volume that cannot grow never keeps a fix away, and growing goes on while a
//! pod is in trouble, since a full disk may be why. A pod whose volume is being deleted is never taken away: the WAL
//! would go with it.

use std::time::Duration;

use super::{Action, Desired, LOOK_AGAIN, LOOK_AGAIN_SETTLED, Plan, PodRef, Progress, Step, elapsed};
use crate::{
    observe::{DrainAnswer, Observed, PodView, StatefulSetView, VolumeView},
    pods::DrainPhase,
    volumes::{self, VolumeRef},
};

pub(super) fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let Some(set) = &observed.stateful_set else {
        return Plan::hold(Progress::new(Step::Creating, "the StatefulSet is not there yet"));
    };
    let situation = Situation { desired, observed, set };
    let mut plan = situation.plan();
    let idle = elapsed(observed.now, situation.moved_at());
    if !matches!(plan.progress.step, Step::Complete | Step::Paused | Step::Soaking) {
        plan.progress.is_past_deadline = idle >= desired.progress_deadline;
        let left = desired.progress_deadline.saturating_sub(idle);
        if !left.is_zero() {
            // So that the condition flips without any other news.
            plan.requeue = plan.requeue.min(left + Duration::from_secs(1));
        }
    }
    plan
}

fn volume_goes_with(pod: &PodView) -> Progress {
    let message = format!(
        "{} is not restarted, because its volume is being deleted and its WAL would go with it: flush it, then delete it",
        pod.name
    );
    Progress::new(Step::VolumeGoing, message).about(pod)
}

struct Situation<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    set: &'a StatefulSetView,
}

impl Situation<'_> {
    fn plan(&self) -> Plan {
        if self.set.is_terminating {
            let message = "the StatefulSet is made anew, its pods go on";
            return Plan::hold(Progress::new(Step::RecreatingStatefulSet, message));
        }
        let Some(revision) = self.set.update_revision.as_deref().filter(|_| self.set.is_observed) else {
            let message = "the StatefulSet's controller has not seen the newest template";
            return Plan::hold(Progress::new(Step::WaitingForStatefulSet, message));
        };
        if let Some(plan) = self.take_back_drain() {
            return plan;
        }
        let is_outdated = |pod: &&PodView| pod.revision.as_deref() != Some(revision);
        let outdated: Vec<&PodView> =
            self.observed.pods.iter().filter(is_outdated).filter(|pod| !pod.is_terminating).collect();
        if self.desired.is_paused && !outdated.is_empty() {
            let names: Vec<&str> = outdated.iter().map(|pod| pod.name.as_str()).collect();
            let message = format!("rollout.paused: {} would be restarted", names.join(", "));
            return self.or_grow(Plan::hold(Progress::new(Step::Paused, message)));
        }
        if let Some(broken) = outdated.iter().find(|pod| !pod.is_ready()) {
            return self.replace_broken(broken);
        }
        if let Some(progress) = self.unsettled(&outdated) {
            return self.or_grow(Plan { requeue: self.wait_for(&progress), ..Plan::hold(progress) });
        }
        match outdated.last() {
            Some(pod) => self.roll(pod, outdated.len()),
            None => self.or_grow(self.complete()),
        }
    }

    /// The last time that anything moved: a template, a pod. A cluster that was quiet for days is not late at once.
    fn moved_at(&self) -> jiff::Timestamp {
        let pods = self.observed.pods.iter().map(|pod| pod.moved_at);
        pods.chain([self.set.changed_at]).max().unwrap_or(self.observed.now)
    }

    fn take_back_drain(&self) -> Option<Plan> {
        let is_used = |volume: &&VolumeView| volume.ordinal < self.desired.replicas;
        let mut used = self.observed.volumes.iter().filter(is_used);
        if let Some(volume) = used.find(|volume| volume.record.is_some() && !volume.is_terminating) {
            let message = format!("volume {} is in use again", volume.name);
            let progress = Progress::new(Step::CancellingDrain, message);
            return Some(Plan::act(Action::ForgetRecord { volume: volume.into() }, progress));
        }
        let is_draining = |pod: &&PodView| match &pod.drain {
            DrainAnswer::State(state) => state.phase != DrainPhase::Serving,
            DrainAnswer::NotAsked | DrainAnswer::Silent(_) | DrainAnswer::Unknown => false,
        };
        let mut living = self.observed.pods.iter().filter(|pod| pod.ordinal < self.desired.replicas);
        let pod = living.find(|pod| !pod.is_terminating && is_draining(pod))?;
        let message = format!("{} is left from a drain and takes no spans", pod.name);
        let progress = Progress::new(Step::CancellingDrain, message).about(pod);
        Some(Plan::act(Action::CancelDrain { pod: pod.into() }, progress))
    }

    fn replace_broken(&self, pod: &PodView) -> Plan {
        if self.observed.volume_of(pod).is_some_and(|volume| volume.is_terminating) {
            return Plan::hold(volume_goes_with(pod));
        }
        let why = match &pod.problem {
            Some(problem) => format!("{}: {}", problem.reason, problem.message),
            None => "not ready".to_owned(),
        };
        let message = format!("{} is of an old revision and serves nothing ({why}): replacing it", pod.name);
        let mut progress = Progress::new(Step::RollingUpdate, message);
        progress.pods.push(pod.name.clone());
        Plan::act(Action::DeletePod { pod: PodRef::from(pod), why }, progress)
    }

    fn roll(&self, pod: &PodView, left: usize) -> Plan {
        if self.observed.volume_of(pod).is_none_or(|volume| volume.is_terminating) {
            return Plan::hold(volume_goes_with(pod));
        }
        let message = format!("restarting {}; {left} of {} left", pod.name, self.desired.replicas);
        let mut progress = Progress::new(Step::RollingUpdate, message);
        progress.pods.push(pod.name.clone());
        Plan::act(Action::FlushAndEvict { pod: PodRef::from(pod) }, progress)
    }

    /// Why no working pod may be taken away now.
    fn unsettled(&self, outdated: &[&PodView]) -> Option<Progress> {
        let pods = &self.observed.pods;
        if let Some(pod) = pods.iter().find(|pod| pod.is_terminating) {
            let message = match &pod.problem {
                Some(problem) => format!("{}: {}: {}", pod.name, problem.reason, problem.message),
                None => format!("waiting for {} to stop", pod.name),
            };
            return Some(Progress::new(Step::PodTerminating, message).about(pod));
        }
        let is_missing = |ordinal: &u32| pods.iter().all(|pod| pod.ordinal != *ordinal);
        if let Some(ordinal) = (0..self.desired.replicas).find(is_missing) {
            let name = format!("{}-{ordinal}", self.set.name);
            let mut progress = Progress::new(Step::WaitingForPod, format!("{name} has not been created yet"));
            progress.pods.push(name);
            return Some(progress);
        }
        let mut unready = pods.iter().filter(|pod| !pod.is_ready());
        if let Some(pod) = unready.clone().find(|pod| pod.problem.is_some()).or_else(|| unready.next()) {
            let (step, message) = match &pod.problem {
                Some(problem) => {
                    (Step::PodFailing, format!("{}: {}: {}", pod.name, problem.reason, problem.message))
                }
                None => (Step::PodStarting, format!("waiting for {} to be ready", pod.name)),
            };
            return Some(Progress::new(step, message).about(pod));
        }
        // A pod that is about to be restarted itself need not prove anything.
        let mut soaked = pods.iter().filter(|pod| !outdated.iter().any(|other| other.uid == pod.uid));
        let soaking = soaked.find(|pod| !self.soak_left(pod).is_zero())?;
        let message = format!("{} is ready, watching it for {:?}", soaking.name, self.desired.soak);
        Some(Progress::new(Step::Soaking, message).about(soaking))
    }

    /// A new cluster has nothing to compare with and need not be watched.
    fn soak_left(&self, pod: &PodView) -> Duration {
        match pod.ready_since {
            Some(since) if self.set.has_rolled => {
                self.desired.soak.saturating_sub(elapsed(self.observed.now, since))
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    fn wait_for(&self, progress: &Progress) -> Duration {
        if progress.step != Step::Soaking {
            return LOOK_AGAIN;
        }
        let left = self.observed.pods.iter().map(|pod| self.soak_left(pod)).filter(|left| !left.is_zero());
        left.min().unwrap_or(LOOK_AGAIN) + Duration::from_millis(100)
    }

    fn complete(&self) -> Plan {
        let message =
            format!("{} of {} pods are ready and up to date", self.desired.replicas, self.desired.replicas);
        let progress = Progress::new(Step::Complete, message);
        Plan { action: Action::None, progress, data_at_risk: None, requeue: LOOK_AGAIN_SETTLED }
    }

    /// What touches no pod may be done whenever no pod is to be touched.
    fn or_grow(&self, plan: Plan) -> Plan {
        let Some(wanted) = &self.desired.shape else { return plan };
        let (Some(data), Some(live)) = (wanted.data(), self.set.shape.data()) else { return plan };
        let wanted_bytes = volumes::bytes(&data.size).unwrap_or(0);
        let used = self.observed.volumes.iter().filter(|volume| volume.ordinal < self.desired.replicas);
        let used: Vec<&VolumeView> = used.filter(|volume| !volume.is_terminating).collect();
        let small: Vec<VolumeRef> = used
            .iter()
            .filter(|volume| volume.is_bound && volume.requested_bytes < wanted_bytes)
            .map(|volume| VolumeRef::from(*volume))
            .collect();
        if !small.is_empty() {
            let message = format!("growing {} volumes to {}", small.len(), data.size);
            let action = Action::GrowVolumes { volumes: small, size: data.size.clone() };
            return Plan::act(action, self.progress_of(plan.progress, Step::ExpandingVolume, message));
        }
        if wanted.differs_from(&self.set.shape) {
            let message = "the StatefulSet is made anew with other volume templates; its pods go on";
            let action =
                Action::RecreateStatefulSet { name: self.set.name.clone(), uid: self.set.uid.clone() };
            let step = Step::RecreatingStatefulSet;
            return Plan::act(action, self.progress_of(plan.progress, step, message.to_owned()));
        }
        if !plan.progress.is_done() {
            return plan;
        }
        let is_growing = |volume: &&&VolumeView| {
            volume.is_bound && volume.capacity_bytes.is_some_and(|bytes| bytes < volume.requested_bytes)
        };
        if let Some(volume) = used.iter().find(is_growing) {
            let message = format!("waiting for volume {} to grow", volume.name);
            return Plan::hold(Progress::new(Step::ExpandingVolume, message));
        }
        if wanted_bytes < volumes::bytes(&live.size).unwrap_or(0) {
            let message = format!("volumes have {} and cannot shrink to {}", live.size, data.size);
            return Plan::hold(Progress::new(Step::VolumeCannotShrink, message));
        }
        plan
    }

    /// Trouble with a pod stays the news while something else is done.
    fn progress_of(&self, before: Progress, step: Step, message: String) -> Progress {
        if before.problem.is_some() { before } else { Progress::new(step, message) }
    }
}
