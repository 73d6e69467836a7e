//! Case A3: every rule of the CRD lets the good through and names the bad. Each case is tried on the CEL evaluator that
//! `tempo-operator validate` uses, and on the real API server if there is one.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempo_operator::crd::TempoCluster;

use crate::control_plane::{Playground, minimal};

/// One rule: what breaks it (`bad`) and its nearest neighbour that does not (`good`). With `before`, they are updates.
struct Case {
    rule: &'static str,
    message: &'static str,
    before: Option<Value>,
    good: Value,
    bad: Value,
}

/// The smallest spec with `fragment` put over it.
fn spec(fragment: Value) -> Value {
    let mut spec = minimal();
    merge(&mut spec, fragment);
    spec
}

/// The same in object storage.
fn s3(fragment: Value) -> Value {
    let mut spec = json!({
        "mode": "Monolithic",
        "storage": {"s3": {"bucket": "traces"}, "credentials": {"secretRef": {"name": "keys"}}},
    });
    merge(&mut spec, fragment);
    spec
}

fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(&key);
                } else {
                    merge(base.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (base, over) => *base = over,
    }
}

fn create(rule: &'static str, message: &'static str, good: Value, bad: Value) -> Case {
    Case { rule, message, before: None, good, bad }
}

fn update(rule: &'static str, message: &'static str, before: Value, [good, bad]: [Value; 2]) -> Case {
    Case { rule, message, before: Some(before), good, bad }
}

