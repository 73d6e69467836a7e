use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Value, json};

use super::{apply, merge};

fn template() -> PodTemplateSpec {
    serde_json::from_value(json!({
        "metadata": {"labels": {"tempo-rs.dev/cluster": "traces"}, "annotations": {"tempo-rs.dev/config-digest": "1"}},
        "spec": {
            "serviceAccountName": "traces",
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": "a"}}],
            "containers": [{
                "name": "tempo",
                "image": "tempo:1",
                "args": ["-config.file=x"],
                "env": [{"name": "A", "value": "1"}],
                "ports": [{"name": "otlp", "containerPort": 4317, "protocol": "TCP"}],
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                "readinessProbe": {"periodSeconds": 2, "httpGet": {"path": "/ready", "port": "http"}},
            }],
        },
    }))
    .unwrap()
}

fn patched(patch: &Value) -> Value {
    serde_json::to_value(apply(template(), patch).unwrap()).unwrap()
}

fn refused(patch: &Value) -> String {
    apply(template(), patch).unwrap_err().message
}

#[test]
fn maps_are_merged_and_null_removes() {
    let patch = json!({
        "metadata": {"annotations": {"team": "a"}},
        "spec": {"priorityClassName": "high", "containers": [{"name": "tempo", "readinessProbe": null}]},
    });

    let merged = patched(&patch);

    assert_eq!(merged["metadata"]["annotations"], json!({"tempo-rs.dev/config-digest": "1", "team": "a"}));
    assert_eq!(merged["spec"]["priorityClassName"], "high");
    assert_eq!(merged["spec"]["containers"][0].get("readinessProbe"), None);
    assert_eq!(merged["spec"]["containers"][0]["image"], "tempo:1");
}

#[test]
fn lists_with_a_merge_key_are_merged_by_it() {
    let patch = json!({"spec": {
        "volumes": [{"name": "mine", "emptyDir": {}}],
        "containers": [
            {"name": "sidecar", "image": "other:1"},
            {"name": "tempo", "volumeMounts": [{"name": "mine", "mountPath": "/mine"}], "readinessProbe": {"periodSeconds": 9}},
        ],
        "initContainers": [{"name": "before", "image": "busy:1"}],
    }});

    let merged = patched(&patch);

    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&merged["spec"]["volumes"]), ["tmp", "config", "mine"]);
    assert_eq!(names(&merged["spec"]["containers"]), ["tempo", "sidecar"]);
    assert_eq!(names(&merged["spec"]["initContainers"]), ["before"]);
    let tempo = &merged["spec"]["containers"][0];
    assert_eq!(names(&tempo["volumeMounts"]), ["tmp", "mine"]);
    assert_eq!(tempo["readinessProbe"]["periodSeconds"], 9);
    assert_eq!(tempo["readinessProbe"]["httpGet"]["path"], "/ready");
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    let first = apply(template(), &json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}})).unwrap();

    let second = apply(first, &json!({"spec": {"tolerations": [{"key": "c"}]}})).unwrap();

    let merged = serde_json::to_value(second).unwrap();
    assert_eq!(merged["spec"]["tolerations"], json!([{"key": "c"}]));
}

#[test]
fn directives_replace_and_delete() {
    let mut pod = json!({"spec": {"nodeSelector": {"a": "1"}, "volumes": [{"name": "x"}, {"name": "y"}], "env": [{"name": "z"}]}});
    let patch = json!({"spec": {
        "nodeSelector": {"$patch": "replace", "b": "2"},
        "volumes": [{"name": "x", "$patch": "delete"}],
        "env": [{"$patch": "replace"}, {"name": "w"}],
    }});

    merge(&mut pod, &patch, "").unwrap();

    assert_eq!(
        pod["spec"],
        json!({"nodeSelector": {"b": "2"}, "volumes": [{"name": "y"}], "env": [{"name": "w"}]})
    );
}

#[test]
fn a_field_that_pods_do_not_have_is_refused_with_its_path() {
    for (patch, path) in [
        (json!({"spec": {"tolerationz": []}}), "spec.tolerationz: there is no such field"),
        (
            json!({"spec": {"containers": [{"name": "tempo", "lifecycle": {"preStopp": {}}}]}}),
            "spec.containers[0].lifecycle.preStopp",
        ),
        (json!({"metadata": {"anotations": {}}}), "metadata.anotations"),
        (json!({"specs": {}}), "specs"),
        (json!({"spec": {"containers": [{"image": "x"}]}}), "spec.containers[0].name: must be set"),
        (json!({"spec": {"containers": {"name": "tempo"}}}), "invalid type"),
        (json!({"spec": {"priorityClassName": 5}}), "invalid type"),
        (json!({"spec": {"$retainKeys": ["a"]}}), "spec.$retainKeys"),
    ] {
        let message = refused(&patch);

        assert!(
            message.starts_with("monolithic.podTemplate: ") && message.contains(path),
            "{patch}: {message}"
        );
    }
}

#[test]
fn what_the_operator_relies_on_is_refused_with_what_to_use() {
    let container = |fragment: Value| {
        let mut container = json!({"name": "tempo"});
        container.as_object_mut().unwrap().extend(fragment.as_object().unwrap().clone());
        json!({"spec": {"containers": [container]}})
    };
    for (patch, path) in [
        (
            json!({"metadata": {"labels": {"tempo-rs.dev/cluster": "x"}}}),
            "metadata.labels.tempo-rs.dev/cluster",
        ),
        (
            json!({"metadata": {"annotations": {"tempo-rs.dev/config-digest": null}}}),
            "metadata.annotations.tempo-rs.dev/config-digest",
        ),
        (json!({"spec": {"restartPolicy": "Never"}}), "spec.restartPolicy"),
        (
            json!({"spec": {"serviceAccountName": "x"}}),
            "spec.serviceAccountName: is set by the operator; use serviceAccount",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": 1}}),
            "use monolithic.terminationGracePeriodSeconds",
        ),
        (json!({"spec": {"hostNetwork": true}}), "spec.hostNetwork"),
        (json!({"spec": {"volumes": [{"name": "config", "$patch": "delete"}]}}), "spec.volumes[config]"),
        (
            json!({"spec": {"volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]}}),
            "spec.volumes[tmp]",
        ),
        (container(json!({"image": "x"})), "spec.containers[tempo].image: is set by the operator; use image"),
        (container(json!({"command": ["sh"]})), "spec.containers[tempo].command"),
        (container(json!({"args": ["-x"]})), "spec.containers[tempo].args"),
        (container(json!({"env": [{"name": "A", "value": "2"}]})), "spec.containers[tempo].env[A]"),
        (
            container(json!({"ports": [{"containerPort": 4317, "name": "x"}]})),
            "spec.containers[tempo].ports[4317]",
        ),
        (container(json!({"volumeMounts": [{"name": "x", "mountPath": "/tmp"}]})), "volumeMounts[/tmp]"),
        (
            container(json!({"volumeMounts": [{"name": "x", "mountPath": "/var/tempo/wal/"}]})),
            "volumeMounts[/var/tempo/wal/]: would hide",
        ),
        (container(json!({"volumeMounts": [{"name": "x", "mountPath": "/var//tempo/"}]})), "would hide"),
        (
            json!({"spec": {"containers": [{"name": "tempo", "$patch": "delete"}]}}),
            "spec.containers[tempo].image",
        ),
    ] {
        let message = refused(&patch);

        assert!(message.contains(path), "{patch}: {message}");
    }
}
