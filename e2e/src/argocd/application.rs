//! An Application and everything that its status has said since it was made.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::ChildStdout,
    sync::watch,
    task::JoinSet,
};

use crate::{cluster::Kubectl, eventually};

/// One line of the watch; `|` because messages come last and may have anything but a line's end.
const COLUMNS: &str = concat!(
    "{.status.sync.status}|{.status.health.status}|{.status.sync.revision}|",
    r#"{.status.resources[?(@.kind=="TempoCluster")].health.message}{"\n"}"#,
);

/// What the status of an Application said at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// `Synced`, `OutOfSync`, `Unknown`, or empty before the first look.
    pub sync: String,
    /// `Healthy`, `Progressing`, `Degraded`, `Suspended`, `Missing`, `Unknown`, or empty.
    pub health: String,
    /// The commit that was compared.
    pub revision: String,
    /// What the health check said about the TempoCluster.
    pub message: String,
}

impl State {
    fn parse(line: &str) -> State {
        let mut fields = line.splitn(4, '|').map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        State { sync: next(), health: next(), revision: next(), message: next() }
    }

    pub fn is(&self, sync: &str, health: &str) -> bool {
        self.sync == sync && self.health == health
    }
}

#[derive(Debug)]
pub struct Application {
    kubectl: Kubectl,
    namespace: &'static str,
    name: String,
    /// Every state that differs from the one before it, oldest first.
    states: watch::Receiver<Vec<State>>,
    /// Reads the watch; ends with this.
    _reader: JoinSet<()>,
}

impl Application {
    pub(super) fn watch(
        kubectl: &Kubectl,
        namespace: &'static str,
        name: &str,
    ) -> anyhow::Result<Application> {
        let mut command = kubectl.command();
        command.args(["get", "application", name, "--namespace", namespace, "--watch"]);
        command.arg("-o").arg(format!("jsonpath={COLUMNS}")).stdout(Stdio::piped());
        let mut process = command.spawn().context("watch the application")?;
        let output = process.stdout.take().context("kubectl has an output")?;
        let (sender, states) = watch::channel(Vec::new());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            read(output, &sender).await;
            drop(process);
        });
        Ok(Application {
            kubectl: kubectl.clone(),
            namespace,
            name: name.to_owned(),
            states,
            _reader: reader,
        })
    }

    /// Every state so far that differs from the one before it, oldest first.
    pub fn states(&self) -> Vec<State> {
        self.states.borrow().clone()
    }

    /// Waits until the last state is as asked for and gives the number of states until then.
    pub async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        is_reached: impl Fn(&State) -> bool,
    ) -> anyhow::Result<usize> {
        let mut states = self.states.clone();
        let reached = states.wait_for(|states| states.last().is_some_and(&is_reached));
        let problem = match tokio::time::timeout(deadline, reached).await {
            Ok(Ok(states)) => return Ok(states.len()),
            Ok(Err(_)) => "the watch of the application ended before".to_owned(),
            Err(_) => format!("after {deadline:?} the application was not"),
        };
        bail!("{problem} {what}: {:#?}", self.states())
    }

    /// Asks for a sync as a user does who presses the button, and waits until it has succeeded.
    pub async fn sync(&self, revision: &str, deadline: Duration) -> anyhow::Result<()> {
        let by = "the user of the test";
        let operation = json!({"operation": {
            "initiatedBy": {"username": by},
            "sync": {"revision": revision, "syncOptions": ["ServerSideApply=true"]},
        }});
        let operation = operation.to_string();
        self.kubectl(&["patch"], &["--type", "merge", "--patch", &operation]).await?;
        eventually("the sync has succeeded", deadline, async || {
            let application = self.kubectl(&["get"], &["-o", "json"]).await?;
            let application: Value = serde_json::from_str(&application)?;
            let state = application.pointer("/status/operationState").context("no operation yet")?;
            let is_ours = state.pointer("/operation/initiatedBy/username").is_some_and(|name| name == by);
            let phase = state.get("phase").and_then(Value::as_str);
            ensure!(is_ours && phase == Some("Succeeded"), "{state}");
            Ok(())
        })
        .await
    }

    /// Waits until the controller has compared the application this many times more.
    pub async fn wait_for_comparisons(&self, count: usize, deadline: Duration) -> anyhow::Result<()> {
        let mut seen = BTreeSet::new();
        eventually(format!("{count} comparisons were made"), deadline, async || {
            seen.insert(self.kubectl(&["get"], &["-o", "jsonpath={.status.reconciledAt}"]).await?);
            // The first one seen may have begun before this was asked for.
            ensure!(seen.len() > count + 1, "only {}", seen.len());
            Ok(())
        })
        .await
    }

    /// `kubectl <verb> application <this> <more>`
    async fn kubectl(&self, verb: &[&str], more: &[&str]) -> anyhow::Result<String> {
        let this = ["application", &self.name, "--namespace", self.namespace];
        self.kubectl.run(&[verb, &this, more].concat()).await
    }
}

async fn read(output: ChildStdout, states: &watch::Sender<Vec<State>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let state = State::parse(&line);
        states.send_if_modified(|states| {
            let is_new = states.last() != Some(&state);
            if is_new {
                states.push(state);
            }
            is_new
        });
    }
}
