//! Acceptance cases A1, A2 and A5 on a real API server: a cluster is made, waits for what is missing, and is repaired.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground, minimal, within},
    kubelet::Kubelet,
    operator::{Operator, stateful_set},
};

/// `Kind name` of everything in the namespace that the operator made for the cluster.
pub(crate) async fn children(playground: &Playground) -> BTreeSet<String> {
    let kinds = [
        ApiResource::erase::<StatefulSet>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
    ];
    let ours = ListParams::default().labels("tempo-rs.dev/cluster-uid");
    let mut found = BTreeSet::new();
    for kind in kinds {
        let api: Api<DynamicObject> =
            Api::namespaced_with(playground.client.clone(), &playground.namespace, &kind);
        let objects = api.list(&ours).await.expect("a list");
        // The name of the configuration ends in a hash of its content.
        let name = |object: DynamicObject| match object.name_any().split_once("-config-") {
            Some((cluster, _)) => format!("{} {cluster}-config", kind.kind),
            None => format!("{} {}", kind.kind, object.name_any()),
        };
        found.extend(objects.into_iter().map(name));
    }
    found
}

async fn raw_spec(playground: &Playground, name: &str) -> (Value, Vec<String>) {
    let kind = ApiResource::erase::<tempo_operator::crd::TempoCluster>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(playground.client.clone(), &playground.namespace, &kind);
    let object = api.get(name).await.expect("the cluster");
    let owns_spec = |fields: &Value| fields.get("f:spec").is_some();
    let managers = object.managed_fields().iter();
    let writers =
        managers.filter(|entry| entry.fields_v1.as_ref().is_some_and(|fields| owns_spec(&fields.0)));
    (object.data["spec"].clone(), writers.filter_map(|entry| entry.manager.clone()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a_minimal_cluster_becomes_ready_in_few_reconciles_and_its_spec_is_left_alone() {
    let Some(playground) = Playground::open("a1").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    let started = Instant::now();

    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let took = started.elapsed();
    operator.settle().await;

    let reconciles = operator.reconciles();
    eprintln!(
        "ready after {took:?}, {reconciles} reconciles, {} calls, {} writes",
        operator.calls.count(),
        operator.calls.writes().len()
    );
    assert!(reconciles <= 15, "{reconciles} reconciles");
    let expected = [
        "ConfigMap traces-config",
        "ConfigMap traces-overrides",
        "PodDisruptionBudget traces",
        "Service traces",
        "Service traces-headless",
        "ServiceAccount traces",
        "StatefulSet traces",
    ];
    assert_eq!(children(&playground).await.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(raw_spec(&playground, "traces").await, (minimal(), vec!["kubectl".to_owned()]));
    let status = playground.get_status("traces").await;
    assert_eq!(status.observed_generation, Some(1));
    assert!(status.version.expect("version").current.is_some());
    assert_eq!(status.ingester.expect("ingester").summary, "1/1");
    assert!(status.endpoints.expect("endpoints").otlp_grpc.expect("OTLP").ends_with(":4317"));
    let claims: Api<PersistentVolumeClaim> = playground.api();
    let claim = claims.get("data-traces-0").await.expect("the volume");
    assert!(claim.owner_references().is_empty(), "a volume outlives its cluster");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a_settled_cluster_costs_no_write() {
    let Some(playground) = Playground::open("a1-settled").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;
    operator.calls.clear();

    for _ in 0..5 {
        operator.pass("traces").await.expect("a settled cluster reconciles");
    }

    assert!(operator.calls.writes().is_empty(), "{:?}", operator.calls.writes());
    operator.stop().await;
    // An operator that was started anew knows nothing and still has nothing to write.
    let successor = Operator::new(&playground, Calls::new());
    successor.pass("traces").await.expect("a settled cluster reconciles");
    assert!(successor.calls.writes().is_empty(), "{:?}", successor.calls.writes());
}

fn s3() -> Value {
    json!({"mode": "Monolithic", "storage": {"s3": {}, "credentials": {"secretRef": {"name": "bucket"}}}})
}

pub(crate) async fn put_secret(playground: &Playground, data: Value) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bucket"}, "stringData": data});
    let secrets: Api<Secret> = playground.api();
    secrets
        .patch("bucket", &PatchParams::apply("kubectl").force(), &Patch::Apply(secret))
        .await
        .expect("a Secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_missing_secret_then_wrong_keys_then_right_ones_converge_by_themselves() {
    let Some(playground) = Playground::open("a2").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);

    playground.apply_cluster("traces", s3()).await;
    let (reason, message) = playground.wait_condition("traces", "StorageReady", "False").await;
    assert_eq!(reason, "SecretNotFound");
    assert!(message.contains("bucket"), "{message}");
    operator.settle().await;
    assert!(stateful_set(&playground, "traces").await.is_none(), "no pod with a broken environment");
    let before = operator.reconciles();
    assert!(before <= 5, "no error loop: {before}");

    put_secret(
        &playground,
        json!({"bucket": "traces", "endpoint": "http://minio:9000", "access_key_id": "a"}),
    )
    .await;
    let named = within(Duration::from_secs(5), async || {
        let conditions = playground.get_status("traces").await.conditions;
        conditions
            .into_iter()
            .find(|found| found.type_ == "StorageReady" && found.message.contains("access_key_secret"))
    });
    named.await.expect("the missing key is named within 5 s");
    assert!(stateful_set(&playground, "traces").await.is_none());

    let fixed = Instant::now();
    put_secret(
        &playground,
        json!({"bucket": "traces", "endpoint": "http://minio:9000", "access_key_id": "a", "access_key_secret": "s"}),
    )
    .await;
    let made = within(Duration::from_secs(5), async || stateful_set(&playground, "traces").await).await;
    eprintln!("converged {:?} after the fix", fixed.elapsed());
    assert!(made.is_some(), "it converges within 5 s");
    playground.wait_condition("traces", "Ready", "True").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_right_that_is_missing_is_named_and_tried_again_slowly() {
    let Some(playground) = Playground::open("a2-rbac").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let user = grant_all_but_services(&playground).await;
    let mut config = playground.config.clone();
    config.auth_info.impersonate = Some(user);
    let operator = Operator::with_config(&playground, config, Calls::new());

    playground.apply_cluster("traces", minimal()).await;
    let error = operator.pass("traces").await.expect_err("Services are forbidden");

    let (reason, message) = playground.wait_condition("traces", "Degraded", "True").await;
    assert_eq!(reason, "Forbidden", "{error}");
    assert!(message.contains("services"), "{message}");
    assert!(stateful_set(&playground, "traces").await.is_none());
    operator.calls.clear();
    operator.pass("traces").await.expect_err("still forbidden");
    assert!(
        operator.calls.writes().is_empty(),
        "the same trouble is not told again: {:?}",
        operator.calls.writes()
    );
}

async fn grant_all_but_services(playground: &Playground) -> String {
    let user = format!("limited-{}", playground.namespace);
    let everything = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["*"]});
    let rules = json!([
        everything("", &["configmaps", "serviceaccounts", "secrets", "pods", "persistentvolumeclaims"]),
        everything("apps", &["statefulsets"]),
        everything("policy", &["poddisruptionbudgets"]),
        everything("events.k8s.io", &["events"]),
        everything("tempo-rs.dev", &["tempoclusters", "tempoclusters/status", "tempoclusters/finalizers"]),
    ]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "limited"}, "rules": rules});
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "limited"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "limited"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    let parameters = PatchParams::apply("tests").force();
    playground.api::<Role>().patch("limited", &parameters, &Patch::Apply(role)).await.expect("a Role");
    playground
        .api::<RoleBinding>()
        .patch("limited", &parameters, &Patch::Apply(binding))
        .await
        .expect("a RoleBinding");
    user
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_what_is_deleted_or_edited_by_hand_comes_back_and_what_others_added_stays() {
    let Some(playground) = Playground::open("a5").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;
    let pods: Api<k8s_openapi::api::core::v1::Pod> = playground.api();
    let pod = pods.get("traces-0").await.expect("the pod").uid();
    let volume =
        playground.api::<PersistentVolumeClaim>().get("data-traces-0").await.expect("the volume").uid();
    let config = config_name(&playground).await;
    let content = playground.api::<ConfigMap>().get(&config).await.expect("the configuration").data;

    annotate::<Service>(&playground, "traces").await;
    let edit = json!({"spec": {"ports": [{"name": "http", "port": 3200, "targetPort": 9999}]}});
    playground
        .api::<Service>()
        .patch("traces", &PatchParams::default(), &Patch::Strategic(edit))
        .await
        .expect("an edit");
    let relabel = json!({"metadata": {"labels": {"tempo-rs.dev/cluster-uid": null}}});
    playground
        .api::<ServiceAccount>()
        .patch("traces", &PatchParams::default(), &Patch::Merge(relabel))
        .await
        .expect("an edit");
    delete::<Service>(&playground, "traces-headless").await;
    delete::<PodDisruptionBudget>(&playground, "traces").await;
    delete::<ConfigMap>(&playground, &config).await;
    delete::<ConfigMap>(&playground, "traces-overrides").await;
    let orphan = DeleteParams::orphan();
    playground.api::<StatefulSet>().delete("traces", &orphan).await.expect("an orphaning delete");

    let restored = within(DEADLINE, async || {
        let service = playground.api::<Service>().get_opt("traces").await.ok()??;
        let port = service.spec.as_ref()?.ports.as_ref()?.iter().find(|port| port.port == 3200)?.clone();
        let is_port_right =
            port.target_port != Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(9999));
        let account = playground.api::<ServiceAccount>().get("traces").await.ok()?;
        let is_labelled = account.labels().contains_key("tempo-rs.dev/cluster-uid");
        let set =
            stateful_set(&playground, "traces").await.filter(|set| set.metadata.deletion_timestamp.is_none());
        let is_all = children(&playground).await.len() == 7;
        (is_port_right && is_labelled && is_all && set.is_some()).then_some(service)
    });
    let service = restored.await.expect("everything is restored");

    assert_eq!(service.annotations().get("example.com/mine").map(String::as_str), Some("kept"));
    let again = playground.api::<ConfigMap>().get(&config).await.expect("the configuration").data;
    assert_eq!(again, content);
    playground.wait_condition("traces", "Ready", "True").await;
    let adopted = within(DEADLINE, async || {
        let found = pods.get_opt("traces-0").await.ok()??;
        (!found.owner_references().is_empty()).then(|| found.uid())
    });
    assert_eq!(adopted.await.expect("the pod is adopted"), pod);
    let kept =
        playground.api::<PersistentVolumeClaim>().get("data-traces-0").await.expect("the volume").uid();
    assert_eq!(kept, volume);
    operator.stop().await;
}

async fn config_name(playground: &Playground) -> String {
    let config_maps: Api<ConfigMap> = playground.api();
    let all = config_maps.list(&ListParams::default()).await.expect("a list");
    all.into_iter()
        .map(|found| found.name_any())
        .find(|name| name.starts_with("traces-config-"))
        .expect("a configuration")
}

async fn annotate<K>(playground: &Playground, name: &str)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let patch = json!({"metadata": {"annotations": {"example.com/mine": "kept"}}});
    playground.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("an edit");
}

async fn delete<K>(playground: &Playground, name: &str)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    playground.api::<K>().delete(name, &DeleteParams::default()).await.expect("a delete");
}
