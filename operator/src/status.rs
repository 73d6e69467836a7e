//! Step 5 of a reconcile: what the operator says about a cluster. Pure.
//!
//! Rebuilt from what was found in this reconcile; of the old status only the times at which conditions last changed are
//! taken over. All conditions are always there. kstatus reads `Reconciling`, `Stalled` and `observedGeneration`; Argo CD's
//! health check reads all of it. A rollout is `Progressing`, never `Degraded`; what waits for an object that may come later
//! (a Secret) is `Reconciling`; what only a change of the spec can heal is `Stalled`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;

use crate::{
    crd::{
        ConditionStatus, ConditionType, EffectiveStatus, EndpointsStatus, IngesterStatus, Phase,
        RolloutStatus, StorageStatus, TempoCluster, TempoClusterStatus, VersionStatus,
    },
    observe::Observed,
    plan::Plan,
    validate::Refusal,
};

/// How the operator stands to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Managed,
    Paused,
    Unmanaged,
    Deleting,
}

/// An answer of the API server that will not change by itself soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
}

/// What the spec means, for people: filled once the spec is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub target_version: String,
    pub effective: EffectiveStatus,
    pub storage: StorageStatus,
    pub endpoints: EndpointsStatus,
}

/// Everything that one reconcile found out.
#[derive(Debug)]
pub struct Findings {
    pub standing: Standing,
    pub operator_version: String,
    pub refusal: Option<Refusal>,
    pub trouble: Option<Trouble>,
    pub description: Option<Description>,
    pub observed: Option<Observed>,
    pub plan: Option<Plan>,
    /// Kinds that were left out because the cluster does not have them.
    pub missing_kinds: BTreeSet<String>,
}

impl Findings {
    pub fn new(standing: Standing, operator_version: &str) -> Findings {
        Findings {
            standing,
            operator_version: operator_version.to_owned(),
            refusal: None,
            trouble: None,
            description: None,
            observed: None,
            plan: None,
            missing_kinds: BTreeSet::new(),
        }
    }
}

/// The status that `cluster` should show.
pub fn status(cluster: &TempoCluster, findings: &Findings, now: Timestamp) -> TempoClusterStatus {
    let claims = claims(findings);
    let before = cluster.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let conditions = conditions(&claims, before, cluster.metadata.generation, now);
    let counts = Counts::of(findings);
    let rollout = rollout(findings, &counts, &conditions);
    TempoClusterStatus {
        observed_generation: cluster.metadata.generation,
        phase: Some(phase(findings, &claims, &counts)),
        message: Some(headline(&claims)),
        conditions,
        version: Some(VersionStatus {
            current: current_version(findings),
            target: findings.description.as_ref().map(|description| description.target_version.clone()),
            operator: Some(findings.operator_version.clone()),
        }),
        effective: findings.description.as_ref().map(|description| description.effective.clone()),
        ingester: Some(IngesterStatus {
            replicas: counts.there,
            ready: counts.ready,
            updated: counts.updated,
            summary: format!("{}/{}", counts.ready, counts.wanted),
            selector: selector(cluster),
        }),
        rollout: Some(rollout),
        storage: findings.description.as_ref().map(|description| description.storage.clone()),
        endpoints: findings.description.as_ref().map(|description| description.endpoints.clone()),
    }
}

/// The status of a TempoCluster that cannot be read: conditions only.
pub fn undecodable(
    error: &str,
    generation: Option<i64>,
    before: &[Condition],
    now: Timestamp,
) -> TempoClusterStatus {
    let message = format!("the object cannot be read: {error}");
    let claims: Vec<Claim> = ConditionType::ALL
        .into_iter()
        .map(|condition| {
            let status = match condition {
                ConditionType::Stalled => ConditionStatus::True,
                ConditionType::Ready | ConditionType::Progressing | ConditionType::Reconciling => {
                    ConditionStatus::False
                }
                ConditionType::Degraded | ConditionType::ReconciliationPaused => ConditionStatus::False,
                ConditionType::Available
                | ConditionType::StorageReady
                | ConditionType::ConfigValid
                | ConditionType::DataAtRisk => ConditionStatus::Unknown,
            };
            Claim { condition, status, reason: "Undecodable".to_owned(), message: message.clone() }
        })
        .collect();
    TempoClusterStatus {
        observed_generation: generation,
        phase: Some(Phase::Stalled),
        message: Some(message),
        conditions: conditions(&claims, before, generation, now),
        ..TempoClusterStatus::default()
    }
}

