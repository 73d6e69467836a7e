use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    crd::ConditionType as Type,
    observe::{DrainAnswer, PodView, Problem, StatefulSetView},
    plan::{Action, Progress, Step},
    volumes::Shape,
};

fn cluster() -> TempoCluster {
    serde_json::from_value(json!({
        "apiVersion": "tempo-rs.dev/v1alpha1",
        "kind": "TempoCluster",
        "metadata": {"name": "traces", "namespace": "tracing", "uid": "1", "generation": 7},
        "spec": {"mode": "Monolithic", "storage": {"filesystem": {}}},
    }))
    .expect("a cluster")
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn pod(revision: &str, is_ready: bool) -> PodView {
    PodView {
        name: "traces-0".to_owned(),
        uid: "a".to_owned(),
        ordinal: 0,
        ip: None,
        revision: Some(revision.to_owned()),
        version: Some("1.2.3".to_owned()),
        moved_at: time(0),
        is_terminating: false,
        ready_since: is_ready.then(|| time(1)),
        problem: None,
        drain: DrainAnswer::NotAsked,
        volume: None,
    }
}

fn observed(pods: Vec<PodView>) -> Observed {
    Observed {
        now: time(100),
        stateful_set: Some(StatefulSetView {
            name: "traces".to_owned(),
            uid: "s".to_owned(),
            is_terminating: false,
            is_observed: true,
            replicas: 1,
            update_revision: Some("new".to_owned()),
            has_rolled: false,
            changed_at: time(0),
            shape: Shape::default(),
        }),
        pods,
        volumes: Vec::new(),
        is_namespace_terminating: false,
    }
}

fn plan(step: Step, message: &str) -> Plan {
    Plan {
        action: Action::None,
        progress: Progress {
            step,
            message: message.to_owned(),
            pods: Vec::new(),
            problem: None,
            is_past_deadline: false,
        },
        data_at_risk: None,
        requeue: Duration::from_secs(15),
    }
}

fn findings(pods: Vec<PodView>, plan: Plan) -> Findings {
    Findings { observed: Some(observed(pods)), plan: Some(plan), ..Findings::new(Standing::Managed, "1.2.4") }
}

fn refusal(condition: Type, is_waiting: bool) -> Findings {
    let refusal =
        Refusal { condition, reason: "Why".to_owned(), message: "storage.s3.bucket".to_owned(), is_waiting };
    Findings { refusal: Some(refusal), ..findings(vec![pod("new", true)], plan(Step::Complete, "")) }
}

/// The conditions that are True, in their order.
fn true_conditions(findings: &Findings) -> Vec<String> {
    let status = status(&cluster(), findings, time(100));
    assert_eq!(status.conditions.len(), Type::ALL.len(), "all conditions are always there");
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == Some(7) && !condition.reason.is_empty())
    );
    status
        .conditions
        .into_iter()
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.type_)
        .collect()
}

#[test]
fn a_serving_cluster_is_ready_and_nothing_else() {
    let findings = findings(vec![pod("new", true)], plan(Step::Complete, "all well"));

    assert_eq!(true_conditions(&findings), ["Ready", "Available", "StorageReady", "ConfigValid"]);
    let status = status(&cluster(), &findings, time(100));
    assert_eq!(status.phase, Some(Phase::Running));
    assert_eq!(status.ingester.expect("ingester").summary, "1/1");
    assert_eq!(status.version.expect("version").current.as_deref(), Some("1.2.3"));
}

#[test]
fn a_rollout_is_progressing_and_never_degraded() {
    let findings = findings(vec![pod("old", true)], plan(Step::RollingUpdate, "traces-0 is next"));

    assert_eq!(
        true_conditions(&findings),
        ["Available", "Progressing", "Reconciling", "StorageReady", "ConfigValid"]
    );
    assert_eq!(status(&cluster(), &findings, time(100)).phase, Some(Phase::Rolling));
}

