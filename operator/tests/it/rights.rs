//! Least privilege: the operator works with exactly the rules of the chart, and uses every one of them.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    core::v1::PersistentVolumeClaim,
    rbac::v1::{PolicyRule, Role, RoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tempo_operator::api_calls::ApiCall;

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground, within},
    creation::put_secret,
    ingester::Ingester,
    kubelet::{Fate, Kubelet},
    operator::Operator,
    rollout::{driver_grows, make_storage, merge, requested, wait_bound},
};

/// `templates/rbac.yaml` has the rules once, as plain YAML, for Role and ClusterRole.
fn chart_rules() -> Vec<PolicyRule> {
    let template = include_str!("../../../charts/tempo-operator/templates/rbac.yaml");
    let (_, rest) =
        template.split_once("{{- define \"tempo-operator.rules\" -}}").expect("the rules are there");
    let (rules, _) = rest.split_once("{{- end }}").expect("the rules end");
    serde_yaml::from_str(rules).expect("the rules are YAML")
}

/// Every call that the rules allow.
fn granted(rules: &[PolicyRule]) -> BTreeSet<(String, String, String)> {
    let mut granted = BTreeSet::new();
    for rule in rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                granted.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    granted
}

fn used(calls: &BTreeSet<ApiCall>) -> BTreeSet<(String, String, String)> {
    calls.iter().map(|call| (call.group.clone(), call.resource.clone(), call.verb.to_owned())).collect()
}

/// A user with the chart's rules in this namespace; its name is to be impersonated.
async fn grant(playground: &Playground, rules: &[PolicyRule]) -> String {
    let user = format!("operator-{}", playground.namespace);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "operator"}, "rules": rules,
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    let parameters = PatchParams::apply("tests").force();
    playground.api::<Role>().patch("operator", &parameters, &Patch::Apply(role)).await.expect("a Role");
    playground
        .api::<RoleBinding>()
        .patch("operator", &parameters, &Patch::Apply(binding))
        .await
        .expect("a RoleBinding");
    user
}

/// Rights that no test here can show, and why they are needed.
fn needed_all_the_same((group, resource, verb): &(String, String, String)) -> bool {
    match (group.as_str(), resource.as_str(), verb.as_str()) {
        // A server-side apply of what is not there yet is checked as a create, too.
        ("" | "apps" | "policy", _, "create") => resource != "pods/eviction",
        // Checked by an admission plugin that this API server does not run.
        ("tempo-rs.dev", "tempoclusters/finalizers", "update") => true,
        // A notice that comes again after ten minutes becomes a series.
        ("events.k8s.io", "events", "patch") => true,
        // The kind is not there.
        ("monitoring.coreos.com", "servicemonitors", _) => true,
        // Orphans of these kinds come with later versions of the operator.
        ("", "services", "delete") | ("policy", "poddisruptionbudgets", "delete") => true,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_chart_are_enough_and_none_is_idle() {
    let Some(playground) = Playground::open("rights").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let _ingester = Ingester::behind(&kubelet);
    let class = make_storage(&playground, true).await;
    let rules = chart_rules();
    let mut config = playground.config.clone();
    config.auth_info.impersonate = Some(grant(&playground, &rules).await);
    let mut operator = Operator::with_config(&playground, config, Calls::new());
    operator.run();

    live_a_life(&playground, &kubelet, &class).await;
    operator.stop_and_keep().await;

    let granted = granted(&rules);
    let used = used(&operator.calls.kinds());
    let missing: Vec<_> = used.difference(&granted).collect();
    assert!(missing.is_empty(), "used but not granted: {missing:?}");
    let idle: Vec<_> = granted.difference(&used).filter(|right| !needed_all_the_same(right)).collect();
    assert!(idle.is_empty(), "granted but not used: {idle:?}");
}

/// Everything that can happen to a cluster.
async fn live_a_life(playground: &Playground, kubelet: &Kubelet, class: &str) {
    let grown = |size: &str, more: Value| {
        let mut spec = json!({
            "mode": "Monolithic",
            "storage": {"s3": {}, "credentials": {"secretRef": {"name": "bucket"}}},
            "monolithic": {"persistence": {"size": size, "storageClassName": class}},
            "deletionPolicy": {"volumes": "Delete"},
            "rollout": {"soak": "1s"},
        });
        merge(&mut spec, &more);
        spec
    };
    let keys = json!({"bucket": "traces", "endpoint": "http://s3:9000", "access_key_id": "a", "access_key_secret": "s"});
    put_secret(playground, keys).await;
    playground.apply_cluster("traces", grown("1Gi", json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    wait_bound(playground).await;
    // An update with a flush and an eviction, and a configuration that becomes an orphan.
    let account = json!({"serviceAccount": {"create": false, "name": "default"}});
    playground.apply_cluster("traces", grown("1Gi", account.clone())).await;
    playground.wait_condition("traces", "Ready", "False").await;
    playground.wait_condition("traces", "Ready", "True").await;
    // A volume that grows, and with it a StatefulSet that is made anew.
    playground.apply_cluster("traces", grown("2Gi", account.clone())).await;
    let claims: Api<PersistentVolumeClaim> = playground.api();
    let asked = within(DEADLINE, async || {
        let claim = claims.get("data-traces-0").await.ok()?;
        (requested(&claim).as_deref() == Some("2Gi")).then_some(())
    });
    asked.await.expect("the claim grows");
    driver_grows(playground, "2Gi").await;
    playground.wait_condition("traces", "Ready", "True").await;
    // A version that crashes is deleted, not evicted.
    kubelet.decide(|pod| {
        let images =
            pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|container| container.image.clone());
        if images.into_iter().any(|image| image.ends_with(":broken")) { Fate::CrashLoop } else { Fate::Ready }
    });
    let mut broken = account.clone();
    broken["image"] = json!({"tag": "broken"});
    playground.apply_cluster("traces", grown("2Gi", broken)).await;
    playground.wait_condition("traces", "Degraded", "True").await;
    let mut config = account;
    config["config"] = json!({"extra": {"ingester": {"max_block_duration": "7m"}}});
    playground.apply_cluster("traces", grown("2Gi", config)).await;
    playground.wait_condition("traces", "Ready", "True").await;
    playground.clusters().delete("traces", &DeleteParams::default()).await.expect("a delete");
    let clusters = playground.clusters();
    let gone =
        within(DEADLINE, async || clusters.get_opt("traces").await.ok()?.is_none().then_some(())).await;
    gone.expect("the cluster is drained and gone");
}
