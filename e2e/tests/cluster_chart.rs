//! The chart on a cluster: what the operator may see and do in either mode, and what an uninstall leaves.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempo_e2e::{
    cluster::{Cluster, Kubectl},
    eventually,
    operator::{self, Release},
};

const DEADLINE: Duration = Duration::from_secs(60);
const TRACES: &str = "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {name: traces}\n\
                      spec: {mode: Monolithic, storage: {filesystem: {}}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_works_where_it_was_told_to_and_nowhere_else() -> anyhow::Result<()> {
    let Some(release) = Release::find() else { return Ok(()) };
    let Some(cluster) = Cluster::start("chart-modes", 1).await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let kubectl = cluster.kubectl();
    for namespace in ["watched", "other"] {
        kubectl.apply(&operator::restricted(namespace).to_string()).await?;
    }

    release.install(&cluster, folder.path(), &["watchNamespaces={watched}"]).await?;
    for namespace in ["watched", "other"] {
        kubectl.run_with_input(&["apply", "--namespace", namespace, "-f", "-"], TRACES).await?;
    }
    eventually("the watched namespace has a StatefulSet", DEADLINE, async || {
        stateful_set(kubectl, "watched").await
    })
    .await?;
    ensure!(
        stateful_set(kubectl, "other").await.is_err(),
        "the operator worked in a namespace that is not its own"
    );
    ensure!(may(kubectl, "list", "secrets", "watched").await?, "no secrets where the operator works");
    ensure!(!may(kubectl, "list", "secrets", "other").await?, "secrets of another namespace");
    ensure!(!may(kubectl, "create", "pods", "watched").await?, "more than is needed");
    ensure_nothing_was_forbidden(kubectl).await?;

    release.install(&cluster, folder.path(), &[]).await?;
    eventually("the other one has too", DEADLINE, async || stateful_set(kubectl, "other").await).await?;
    ensure!(!may(kubectl, "list", "nodes", "other").await?, "nodes are none of its business");
    ensure_nothing_was_forbidden(kubectl).await?;

    release.uninstall(&cluster).await?;
    for namespace in ["watched", "other"] {
        stateful_set(kubectl, namespace).await.context("the uninstall took a running backend along")?;
        kubectl.run(&["get", "tempocluster", "traces", "--namespace", namespace]).await?;
    }
    cluster.stop().await
}

async fn stateful_set(kubectl: &Kubectl, namespace: &str) -> anyhow::Result<()> {
    let found = kubectl.find(&["statefulset", "traces", "--namespace", namespace]).await?;
    found.map(drop).with_context(|| format!("no StatefulSet in {namespace}"))
}

/// What the authorizer says about the operator's service account.
async fn may(kubectl: &Kubectl, verb: &str, resource: &str, namespace: &str) -> anyhow::Result<bool> {
    let account = format!("system:serviceaccount:{}:tempo-operator", operator::NAMESPACE);
    let mut command = kubectl.command();
    command.args(["auth", "can-i", verb, resource, "--namespace", namespace, "--as", &account]);
    // It exits with 1 for no.
    let answer = String::from_utf8(command.output().await?.stdout)?;
    match answer.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => anyhow::bail!("can-i {verb} {resource}: {other}"),
    }
}

async fn ensure_nothing_was_forbidden(kubectl: &Kubectl) -> anyhow::Result<()> {
    let log = kubectl.run(&["logs", "--namespace", operator::NAMESPACE, "deployment/tempo-operator"]).await?;
    let refusals: Vec<&str> = log.lines().filter(|line| line.to_lowercase().contains("forbidden")).collect();
    ensure!(refusals.is_empty(), "the chart's roles lack something: {refusals:#?}");
    Ok(())
}