/// One condition without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    condition: ConditionType,
    status: ConditionStatus,
    reason: String,
    message: String,
}

/// The longest message that a condition may have.
const MOST_MESSAGE_BYTES: usize = 32_768;

fn conditions(
    claims: &[Claim],
    before: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let as_condition = |claim: &Claim| {
        let type_ = claim.condition.as_str();
        let status = claim.status.as_str();
        let same = before.iter().find(|before| before.type_ == type_ && before.status == status);
        // The API keeps whole seconds: anything finer would differ from what is read back.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let mut message = claim.message.clone();
        while message.len() > MOST_MESSAGE_BYTES {
            message.pop();
        }
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: claim.reason.clone(),
            message,
            observed_generation: generation,
            last_transition_time: same.map_or(Time(now), |same| same.last_transition_time.clone()),
        }
    };
    claims.iter().map(as_condition).collect()
}

fn claims(findings: &Findings) -> Vec<Claim> {
    ConditionType::ALL.into_iter().map(|condition| claim(condition, findings)).collect()
}

fn claim(condition: ConditionType, findings: &Findings) -> Claim {
    let (status, reason, message) = match condition {
        ConditionType::Ready => ready(findings),
        ConditionType::Available => available(findings),
        ConditionType::Progressing => progressing(findings),
        ConditionType::Degraded => degraded(findings),
        ConditionType::Reconciling => reconciling(findings),
        ConditionType::Stalled => stalled(findings),
        ConditionType::StorageReady | ConditionType::ConfigValid => valid(condition, findings),
        ConditionType::DataAtRisk => data_at_risk(findings),
        ConditionType::ReconciliationPaused => paused(findings),
    };
    Claim {
        condition,
        status: if status { ConditionStatus::True } else { ConditionStatus::False },
        reason,
        message,
    }
}

type Verdict = (bool, String, String);

fn verdict(status: bool, reason: &str, message: impl Into<String>) -> Verdict {
    (status, reason.to_owned(), message.into())
}

fn ready(findings: &Findings) -> Verdict {
    if let Some((reason, message)) = obstacle(findings) {
        return verdict(false, reason, message);
    }
    let counts = Counts::of(findings);
    match &findings.plan {
        _ if findings.standing == Standing::Unmanaged => {
            verdict(false, "Unmanaged", "the operator does not look after this cluster")
        }
        Some(plan) if plan.progress.is_done() && counts.are_all_ready_and_updated() => {
            verdict(true, "Serving", serving_message(findings))
        }
        Some(plan) if plan.progress.is_done() => verdict(false, "PodsNotReady", counts.message()),
        Some(plan) => verdict(false, plan.progress.reason(), plan.progress.message.clone()),
        None => verdict(false, "Pending", "not looked at yet"),
    }
}

fn serving_message(findings: &Findings) -> String {
    let mut message = "serving, as the spec says".to_owned();
    for kind in &findings.missing_kinds {
        message.push_str("; left out, because the cluster has no such kind: ");
        message.push_str(kind);
    }
    message
}

/// What keeps the operator from working on the cluster, if anything does.
fn obstacle(findings: &Findings) -> Option<(&str, &str)> {
    let refusal =
        findings.refusal.as_ref().map(|refusal| (refusal.reason.as_str(), refusal.message.as_str()));
    refusal.or_else(|| findings.trouble.as_ref().map(|trouble| (trouble.reason, trouble.message.as_str())))
}

fn available(findings: &Findings) -> Verdict {
    let counts = Counts::of(findings);
    let (status, reason) = if counts.ready > 0 { (true, "PodReady") } else { (false, "NoPodReady") };
    verdict(status, reason, counts.message())
}

