use serde_json::json;

use super::*;

fn set(size: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "traces"},
        "spec": {
            "replicas": 1,
            "serviceName": "traces-headless",
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"tempo-rs.dev/cluster": "traces"}},
            "template": {"metadata": {"labels": {"version": size}}},
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                         "resources": {"requests": {"storage": size}}},
            }],
        },
    }))
    .unwrap()
}

#[test]
fn quantities_are_read_as_kubernetes_writes_them() {
    for (text, expected) in [
        ("10Gi", 10 << 30),
        ("1.5Gi", 3 << 29),
        ("500M", 500_000_000),
        ("1500m", 2),
        ("0", 0),
        ("1e3", 1000),
        ("2E9", 2_000_000_000),
        ("8Ei", 8 << 60),
        (".5Ki", 512),
        ("0.1", 1),
    ] {
        assert_eq!(bytes(text), Some(expected), "{text}");
    }
    for text in ["", "Gi", "x", "1Q", "99999999999999999999Ei", "1 Gi", "-1", "ä"] {
        assert_eq!(bytes(text).filter(|bytes| *bytes > 0), None, "{text}");
    }
}

#[test]
fn a_statefulset_is_made_anew_for_a_larger_volume_and_not_for_a_smaller_one() {
    let shape = |size| Shape::of(&set(size));

    assert!(shape("20Gi").differs_from(&shape("10Gi")));
    assert!(!shape("10Gi").differs_from(&shape("20Gi")));
    assert!(!shape("10Gi").differs_from(&shape("10240Mi")));
}

#[test]
fn what_cannot_change_in_place_is_applied_as_it_is_and_the_rest_as_rendered() {
    let (mut rendered, live) = (set("20Gi"), set("10Gi"));

    keep_immutable_fields(&mut rendered, &live);

    assert_eq!(Shape::of(&rendered), Shape::of(&live));
    assert_eq!(rendered.spec.unwrap().template, set("20Gi").spec.unwrap().template);
}

fn claim(annotations: Value) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": "data-traces-0", "uid": "v", "annotations": annotations},
        "spec": {"resources": {"requests": {"storage": "10Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "12Gi"}},
    }))
    .unwrap()
}

#[test]
fn a_volume_says_what_was_written_on_it() {
    let record = |annotations| view(&claim(annotations), "traces").unwrap().record;
    let pod_uid = "p".to_owned();

    assert_eq!(record(json!({})), None);
    assert_eq!(
        record(json!({DRAINED_AT: "2026-11-23T00:00:00Z", DRAINED_POD: "p"})),
        Some(Record::Drained { pod_uid: pod_uid.clone() })
    );
    assert_eq!(
        record(json!({DRAINED_AT: "2026-11-23T00:00:00Z", DRAINED_POD: "p", UNFLUSHED: "bucket down"})),
        Some(Record::Unflushed { pod_uid, reason: "bucket down".to_owned() }),
        "if in doubt, it is not empty"
    );
}

#[test]
fn a_bound_volume_is_reduced_to_what_matters() {
    assert_eq!(
        view(&claim(json!({})), "traces"),
        Some(VolumeView {
            name: "data-traces-0".to_owned(),
            uid: "v".to_owned(),
            ordinal: 0,
            is_bound: true,
            is_lost: false,
            is_terminating: false,
            requested_bytes: 10 << 30,
            capacity_bytes: Some(12 << 30),
            record: None,
        })
    );
    assert_eq!(view(&claim(json!({})), "other"), None);
}