#[test]
fn a_failing_pod_is_named_by_progressing_and_degraded() {
    let mut failing = plan(Step::PodFailing, "traces-0: back-off");
    failing.progress.problem =
        Some(Problem { reason: "CrashLoopBackOff".to_owned(), message: "back-off".to_owned() });
    let findings = findings(vec![pod("new", false)], failing);

    assert_eq!(
        true_conditions(&findings),
        ["Progressing", "Degraded", "Reconciling", "StorageReady", "ConfigValid"]
    );
    let status = status(&cluster(), &findings, time(100));
    let progressing =
        status.conditions.iter().find(|condition| condition.type_ == "Progressing").expect("there");
    assert_eq!(progressing.reason, "CrashLoopBackOff");
}

#[test]
fn what_may_still_come_is_waited_for() {
    let findings = refusal(Type::StorageReady, true);

    assert_eq!(true_conditions(&findings), ["Available", "Progressing", "Reconciling", "ConfigValid"]);
    assert_eq!(status(&cluster(), &findings, time(100)).phase, Some(Phase::Pending));
}

#[test]
fn what_only_the_user_can_heal_is_stalled() {
    let findings = refusal(Type::ConfigValid, false);

    assert_eq!(true_conditions(&findings), ["Available", "Stalled", "StorageReady"]);
    assert_eq!(status(&cluster(), &findings, time(100)).message.as_deref(), Some("storage.s3.bucket"));
}

#[test]
fn a_deadline_makes_it_stalled_and_degraded() {
    let mut late = plan(Step::PodStarting, "traces-0 is not ready");
    late.progress.is_past_deadline = true;

    assert_eq!(
        true_conditions(&findings(vec![pod("new", false)], late)),
        ["Degraded", "Stalled", "StorageReady", "ConfigValid"]
    );
}

#[test]
fn a_paused_cluster_says_so_and_still_tells_how_it_is() {
    let findings =
        Findings { standing: Standing::Paused, ..findings(vec![pod("new", true)], plan(Step::Complete, "")) };

    assert_eq!(
        true_conditions(&findings),
        ["Ready", "Available", "StorageReady", "ConfigValid", "ReconciliationPaused"]
    );
}

#[test]
fn times_change_only_with_the_status_of_a_condition() {
    let mut cluster = cluster();
    let rolling = findings(vec![pod("old", true)], plan(Step::RollingUpdate, "one"));
    cluster.status = Some(status(&cluster, &rolling, time(100)));

    let soaking = findings(vec![pod("new", true)], plan(Step::Soaking, "two"));
    let later = status(&cluster, &soaking, time(200));
    let done = findings(vec![pod("new", true)], plan(Step::Complete, "three"));
    let done = status(&cluster, &done, time(300));

    let since = |status: &TempoClusterStatus, name: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == name)
            .map(|condition| condition.last_transition_time.0)
    };
    assert_eq!(since(&later, "Progressing"), Some(time(100)));
    assert_eq!(since(&done, "Progressing"), Some(time(300)));
    assert_eq!(since(&done, "Available"), Some(time(100)));
}

#[test]
fn the_same_findings_give_the_same_status() {
    let mut cluster = cluster();
    let findings = findings(vec![pod("new", true)], plan(Step::Complete, ""));
    cluster.status = Some(status(&cluster, &findings, time(100)));

    let again = status(&cluster, &findings, time(5000));

    assert_eq!(cluster.status.as_ref(), Some(&again));
    let text = serde_json::to_string(&again).expect("JSON");
    assert_eq!(
        serde_json::from_str::<TempoClusterStatus>(&text).expect("status"),
        again,
        "what is read back is the same"
    );
}

#[test]
fn an_unreadable_object_is_stalled_with_the_error() {
    let status = undecodable("spec.storage: invalid type", Some(3), &[], time(1));

    assert_eq!(status.conditions.len(), Type::ALL.len());
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled").expect("there");
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "Undecodable"));
    assert!(stalled.message.contains("spec.storage"));
}