fn progressing(findings: &Findings) -> Verdict {
    if let Some((reason, message)) = obstacle(findings) {
        return verdict(is_waiting(findings), reason, message);
    }
    match (&findings.plan, findings.standing) {
        (_, Standing::Paused | Standing::Unmanaged) => {
            verdict(false, "Paused", paused_message(findings.standing))
        }
        (Some(plan), _) if plan.progress.is_past_deadline => {
            verdict(false, "ProgressDeadlineExceeded", plan.progress.message.clone())
        }
        (Some(plan), _) => {
            verdict(!plan.progress.is_done(), plan.progress.reason(), plan.progress.message.clone())
        }
        (None, _) => verdict(true, "Pending", "not looked at yet"),
    }
}

fn degraded(findings: &Findings) -> Verdict {
    if let Some(trouble) = &findings.trouble {
        return verdict(true, trouble.reason, trouble.message.clone());
    }
    match &findings.plan {
        Some(plan) if plan.progress.is_past_deadline => {
            verdict(true, "ProgressDeadlineExceeded", plan.progress.message.clone())
        }
        Some(plan) => match plan.problem() {
            Some(problem) => verdict(true, &problem.reason, problem.message.clone()),
            None => as_expected(),
        },
        None => as_expected(),
    }
}

fn as_expected() -> Verdict {
    verdict(false, "AsExpected", "nothing to report")
}

fn reconciling(findings: &Findings) -> Verdict {
    let (is_ready, ready_reason, ready_message) = ready(findings);
    let (is_stalled, reason, message) = stalled(findings);
    if is_stalled {
        return (false, reason, message);
    }
    match findings.standing {
        Standing::Paused | Standing::Unmanaged => verdict(false, "Paused", paused_message(findings.standing)),
        Standing::Managed if is_ready => as_expected(),
        Standing::Managed => (true, ready_reason, ready_message),
        Standing::Deleting => {
            let (_, reason, message) = progressing(findings);
            (true, reason, message)
        }
    }
}

/// A refusal that another object's coming can end.
fn is_waiting(findings: &Findings) -> bool {
    findings.refusal.as_ref().is_some_and(|refusal| refusal.is_waiting)
}

fn stalled(findings: &Findings) -> Verdict {
    if let Some(refusal) = &findings.refusal {
        return if is_waiting(findings) {
            as_expected()
        } else {
            verdict(true, &refusal.reason, refusal.message.clone())
        };
    }
    if let Some(trouble) = &findings.trouble {
        return verdict(true, trouble.reason, trouble.message.clone());
    }
    match &findings.plan {
        Some(plan) if plan.progress.is_past_deadline && findings.standing == Standing::Managed => {
            verdict(true, "ProgressDeadlineExceeded", plan.progress.message.clone())
        }
        Some(_) | None => as_expected(),
    }
}

fn valid(condition: ConditionType, findings: &Findings) -> Verdict {
    match &findings.refusal {
        Some(refusal) if refusal.condition == condition => {
            verdict(false, &refusal.reason, refusal.message.clone())
        }
        // Rules come in an order: the ones behind a refusal were not looked at, and nothing is known against them.
        Some(_) | None => as_expected_true(),
    }
}

fn as_expected_true() -> Verdict {
    verdict(true, "AsExpected", "nothing to report")
}

fn data_at_risk(findings: &Findings) -> Verdict {
    match findings.plan.as_ref().and_then(|plan| plan.data_at_risk.as_ref()) {
        Some(message) => verdict(true, "Unflushed", message.clone()),
        None => as_expected(),
    }
}

fn paused(findings: &Findings) -> Verdict {
    match findings.standing {
        Standing::Managed | Standing::Deleting => {
            verdict(false, "Managed", "the operator looks after this cluster")
        }
        Standing::Paused => verdict(true, "Paused", paused_message(findings.standing)),
        Standing::Unmanaged => verdict(true, "Unmanaged", paused_message(findings.standing)),
    }
}

