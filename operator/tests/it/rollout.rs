//! Acceptance cases B1, B4, B5, E3 and D1 of a rollout on a real API server: pods are played, everything else is real.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    events::v1::Event,
    storage::v1::StorageClass,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground, minimal, within},
    ingester::Ingester,
    kubelet::{Fate, Kubelet},
    operator::{Operator, drive_until_ready, stateful_set},
};

/// The smallest cluster with a short soak, and this.
pub(crate) fn with(change: &Value) -> Value {
    let mut spec = minimal();
    spec["rollout"] = json!({"soak": "1s"});
    merge(&mut spec, change);
    spec
}

pub(crate) fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

/// An image that nobody has to have.
fn image(tag: &str) -> Value {
    with(&json!({"image": {"tag": tag}, "version": env!("CARGO_PKG_VERSION")}))
}

/// Uids of the pods that there ever were, in order, by the kubelet's account.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Decides by the image's tag, and remembers.
    pub(crate) fn by_tag(&self, kubelet: &Kubelet, fates: &[(&'static str, Fate)]) {
        let (seen, fates) = (self.clone(), BTreeMap::from_iter(fates.iter().copied()));
        kubelet.decide(move |pod| {
            let uid = pod.uid().unwrap_or_default();
            let mut uids = seen.0.lock();
            if !uids.contains(&uid) {
                uids.push(uid);
            }
            let image = pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|c| c.image.clone());
            let image = image.unwrap_or_default();
            let fate = fates.iter().find(|(tag, _)| image.ends_with(*tag));
            fate.map_or(Fate::Ready, |(_, fate)| *fate)
        });
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }
}

async fn pod_uid(playground: &Playground) -> Option<String> {
    playground.api::<Pod>().get_opt("traces-0").await.expect("read the pod").and_then(|pod| pod.uid())
}

async fn volume_uid(playground: &Playground) -> String {
    let claims: Api<PersistentVolumeClaim> = playground.api();
    claims.get("data-traces-0").await.expect("the volume").uid().expect("a uid")
}

/// Reasons of all Events about the cluster.
pub(crate) async fn told(playground: &Playground) -> BTreeSet<String> {
    let events: Api<Event> = playground.api();
    let events = events.list(&ListParams::default()).await.expect("a list");
    let about_cluster = |event: &Event| {
        event.regarding.as_ref().and_then(|about| about.kind.as_deref()) == Some("TempoCluster")
    };
    events.into_iter().filter(about_cluster).filter_map(|event| event.reason).collect()
}

/// Waits until this very spec is served by another pod than this.
async fn wait_rolled(playground: &Playground, before: &str) -> String {
    let rolled = within(DEADLINE, async || {
        let cluster = playground.clusters().get("traces").await.ok()?;
        let status = cluster.status?;
        let is_ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let uid = pod_uid(playground).await?;
        let is_new = status.observed_generation == cluster.metadata.generation && uid != before;
        (is_ready && is_new).then_some(uid)
    })
    .await;
    match rolled {
        Some(uid) => uid,
        None => panic!("not rolled: {:#?}", playground.get_status("traces").await.conditions),
    }
}

