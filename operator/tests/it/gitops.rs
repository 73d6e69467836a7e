//! Acceptance cases F1 and F2: what GitOps tools do to a TempoCluster, with the real kubectl (`E2E_KUBERNETES`) and with
//! Argo CD's health check in a Lua interpreter, against a real API server.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempo_operator::crd::TempoCluster;
use tokio::task::JoinSet;

use crate::{
    control_plane::{Playground, minimal, told},
    kubelet::{Fate, Kubelet},
    operator::Operator,
    rollout::with,
};

/// `None` when there is no kubectl to test with.
fn kubectl(playground: &Playground, arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let Some(folder) = told("E2E_KUBERNETES") else {
        eprintln!("skipped: E2E_KUBERNETES names no folder with kubectl");
        return None;
    };
    let mut child = Command::new(PathBuf::from(folder).join("kubectl"))
        .args(["--kubeconfig", &told("E2E_KUBECONFIG").expect("checked before")])
        .args(["--namespace", &playground.namespace])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("kubectl reads");
    let output = child.wait_with_output().expect("kubectl ends");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.success(), text))
}

/// The cluster as a file in Git, with what Argo CD adds when it applies it.
fn manifest(is_tracked: bool) -> String {
    let mut object = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster", "metadata": {"name": "traces"}, "spec": minimal(),
    });
    if is_tracked {
        object["metadata"]["labels"] =
            json!({"app.kubernetes.io/instance": "tracing", "argocd.argoproj.io/instance": "tracing"});
        object["metadata"]["annotations"] =
            json!({"argocd.argoproj.io/tracking-id": "tracing:tempo-rs.dev/TempoCluster:x/traces"});
    }
    object.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_applying_the_same_file_again_in_any_way_makes_the_operator_write_nothing() {
    let Some(playground) = Playground::open("f1").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    let apply = |arguments: &[&str], is_tracked| {
        let (is_done, text) = kubectl(&playground, arguments, &manifest(is_tracked))?;
        assert!(is_done, "{text}");
        Some(text)
    };
    let Some(_) = apply(&["apply", "-f", "-"], false) else { return };
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;
    operator.calls.clear();

    let again = apply(&["apply", "-f", "-"], false).expect("kubectl is there");
    assert!(again.contains("unchanged"), "{again}");
    for _ in 0..2 {
        apply(&["apply", "--server-side", "--force-conflicts", "-f", "-"], false);
    }
    for _ in 0..2 {
        apply(
            &["apply", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f", "-"],
            true,
        );
    }
    operator.settle().await;

    assert!(operator.calls.writes().is_empty(), "{:?}", operator.calls.writes());
    let arguments =
        ["diff", "--server-side", "--field-manager=argocd-controller", "--force-conflicts", "-f", "-"];
    let (is_same, text) = kubectl(&playground, &arguments, &manifest(true)).expect("kubectl is there");
    assert!(is_same, "{text}");
    assert_eq!(tracked(&playground).await, Vec::<String>::new(), "no child carries the mark of the tool");
    operator.stop().await;
}

/// Children and volumes that a GitOps tool would take for its own.
async fn tracked(playground: &Playground) -> Vec<String> {
    let kinds = [
        ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&()),
        ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()),
        ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
        ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        ApiResource::erase::<PersistentVolumeClaim>(&()),
    ];
    let mut found = Vec::new();
    for kind in kinds {
        let api: Api<DynamicObject> =
            Api::namespaced_with(playground.client.clone(), &playground.namespace, &kind);
        for object in api.list(&ListParams::default().labels("tempo-rs.dev/cluster")).await.expect("a list") {
            let is_claimed = object
                .labels()
                .values()
                .chain(object.annotations().values())
                .any(|value| value.starts_with("tracing"));
            if is_claimed {
                found.push(format!("{} {}", kind.kind, object.name_any()));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_kubectl_shows_what_people_look_for() {
    let Some(playground) = Playground::open("a1-columns").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    playground.apply_cluster("traces", minimal()).await;
    playground.wait_condition("traces", "Ready", "True").await;

    let Some((_, text)) = kubectl(&playground, &["get", "tpc", "traces"], "") else { return };
    let (_, waited) =
        kubectl(&playground, &["wait", "--for=condition=Ready", "tpc/traces", "--timeout=5s"], "")
            .expect("kubectl");

    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "VERSION", "READY", "PHASE", "INGESTERS", "UPDATED", "AGE"]);
    assert_eq!(lines[1][..6], ["traces", env!("CARGO_PKG_VERSION"), "True", "Running", "1/1", "1/1"]);
    assert!(waited.contains("condition met"), "{waited}");
    operator.stop().await;
}

/// Every state of the cluster that the API server tells of.
struct History {
    states: Arc<Mutex<Vec<Value>>>,
    _watch: JoinSet<()>,
}

impl History {
    fn of(playground: &Playground) -> History {
        let states = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&states);
        let resource = ApiResource::erase::<TempoCluster>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(playground.client.clone(), &playground.namespace, &resource);
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            let mut changes =
                watcher::watcher(api, watcher::Config::default()).default_backoff().touched_objects().boxed();
            while let Some(change) = changes.next().await {
                if let Ok(object) = change {
                    kept.lock().push(serde_json::to_value(object).expect("JSON"));
                }
            }
        });
        History { states, _watch: watch }
    }

    fn len(&self) -> usize {
        self.states.lock().len()
    }
}

