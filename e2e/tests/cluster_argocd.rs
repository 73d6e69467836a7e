//! A TempoCluster that lives in Git: the real Argo CD keeps it, and its health is what our check says.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempo_e2e::{
    argocd::{ArgoCd, State},
    cluster::{Cluster, Kubectl},
    operator::{self, Release},
};

const NAMESPACE: &str = "observability";
const FILE: &str = "traces/cluster.yaml";
const DEADLINE: Duration = Duration::from_secs(120);
const NEXT_VERSION: &str = "0.1.1";

fn cluster_yaml(version: &str, more: &str) -> String {
    format!(
        "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {{name: traces}}\n\
         spec:\n  mode: Monolithic\n  version: '{version}'\n  storage: {{filesystem: {{}}}}\n  \
         monolithic: {{persistence: {{size: 1Gi}}}}\n  rollout: {{soak: 2s, progressDeadline: 1m}}\n{more}"
    )
}

/// One cluster for the whole story of an application; each step begins where the one before ended.
#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_keeps_a_tempo_cluster() -> anyhow::Result<()> {
    let Some(release) = Release::find() else { return Ok(()) };
    let Some(cluster) = Cluster::start("argocd", 1).await? else { return Ok(()) };
    if !cluster.is_ours() {
        return Ok(()); // Argo CD of the user's cluster, if there is one, is left alone.
    }
    let folder = tempfile::tempdir()?;
    release.install(&cluster, folder.path(), &[]).await?;
    release.load_tempo(&cluster, folder.path(), NEXT_VERSION).await?;
    let health = std::fs::read_to_string(operator::chart().join("files/health.lua"))?;
    let checks = [("tempo-rs.dev_TempoCluster", health.as_str())];
    let Some(argocd) = ArgoCd::start(&cluster, folder.path(), &checks).await? else { return Ok(()) };
    let story = Story { argocd: &argocd, kubectl: cluster.kubectl() };

    let result = story.tell().await;
    if result.is_err() {
        story.print_what_is_there().await?;
    }
    cluster.stop().await?;
    result
}

struct Story<'a> {
    argocd: &'a ArgoCd,
    kubectl: &'a Kubectl,
}

