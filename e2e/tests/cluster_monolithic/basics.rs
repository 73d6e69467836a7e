//! Creation: what a user applies works, and says so.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempo_e2e::{eventually, operator::VERSION, python, run_tool};
use tokio::process::Command;

use super::{
    bucket::{self, Bucket, secret},
    ledger::Ledger,
    scene::{Condition, DEADLINE, Scene, Spec},
};

/// No version, no rollout: only what must be there.
const MINIMAL: &str = "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {name: traces}\n\
                       spec: {mode: Monolithic, storage: {filesystem: {}}}\n";

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "how long it takes is a figure worth seeing")]
async fn a1_the_minimal_cluster_is_ready_in_30_seconds_and_gives_back_what_an_sdk_sent() -> anyhow::Result<()>
{
    let Some(scene) = Scene::set("a1-minimal").await? else { return Ok(()) };

    let started = tokio::time::Instant::now();
    scene.apply(MINIMAL).await?;
    scene.ready().await?;
    let took = started.elapsed();

    eprintln!("Ready {took:?} after kubectl apply");
    ensure!(took < Duration::from_secs(30), "Ready after {took:?}");
    spec_is_unchanged(&scene).await?;
    columns_are_filled(&scene).await?;
    let service = scene.service().await?;
    an_sdk_gets_back_what_it_sent(&service).await?;
    let ledger = Ledger::new(service)?;
    ledger.write(50).await?;
    ledger.check().await?;
    ensure!(
        scene.field("pod/traces-0", ".status.containerStatuses[*].restartCount").await? == "0",
        "restarts"
    );
    a_second_apply_writes_nothing(&scene).await?;
    scene.clear().await
}

/// The API server keeps who owns which field, and counts changes of the spec.
async fn spec_is_unchanged(scene: &Scene) -> anyhow::Result<()> {
    let object = scene.get("tempocluster/traces").await?;
    let applied =
        object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    let applied: Value = serde_json::from_str(applied.context("what kubectl applied")?)?;
    ensure!(object["spec"] == applied["spec"], "{} {}", object["spec"], applied["spec"]);
    ensure!(object["metadata"]["generation"] == 1, "{}", object["metadata"]);
    let fields = scene.run(&["get", "tempocluster", "traces", "--show-managed-fields", "-o", "json"]).await?;
    let fields: Value = serde_json::from_str(&fields)?;
    for manager in fields["metadata"]["managedFields"].as_array().context("managers")? {
        let is_user = manager["manager"].as_str().is_some_and(|name| name.starts_with("kubectl"));
        ensure!(is_user || manager["fieldsV1"].get("f:spec").is_none(), "{manager}");
    }
    Ok(())
}

async fn columns_are_filled(scene: &Scene) -> anyhow::Result<()> {
    let table = scene.run(&["get", "tpc", "traces"]).await?;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let [names, values] = rows.as_slice() else { anyhow::bail!("not a table of one row: {table}") };
    ensure!(*names == ["NAME", "VERSION", "READY", "PHASE", "INGESTERS", "UPDATED", "AGE"], "{table}");
    let filled = ["traces", VERSION, "True", "Running", "1/1", "1/1"];
    ensure!(values.starts_with(&filled) && values.len() == names.len(), "{table}");
    Ok(())
}

async fn an_sdk_gets_back_what_it_sent(service: &str) -> anyhow::Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/send.py");
    let mut sdk = Command::new(python);
    sdk.arg(script).args(["grpc", &format!("{service}:4317")]);
    let facts: Value = serde_json::from_str(&run_tool(&mut sdk).await?)?;
    let id = facts["trace_id"].as_str().context("the client names its trace")?;

    let url = format!("http://{service}:3200/api/traces/{id}");
    let found = tempo_e2e::Client::default().get(&url, &[]).await?;

    ensure!(found.status == 200, "{}", found.status);
    let text = found.text();
    ensure!(["checkout", "pay", "grüße", "card declined"].iter().all(|word| text.contains(word)), "{text}");
    Ok(())
}

/// A stranger's annotation makes the operator look, and a status that somebody else wrote shows when it has.
async fn a_second_apply_writes_nothing(scene: &Scene) -> anyhow::Result<()> {
    let kinds = "statefulset,service,configmap,poddisruptionbudget,pvc,pod";
    let versions =
        "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    let before = scene.run(&["get", kinds, "-o", versions]).await?;
    scene.apply(MINIMAL).await?;
    let wrong = r#"{"status": {"message": "wrong"}}"#;
    scene
        .run(&["patch", "tempocluster", "traces", "--subresource=status", "--type=merge", "-p", wrong])
        .await?;
    let version = "jsonpath={.metadata.resourceVersion}";
    let annotated = scene.run(&["annotate", "serviceaccount", "traces", "look=here", "-o", version]).await?;
    eventually("the status is right again", DEADLINE, async || {
        let message = scene.field("tempocluster/traces", ".status.message").await?;
        ensure!(message != "wrong" && !message.is_empty(), "{message}");
        Ok(())
    })
    .await?;
    let after = scene.run(&["get", kinds, "-o", versions]).await?;
    ensure!(before == after, "something was written:\n{before}\n{after}");
    let account = scene.run(&["get", "serviceaccount", "traces", "-o", version]).await?;
    ensure!(account == annotated, "the stranger's annotation was written over");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_a_secret_that_is_missing_then_wrong_then_right_is_waited_for_by_name() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("a2-secret").await? else { return Ok(()) };
    let Some(bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    let says = |text: &'static str| {
        move |storage: &Condition| storage.status == "False" && storage.message.contains(text)
    };

    scene.apply(&Spec { storage: bucket::STORAGE.into(), ..Spec::default() }.yaml()).await?;
    scene.condition("StorageReady", DEADLINE, says("Secret bucket does not exist")).await?;
    ensure!(scene.find("statefulset/traces").await?.is_none(), "pods would start without their keys");

    scene.apply(&secret("bucket: traces, access_key_id: tempo, access_key_secrets: open-sesame")).await?;
    scene.condition("StorageReady", DEADLINE, says("access_key_secret")).await?;
    ensure!(scene.find("statefulset/traces").await?.is_none(), "pods would start without their keys");

    scene.apply(&bucket.secret()).await?;
    let within = Duration::from_secs(5);
    scene.condition("StorageReady", within, |storage| storage.status == "True").await?;
    scene.ready().await?;

    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(20).await?;
    ledger.check().await?;
    let pod = scene.get("pod/traces-0").await?.to_string();
    let configuration = scene.run(&["get", "configmap", "-o", "json"]).await?;
    ensure!(!pod.contains("open-sesame") && !configuration.contains("open-sesame"), "the key is in the open");
    scene.clear().await
}