fn paused_message(standing: Standing) -> &'static str {
    match standing {
        Standing::Paused => "managementState is Paused: only observed, nothing is changed",
        Standing::Unmanaged => "managementState is Unmanaged: neither observed nor changed",
        Standing::Managed | Standing::Deleting => "",
    }
}

/// The sentence that says most: the first of these conditions that is not as it should be.
fn headline(claims: &[Claim]) -> String {
    let order = [
        (ConditionType::ReconciliationPaused, ConditionStatus::True),
        (ConditionType::Stalled, ConditionStatus::True),
        (ConditionType::DataAtRisk, ConditionStatus::True),
        (ConditionType::Degraded, ConditionStatus::True),
        (ConditionType::Ready, ConditionStatus::False),
    ];
    let found = order.iter().find_map(|(condition, status)| {
        claims.iter().find(|claim| claim.condition == *condition && claim.status == *status)
    });
    let ready = || claims.iter().find(|claim| claim.condition == ConditionType::Ready);
    found.or_else(ready).map(|claim| claim.message.clone()).unwrap_or_default()
}

fn phase(findings: &Findings, claims: &[Claim], counts: &Counts) -> Phase {
    let is = |condition| {
        claims.iter().any(|claim| claim.condition == condition && claim.status == ConditionStatus::True)
    };
    match findings.standing {
        Standing::Deleting if counts.there > 0 => Phase::Draining,
        Standing::Deleting => Phase::Deleting,
        Standing::Paused | Standing::Unmanaged => Phase::Paused,
        Standing::Managed if is(ConditionType::Stalled) => Phase::Stalled,
        Standing::Managed if findings.refusal.is_some() => Phase::Pending,
        Standing::Managed if is(ConditionType::Ready) => Phase::Running,
        Standing::Managed if counts.there == 0 || counts.updated == counts.there => Phase::Creating,
        Standing::Managed => Phase::Rolling,
    }
}

struct Counts {
    wanted: i32,
    there: i32,
    ready: i32,
    updated: i32,
}

impl Counts {
    fn of(findings: &Findings) -> Counts {
        let observed = findings.observed.as_ref();
        let count = |pods: usize| i32::try_from(pods).unwrap_or(i32::MAX);
        Counts {
            // Mode Monolithic: one pod.
            wanted: if findings.standing == Standing::Deleting { 0 } else { 1 },
            there: count(observed.map_or(0, |observed| observed.pods.len())),
            ready: count(observed.map_or(0, Observed::ready_pods)),
            updated: count(observed.map_or(0, Observed::updated_pods)),
        }
    }

    fn are_all_ready_and_updated(&self) -> bool {
        self.there == self.wanted && self.ready == self.wanted && self.updated == self.wanted
    }

    fn message(&self) -> String {
        format!("{} of {} pods ready, {} as the spec says", self.ready, self.wanted, self.updated)
    }
}

fn rollout(findings: &Findings, counts: &Counts, conditions: &[Condition]) -> RolloutStatus {
    let progressing = conditions
        .iter()
        .find(|condition| condition.type_ == ConditionType::Progressing.as_str())
        .filter(|condition| condition.status == ConditionStatus::True.as_str());
    let pods = findings.observed.as_ref().map_or(&[][..], |observed| &observed.pods);
    RolloutStatus {
        summary: Some(format!("{}/{}", counts.updated, counts.wanted)),
        step: progressing.map(|condition| condition.reason.clone()),
        started_at: progressing.map(|condition| condition.last_transition_time.clone()),
        blocked_pods: pods.iter().filter(|pod| pod.problem.is_some()).map(|pod| pod.name.clone()).collect(),
    }
}

fn current_version(findings: &Findings) -> Option<String> {
    let pods = &findings.observed.as_ref()?.pods;
    let versions: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.version.as_deref()).collect();
    match versions.len() {
        1 => versions.first().map(|version| (*version).to_owned()),
        _ => None,
    }
}

fn selector(cluster: &TempoCluster) -> String {
    format!("tempo-rs.dev/cluster={},tempo-rs.dev/component=single-binary", cluster.name_any())
}

#[cfg(test)]
mod tests;