fn cases() -> Vec<Case> {
    [root_cases(), storage_cases(), movement_cases(), lifecycle_cases(), ingest_cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn root_cases() -> Vec<Case> {
    let digest = format!("sha256:{}", "0".repeat(64));
    vec![
        create(
            "P7",
            "limits of tenants need tenancy.enabled",
            spec(json!({"tenancy": {"enabled": true}, "limits": {"tenants": {"a": {}}}})),
            spec(json!({"tenancy": {"enabled": false}, "limits": {"tenants": {"a": {}}}})),
        ),
        create(
            "P7 with a reference",
            "limits of tenants need tenancy.enabled",
            spec(json!({"limits": {"defaults": {"ingestion": {"rateBytes": 1}}}})),
            spec(json!({"limits": {"tenantsFrom": {"name": "a", "key": "b"}}})),
        ),
        create(
            "tenantsFrom",
            "tenantsFrom is a ConfigMap",
            spec(json!({"tenancy": {"enabled": true}, "limits": {"tenantsFrom": {"name": "a", "key": "b"}}})),
            spec(json!({
                "tenancy": {"enabled": true}, "limits": {"tenantsFrom": {"kind": "Secret", "name": "a", "key": "b"}},
            })),
        ),
        create(
            "P8",
            "set tag or digest, not both",
            spec(json!({"version": "0.1.0", "image": {"digest": digest}})),
            spec(json!({"version": "0.1.0", "image": {"digest": digest, "tag": "x"}})),
        ),
        create(
            "digest",
            "image.digest does not say which version it is",
            spec(json!({"version": "0.1.0", "image": {"digest": digest}})),
            spec(json!({"image": {"digest": digest}})),
        ),
        create(
            "env",
            "set value or valueFrom, not both",
            spec(json!({"config": {"env": [{"name": "A", "value": "b"}]}})),
            spec(json!({
                "config": {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            })),
        ),
        create(
            "valueFrom",
            "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            spec(json!({"config": {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}})),
            spec(json!({"config": {"env": [{"name": "A", "valueFrom": {}}]}})),
        ),
        create(
            "envFrom",
            "set exactly one of secretRef and configMapRef",
            spec(json!({"config": {"envFrom": [{"secretRef": {"name": "a"}}]}})),
            spec(json!({"config": {"envFrom": [{"prefix": "A_"}]}})),
        ),
    ]
}

fn storage_cases() -> Vec<Case> {
    vec![
        create(
            "S1 two",
            "set exactly one of s3 and filesystem",
            s3(json!({})),
            s3(json!({"storage": {"filesystem": {}}})),
        ),
        create(
            "S1 none",
            "set exactly one of s3 and filesystem",
            spec(json!({})),
            spec(json!({"storage": {"filesystem": null}})),
        ),
        create(
            "S5 without",
            "s3 needs credentials",
            s3(json!({"storage": {"credentials": {"secretRef": null, "ambient": {}}}})),
            s3(json!({"storage": {"credentials": null}})),
        ),
        create(
            "S5 with",
            "filesystem takes none",
            spec(json!({})),
            spec(json!({"storage": {"credentials": {"ambient": {}}}})),
        ),
        create(
            "S6 both",
            "set exactly one of secretRef and ambient",
            s3(json!({})),
            s3(json!({"storage": {"credentials": {"ambient": {}}}})),
        ),
        create(
            "S6 none",
            "set exactly one of secretRef and ambient",
            s3(json!({})),
            s3(json!({"storage": {"credentials": {"secretRef": null}}})),
        ),
        create(
            "keys",
            "keys belong to a secretRef",
            s3(json!({"storage": {"credentials": {"keys": {"accessKeyId": "a"}}}})),
            s3(json!({"storage": {"credentials": {"secretRef": null, "ambient": {}, "keys": {}}}})),
        ),
        create(
            "S7",
            "caRef is of no use with insecureSkipVerify",
            s3(
                json!({"storage": {"tls": {"caRef": {"name": "a", "key": "b"}, "insecureSkipVerify": false}}}),
            ),
            s3(json!({"storage": {"tls": {"caRef": {"name": "a", "key": "b"}, "insecureSkipVerify": true}}})),
        ),
        create(
            "prefix",
            "prefix and tls are for object storage",
            s3(json!({"storage": {"prefix": "a"}})),
            spec(json!({"storage": {"prefix": "a"}})),
        ),
    ]
}

fn movement_cases() -> Vec<Case> {
    let elsewhere =
        |revision: i32| s3(json!({"storage": {"s3": {"bucket": "new"}, "locationRevision": revision}}));
    vec![
        update(
            "S2",
            "the kind of storage cannot be changed",
            s3(json!({})),
            [s3(json!({})), spec(json!({}))],
        ),
        update("S3 bucket", "raise locationRevision", s3(json!({})), [elsewhere(2), elsewhere(1)]),
        update(
            "S3 prefix",
            "raise locationRevision",
            s3(json!({"storage": {"prefix": "a"}})),
            [s3(json!({"storage": {"prefix": "b", "locationRevision": 2}})), s3(json!({}))],
        ),
        update("S4", "locationRevision can only grow", elsewhere(3), [elsewhere(4), elsewhere(2)]),
        update(
            "I3",
            "volumes cannot shrink",
            spec(json!({"monolithic": {"persistence": {"size": "10Gi"}}})),
            [
                spec(json!({"monolithic": {"persistence": {"size": "10240Mi"}}})),
                spec(json!({"monolithic": {"persistence": {"size": "10G"}}})),
            ],
        ),
        update(
            "storage class",
            "the volume cannot move to another storage class",
            spec(json!({"monolithic": {"persistence": {"size": "1Gi", "storageClassName": "a"}}})),
            [
                spec(json!({"monolithic": {"persistence": {"size": "2Gi", "storageClassName": "a"}}})),
                spec(json!({"monolithic": {"persistence": {"size": "2Gi", "storageClassName": "b"}}})),
            ],
        ),
    ]
}

fn lifecycle_cases() -> Vec<Case> {
    vec![
        create(
            "D1",
            "volumes Delete needs drain Flush",
            spec(json!({"deletionPolicy": {"volumes": "Delete"}})),
            spec(json!({"deletionPolicy": {"volumes": "Delete", "drain": "Skip"}})),
        ),
        create(
            "timeout",
            "timeout is from 1m to 24h",
            spec(json!({"deletionPolicy": {"timeout": "60s"}})),
            spec(json!({"deletionPolicy": {"timeout": "59s"}})),
        ),
        create(
            "soak",
            "soak is at most 24h",
            spec(json!({"rollout": {"soak": "0s"}})),
            spec(json!({"rollout": {"soak": "25h"}})),
        ),
        create(
            "progressDeadline",
            "progressDeadline is from 1m to 24h",
            spec(json!({"rollout": {"progressDeadline": "1h30m"}})),
            spec(json!({"rollout": {"progressDeadline": "1500ms"}})),
        ),
    ]
}

fn ingest_cases() -> Vec<Case> {
    let ca = json!({"name": "a", "key": "b"});
    vec![
        create(
            "T1",
            "TLS needs a certificate",
            spec(json!({"ingest": {"tls": {"mode": "Disabled"}}})),
            spec(json!({"ingest": {"tls": {"mode": "Server"}}})),
        ),
        create(
            "T3",
            "mode Mutual needs the authority of clients",
            spec(
                json!({"ingest": {"tls": {"mode": "Mutual", "secretRef": {"name": "a"}, "clientCaRef": ca}}}),
            ),
            spec(json!({"ingest": {"tls": {"mode": "Mutual", "secretRef": {"name": "a"}}}})),
        ),
        create(
            "T3 unused",
            "clientCaRef is only used in mode Mutual",
            spec(json!({"ingest": {"tls": {"mode": "Server", "secretRef": {"name": "a"}}}})),
            spec(
                json!({"ingest": {"tls": {"mode": "Server", "secretRef": {"name": "a"}, "clientCaRef": ca}}}),
            ),
        ),
    ]
}

fn cluster(name: &str, spec: &Value) -> TempoCluster {
    let object = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster",
        "metadata": {"name": name}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn offline(before: Option<&Value>, after: &Value) -> Result<(), String> {
    let after = cluster("case", after);
    let checked = match before {
        None => after.validate_cel(),
        Some(before) => after.validate_cel_update(&cluster("case", before)),
    };
    checked.map_err(|errors| errors.to_string())
}

#[test]
fn a3_every_rule_takes_the_good_and_refuses_the_bad() {
    for Case { rule, message, before, good, bad } in cases() {
        assert_eq!(offline(before.as_ref(), &good), Ok(()), "{rule}");
        let refused = offline(before.as_ref(), &bad).expect_err(rule);
        assert!(refused.contains(message), "{rule}: {refused}");
    }
}

#[test]
fn a3_names_that_do_not_fit_into_labels_are_refused() {
    for (name, is_good) in [
        ("traces", true),
        ("t", true),
        ("a-1", true),
        (&"a".repeat(32), true),
        (&"a".repeat(33), false),
        ("1a", false),
        ("a-", false),
    ] {
        let checked = cluster(name, &minimal()).validate_cel();

        assert_eq!(checked.is_ok(), is_good, "{name}: {checked:?}");
    }
}

#[test]
fn every_rule_has_a_case() {
    let definition = serde_json::to_string(&tempo_operator::crd::definition()).unwrap();
    let rules = definition.matches("\"rule\":").count();
    // Rules that are tried from two sides, and the rule of names, which is on the whole object.
    let twice = ["S1 none", "S5 with", "S6 none", "P7 with a reference", "S3 prefix"].len();

    assert_eq!(cases().len() - twice + 1, rules);
}

#[tokio::test]
async fn a3_the_api_server_takes_and_refuses_the_same() {
    let Some(playground) = Playground::open("rules").await else { return };
    let api = playground.clusters();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for (i, Case { rule, message, before, good, bad }) in cases().into_iter().enumerate() {
        let name = format!("case-{i}");
        let (good, bad) = match before {
            None => {
                let mut answers = Vec::new();
                for spec in [&good, &bad] {
                    answers.push(api.create(&dry, &cluster(&name, spec)).await);
                }
                let bad = answers.pop().unwrap();
                (answers.pop().unwrap(), bad)
            }
            Some(before) => {
                api.create(&PostParams::default(), &cluster(&name, &before)).await.expect(rule);
                let merge = PatchParams { dry_run: true, ..PatchParams::default() };
                let mut answers = Vec::new();
                for spec in [&good, &bad] {
                    // A JSON merge patch keeps what it does not name, so what goes away is named.
                    let mut patch = spec.clone();
                    remove_missing(&mut patch, &before);
                    answers.push(api.patch(&name, &merge, &Patch::Merge(json!({"spec": patch}))).await);
                }
                let bad = answers.pop().unwrap();
                (answers.pop().unwrap(), bad)
            }
        };
        assert!(good.is_ok(), "{rule}: {good:?}");
        let refused = bad.expect_err(rule).to_string();
        assert!(refused.contains(message), "{rule}: {refused}");
    }
}

fn remove_missing(patch: &mut Value, before: &Value) {
    let (Some(patch), Some(before)) = (patch.as_object_mut(), before.as_object()) else { return };
    for (key, value) in before {
        match patch.get_mut(key) {
            Some(patch) => remove_missing(patch, value),
            None => {
                patch.insert(key.clone(), Value::Null);
            }
        }
    }
}

#[tokio::test]
async fn a_spec_comes_back_from_the_api_server_as_it_was_written() {
    let Some(playground) = Playground::open("verbatim").await else { return };
    let full = include_str!("golden/full/cluster.yaml").split("---").next().unwrap();
    let full: Value = serde_yaml::from_str(full).unwrap();
    let spec = full["spec"].clone();

    playground.apply_cluster("traces", spec.clone()).await;

    let object = kube::Api::<kube::api::DynamicObject>::namespaced_with(
        playground.client.clone(),
        &playground.namespace,
        &kube::api::ApiResource::erase::<TempoCluster>(&()),
    );
    assert_eq!(object.get("traces").await.unwrap().data["spec"], spec);
}
