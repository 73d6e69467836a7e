//! Acceptance cases D1 and D4 on a real API server: the operator dies after every single call of a creation, and the API
//! server misbehaves.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};

use crate::{
    calls::{Calls, Fault},
    control_plane::{DEADLINE, Playground, minimal, within},
    creation::children,
    kubelet::Kubelet,
    operator::{Operator, drive_until_ready},
};

/// The rendered part of all children, without what differs between two namespaces.
async fn end_state(playground: &Playground) -> BTreeMap<String, Value> {
    let kinds = [
        ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&()),
        ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()),
        ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
        ApiResource::erase::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(&()),
    ];
    let mut state = BTreeMap::new();
    for kind in kinds {
        let api: Api<DynamicObject> =
            Api::namespaced_with(playground.client.clone(), &playground.namespace, &kind);
        let ours = ListParams::default().labels("tempo-rs.dev/cluster-uid");
        for object in api.list(&ours).await.expect("a list") {
            let mut data = object.data.clone();
            if let Some(data) = data.as_object_mut() {
                data.remove("status");
            }
            if let Some(spec) = data.pointer_mut("/spec").and_then(Value::as_object_mut) {
                spec.remove("clusterIP");
                spec.remove("clusterIPs");
            }
            let text = data.to_string().replace(&playground.namespace, "NAMESPACE");
            let name =
                if object.name_any().contains("-config-") { "config".to_owned() } else { object.name_any() };
            state.insert(format!("{} {name}", kind.kind), serde_json::from_str(&text).expect("JSON"));
        }
    }
    state
}

/// A creation in a namespace of its own, in which the first operator dies after `most` calls.
/// `None`: it lived to the end.
async fn creation_with_a_death(most: usize) -> Option<BTreeMap<String, Value>> {
    let playground = Playground::open("d1").await.expect("there is a cluster");
    let _kubelet = Kubelet::start(&playground).await;
    playground.apply_cluster("traces", minimal()).await;
    let mortal = Operator::new(&playground, Calls::dying_after(most));
    let is_ready = drive_until_ready(&mortal, &playground, "traces").await;
    let has_died = mortal.calls.is_dead();
    drop(mortal);

    let successor = Operator::new(&playground, Calls::new());
    drive_until_ready(&successor, &playground, "traces").await;
    successor.pass("traces").await.expect("a pass");
    successor.calls.clear();
    successor.pass("traces").await.expect("a settled cluster reconciles");

    assert!(
        successor.calls.writes().is_empty(),
        "after a death at call {most}: {:?}",
        successor.calls.writes()
    );
    assert_eq!(children(&playground).await.len(), 7, "after a death at call {most}");
    let state = end_state(&playground).await;
    assert!(has_died || is_ready);
    has_died.then_some(state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_the_operator_dies_after_every_call_of_a_creation_and_the_end_is_the_same() {
    let Some(playground) = Playground::open("d1-whole").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    playground.apply_cluster("traces", minimal()).await;
    let whole = Operator::new(&playground, Calls::new());
    drive_until_ready(&whole, &playground, "traces").await;
    whole.pass("traces").await.expect("a pass");
    let expected = end_state(&playground).await;
    let calls = whole.calls.count();

    let ends: Vec<_> = stream::iter(1..=calls).map(creation_with_a_death).buffer_unordered(6).collect().await;

    let deaths: Vec<_> = ends.into_iter().flatten().collect();
    eprintln!("{} deaths in a creation of {calls} calls", deaths.len());
    for state in &deaths {
        assert_eq!(state, &expected);
    }
    // Until ready the number of passes depends on how fast the controller-manager is: only the first ones are certain.
    assert!(deaths.len() > 20, "{} deaths", deaths.len());
}

fn chaos(seed: u64) -> impl FnMut(&tempo_operator::api_calls::ApiCall, usize) -> Fault + Send {
    let mut random = SmallRng::seed_from_u64(seed);
    move |call, _| {
        if !random.random_bool(0.2) {
            return Fault::None;
        }
        match (call.verb, random.random_range(0..6)) {
            ("watch", _) => Fault::Refuse(410),
            (_, 0) => Fault::Refuse(409),
            (_, 1) => Fault::Refuse(429),
            (_, 2) => Fault::Refuse(500),
            (_, 3) => Fault::Refuse(503),
            (_, 4) => Fault::DoneBut(500),
            (_, _) => Fault::DoneThenLost,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_every_fifth_call_fails_and_the_cluster_still_becomes_ready_without_a_hot_loop() {
    let Some(playground) = Playground::open("d4").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut operator = Operator::new(&playground, Calls::with_faults(chaos(seed)));
    operator.run();

    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.calls.set_faults(|_, _| Fault::None);
    operator.settle().await;

    let (reconciles, writes) = (operator.reconciles(), operator.calls.writes().len());
    eprintln!("{reconciles} reconciles, {writes} writes");
    assert!(reconciles <= 60, "{reconciles} reconciles with seed {seed}");
    assert!(writes <= 100, "{writes} writes with seed {seed}");
    operator.calls.clear();
    operator.pass("traces").await.expect("a settled cluster reconciles");
    assert!(operator.calls.writes().is_empty(), "{:?}", operator.calls.writes());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_an_api_server_that_is_gone_is_asked_less_and_less() {
    let Some(playground) = Playground::open("d4-gone").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;

    operator.calls.set_faults(|call, _| if call.verb == "watch" { Fault::None } else { Fault::Refuse(500) });
    let before = operator.reconciles();
    playground
        .apply_cluster(
            "traces",
            json!({"mode": "Monolithic", "storage": {"filesystem": {}}, "rollout": {"soak": "1s"}}),
        )
        .await;
    let tried =
        within(Duration::from_secs(8), async || (operator.reconciles() > before + 8).then_some(())).await;

    // 0.5 s, 1 s, 2 s, 4 s: five attempts in eight seconds, not eight.
    assert!(tried.is_none(), "{} reconciles in 8 s", operator.reconciles() - before);
    assert!(operator.reconciles() > before + 2);
    operator.calls.set_faults(|_, _| Fault::None);
    let observed = within(DEADLINE, async || {
        let generation = playground.clusters().get("traces").await.ok()?.metadata.generation;
        (playground.get_status("traces").await.observed_generation == generation).then_some(())
    });
    observed.await.expect("it goes on when the API server is back");
    operator.stop().await;
}
