//! A real Kubernetes for tests: etcd, API server, kubelets, containerd and their network, on this machine, without Docker.
//!
//! A [`Cluster`] is a handle on a supervisor process (`cluster supervise`), which owns everything and takes it down when the
//! handle is dropped or this process dies, however it dies. What a killed supervisor left is removed at the next start.
//! A `KUBECONFIG` of the user wins: the tests then run on that cluster, without images being loaded or nodes lost.
//!
//! `machine` is what a process runs in, `network` what it talks over; `control_plane` and `node` say which programs run with
//! which settings; `addons` and `volumes` are what a cloud would bring; `state` keeps clusters apart and the machine clean.

mod addons;
mod addresses;
mod certificates;
mod command;
mod control_plane;
mod kubectl;
mod machine;
mod network;
mod node;
mod state;
mod supervisor;
mod volumes;

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

pub use kubectl::Kubectl;
pub use supervisor::{Lease, supervise};

use crate::tools::{named, named_silently};

const REQUEST_DEADLINE: Duration = Duration::from_secs(120);
const STOP_DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Options {
    /// Clusters of different names run side by side.
    pub name: String,
    /// 0 is the API server with its controllers only.
    pub nodes: u8,
}

/// A running cluster; dropping it takes it down.
#[derive(Debug)]
pub struct Cluster {
    kubectl: Kubectl,
    /// `None` when the cluster is the user's.
    ours: Option<Ours>,
}

#[derive(Debug)]
struct Ours {
    name: String,
    supervisor: Child,
    /// The supervisor takes the cluster down when this is closed.
    lease: ChildStdin,
}

impl Cluster {
    /// Starts a cluster and waits until its nodes are Ready. `None`, with a message, where Kubernetes is not installed or
    /// the machine cannot run nodes.
    #[expect(clippy::print_stderr, reason = "a test that skips says so")]
    pub async fn start(name: &str, nodes: u8) -> anyhow::Result<Option<Cluster>> {
        if let Some(kubeconfig) = named_silently("KUBECONFIG") {
            let kubectl = Kubectl { program: "kubectl".into(), kubeconfig };
            kubectl.run(&["get", "--raw", "/readyz"]).await.context("the cluster of KUBECONFIG")?;
            return Ok(Some(Cluster { kubectl, ours: None }));
        }
        let Some(programs) = named("E2E_KUBERNETES") else { return Ok(None) };
        if nodes > 0 && command::has_only_cgroup_v2() {
            eprintln!("skipped: nodes of the test cluster need cgroup v1");
            return Ok(None);
        }
        let name = format!("{name}-{}", std::process::id());
        let mut process = supervisor(&Options { name: name.clone(), nodes })?;
        process.arg("--leased").stdin(Stdio::piped());
        let (mut supervisor, said) =
            tokio::task::spawn_blocking(move || start_supervisor(&mut process)).await??;
        if said != "ready\n" {
            supervisor.wait()?;
            bail!("cluster {name} did not start: {said}");
        }
        let lease = supervisor.stdin.take().context("the supervisor has a standard input")?;
        let kubectl = Kubectl {
            program: programs.join("kubectl"),
            kubeconfig: state::folder_of(&name).join("admin.kubeconfig"),
        };
        Ok(Some(Cluster { kubectl, ours: Some(Ours { name, supervisor, lease }) }))
    }

    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubectl.kubeconfig
    }

    /// False on the user's cluster, where nodes cannot be lost and images are expected to be there.
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// The address of this machine as pods see it.
    pub fn host(&self) -> anyhow::Result<Ipv4Addr> {
        Ok(addresses_of(self.name()?)?.host())
    }

    /// The machine's name of a node, which is also its network namespace's.
    pub fn machine_name(&self, node: u8) -> anyhow::Result<String> {
        Ok(addresses_of(self.name()?)?.machine_name(node))
    }

    /// The host's network interface into the cluster.
    pub fn host_interface(&self) -> anyhow::Result<String> {
        Ok(addresses_of(self.name()?)?.host_interface())
    }

    /// The folder with the cluster's logs, volumes and everything else; removed with it.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        Ok(state::folder_of(self.name()?))
    }

    pub fn supervisor_pid(&self) -> anyhow::Result<u32> {
        Ok(self.ours.as_ref().context("the cluster is the user's")?.supervisor.id())
    }

    /// Imports an image archive on every node that is up.
    pub async fn load(&self, archive: &Path) -> anyhow::Result<()> {
        self.ask(&format!("load {}", archive.display())).await
    }

    /// As if the power had failed: everything on the node is gone at once.
    pub async fn node_down(&self, node: u8) -> anyhow::Result<()> {
        self.ask(&format!("node-down {node}")).await
    }

    /// Boots a lost node again with the disk that it had.
    pub async fn node_up(&self, node: u8) -> anyhow::Result<()> {
        self.ask(&format!("node-up {node}")).await
    }

    /// Cuts the node off; its pods run on.
    pub async fn partition(&self, node: u8) -> anyhow::Result<()> {
        self.ask(&format!("partition {node}")).await
    }

    pub async fn heal(&self, node: u8) -> anyhow::Result<()> {
        self.ask(&format!("heal {node}")).await
    }

    /// Takes the cluster down and waits until nothing is left of it.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Some(Ours { name, mut supervisor, lease }) = self.ours else { return Ok(()) };
        drop(lease);
        let ended = tokio::task::spawn_blocking(move || supervisor.wait());
        let status = tokio::time::timeout(STOP_DEADLINE, ended)
            .await
            .with_context(|| format!("cluster {name} did not go down"))???;
        ensure!(status.success(), "the supervisor of cluster {name} ended with {status}");
        Ok(())
    }

    fn name(&self) -> anyhow::Result<&str> {
        Ok(&self.ours.as_ref().context("the cluster is the user's: this needs one of ours")?.name)
    }

    async fn ask(&self, request: &str) -> anyhow::Result<()> {
        ask(self.name()?, request).await
    }
}

