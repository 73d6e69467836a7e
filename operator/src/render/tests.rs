use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempo_config::{Config, Limits, ParseOptions, parse_overrides};

use super::{KubernetesResources, names, render};
use crate::{
    crd::{ConditionType, TempoCluster},
    references::{KeyState, OperatorDefaults, References, SecretState, SecretView},
    validate::{Refusal, validate},
};

fn references(content_hash: &str, tenants: Option<&str>) -> References {
    let keys = ["access_key_id", "access_key_secret", "tls.crt", "tls.key"];
    let secret = SecretState::Present(SecretView {
        name: "keys".to_owned(),
        uid: "2".to_owned(),
        resource_version: "3".to_owned(),
        keys: keys.iter().map(|key| ((*key).to_owned(), 1)).collect(),
        values: BTreeMap::new(),
        content_hash: content_hash.to_owned(),
    });
    let ca = KeyState::Present { text: "certificate".to_owned(), content_hash: "5".to_owned() };
    References {
        storage_secret: secret.clone(),
        storage_ca: ca.clone(),
        ingest_certificate: secret,
        ingest_client_ca: ca,
        tenant_overrides: tenants.map_or(KeyState::NotReferenced, |text| KeyState::Present {
            text: text.to_owned(),
            content_hash: "6".to_owned(),
        }),
        operator: OperatorDefaults {
            image_repository: "tempo-rs/tempo".to_owned(),
            image_tag: None,
            version: "0.4.1".to_owned(),
        },
    }
}

fn rendered_with(spec: &Value, references: &References) -> Result<KubernetesResources, Refusal> {
    let object = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster",
        "metadata": {"name": "traces", "namespace": "observability", "uid": "1"}, "spec": spec,
    });
    let cluster: TempoCluster = serde_json::from_value(object).unwrap();
    render(&validate(&cluster, references)?)
}

fn rendered(spec: &Value) -> Result<KubernetesResources, Refusal> {
    rendered_with(spec, &references("4", None))
}

fn filesystem(mut fragment: Value) -> Value {
    fragment["mode"] = json!("Monolithic");
    fragment["storage"] = json!({"filesystem": {}});
    fragment
}

fn extra(extra: Value) -> Value {
    filesystem(json!({"config": {"extra": extra}}))
}

fn text(resources: &KubernetesResources, key: &str) -> String {
    resources.config_maps.iter().find_map(|map| map.data.as_ref()?.get(key).cloned()).unwrap()
}

fn template(resources: &KubernetesResources) -> &PodTemplateSpec {
    &resources.stateful_set.spec.as_ref().unwrap().template
}

#[test]
fn an_unknown_key_is_refused_with_its_path_and_the_nearest_key() {
    let refusal = rendered(&extra(json!({"query_frontend": {"max_retris": 3}}))).unwrap_err();

    assert_eq!((refusal.condition, refusal.reason.as_str()), (ConditionType::ConfigValid, "InvalidConfig"));
    assert!(!refusal.is_waiting);
    assert!(refusal.message.contains("config.extra: query_frontend.max_retris"), "{refusal}");
    assert!(refusal.message.contains("query_frontend.max_retries"), "{refusal}");
}

#[test]
fn every_wrong_key_is_named_at_once() {
    let wrong = json!({"ingester": {"max_block_duration": "0s"}, "querier": {"max_concurrent_queries": 0}});

    let refusal = rendered(&extra(wrong)).unwrap_err();

    assert!(refusal.message.contains("ingester.max_block_duration"), "{refusal}");
    assert!(refusal.message.contains("querier.max_concurrent_queries"), "{refusal}");
}

#[test]
fn a_key_that_this_build_lacks_is_a_warning() {
    let lacking = json!({"compactor": {"compaction": {"block_retention": "48h"}}});

    let warnings = rendered(&extra(lacking)).unwrap().warnings;

    assert!(warnings.iter().any(|warning| warning.contains("config.extra: compactor")), "{warnings:?}");
}

#[test]
fn what_the_operator_relies_on_cannot_be_changed_by_the_fragment() {
    for (fragment, path) in [
        (json!({"server": {"http_listen_port": 80}}), "server.http_listen_port"),
        (json!({"http_api_prefix": "/tempo"}), "http_api_prefix"),
        (json!({"storage": {"trace": {"backend": "s3"}}}), "storage.trace.backend"),
        (json!({"storage": {"trace": {"wal": {"path": "/x"}}}}), "storage.trace.wal.path"),
        (json!({"storage": {"trace": {"local": {"path": "/x"}}}}), "storage.trace.local.path"),
        (json!({"distributor": {"receivers": {"zipkin": {}}}}), "distributor.receivers.zipkin.endpoint"),
        (
            json!({"distributor": {"receivers": {"otlp": {"protocols": {"grpc": {"endpoint": ":1"}}}}}}),
            "distributor.receivers.otlp.protocols.grpc.endpoint",
        ),
        (json!({"overrides": {"per_tenant_override_config": "/x"}}), "overrides.per_tenant_override_config"),
    ] {
        let refusal = rendered(&extra(fragment)).unwrap_err();

        assert!(
            refusal.message.contains(&format!("config.extra: {path}: is set by the operator")),
            "{refusal}"
        );
    }
}

