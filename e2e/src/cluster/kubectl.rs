//! `kubectl` as a client: what a user would type.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::run_tool;

const DEADLINE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone)]
pub struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Kubectl {
    /// The command with the cluster's kubeconfig, to be given arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs `kubectl` with these arguments and gives what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(arguments);
        tokio::time::timeout(DEADLINE, run_tool(&mut command))
            .await
            .with_context(|| format!("kubectl {arguments:?} did not end in {DEADLINE:?}"))?
    }

    /// `kubectl … -o json`.
    pub async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let printed = self.run(&[arguments, &["-o", "json"]].concat()).await?;
        serde_json::from_str(&printed).with_context(|| format!("kubectl {arguments:?} printed {printed}"))
    }

    /// One object, or `None` when it does not exist.
    pub async fn find(&self, arguments: &[&str]) -> anyhow::Result<Option<Value>> {
        let printed =
            self.run(&[&["get"], arguments, &["--ignore-not-found", "-o", "json"]].concat()).await?;
        if printed.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&printed)
            .map(Some)
            .with_context(|| format!("kubectl get {arguments:?}: {printed}"))
    }

    /// Runs `kubectl` with a text as its standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().context("start kubectl")?;
        let mut stdin = process.stdin.take().context("kubectl has a standard input")?;
        stdin.write_all(input.as_bytes()).await?;
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, process.wait_with_output())
            .await
            .with_context(|| format!("kubectl {arguments:?} did not end in {DEADLINE:?}"))??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}\n{printed}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(printed)
    }

    /// `kubectl apply -f -`, client-side, as most users do it.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        self.run_with_input(&["apply", "-f", "-"], manifest).await
    }
}