impl Story<'_> {
    async fn tell(&self) -> anyhow::Result<()> {
        self.kubectl.apply(&operator::restricted(NAMESPACE).to_string()).await?;
        let first = self.commit("traces", operator::VERSION, "").await?;
        let application = self.argocd.create_application("traces", "traces", NAMESPACE).await?;
        let is_done = |commit: &str| {
            let commit = commit.to_owned();
            move |state: &State| state.is("Synced", "Healthy") && state.revision == commit
        };
        let created = application.wait_for("created", DEADLINE, is_done(&first)).await?;
        let states = application.states();
        ensure!(
            states.iter().any(|state| state.is("Synced", "Progressing")),
            "never Progressing: {states:#?}"
        );

        // Left alone, nothing changes and nothing is written; neither does a second sync.
        let before = self.resource_versions().await?;
        application.wait_for_comparisons(3, DEADLINE).await?;
        application.sync(&first, DEADLINE).await?;
        application.wait_for_comparisons(2, DEADLINE).await?;
        let states = application.states();
        ensure!(states.len() == created, "changed by itself: {:#?}", states.get(created - 1..));
        let after = self.resource_versions().await?;
        ensure!(before == after, "a sync without a change wrote something: {before:#?} became {after:#?}");

        // Another version: Progressing while the pod is replaced, then Healthy.
        let pod = self.pod_uid().await?;
        let upgrade = self.commit("upgrade", NEXT_VERSION, "").await?;
        let upgraded = application.wait_for("upgraded", DEADLINE, is_done(&upgrade)).await?;
        let states = application.states();
        let during = states.get(created..upgraded).unwrap_or_default();
        ensure!(
            during.iter().any(|state| state.is("Synced", "Progressing")),
            "never Progressing: {during:#?}"
        );
        ensure!(during.iter().all(|state| state.health != "Degraded"), "Degraded by a rollout: {during:#?}");
        ensure!(is_out_of_sync_at_most_once(during), "OutOfSync by itself: {during:#?}");
        let upgraded_pod = self.pod_uid().await?;
        ensure!(upgraded_pod != pod, "the pod was not replaced");
        ensure!(self.pod_image().await?.ends_with(&format!(":{NEXT_VERSION}")), "the pod has another image");

        // A key that Tempo does not have: the check says which, and the running pod is left alone.
        let broken = "  config: {extra: {ingester: {max_block_durations: 5m}}}\n";
        let commit = self.commit("break the configuration", NEXT_VERSION, broken).await?;
        let says_why = |state: &State| {
            state.is("Synced", "Degraded")
                && state.revision == commit
                && state.message.contains("max_block_durations")
        };
        application.wait_for("Degraded", DEADLINE, says_why).await?;
        ensure!(self.pod_uid().await? == upgraded_pod, "a refused configuration restarted the pod");
        let revert = self.argocd.repository().revert().await?;
        application.wait_for("healed by the revert", DEADLINE, is_done(&revert)).await?;
        ensure!(self.pod_uid().await? == upgraded_pod, "the revert restarted the pod");

        // A version whose image does not exist: the pod is lost to it until the revert, which needs no human.
        let commit = self.commit("upgrade to nowhere", "0.1.99", "").await?;
        let names_the_pod = |state: &State| {
            state.is("Synced", "Degraded") && state.revision == commit && state.message.contains("traces-0")
        };
        application.wait_for("Degraded", DEADLINE, names_the_pod).await?;
        let revert = self.argocd.repository().revert().await?;
        application.wait_for("healed by the second revert", DEADLINE, is_done(&revert)).await?;
        ensure!(self.pod_image().await?.ends_with(&format!(":{NEXT_VERSION}")), "the pod has another image");
        Ok(())
    }

    async fn commit(&self, message: &str, version: &str, more: &str) -> anyhow::Result<String> {
        self.argocd.repository().commit(message, FILE, &cluster_yaml(version, more)).await
    }

    async fn pod(&self) -> anyhow::Result<Value> {
        self.kubectl.json(&["get", "pod", "traces-0", "--namespace", NAMESPACE]).await
    }

    async fn pod_uid(&self) -> anyhow::Result<String> {
        text(&self.pod().await?, "/metadata/uid")
    }

    async fn pod_image(&self) -> anyhow::Result<String> {
        text(&self.pod().await?, "/spec/containers/0/image")
    }

    /// Of every object that Argo CD or the operator writes: changes with each write, whoever writes.
    async fn resource_versions(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let kinds = "tempoclusters,statefulsets,services,configmaps,serviceaccounts,poddisruptionbudgets";
        let list = self.kubectl.json(&["get", kinds, "--namespace", NAMESPACE]).await?;
        let items = list.get("items").and_then(Value::as_array).context("kubectl prints a list")?;
        let version = |item: &Value| {
            let name = format!("{} {}", text(item, "/kind")?, text(item, "/metadata/name")?);
            Ok((name, text(item, "/metadata/resourceVersion")?))
        };
        items.iter().map(version).collect()
    }

    #[expect(clippy::print_stderr, reason = "what a failed test leaves for whoever looks at it")]
    async fn print_what_is_there(&self) -> anyhow::Result<()> {
        for what in [
            &["get", "tempoclusters,pods,persistentvolumeclaims", "--all-namespaces", "-o", "wide"][..],
            &["get", "tempoclusters", "--all-namespaces", "-o", "yaml"],
            &["get", "events", "--all-namespaces"],
            &["logs", "--namespace", operator::NAMESPACE, "deployment/tempo-operator", "--tail=100"],
        ] {
            let printed = self.kubectl.run(what).await.unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("kubectl {}\n{printed}", what.join(" "));
        }
        Ok(())
    }
}

/// A commit makes an application OutOfSync until it is synced; anything after that would be drift.
fn is_out_of_sync_at_most_once(states: &[State]) -> bool {
    let mut changes = states.iter().map(|state| state.sync == "OutOfSync").collect::<Vec<_>>();
    changes.dedup();
    changes.iter().filter(|is_out_of_sync| **is_out_of_sync).count() <= 1
}

fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).with_context(|| format!("no {pointer} in {value}"))
}