/// Waits until `Progressing` gives this reason; its message.
async fn wait_progress(playground: &Playground, reason: &str) -> String {
    let mut last = None;
    let found = within(DEADLINE, async || {
        let status = playground.get_status("traces").await;
        let progressing = status.conditions.into_iter().find(|found| found.type_ == "Progressing")?;
        last = Some((progressing.reason.clone(), progressing.message.clone()));
        (progressing.reason == reason).then_some(progressing.message)
    })
    .await;
    found.unwrap_or_else(|| panic!("Progressing did not become {reason}: {last:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_image_configuration_and_restart_requests_reach_the_pod_by_one_flushed_eviction_each() {
    let Some(playground) = Playground::open("b1").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", with(&json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let (mut pod, volume) = (pod_uid(&playground).await.expect("a pod"), volume_uid(&playground).await);

    let changes = [
        image("9.9.9"),
        with(&json!({"config": {"extra": {"ingester": {"trace_idle_period": "7s"}}}})),
        with(&json!({"rollout": {"restartedAt": "2026-11-23T00:00:00Z"}})),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        playground.apply_cluster("traces", change).await;
        pod = wait_rolled(&playground, &pod).await;

        assert_eq!(ingester.with(|data| data.flushes) as usize, number + 1, "one flush for each restart");
        assert_eq!(seen.count(), number + 2, "one restart for each change");
    }

    assert_eq!(volume_uid(&playground).await, volume);
    let reasons = told(&playground).await;
    assert!(reasons.contains("Flushed") && reasons.contains("Evicted"), "{reasons:?}");
    let limits = json!({"limits": {"defaults": {"ingestion": {"maxTracesPerUser": 77}}},
                        "rollout": {"restartedAt": "2026-11-23T00:00:00Z"}});
    playground.apply_cluster("traces", with(&limits)).await;
    operator.settle().await;
    assert_eq!(pod_uid(&playground).await, Some(pod), "limits restart nothing");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_bucket_that_is_away_does_not_stop_a_restart_and_it_is_said() {
    let Some(playground) = Playground::open("b1-bucket").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let ingester = Ingester::behind(&kubelet);
    ingester.with(|data| data.is_bucket_down = true);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", with(&json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let pod = pod_uid(&playground).await.expect("a pod");

    playground.apply_cluster("traces", image("9.9.9")).await;
    wait_rolled(&playground, &pod).await;

    let reasons = told(&playground).await;
    assert!(reasons.contains("FlushFailed") && reasons.contains("Evicted"), "{reasons:?}");
    playground.wait_condition("traces", "DataAtRisk", "False").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_volume_that_was_there_before_the_cluster_keeps_no_restart_away() {
    let Some(playground) = Playground::open("b1-restored").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let restored = json!({
        "metadata": {"name": "data-traces-0"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
    });
    let restored: PersistentVolumeClaim = serde_json::from_value(restored).expect("a claim");
    let claims: Api<PersistentVolumeClaim> = playground.api();
    claims.create(&PostParams::default(), &restored).await.expect("the claim is made");
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", with(&json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let (pod, volume) = (pod_uid(&playground).await.expect("a pod"), volume_uid(&playground).await);

    playground.apply_cluster("traces", image("9.9.9")).await;
    wait_rolled(&playground, &pod).await;

    assert_eq!(volume_uid(&playground).await, volume);
    assert_eq!((ingester.with(|data| data.flushes), seen.count()), (1, 2));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_a_budget_of_somebody_else_holds_the_restart_without_flushing_for_nothing() {
    let Some(playground) = Playground::open("b1-budget").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", with(&json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let pod = pod_uid(&playground).await.expect("a pod");
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "mine"},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"tempo-rs.dev/cluster": "traces"}}},
    });
    let budgets: Api<k8s_openapi::api::policy::v1::PodDisruptionBudget> = playground.api();
    budgets.patch("mine", &PatchParams::apply("tests"), &Patch::Apply(budget)).await.expect("a budget");

    playground.apply_cluster("traces", image("9.9.9")).await;
    let message = wait_progress(&playground, "EvictionRefused").await;

    assert!(message.contains("traces-0"), "{message}");
    assert_eq!((ingester.with(|data| data.flushes), seen.count()), (0, 1));
    budgets.delete("mine", &kube::api::DeleteParams::default()).await.expect("a delete");
    wait_rolled(&playground, &pod).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_version_that_crashes_is_one_bad_pod_that_is_named_and_the_fix_replaces_it_first() {
    let Some(playground) = Playground::open("b4").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[("bad", Fate::CrashLoop)]);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", image("good")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let volume = volume_uid(&playground).await;

    playground.apply_cluster("traces", image("bad")).await;
    let message = wait_progress(&playground, "CrashLoopBackOff").await;
    operator.settle().await;

    assert!(message.starts_with("traces-0: CrashLoopBackOff: back-off 10s"), "{message}");
    assert_eq!(seen.count(), 2, "exactly one pod was made of the bad version");
    playground.wait_condition("traces", "Degraded", "True").await;
    playground.wait_condition("traces", "Ready", "False").await;
    let bad = pod_uid(&playground).await.expect("the bad pod");

    playground.apply_cluster("traces", image("fixed")).await;
    wait_rolled(&playground, &bad).await;

    assert_eq!(seen.count(), 3);
    assert_eq!(ingester.with(|data| data.flushes), 1, "a pod that serves nothing is not flushed");
    assert!(told(&playground).await.contains("ReplacedStuckPod"));
    assert_eq!(volume_uid(&playground).await, volume);
    playground.wait_condition("traces", "Degraded", "False").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_version_that_crashes_inside_the_soak_never_counts_as_done() {
    let Some(playground) = Playground::open("b4-soak").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let operator = Operator::running(&playground);
    let soaking = |tag| {
        let mut spec = image(tag);
        spec["rollout"]["soak"] = json!("10m");
        spec
    };
    playground.apply_cluster("traces", soaking("good")).await;
    playground.wait_condition("traces", "Ready", "True").await;

    playground.apply_cluster("traces", soaking("bad")).await;
    wait_progress(&playground, "Soaking").await;
    seen.by_tag(&kubelet, &[("bad", Fate::CrashLoop)]);
    wait_progress(&playground, "CrashLoopBackOff").await;
    playground.wait_condition("traces", "Ready", "False").await;
    playground.apply_cluster("traces", soaking("good")).await;
    wait_progress(&playground, "Soaking").await;

    assert_eq!(seen.count(), 3);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b5_a_version_that_cannot_start_is_reverted_with_two_restarts() {
    let stuck =
        [("image", Fate::ImageMissing, "ImagePullBackOff"), ("full", Fate::Unschedulable, "Unschedulable")];
    for (name, fate, reason) in stuck {
        let Some(playground) = Playground::open(&format!("b5-{name}")).await else { return };
        let kubelet = Kubelet::start(&playground).await;
        let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
        seen.by_tag(&kubelet, &[("bad", fate)]);
        let operator = Operator::running(&playground);
        playground.apply_cluster("traces", image("good")).await;
        playground.wait_condition("traces", "Ready", "True").await;
        let revision = async || {
            let set = stateful_set(&playground, "traces").await.expect("the StatefulSet");
            set.status.and_then(|status| status.update_revision)
        };
        let first = revision().await;

        playground.apply_cluster("traces", image("bad")).await;
        let message = wait_progress(&playground, reason).await;
        assert!(message.contains("traces-0"), "{message}");
        let bad = pod_uid(&playground).await.expect("the bad pod");
        playground.apply_cluster("traces", image("good")).await;
        wait_rolled(&playground, &bad).await;

        assert_eq!(revision().await, first, "the same revision again");
        assert_eq!(seen.count(), 3, "{name}");
        operator.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b1_paused_holds_the_restart_and_a_reverted_change_restarts_nothing() {
    let Some(playground) = Playground::open("b1-paused").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", image("good")).await;
    playground.wait_condition("traces", "Ready", "True").await;

    let mut paused = image("other");
    paused["rollout"]["paused"] = json!(true);
    playground.apply_cluster("traces", paused).await;
    let message = wait_progress(&playground, "Paused").await;
    playground.apply_cluster("traces", image("good")).await;
    playground.wait_condition("traces", "Ready", "True").await;

    assert_eq!(message, "rollout.paused: traces-0 would be restarted");
    assert_eq!(seen.count(), 1);
    operator.stop().await;
}

/// A storage class, and a volume that the claim of the pod gets.
pub(crate) async fn make_storage(playground: &Playground, is_expandable: bool) -> String {
    let name = playground.namespace.clone();
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": "tests.tempo-rs.dev/none", "allowVolumeExpansion": is_expandable,
    });
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": name, "name": "data-traces-0", "apiVersion": "v1", "kind": "PersistentVolumeClaim"},
        },
    });
    let classes: Api<StorageClass> = Api::all(playground.client.clone());
    let volumes: Api<PersistentVolume> = Api::all(playground.client.clone());
    let class = serde_json::from_value(class).expect("a class");
    let volume = serde_json::from_value(volume).expect("a volume");
    classes.create(&PostParams::default(), &class).await.expect("a class");
    volumes.create(&PostParams::default(), &volume).await.expect("a volume");
    name
}