/// Starts a cluster that stays up when this process ends.
pub async fn up(options: &Options) -> anyhow::Result<()> {
    let mut process = supervisor(options)?;
    process.stdin(Stdio::null()).stderr(Stdio::null());
    let (mut supervisor, said) =
        tokio::task::spawn_blocking(move || start_supervisor(&mut process)).await??;
    if said != "ready\n" {
        supervisor.wait()?;
        bail!("{said}");
    }
    Ok(())
}

/// Takes a cluster down, also one whose supervisor has died; it need not exist.
pub async fn down(name: &str) -> anyhow::Result<()> {
    if state::is_alive(name)? {
        ask(name, "down").await?;
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let deadline = tokio::time::Instant::now() + STOP_DEADLINE;
        while state::is_alive(name)? {
            every.tick().await;
            ensure!(tokio::time::Instant::now() < deadline, "cluster {name} did not go down");
        }
    }
    state::clean().await
}

/// Where the kubeconfig of a cluster lies that is up.
pub fn kubeconfig(name: &str) -> anyhow::Result<PathBuf> {
    ensure!(state::is_alive(name)?, "no cluster of the name {name} is up");
    Ok(state::folder_of(name).join("admin.kubeconfig"))
}

/// Sends a request to a cluster's supervisor.
pub async fn ask(name: &str, request: &str) -> anyhow::Result<()> {
    let socket = state::folder_of(name).join("control.sock");
    let asked = async {
        let mut connection =
            UnixStream::connect(&socket).await.with_context(|| format!("no cluster {name} is up"))?;
        connection.write_all(format!("{request}\n").as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        match answer.as_str() {
            "ok" => Ok(()),
            "" => bail!("the supervisor of cluster {name} ended"),
            refusal => bail!("{refusal}"),
        }
    };
    let answered = tokio::time::timeout(REQUEST_DEADLINE, asked).await;
    answered
        .with_context(|| format!("no answer after {REQUEST_DEADLINE:?}"))?
        .with_context(|| request.to_owned())
}

fn addresses_of(name: &str) -> anyhow::Result<addresses::Addresses> {
    let text = std::fs::read_to_string(state::folder_of(name).join("slot"))?;
    let slot = text.split_whitespace().next().and_then(|slot| slot.parse().ok());
    addresses::Addresses::new(name, slot.context("the cluster's slot")?)
}

/// The `cluster` program beside this one, in a process group of its own: an interrupt in the terminal is not for it.
fn supervisor(options: &Options) -> anyhow::Result<Command> {
    ensure!(options.nodes <= addresses::MOST_NODES, "at most {} nodes", addresses::MOST_NODES);
    let this = std::env::current_exe()?;
    // target/<profile>/cluster, or target/<profile>/deps/<a test>
    let beside = this.ancestors().skip(1).take(2).map(|folder| folder.join("cluster"));
    let program =
        beside.into_iter().find(|path| path.is_file()).context("the program `cluster` is not built")?;
    let mut command = Command::new(program);
    command.args(["supervise", "--name", &options.name, "--nodes", &options.nodes.to_string()]);
    command.stdout(Stdio::piped()).process_group(0);
    Ok(command)
}

/// Starts it and waits for its one message: `ready`, or why not.
fn start_supervisor(command: &mut Command) -> anyhow::Result<(Child, String)> {
    let mut supervisor = command.spawn().context("start the cluster's supervisor")?;
    let mut output = BufReader::new(supervisor.stdout.take().context("the supervisor has an output")?);
    let mut said = String::new();
    output.read_line(&mut said)?;
    if said != "ready\n" {
        std::io::Read::read_to_string(&mut output, &mut said)?;
    }
    Ok((supervisor, said))
}