/// What Argo CD would show for each state; `None` without a Lua interpreter.
fn argo_health(states: &[Value]) -> Option<Vec<String>> {
    let check = include_str!("../../../charts/tempo-operator/files/health.lua");
    let mut script = format!("local function health(obj)\n{check}\nend\n");
    for state in states {
        script.push_str(&format!("print(health({}).status)\n", lua(state)));
    }
    let child = Command::new("lua5.4").arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no lua5.4");
        return None;
    };
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("Lua reads");
    let output = child.wait_with_output().expect("Lua ends");
    assert!(output.status.success(), "the health check fails");
    Some(String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect())
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        }
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                format!("[{}]={}", lua(&Value::String(key.clone())), lua(value))
            };
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
        }
    }
}

fn condition(state: &Value, name: &str) -> Option<String> {
    let conditions = state.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    found["status"].as_str().map(str::to_owned)
}

/// What kstatus (Flux, kpt) would say.
fn kstatus(state: &Value) -> &'static str {
    let is = |name: &str, wanted: &str| condition(state, name).as_deref() == Some(wanted);
    if !state["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if state.pointer("/status/observedGeneration") != Some(&state["metadata"]["generation"])
        || is("Reconciling", "True")
    {
        "InProgress"
    } else if is("Stalled", "True") {
        "Failed"
    } else if is("Ready", "True") {
        "Current"
    } else {
        "InProgress"
    }
}

/// Whether this state has nothing left to do, by what it says itself.
fn is_finished(state: &Value) -> bool {
    state.pointer("/status/observedGeneration") == Some(&state["metadata"]["generation"])
        && condition(state, "Progressing").as_deref() == Some("False")
        && state.pointer("/status/rollout/summary") == Some(&json!("1/1"))
        && state.pointer("/status/ingester/summary") == Some(&json!("1/1"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f2_health_and_kstatus_never_say_done_too_early_and_degraded_only_when_it_is() {
    let Some(playground) = Playground::open("f2").await else { return };
    let kubelet = Kubelet::start(&playground).await;
    let operator = Operator::running(&playground);
    let history = History::of(&playground);
    playground.apply_cluster("traces", with(&json!({}))).await;
    playground.wait_condition("traces", "Ready", "True").await;
    playground.apply_cluster("traces", with(&json!({"monolithic": {"logLevel": "debug"}}))).await;
    playground.wait_condition("traces", "Ready", "False").await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;
    let good = history.len();

    kubelet.decide(|pod| {
        let image =
            pod.spec.iter().flat_map(|spec| &spec.containers).find_map(|container| container.image.clone());
        if image.is_some_and(|image| image.ends_with(":broken")) { Fate::CrashLoop } else { Fate::Ready }
    });
    let broken = json!({"monolithic": {"logLevel": "debug"}, "image": {"tag": "broken"}});
    playground.apply_cluster("traces", with(&broken)).await;
    playground.wait_condition("traces", "Degraded", "True").await;
    playground.apply_cluster("traces", with(&json!({"monolithic": {"logLevel": "debug"}}))).await;
    playground.wait_condition("traces", "Degraded", "False").await;
    playground.wait_condition("traces", "Ready", "True").await;
    operator.settle().await;

    let states = history.states.lock().clone();
    let Some(health) = argo_health(&states) else { return };
    assert_eq!(health.len(), states.len());
    eprintln!(
        "{} states, {} healthy",
        states.len(),
        health.iter().filter(|health| *health == "Healthy").count()
    );
    for (i, (state, health)) in states.iter().zip(&health).enumerate() {
        let kstatus = kstatus(state);
        assert!(health != "Healthy" || is_finished(state), "healthy too early: {state:#}");
        assert!(kstatus != "Current" || is_finished(state), "current too early: {state:#}");
        assert!(
            i >= good || (health != "Degraded" && kstatus != "Failed"),
            "degraded by a rollout: {state:#}"
        );
    }
    assert!(health.iter().any(|health| health == "Degraded"), "the broken version shows");
    assert_eq!(health.last().map(String::as_str), Some("Healthy"));
    operator.stop().await;
}