#[test]
fn other_keys_of_a_receiver_can_be_set() {
    let fragment = json!({"distributor": {"receivers": {"otlp": {"protocols": {"grpc": {"max_recv_msg_size_mib": 16}}}}}});

    let resources = rendered(&extra(fragment)).unwrap();

    assert!(text(&resources, "tempo.yaml").contains("max_recv_msg_size_mib: 16"));
}

#[test]
fn a_secret_in_the_spec_is_refused_and_a_variable_is_not() {
    let with = |key: &str| {
        json!({
            "mode": "Monolithic",
            "storage": {"s3": {"bucket": "b"}, "credentials": {"ambient": {}}},
            "config": {"extra": {"storage": {"trace": {"s3": {"access_key": "a", "secret_key": key}}}}},
        })
    };

    let refusal = rendered_with(&with("open"), &references("4", None)).unwrap_err();
    let resources = rendered_with(&with("${KEY}"), &references("4", None)).unwrap();

    assert!(refusal.message.contains("storage.trace.s3.secret_key: is a secret"), "{refusal}");
    assert!(!refusal.message.contains("open"), "{refusal}");
    assert!(text(&resources, "tempo.yaml").contains("secret_key: ${KEY}"));
}

#[test]
fn a_limit_restarts_nothing() {
    let limited = filesystem(json!({"limits": {"defaults": {"ingestion": {"rateBytes": 1}}}}));

    let (before, after) = (rendered(&filesystem(json!({}))).unwrap(), rendered(&limited).unwrap());

    assert_eq!(before.stateful_set, after.stateful_set);
    assert_ne!(text(&before, "overrides.yaml"), text(&after, "overrides.yaml"));
}

#[test]
fn configuration_credentials_and_the_wish_to_restart_change_the_pod() {
    let s3 = json!({
        "mode": "Monolithic",
        "storage": {"s3": {"bucket": "b"}, "credentials": {"secretRef": {"name": "keys"}}},
    });
    let mut restarted = s3.clone();
    restarted["rollout"] = json!({"restartedAt": "2026-11-20T10:00:00Z"});
    let mut configured = s3.clone();
    configured["config"] = json!({"extra": {"querier": {"max_concurrent_queries": 7}}});
    let first = rendered(&s3).unwrap();

    let others = [
        rendered(&restarted).unwrap(),
        rendered(&configured).unwrap(),
        rendered_with(&s3, &references("rotated", None)).unwrap(),
    ];

    for other in others {
        assert_ne!(template(&first), template(&other));
    }
}

#[test]
fn limits_are_merged_from_defaults_file_and_spec_in_this_order() {
    let spec = filesystem(json!({
        "tenancy": {"enabled": true},
        "limits": {
            "defaults": {"ingestion": {"burstBytes": 2, "rateBytes": 2}},
            "tenants": {"a": {"ingestion": {"rateBytes": 4}, "extra": {"ingestion": {"rate_limit_bytes": 5}}}},
            "tenantsFrom": {"name": "it", "key": "k"},
        },
    }));
    let file = "overrides: {a: {ingestion: {rate_limit_bytes: 3, max_traces_per_user: 3}}, b: {}}";

    let resources = rendered_with(&spec, &references("4", Some(file))).unwrap();

    let (overrides, _) = parse_overrides(&text(&resources, "overrides.yaml"), &Limits::default()).unwrap();
    let of = |tenant: &str| {
        let limits = &overrides.for_tenant(tenant).ingestion;
        (limits.rate_limit_bytes.get(), limits.burst_size_bytes.get(), limits.max_traces_per_user)
    };
    assert_eq!(of("a"), (4, 2, 3));
    assert_eq!(of("b"), (2, 2, 10_000));
    assert_eq!(of("anybody"), (2, 2, 10_000));
}

#[test]
fn a_wrong_limit_is_refused_with_its_place() {
    let tenants = json!({"a": {"extra": {"ingestion": {"rate": 1}}}});
    let typed = filesystem(json!({"tenancy": {"enabled": true}, "limits": {"tenants": tenants}}));
    let file = filesystem(
        json!({"tenancy": {"enabled": true}, "limits": {"tenantsFrom": {"name": "it", "key": "k"}}}),
    );

    let of_spec = rendered(&typed).unwrap_err();
    let of_file =
        rendered_with(&file, &references("4", Some("overrides: {b: {ingestion: {x: 1}}}"))).unwrap_err();

    assert!(of_spec.message.starts_with("limits.tenants.a: extra.ingestion.rate"), "{of_spec}");
    assert!(
        of_file.message.starts_with("limits.tenantsFrom (it, key k): overrides.b.ingestion.x"),
        "{of_file}"
    );
}

