//! When a pod is ready, and when it is in trouble that time alone does not heal.
//!
//! A pod that is starting, or replaying its WAL, is neither. Trouble is what the kubelet or the scheduler calls so:
//! a container that waits for a reason of `TROUBLE`, that has just died, a pod that cannot be placed or whose node is
//! gone, a pod that failed as a whole, or one that terminates far longer than it may.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use kube::ResourceExt as _;

use super::{DrainAnswer, PodView, Problem, ordinal, time};

/// Reasons of waiting containers that do not pass by themselves.
const TROUBLE: [&str; 13] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PostStartHookError",
];

/// A pod that terminates is given this long beyond its own grace period.
const TERMINATION_SLACK: SignedDuration = SignedDuration::from_secs(60);
const MOST_MESSAGE_CHARS: usize = 400;

/// `None`: not a pod of this StatefulSet.
pub(super) fn view(pod: &Pod, set: &str, now: Timestamp) -> Option<PodView> {
    let name = pod.name_any();
    let ordinal = ordinal(&name, set)?;
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let deleted_at = time(pod.metadata.deletion_timestamp.as_ref());
    let ready = status.and_then(|status| condition(status, "Ready"));
    let turned_at = ready.and_then(|ready| time(ready.last_transition_time.as_ref()));
    let ready_since = turned_at.filter(|_| ready.is_some_and(|ready| ready.status == "True"));
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mut claims = volumes.filter_map(|volume| Some(&volume.persistent_volume_claim.as_ref()?.claim_name));
    Some(PodView {
        uid: pod.uid().unwrap_or_default(),
        ordinal,
        ip: status.filter(|_| phase == "Running").and_then(|status| status.pod_ip.as_ref()?.parse().ok()),
        revision: pod.labels().get("controller-revision-hash").cloned(),
        version: pod.labels().get("app.kubernetes.io/version").cloned(),
        moved_at: [time(pod.metadata.creation_timestamp.as_ref()), turned_at, told_to_go_at(pod)]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(now),
        is_terminating: deleted_at.is_some(),
        ready_since,
        // The deletion timestamp is the end of the grace period, not its begin.
        problem: match deleted_at {
            Some(end) if now.duration_since(end) > TERMINATION_SLACK => Some(Problem {
                reason: "TerminatingTooLong".to_owned(),
                message: format!("it should have been gone since {end}: its node does not answer"),
            }),
            Some(_) => None,
            None => status.and_then(|status| problem(status, phase)),
        },
        drain: DrainAnswer::NotAsked,
        volume: claims.find(|claim| claim.ends_with(name.as_str())).cloned(),
        name,
    })
}

/// When the deletion was asked for: the timestamp of a deletion is the end of the grace period.
fn told_to_go_at(pod: &Pod) -> Option<Timestamp> {
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    time(pod.metadata.deletion_timestamp.as_ref())?.checked_sub(grace).ok()
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn problem(status: &PodStatus, phase: &str) -> Option<Problem> {
    if phase == "Failed" {
        let reason = status.reason.clone().unwrap_or_else(|| "Failed".to_owned());
        return Some(Problem { reason, message: shorten(status.message.as_deref().unwrap_or_default()) });
    }
    if let Some(scheduled) = condition(status, "PodScheduled")
        && scheduled.status == "False"
        && scheduled.reason.as_deref() == Some("Unschedulable")
    {
        let message = shorten(scheduled.message.as_deref().unwrap_or_default());
        return Some(Problem { reason: "Unschedulable".to_owned(), message });
    }
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let mut troubles = containers.filter_map(container_problem);
    troubles.next().or_else(|| {
        let ready = condition(status, "Ready")?;
        let is_lost = ready.status == "Unknown" || status.reason.as_deref() == Some("NodeLost");
        is_lost.then(|| Problem {
            reason: "NodeLost".to_owned(),
            message: "its node does not answer".to_owned(),
        })
    })
}

fn container_problem(container: &ContainerStatus) -> Option<Problem> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting
        && let Some(reason) = waiting.reason.as_deref().filter(|reason| TROUBLE.contains(reason))
    {
        let message = waiting.message.as_deref().unwrap_or_default();
        let message = match last_end(container) {
            Some(end) => format!("{message} (last time: {end})"),
            None => message.to_owned(),
        };
        return Some(Problem { reason: reason.to_owned(), message: shorten(&message) });
    }
    // Between its death and the next start; a container that is done is no trouble.
    let dead = state.terminated.as_ref().filter(|dead| dead.exit_code != 0)?;
    let reason =
        dead.reason.clone().filter(|reason| reason != "Error").unwrap_or_else(|| "Crashed".to_owned());
    let message = dead.message.as_deref().unwrap_or_default();
    Some(Problem { reason, message: shorten(&format!("exit code {}: {message}", dead.exit_code)) })
}

fn last_end(container: &ContainerStatus) -> Option<String> {
    let dead = container.last_state.as_ref()?.terminated.as_ref()?;
    let reason = dead.reason.as_deref().unwrap_or("Error");
    let message = dead.message.as_deref().unwrap_or_default().trim();
    Some(format!("{reason}, exit code {} {message}", dead.exit_code).trim_end().to_owned())
}

fn shorten(text: &str) -> String {
    let text = text.trim().trim_end_matches(':').trim_end();
    text.chars().take(MOST_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests;
