//! The operator as users install it: images of the release binaries on every node, then the chart with `helm`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Image, cluster::Cluster, run_tool, tools::named};

/// The version of the workspace, which is also the chart's and the one that a TempoCluster gets when it names none.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const NAMESPACE: &str = "tempo-operator";
const TEMPO_IMAGE: &str = "tempo-rs/tempo";
const OPERATOR_IMAGE: &str = "tempo-rs/tempo-operator";

/// The static binaries and the program that installs the chart.
#[derive(Debug, Clone)]
pub struct Release {
    pub tempo: PathBuf,
    pub operator: PathBuf,
    pub helm: PathBuf,
}

impl Release {
    /// What `e2e/run` built; `None`, with a message, where it did not.
    pub fn find() -> Option<Release> {
        let (tempo, operator, helm) =
            (named("TEMPO_BINARY"), named("TEMPO_OPERATOR_BINARY"), named("E2E_HELM"));
        Some(Release { tempo: tempo?, operator: operator?, helm: helm? })
    }

    /// Puts tempo's image on every node under this tag.
    pub async fn load_tempo(&self, cluster: &Cluster, folder: &Path, tag: &str) -> anyhow::Result<()> {
        load(cluster, folder, &Image::of(&format!("{TEMPO_IMAGE}:{tag}"), &self.tempo)).await
    }

    /// Loads both images and installs the chart, or upgrades what is installed; returns when the operator is Ready.
    /// `settings` are `helm --set` arguments. Pods of a user's cluster (`KUBECONFIG`) must find the images themselves.
    pub async fn install(&self, cluster: &Cluster, folder: &Path, settings: &[&str]) -> anyhow::Result<()> {
        if cluster.is_ours() {
            self.load_tempo(cluster, folder, VERSION).await?;
            let operator = Image::of(&format!("{OPERATOR_IMAGE}:{VERSION}"), &self.operator);
            load(cluster, folder, &operator).await?;
        }
        cluster.kubectl().apply(&restricted(NAMESPACE).to_string()).await?;
        let mut helm = Command::new(&self.helm);
        helm.arg("--kubeconfig").arg(cluster.kubeconfig());
        helm.args(["upgrade", "--install", "tempo-operator"]).arg(chart());
        helm.args(["--namespace", NAMESPACE, "--reset-values", "--wait", "--timeout", "60s"]);
        for setting in settings {
            helm.args(["--set", setting]);
        }
        run_tool(&mut helm).await.context("install the operator's chart")?;
        Ok(())
    }

    pub async fn uninstall(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let mut helm = Command::new(&self.helm);
        helm.arg("--kubeconfig").arg(cluster.kubeconfig());
        helm.args(["uninstall", "tempo-operator", "--namespace", NAMESPACE, "--wait"]);
        run_tool(&mut helm).await.context("uninstall the operator's chart")?;
        Ok(())
    }
}

/// A namespace whose pods the API server refuses unless they keep to the `restricted` pod security standard.
pub fn restricted(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {
        "pod-security.kubernetes.io/enforce": "restricted",
    }}})
}

/// The folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tempo-operator")
}

/// The `helm` program, or `None` (with a message) where it is not installed.
pub fn helm() -> Option<PathBuf> {
    named("E2E_HELM")
}

async fn load(cluster: &Cluster, folder: &Path, image: &Image) -> anyhow::Result<()> {
    let archive = folder.join("image.tar");
    image.write(&archive).await?;
    cluster.load(&archive).await?;
    std::fs::remove_file(&archive)?;
    Ok(())
}