fn sized(class: &str, size: &str) -> Value {
    with(&json!({"monolithic": {"persistence": {"size": size, "storageClassName": class}}}))
}

pub(crate) fn requested(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|size| size.0.clone())
}

pub(crate) async fn wait_bound(playground: &Playground) {
    let claims: Api<PersistentVolumeClaim> = playground.api();
    let bound = within(DEADLINE, async || {
        let claim = claims.get("data-traces-0").await.ok()?;
        (claim.status?.phase.as_deref() == Some("Bound")).then_some(())
    });
    bound.await.expect("the volume is bound");
}

/// What the volume's driver does.
pub(crate) async fn driver_grows(playground: &Playground, size: &str) {
    let claims: Api<PersistentVolumeClaim> = playground.api();
    let patch = json!({"status": {"capacity": {"storage": size}}});
    claims
        .patch_status("data-traces-0", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("a larger volume");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_volume_grows_and_the_pod_goes_on() {
    let Some(playground) = Playground::open("e3").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let class = make_storage(&playground, true).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", sized(&class, "1Gi")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    wait_bound(&playground).await;
    let set = stateful_set(&playground, "traces").await.expect("the StatefulSet").uid();

    playground.apply_cluster("traces", sized(&class, "2Gi")).await;
    wait_progress(&playground, "ExpandingVolume").await;
    let made_anew = within(DEADLINE, async || {
        let set_now = stateful_set(&playground, "traces").await.filter(|found| found.uid() != set)?;
        let claims = set_now.spec?.volume_claim_templates?;
        requested(claims.first()?)
    })
    .await;
    driver_grows(&playground, "2Gi").await;
    playground.wait_condition("traces", "Ready", "True").await;

    assert_eq!(made_anew.as_deref(), Some("2Gi"));
    let claims: Api<PersistentVolumeClaim> = playground.api();
    assert_eq!(requested(&claims.get("data-traces-0").await.expect("the volume")).as_deref(), Some("2Gi"));
    assert_eq!(seen.count(), 1, "no pod was restarted");
    let pod = playground.api::<Pod>().get("traces-0").await.expect("the pod");
    assert_eq!(pod.owner_references().len(), 1, "adopted by the new StatefulSet");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_a_volume_that_cannot_grow_is_reported_and_keeps_no_fix_away() {
    let Some(playground) = Playground::open("e3-fixed").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let class = make_storage(&playground, false).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", sized(&class, "1Gi")).await;
    playground.wait_condition("traces", "Ready", "True").await;
    wait_bound(&playground).await;
    let pod = pod_uid(&playground).await.expect("a pod");

    playground.apply_cluster("traces", sized(&class, "2Gi")).await;
    let message = wait_progress(&playground, "VolumeNotExpandable").await;
    let mut fixed = sized(&class, "2Gi");
    merge(&mut fixed, &json!({"image": {"tag": "9.9.9"}, "version": env!("CARGO_PKG_VERSION")}));
    playground.apply_cluster("traces", fixed).await;
    let replaced = within(DEADLINE, async || pod_uid(&playground).await.filter(|uid| *uid != pod)).await;

    assert!(message.contains("data-traces-0"), "{message}");
    assert!(replaced.is_some(), "the image was rolled out");
    operator.stop().await;
}

/// One rollout in a namespace of its own, in which the operator dies after `most` calls; `None`: it lived.
async fn rollout_with_a_death(most: usize) -> Option<()> {
    let playground = Playground::open("d1-roll").await.expect("there is a cluster");
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let first = Operator::new(&playground, Calls::new());
    playground.apply_cluster("traces", without_soak("first")).await;
    drive_until_ready(&first, &playground, "traces").await;
    let (pod, volume) = (pod_uid(&playground).await.expect("a pod"), volume_uid(&playground).await);

    playground.apply_cluster("traces", without_soak("second")).await;
    let mortal = Operator::new(&playground, Calls::dying_after(most));
    let has_died = !drive_until_rolled(&mortal, &playground, &pod).await;
    let successor = Operator::new(&playground, Calls::new());
    drive_until_rolled(&successor, &playground, &pod).await;
    successor.pass("traces").await.expect("a pass");
    successor.calls.clear();
    successor.pass("traces").await.expect("a settled cluster reconciles");

    assert_eq!(seen.count(), 2, "one restart, after a death at call {most}");
    assert_eq!(volume_uid(&playground).await, volume, "after a death at call {most}");
    assert!(
        successor.calls.writes().is_empty(),
        "after a death at call {most}: {:?}",
        successor.calls.writes()
    );
    has_died.then_some(())
}

fn without_soak(tag: &str) -> Value {
    let mut spec = image(tag);
    spec["rollout"]["soak"] = json!("0s");
    spec
}

/// False when the operator died before.
async fn drive_until_rolled(operator: &Operator, playground: &Playground, before: &str) -> bool {
    let rolled = within(DEADLINE, async || {
        if operator.calls.is_dead() {
            return Some(false);
        }
        // An operator that dies fails in the middle.
        drop(operator.pass("traces").await);
        let cluster = playground.clusters().get("traces").await.ok()?;
        let status = cluster.status?;
        let is_ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let is_new = pod_uid(playground).await.is_some_and(|uid| uid != before);
        let is_observed = status.observed_generation == cluster.metadata.generation;
        (is_ready && is_new && is_observed).then_some(true)
    })
    .await;
    rolled.expect("the rollout comes to its end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_operator_dies_after_every_call_of_a_rollout_and_the_pod_restarts_once() {
    let Some(playground) = Playground::open("d1-roll-whole").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    Ingester::behind(&kubelet);
    let operator = Operator::new(&playground, Calls::new());
    playground.apply_cluster("traces", without_soak("first")).await;
    drive_until_ready(&operator, &playground, "traces").await;
    let pod = pod_uid(&playground).await.expect("a pod");
    playground.apply_cluster("traces", without_soak("second")).await;
    operator.calls.clear();
    drive_until_rolled(&operator, &playground, &pod).await;
    let calls = operator.calls.count();

    let ends: Vec<_> = stream::iter(1..=calls).map(rollout_with_a_death).buffer_unordered(6).collect().await;

    let deaths = ends.into_iter().flatten().count();
    eprintln!("{deaths} deaths in a rollout of {calls} calls");
    // How many passes it takes depends on the controller-manager: only the first ones are certain.
    assert!(deaths > 20, "{deaths} deaths");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_operator_dies_between_the_two_halves_of_a_growth() {
    let Some(playground) = Playground::open("d1-grow").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let (_ingester, seen) = (Ingester::behind(&kubelet), Seen::default());
    seen.by_tag(&kubelet, &[]);
    let class = make_storage(&playground, true).await;
    let operator = Operator::new(&playground, Calls::new());
    playground.apply_cluster("traces", sized(&class, "1Gi")).await;
    drive_until_ready(&operator, &playground, "traces").await;
    wait_bound(&playground).await;
    let set = stateful_set(&playground, "traces").await.expect("the StatefulSet").uid();
    playground.apply_cluster("traces", sized(&class, "2Gi")).await;

    let gone = within(DEADLINE, async || {
        drop(operator.pass("traces").await);
        let found = stateful_set(&playground, "traces").await;
        found.is_none_or(|found| found.metadata.deletion_timestamp.is_some()).then_some(())
    });
    gone.await.expect("the StatefulSet is deleted");
    drop(operator);
    let successor = Operator::new(&playground, Calls::new());
    driver_grows(&playground, "2Gi").await;
    let back = within(DEADLINE, async || {
        successor.pass("traces").await.expect("a pass");
        stateful_set(&playground, "traces").await.filter(|found: &StatefulSet| found.uid() != set)
    });

    back.await.expect("the StatefulSet is back");
    drive_until_ready(&successor, &playground, "traces").await;
    assert_eq!(seen.count(), 1, "no pod was restarted");
}
