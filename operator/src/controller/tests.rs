use serde_json::{Value, json};

use super::*;

fn guarded(change: impl FnOnce(&mut Value)) -> Guarded {
    let mut value = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1",
        "kind": "TempoCluster",
        "metadata": {"name": "traces", "namespace": "tracing", "uid": "1", "generation": 1, "resourceVersion": "1"},
        "spec": {"mode": "Monolithic", "storage": {"filesystem": {}}},
        "status": {"observedGeneration": 1},
    });
    change(&mut value);
    serde_json::from_value(value).expect("a guard takes every object")
}

#[test]
fn a_status_write_does_not_wake_the_reconcile() {
    let before = fingerprint(&guarded(|_| {}));

    let after = fingerprint(&guarded(|cluster| {
        cluster["status"]["observedGeneration"] = json!(2);
        cluster["metadata"]["resourceVersion"] = json!("2");
    }));

    assert_eq!(before, after);
}

#[test]
fn finalizers_annotations_deletion_and_a_removed_status_wake_it() {
    let before = fingerprint(&guarded(|_| {}));
    let changes: [fn(&mut Value); 6] = [
        |cluster| cluster["metadata"]["generation"] = json!(2),
        |cluster| cluster["metadata"]["finalizers"] = json!(["tempo-rs.dev/drain"]),
        |cluster| cluster["metadata"]["annotations"] = json!({"tempo-rs.dev/skip-drain": "true"}),
        |cluster| cluster["metadata"]["deletionTimestamp"] = json!("2026-11-23T00:00:00Z"),
        |cluster| cluster["status"] = Value::Null,
        |cluster| cluster["spec"]["storage"] = json!("not an object"),
    ];

    for change in changes {
        assert_ne!(before, fingerprint(&guarded(change)));
    }
}

#[test]
fn pauses_grow_and_begin_anew_after_a_success() {
    let backoffs = Backoffs::default();
    let key = ("tracing".to_owned(), "traces".to_owned());

    let pauses: Vec<Duration> = (0..20).map(|_| backoffs.next(&key)).collect();
    backoffs.forget(&key);

    assert!(pauses[0] < Duration::from_secs(1));
    assert!(pauses[1] >= Duration::from_secs(1) && pauses[1] < Duration::from_secs(2));
    assert!(pauses[19] >= LONGEST_BACKOFF && pauses[19] < LONGEST_BACKOFF.mul_f64(1.2));
    assert!(backoffs.next(&key) < Duration::from_secs(1));
}
