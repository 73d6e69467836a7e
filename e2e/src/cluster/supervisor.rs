//! The process that owns a cluster: starts it, serves requests on `control.sock`, takes it down when asked or left alone.
//!
//! Requests are one line (`node-down 2`); the answer is `ok`, or what went wrong. All machines are children of this process
//! and die with it. It runs on one thread, which is the parent that the machines' "parent died" signal means.

use std::{os::fd::AsFd as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::pipe},
    signal::unix::{SignalKind, signal},
};

use super::{
    Options, addons, command, control_plane, control_plane::Place, machine::Machine, network, node,
    state::State, volumes,
};

const API_DEADLINE: Duration = Duration::from_secs(60);

/// When the cluster goes away by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// When standard input ends: the process that holds the other end has died.
    StandardInput,
    /// Only when told.
    Unlimited,
}

/// Runs a cluster to its end. `programs` is the folder with the Kubernetes binaries; `ready` is called once.
pub async fn supervise(
    options: &Options,
    programs: PathBuf,
    lease: Lease,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    command::check_machine(options.nodes)?;
    let mut ended = Box::pin(lease_ends(lease));
    let state = State::claim(&options.name, options.nodes).await?;
    let mut machines = Machines::default();
    let outcome = tokio::select! {
        outcome = run(&state, programs, options.nodes, &mut machines, ready) => outcome,
        outcome = &mut ended => outcome,
    };
    let stopped = machines.stop().await;
    let removed = state.remove().await;
    outcome.and(stopped).and(removed)
}

async fn lease_ends(lease: Lease) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let input = async {
        if lease == Lease::Unlimited {
            return std::future::pending().await;
        }
        // Not tokio's own `stdin`: its thread would keep this process from ending.
        let mut input = pipe::Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
        input.read_to_end(&mut Vec::new()).await
    };
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        read = input => read.map(|_| ()).context("wait for the end of standard input"),
    }
}

#[derive(Debug, Default)]
struct Machines {
    control_plane: Option<Machine>,
    /// By number, beginning with node 1; `None` while a node is down.
    nodes: Vec<Option<Machine>>,
}

impl Machines {
    fn check(&mut self) -> anyhow::Result<()> {
        let machines = self.nodes.iter_mut().flatten().chain(&mut self.control_plane);
        machines.into_iter().try_for_each(Machine::check)
    }

    async fn stop(self) -> anyhow::Result<()> {
        for machine in self.nodes.into_iter().flatten().chain(self.control_plane) {
            machine.pull_plug().await?;
        }
        Ok(())
    }
}

async fn run(
    state: &State,
    programs: PathBuf,
    nodes: u8,
    machines: &mut Machines,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let place = Place::new(state, programs, nodes)?;
    start(&place, machines).await?;
    let listener = UnixListener::bind(place.folder.join("control.sock"))?;
    ready()?;
    let mut serve_volumes = Box::pin(serve_volumes(&place));
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            connection = listener.accept() => {
                if serve(&place, machines, connection?.0).await? {
                    return Ok(());
                }
            }
            _ = every.tick() => machines.check()?,
            never = &mut serve_volumes => match never {},
        }
    }
}

async fn start(place: &Place, machines: &mut Machines) -> anyhow::Result<()> {
    network::create(&place.addresses).await?;
    machines.control_plane = Some(control_plane::start(place).await?);
    for node in 1..=place.nodes {
        network::create_node(&place.addresses, node, place.nodes).await?;
        machines.nodes.push(Some(node::boot(place, node).await?));
    }
    if place.nodes > 0 {
        let images = addons::images(place).await?;
        addons::load_images(place, &images).await?;
    }
    wait_for_api(place, machines).await?;
    if place.nodes == 0 {
        return Ok(());
    }
    network::route_services(&place.addresses, 1).await?;
    for (node, machine) in (1..).zip(machines.nodes.iter_mut().flatten()) {
        node::join(place, node, machine)?;
    }
    addons::apply(place).await?;
    let ready = addons::wait(place).await;
    // A program that has ended explains more than a node that is not Ready.
    machines.check()?;
    ready
}

