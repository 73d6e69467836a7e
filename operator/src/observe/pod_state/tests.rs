use serde_json::{Value, json};

use super::*;

fn pod(metadata: Value, status: Value) -> Pod {
    let mut pod = json!({
        "metadata": {
            "name": "traces-0", "uid": "u", "creationTimestamp": "2026-11-23T00:00:00Z",
            "labels": {"controller-revision-hash": "traces-1", "app.kubernetes.io/version": "0.1.0"},
        },
        "spec": {"containers": [], "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-traces-0"}},
        ]},
        "status": status,
    });
    pod["metadata"].as_object_mut().unwrap().append(&mut metadata.as_object().unwrap().clone());
    serde_json::from_value(pod).unwrap()
}

fn view_of(status: Value) -> PodView {
    view(&pod(json!({}), status), "traces", "2026-11-23T01:00:00Z".parse().unwrap()).unwrap()
}

fn problem_of(status: Value) -> Option<(String, String)> {
    view_of(status).problem.map(|problem| (problem.reason, problem.message))
}

#[test]
fn a_running_pod_is_reduced_to_what_matters() {
    let view = view_of(json!({
        "phase": "Running", "podIP": "10.0.0.7",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T00:10:00Z"}],
        "containerStatuses": [{"name": "tempo", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                               "state": {"running": {}}}],
    }));

    assert_eq!(
        view,
        PodView {
            name: "traces-0".to_owned(),
            uid: "u".to_owned(),
            ordinal: 0,
            ip: Some("10.0.0.7".parse().unwrap()),
            revision: Some("traces-1".to_owned()),
            moved_at: "2026-11-23T00:10:00Z".parse().unwrap(),
            is_terminating: false,
            ready_since: Some("2026-11-23T00:10:00Z".parse().unwrap()),
            problem: None,
            drain: DrainAnswer::NotAsked,
            volume: Some("data-traces-0".to_owned()),
            version: Some("0.1.0".to_owned()),
        }
    );
}

#[test]
fn a_starting_pod_is_not_in_trouble() {
    for reason in ["ContainerCreating", "PodInitializing"] {
        let status = json!({"phase": "Pending", "containerStatuses": [
            {"name": "tempo", "ready": false, "restartCount": 0, "image": "", "imageID": "",
             "state": {"waiting": {"reason": reason}}}]});

        assert_eq!(problem_of(status), None, "{reason}");
    }
    let not_scheduled_yet = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulerError"}]});
    assert_eq!(problem_of(not_scheduled_yet), None);
}

#[test]
fn trouble_is_told_with_the_kubelets_reason_and_the_last_end() {
    let crash = json!({"phase": "Running", "containerStatuses": [
        {"name": "tempo", "ready": false, "restartCount": 5, "image": "", "imageID": "",
         "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
         "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no such key: a.b"}}}]});
    let image = json!({"phase": "Pending", "containerStatuses": [
        {"name": "tempo", "ready": false, "restartCount": 0, "image": "", "imageID": "",
         "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]});
    let full = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    let oom = json!({"phase": "Running", "containerStatuses": [
        {"name": "tempo", "ready": false, "restartCount": 1, "image": "", "imageID": "",
         "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    let lost = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "Unknown"}]});

    let told = [crash, image, full, oom, evicted, lost].map(|status| problem_of(status).unwrap());

    let expected = [
        ("CrashLoopBackOff", "back-off 1m20s (last time: Error, exit code 1 no such key: a.b)"),
        ("ErrImagePull", "not found"),
        ("Unschedulable", "0/3 nodes"),
        ("OOMKilled", "exit code 137"),
        ("Evicted", "low on memory"),
        ("NodeLost", "its node does not answer"),
    ];
    assert_eq!(told, expected.map(|(reason, message)| (reason.to_owned(), message.to_owned())));
}

#[test]
fn a_pod_that_terminates_is_in_trouble_only_long_after_its_grace_period() {
    let at = |now: &str| {
        let deleted = json!({"deletionTimestamp": "2026-11-23T01:00:00Z"});
        view(&pod(deleted, json!({"phase": "Running"})), "traces", now.parse().unwrap()).unwrap()
    };

    assert!(at("2026-11-23T01:00:59Z").problem.is_none());
    assert_eq!(at("2026-11-23T01:01:01Z").problem.unwrap().reason, "TerminatingTooLong");
}

#[test]
fn pods_of_others_are_left_alone() {
    for name in ["traces-x", "traces", "traces-00", "other-0", "traces-1-0"] {
        let foreign = pod(json!({"name": name}), json!({}));

        assert_eq!(view(&foreign, "traces", Timestamp::UNIX_EPOCH), None, "{name}");
    }
}

#[test]
fn a_pod_has_moved_when_it_turned_unready_and_when_it_was_told_to_go() {
    let unready = json!({"phase": "Running", "conditions": [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-23T00:20:00Z"},
    ]});
    let going = json!({"deletionTimestamp": "2026-11-23T00:35:00Z", "deletionGracePeriodSeconds": 300});
    let moved_at = |metadata| {
        let view = view(&pod(metadata, unready.clone()), "traces", Timestamp::UNIX_EPOCH).unwrap();
        (view.ready_since, view.moved_at.to_string())
    };

    assert_eq!(moved_at(json!({})), (None, "2026-11-23T00:20:00Z".to_owned()));
    assert_eq!(moved_at(going), (None, "2026-11-23T00:30:00Z".to_owned()));
}
