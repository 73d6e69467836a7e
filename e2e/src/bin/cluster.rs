//! `cluster`: a real Kubernetes on this machine, for tests and for trying things out. `cluster help` says how.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use tempo_e2e::cluster::{self, Lease, Options};

const HELP: &str = "\
A real Kubernetes on this machine, in network namespaces of its own. Needs root, and E2E_KUBERNETES set to the folder with
kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl and coredns (e2e/run builds it).

  cluster up [--name NAME] [--nodes N | --no-node]   start; prints the kubeconfig's path. One node unless told otherwise;
                                                     --no-node is the API server and its controllers only
  cluster down [--name NAME]                         stop, and remove everything; also what a killed one left
  cluster kubeconfig [--name NAME]                   print the kubeconfig's path
  cluster load ARCHIVE [--name NAME]                 import an image archive on every node
  cluster node-down N | node-up N [--name NAME]      cut a node's power; boot it again with its disk
  cluster partition N | heal N [--name NAME]         pull a node's cable; plug it in again
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nobody to read it, there is nothing to be done about it.
            writeln!(std::io::stderr(), "cluster: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let options =
        Options { name: arguments.value("name").unwrap_or("default").to_owned(), nodes: arguments.nodes()? };
    let words: Vec<&str> = arguments.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["up"] => {
            cluster::up(&options).await?;
            say(&format!("{}\n", cluster::kubeconfig(&options.name)?.display()))
        }
        ["down"] => cluster::down(&options.name).await,
        ["kubeconfig"] => say(&format!("{}\n", cluster::kubeconfig(&options.name)?.display())),
        ["load", archive] => {
            let archive = std::path::absolute(archive)?;
            cluster::ask(&options.name, &format!("load {}", archive.display())).await
        }
        [verb @ ("node-down" | "node-up" | "partition" | "heal"), node] => {
            cluster::ask(&options.name, &format!("{verb} {node}")).await
        }
        ["supervise"] => supervise(&options, arguments.value("leased").is_some()).await,
        ["help"] | [] => say(HELP),
        _ => bail!("unknown command {words:?}; `cluster help` lists them"),
    }
}

/// Says `ready` on standard output, or why not; whoever started this reads it.
async fn supervise(options: &Options, is_leased: bool) -> anyhow::Result<()> {
    let lease = if is_leased { Lease::StandardInput } else { Lease::Unlimited };
    #[expect(clippy::disallowed_methods, reason = "the runner's environment says where Kubernetes is")]
    let programs = std::env::var("E2E_KUBERNETES").context("E2E_KUBERNETES is not set; e2e/run builds it");
    let mut is_ready = false;
    let ended = match programs {
        Ok(programs) => {
            let ready = || {
                is_ready = true;
                say("ready\n")
            };
            cluster::supervise(options, programs.into(), lease, ready).await
        }
        Err(error) => Err(error),
    };
    match ended {
        Err(error) if !is_ready => {
            say(&format!("{error:#}\n"))?;
            bail!("the cluster did not start")
        }
        ended => ended,
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    Ok(())
}

struct Arguments {
    words: Vec<String>,
    options: BTreeMap<String, String>,
}

impl Arguments {
    /// `--name x` takes a value, `--no-node` and `--leased` take none.
    fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Arguments> {
        let mut parsed = Arguments { words: Vec::new(), options: BTreeMap::new() };
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--") {
                None => parsed.words.push(argument),
                Some(name @ ("no-node" | "leased")) => {
                    parsed.options.insert(name.to_owned(), String::new());
                }
                Some(name @ ("name" | "nodes")) => {
                    let value = arguments.next().with_context(|| format!("--{name} takes a value"))?;
                    parsed.options.insert(name.to_owned(), value);
                }
                Some(name) => bail!("unknown option --{name}; `cluster help` lists them"),
            }
        }
        Ok(parsed)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    fn nodes(&self) -> anyhow::Result<u8> {
        match (self.value("no-node"), self.value("nodes")) {
            (Some(_), Some(_)) => bail!("--nodes and --no-node exclude each other"),
            (Some(_), None) => Ok(0),
            (None, nodes) => nodes.unwrap_or("1").parse().context("--nodes takes a number up to 60"),
        }
    }
}