async fn wait_for_api(place: &Place, machines: &mut Machines) -> anyhow::Result<()> {
    let kubectl = place.kubectl();
    let mut every = tokio::time::interval(Duration::from_millis(100));
    let deadline = tokio::time::Instant::now() + API_DEADLINE;
    loop {
        every.tick().await;
        machines.check()?;
        let Err(error) = kubectl.run(&["get", "--raw", "/readyz"]).await else { return Ok(()) };
        if tokio::time::Instant::now() > deadline {
            return Err(error).with_context(|| format!("the API server is not ready after {API_DEADLINE:?}"));
        }
    }
}

/// The watch on claims ends now and then; claims that changed meanwhile come again.
async fn serve_volumes(place: &Place) -> std::convert::Infallible {
    let mut every = tokio::time::interval(Duration::from_millis(500));
    loop {
        every.tick().await;
        if let Err(error) = volumes::serve(place).await {
            append(&place.logs().join("volumes.log"), &format!("{error:#}\n"));
        }
    }
}

/// The log of something that goes on anyway; a full disk shows elsewhere.
fn append(log: &std::path::Path, line: &str) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    file.and_then(|mut file| file.write_all(line.as_bytes())).ok();
}

/// Answers one request. True when it was to take the cluster down.
async fn serve(place: &Place, machines: &mut Machines, connection: UnixStream) -> anyhow::Result<bool> {
    let (input, mut output) = connection.into_split();
    let Some(line) = BufReader::new(input).lines().next_line().await? else { return Ok(false) };
    let answer = match obey(place, machines, &line).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{error:#}"),
    };
    // The asker may have gone.
    output.write_all(answer.as_bytes()).await.ok();
    Ok(line == "down")
}

async fn obey(place: &Place, machines: &mut Machines, line: &str) -> anyhow::Result<()> {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "down" => return Ok(()),
        "load" => return load(place, machines, argument).await,
        _ => {}
    }
    let node: u8 = argument.parse().with_context(|| format!("{verb}: not a node's number: {argument:?}"))?;
    let machine = (node > 0).then(|| machines.nodes.get_mut(usize::from(node) - 1)).flatten();
    let machine = machine.with_context(|| format!("there is no node {node}"))?;
    match verb {
        "node-down" => {
            let running = machine.take().with_context(|| format!("node {node} is down already"))?;
            network::link(&place.addresses, node, false).await?;
            running.pull_plug().await?;
            keep_services_reachable(place, machines).await
        }
        "node-up" => {
            ensure!(machine.is_none(), "node {node} is up already");
            network::link(&place.addresses, node, true).await?;
            let mut booted = node::boot(place, node).await?;
            node::join(place, node, &mut booted)?;
            *machine = Some(booted);
            keep_services_reachable(place, machines).await
        }
        "partition" => network::link(&place.addresses, node, false).await,
        "heal" => network::link(&place.addresses, node, true).await,
        _ => bail!("unknown request {verb:?}"),
    }
}

async fn load(place: &Place, machines: &Machines, archive: &str) -> anyhow::Result<()> {
    let up = (1..).zip(&machines.nodes).filter(|(_, machine)| machine.is_some());
    for (node, _) in up {
        node::load(place, node, archive.as_ref()).await?;
    }
    Ok(())
}

/// The host's way to Services leads over the first node that is up.
async fn keep_services_reachable(place: &Place, machines: &Machines) -> anyhow::Result<()> {
    let up = (1..).zip(&machines.nodes).find(|(_, machine)| machine.is_some());
    match up {
        Some((node, _)) => network::route_services(&place.addresses, node).await,
        None => Ok(()),
    }
}
