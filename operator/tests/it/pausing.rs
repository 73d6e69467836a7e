//! Acceptance case A4 on a real API server: Paused, Unmanaged and back; a wiped status.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tempo_operator::crd::TempoCluster;

use crate::{
    control_plane::{DEADLINE, Playground, minimal, within},
    kubelet::Kubelet,
    operator::{Operator, stateful_set},
};

fn with(change: &Value) -> Value {
    let mut spec = minimal();
    if let (Some(spec), Some(change)) = (spec.as_object_mut(), change.as_object()) {
        spec.extend(change.clone());
    }
    spec
}

/// Writes but those of the status and of Events.
fn other_writes(operator: &Operator) -> Vec<String> {
    let writes = operator.calls.writes().into_iter();
    let is_said = |resource: &str| resource == "tempoclusters/status" || resource == "events";
    writes
        .filter(|made| !is_said(&made.call.resource))
        .map(|made| format!("{} {}", made.call, made.path))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_a_paused_cluster_is_only_watched_and_goes_on_where_it_was() {
    let Some(playground) = Playground::open("a4").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;

    for state in ["Paused", "Unmanaged"] {
        operator.calls.clear();
        let change = json!({"managementState": state, "monolithic": {"logLevel": "debug"}});
        playground.apply_cluster("traces", with(&change)).await;
        let (reason, _) = playground.wait_condition("traces", "ReconciliationPaused", "True").await;
        assert_eq!(reason, state);
        operator.settle().await;
        assert_eq!(other_writes(&operator), Vec::<String>::new(), "while {state}");
        let back = json!({"managementState": "Managed"});
        playground.apply_cluster("traces", with(&back)).await;
        playground.wait_condition("traces", "ReconciliationPaused", "False").await;
        operator.settle().await;
    }

    let before = stateful_set(&playground, "traces").await.expect("the StatefulSet").metadata.generation;
    playground.apply_cluster("traces", with(&json!({"monolithic": {"logLevel": "debug"}}))).await;
    let rolled = within(DEADLINE, async || {
        stateful_set(&playground, "traces").await.filter(|set| set.metadata.generation != before)
    });
    rolled.await.expect("the change is applied once it is managed again");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_a_wiped_status_is_written_again_and_nothing_else_is() {
    let Some(playground) = Playground::open("a4-status").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;
    operator.calls.clear();

    let api: Api<TempoCluster> = playground.clusters();
    api.patch_status("traces", &PatchParams::default(), &Patch::Merge(json!({"status": null})))
        .await
        .expect("a wipe");
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;

    assert_eq!(other_writes(&operator), Vec::<String>::new());
    operator.stop().await;
}