#[test]
fn objects_come_in_the_order_in_which_they_are_needed() {
    let monitored = filesystem(json!({"observability": {"serviceMonitor": {"enabled": true}}}));

    let children = rendered(&monitored).unwrap().in_apply_order();

    let kinds: Vec<&str> = children.iter().map(|child| child.resource.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "ServiceAccount",
            "Service",
            "Service",
            "ConfigMap",
            "ConfigMap",
            "PodDisruptionBudget",
            "StatefulSet",
            "ServiceMonitor"
        ]
    );
}

prop_compose! {
    /// Specs that the API server would take, over all groups.
    fn any_spec()(
        is_s3 in any::<bool>(),
        has_ca in any::<bool>(),
        has_tls in any::<bool>(),
        on in proptest::collection::vec(any::<Option<bool>>(), 7),
        offset in 0_u16..1_000,
        level in proptest::option::of(prop_oneof!["debug", "info", "warn", "error"]),
        grace in proptest::option::of(10_i64..86_400),
        rate in proptest::option::of(0_i64..i64::MAX),
        retries in proptest::option::of(0_u32..100),
        prefix in proptest::option::of("[a-z0-9:#{}' \"/-]{1,20}"),
        tenant in "[a-zA-Z0-9.*:' #-]{1,12}",
    ) -> Value {
        let fields = [
            "otlpGrpc", "otlpHttp", "jaegerGrpc", "jaegerThriftHttp", "jaegerThriftCompact", "jaegerThriftBinary", "zipkin",
        ];
        let mut ingest = serde_json::Map::new();
        for (i, (field, enabled)) in (0_u16..).zip(fields.iter().zip(on)) {
            if let Some(enabled) = enabled {
                let port = 20_000 + offset + i;
                ingest.insert((*field).to_owned(), json!({"enabled": enabled, "port": port}));
            }
        }
        if has_tls {
            let ca = json!({"name": "it", "key": "ca.crt"});
            ingest.insert("tls".to_owned(), json!({"mode": "Mutual", "secretRef": {"name": "keys"}, "clientCaRef": ca}));
        }
        let mut storage = json!({"filesystem": {}});
        if is_s3 {
            storage = json!({"s3": {"bucket": "traces"}, "credentials": {"secretRef": {"name": "keys"}}});
            if let Some(prefix) = prefix {
                storage["prefix"] = json!(prefix);
            }
            if has_ca {
                storage["tls"] = json!({"caRef": {"name": "it", "key": "ca.crt"}});
            }
        }
        let mut spec = json!({
            "mode": "Monolithic", "storage": storage, "ingest": ingest, "tenancy": {"enabled": true}, "monolithic": {},
            "limits": {"tenants": {tenant: {"ingestion": {}}}},
        });
        if let Some(level) = level {
            spec["monolithic"]["logLevel"] = json!(level);
        }
        if let Some(grace) = grace {
            spec["monolithic"]["terminationGracePeriodSeconds"] = json!(grace);
        }
        if let Some(rate) = rate {
            spec["limits"]["defaults"] = json!({"ingestion": {"rateBytes": rate}});
        }
        if let Some(retries) = retries {
            spec["config"] = json!({"extra": {"query_frontend": {"max_retries": retries}}});
        }
        spec
    }
}

proptest! {
    // A case costs about 100 ms in a debug build.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_rendered_is_read_back_by_tempo_and_is_the_same_every_time(spec in any_spec()) {
        let first = match rendered(&spec) {
            Ok(resources) => resources,
            Err(refusal) => {
                prop_assert!(!refusal.message.is_empty());
                return Ok(());
            }
        };
        prop_assert_eq!(&first, &rendered(&spec).unwrap());

        let file = text(&first, "tempo.yaml");
        let options = ParseOptions { expand_env: true };
        let parsed = Config::from_yaml(&file, &BTreeMap::new(), options).unwrap();
        prop_assert_eq!(&parsed.warnings, &Vec::new());
        let valid = parsed.config.validate().unwrap();
        let on = valid.distributor.receivers.otlp.is_some()
            || valid.distributor.receivers.jaeger.is_some()
            || valid.distributor.receivers.zipkin.is_some();
        prop_assert!(on);
        parse_overrides(&text(&first, "overrides.yaml"), &valid.overrides.defaults).unwrap();
    }

    #[test]
    fn every_volume_that_is_mounted_is_there(spec in any_spec()) {
        let Ok(resources) = rendered(&spec) else { return Ok(()) };

        let pod = template(&resources).spec.clone().unwrap();
        let mut volumes: Vec<String> = pod.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect();
        volumes.push(names::DATA_VOLUME.to_owned());
        for mount in pod.containers.first().unwrap().volume_mounts.iter().flatten() {
            prop_assert!(volumes.contains(&mount.name), "{}", mount.name);
        }
    }
}
