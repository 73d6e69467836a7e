//! Acceptance case F3, and D1 of a deletion, on a real API server: a cluster is deleted, and nothing unflushed silently.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground, within},
    ingester::Ingester,
    kubelet::{Fate, Kubelet},
    operator::{Operator, drive_until_ready, stateful_set},
    rollout::{told, with},
};

fn deleting(volumes: &str) -> Value {
    with(&json!({"deletionPolicy": {"volumes": volumes}}))
}

async fn delete(playground: &Playground) {
    playground.clusters().delete("traces", &DeleteParams::default()).await.expect("a delete");
}

async fn wait_gone(playground: &Playground) {
    let clusters = playground.clusters();
    let gone = within(DEADLINE, async || clusters.get_opt("traces").await.ok()?.is_none().then_some(()));
    if gone.await.is_none() {
        panic!("not gone: {:#?}", playground.get_status("traces").await);
    }
}

async fn volume(playground: &Playground) -> Option<PersistentVolumeClaim> {
    let claims: Api<PersistentVolumeClaim> = playground.api();
    let found = claims.get_opt("data-traces-0").await.expect("read the volume");
    found.filter(|claim| claim.metadata.deletion_timestamp.is_none())
}

fn annotation(claim: &PersistentVolumeClaim, name: &str) -> Option<String> {
    claim.annotations().get(&format!("tempo-rs.dev/{name}")).cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_deletion_drains_proves_stops_and_then_lets_the_volume_go() {
    let Some(playground) = Playground::open("f3-delete").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Delete")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.calls.clear();

    delete(&playground).await;
    wait_gone(&playground).await;

    assert!(ingester.with(|data| data.is_draining && data.unflushed_blocks == 0));
    assert!(volume(&playground).await.is_none(), "deleted, as the policy says");
    let writes = operator.calls.writes();
    let of_interest = ["persistentvolumeclaims", "statefulsets", "tempoclusters"];
    let order: Vec<String> = writes
        .iter()
        .filter(|made| of_interest.contains(&made.call.resource.as_str()))
        .map(|made| format!("{} {}", made.call.verb, made.call.resource))
        .collect();
    let expected = [
        "patch persistentvolumeclaims",
        "patch statefulsets",
        "delete persistentvolumeclaims",
        "patch tempoclusters",
    ];
    assert_eq!(order, expected, "the proof comes before the stop, the stop before the deletion");
    let reasons = told(&playground).await;
    for reason in ["Draining", "Drained", "Stopping", "VolumeDeleted", "DrainFinished"] {
        assert!(reasons.contains(reason), "{reason}: {reasons:?}");
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_kept_volume_says_that_it_is_empty_and_serves_the_next_cluster_of_the_name() {
    let Some(playground) = Playground::open("f3-retain").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Retain")).await;
    playground.wait_condition("traces", "Ready", "True").await;

    delete(&playground).await;
    wait_gone(&playground).await;
    let kept = volume(&playground).await.expect("the volume is kept");
    let gone = within(DEADLINE, async || stateful_set(&playground, "traces").await.is_none().then_some(()));
    gone.await.expect("the garbage collector takes the StatefulSet");

    assert!(annotation(&kept, "drained-at").is_some(), "{:?}", kept.annotations());
    // The marker on the volume keeps the new pod from being ready.
    let asked = ingester.clone();
    kubelet.decide(move |_| if asked.with(|data| data.is_draining) { Fate::NotReady } else { Fate::Ready });
    playground.apply_cluster("traces", deleting("Retain")).await;
    let taken_back = within(DEADLINE, async || (!ingester.with(|data| data.is_draining)).then_some(())).await;
    taken_back.expect("the drain is taken back");
    kubelet.decide(|_| Fate::Ready);
    playground.wait_condition("traces", "Ready", "True").await;
    let used = volume(&playground).await.expect("the same volume");
    assert_eq!((used.uid(), annotation(&used, "drained-at")), (kept.uid(), None));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_pod_that_is_dead_keeps_its_volume_and_holds_nothing_up() {
    let Some(playground) = Playground::open("f3-dead").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Delete")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    kubelet.answer(|_, _| (503, "Application is starting\n".to_owned()));
    kubelet.decide(|_| Fate::CrashLoop);
    playground.wait_condition("traces", "Ready", "False").await;

    delete(&playground).await;
    wait_gone(&playground).await;

    let kept = volume(&playground).await.expect("unflushed spans are not deleted");
    let reason = annotation(&kept, "unflushed").expect("it says why");
    assert!(reason.starts_with("CrashLoopBackOff"), "{reason}");
    assert!(!ingester.with(|data| data.is_draining));
    let reasons = told(&playground).await;
    assert!(reasons.contains("NotFlushed") && reasons.contains("DrainIncomplete"), "{reasons:?}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_dead_bucket_holds_the_deletion_for_the_timeout_and_the_volume_is_kept() {
    let Some(playground) = Playground::open("f3-bucket").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    ingester.with(|data| data.is_bucket_down = true);
    let operator = Operator::running(&playground);
    let policy = json!({"deletionPolicy": {"volumes": "Delete", "timeout": "1m"}});
    playground.apply_cluster("traces", with(&policy)).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let started = Instant::now();

    delete(&playground).await;
    let (reason, message) = waits_for(&playground, "Draining").await;
    let gone = within(2 * DEADLINE, async || {
        playground.clusters().get_opt("traces").await.ok()?.is_none().then_some(())
    });
    gone.await.expect("bounded");

    assert_eq!(reason, "Draining");
    assert!(message.contains("1 blocks are not flushed yet; last error: s3: 503 Slow Down"), "{message}");
    assert!(started.elapsed().as_secs() >= 59, "{:?}", started.elapsed());
    let kept = volume(&playground).await.expect("unflushed spans are not deleted");
    assert!(annotation(&kept, "unflushed").expect("why").contains("the time for the drain was up"));
    operator.stop().await;
}

/// Reason and message of `Progressing`, once the message tells of blocks.
async fn waits_for(playground: &Playground, reason: &str) -> (String, String) {
    let found = within(DEADLINE, async || {
        let status = playground.get_status("traces").await;
        let found = status.conditions.into_iter().find(|found| found.type_ == "Progressing")?;
        (found.reason == reason && found.message.contains("blocks")).then_some((found.reason, found.message))
    });
    found.await.unwrap_or_else(|| panic!("Progressing did not become {reason}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_secret_that_went_first_stops_neither_a_running_pod_nor_the_deletion() {
    for is_running in [true, false] {
        let Some(playground) = Playground::open("f3-secret").await else { return };
        let kubelet = Kubelet::start(&playground).await;
        Ingester::behind(&kubelet);
        let operator = Operator::running(&playground);
        let secrets: Api<Secret> = playground.api();
        let secret = json!({
            "metadata": {"name": "s3"},
            "stringData": {"bucket": "traces", "endpoint": "https://s3.example", "access_key_id": "a", "access_key_secret": "b"},
        });
        let secret = serde_json::from_value(secret).expect("a Secret");
        secrets.create(&PostParams::default(), &secret).await.expect("a Secret");
        let mut spec = deleting("Delete");
        spec["storage"] = json!({"s3": {}, "credentials": {"secretRef": {"name": "s3"}}});
        playground.apply_cluster("traces", spec).await;
        playground.wait_condition("traces", "Ready", "True").await;
        if !is_running {
            kubelet.answer(|_, _| (503, "Application is starting\n".to_owned()));
            kubelet.decide(|_| Fate::NotReady);
            playground.wait_condition("traces", "Ready", "False").await;
        }

        secrets.delete("s3", &DeleteParams::default()).await.expect("a delete");
        delete(&playground).await;
        wait_gone(&playground).await;

        assert_eq!(volume(&playground).await.is_none(), is_running, "deleted only when it was flushed");
        operator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_the_user_may_skip_the_drain_also_in_the_middle_of_it() {
    let Some(playground) = Playground::open("f3-skip").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    ingester.with(|data| data.is_bucket_down = true);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Delete")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    delete(&playground).await;
    waits_for(&playground, "Draining").await;

    let skip = json!({"metadata": {"annotations": {"tempo-rs.dev/skip-drain": "yes"}}});
    let clusters = playground.clusters();
    clusters.patch("traces", &PatchParams::default(), &Patch::Merge(skip)).await.expect("an edit");
    wait_gone(&playground).await;

    assert!(volume(&playground).await.is_some(), "kept without a proof");
    assert!(told(&playground).await.contains("DrainSkipped"));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_namespace_that_goes_is_not_held_up() {
    let Some(playground) = Playground::open("f3-namespace").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    ingester.with(|data| data.is_bucket_down = true);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Delete")).await;
    playground.wait_condition("traces", "Ready", "True").await;

    let namespaces: Api<Namespace> = Api::all(playground.client.clone());
    namespaces.delete(&playground.namespace, &DeleteParams::default()).await.expect("a delete");
    wait_gone(&playground).await;

    let gone = within(DEADLINE, async || {
        namespaces.get_opt(&playground.namespace).await.ok()?.is_none().then_some(())
    });
    gone.await.expect("the namespace is gone");
    assert!(!ingester.with(|data| data.is_draining), "nobody waits for a drain there");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_paused_cluster_can_be_deleted() {
    let Some(playground) = Playground::open("f3-paused").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    Ingester::behind(&kubelet);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", deleting("Retain")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let mut paused = deleting("Retain");
    paused["managementState"] = json!("Paused");
    playground.apply_cluster("traces", paused).await;
    playground.wait_condition("traces", "ReconciliationPaused", "True").await;

    delete(&playground).await;
    wait_gone(&playground).await;

    let kept = volume(&playground).await.expect("the volume is kept");
    assert!(annotation(&kept, "drained-at").is_some());
    operator.stop().await;
}

/// One deletion in a namespace of its own, in which the operator dies after `most` calls; `None`: it lived.
async fn deletion_with_a_death(most: usize) -> Option<()> {
    let playground = Playground::open("d1-delete").await.expect("there is a cluster");
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    let first = Operator::new(&playground, Calls::new());
    playground.apply_cluster("traces", deleting("Delete")).await;
    drive_until_ready(&first, &playground, "traces").await;
    delete(&playground).await;

    let mortal = Operator::new(&playground, Calls::dying_after(most));
    let has_died = !drive_until_gone(&mortal, &playground).await;
    let successor = Operator::new(&playground, Calls::new());
    drive_until_gone(&successor, &playground).await;

    assert!(ingester.with(|data| data.is_draining && data.unflushed_blocks == 0));
    assert!(volume(&playground).await.is_none(), "after a death at call {most}");
    let pods: Api<Pod> = playground.api();
    assert!(pods.get_opt("traces-0").await.expect("read the pod").is_none(), "after a death at call {most}");
    has_died.then_some(())
}

/// False when the operator died before.
async fn drive_until_gone(operator: &Operator, playground: &Playground) -> bool {
    let gone = within(DEADLINE, async || {
        if playground.clusters().get_opt("traces").await.ok()?.is_none() {
            return Some(true);
        }
        if operator.calls.is_dead() {
            return Some(false);
        }
        // An operator that dies fails in the middle.
        drop(operator.pass("traces").await);
        None
    })
    .await;
    gone.expect("the deletion comes to its end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_operator_dies_after_every_call_of_a_deletion_and_the_end_is_the_same() {
    let Some(playground) = Playground::open("d1-delete-whole").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    Ingester::behind(&kubelet);
    let operator = Operator::new(&playground, Calls::new());
    playground.apply_cluster("traces", deleting("Delete")).await;
    drive_until_ready(&operator, &playground, "traces").await;
    delete(&playground).await;
    operator.calls.clear();
    drive_until_gone(&operator, &playground).await;
    let calls = operator.calls.count();

    let ends: Vec<_> = stream::iter(1..=calls).map(deletion_with_a_death).buffer_unordered(6).collect().await;

    let deaths = ends.into_iter().flatten().count();
    eprintln!("{deaths} deaths in a deletion of {calls} calls");
    assert!(deaths > 15, "{deaths} deaths");
}
