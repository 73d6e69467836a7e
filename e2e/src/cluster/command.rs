//! Runs the machine's own commands (`ip`, `ctr`, `mount`) and says what they said when they fail.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::run_tool;

const DEADLINE: Duration = Duration::from_secs(60);

/// What the harness calls, and the Debian package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("sysctl", "procps"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("tar", "tar"),
    ("sha256sum", "coreutils"),
    ("busybox", "busybox-static"),
];
const NEEDED_FOR_NODES: &[(&str, &str)] = &[("/usr/lib/cni/bridge", "containernetworking-plugins")];

/// Runs a command line without quotes: its words are separated by spaces.
pub(super) async fn run(line: &str) -> anyhow::Result<String> {
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command line")?;
    let mut command = Command::new(program);
    command.args(words);
    tokio::time::timeout(DEADLINE, run_tool(&mut command))
        .await
        .with_context(|| format!("`{line}` did not end in {DEADLINE:?}"))?
}

/// The configuration of the nodes is tried with cgroup v1 only.
pub(super) fn has_only_cgroup_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Refuses to start with everything that is missing, not with the first thing that fails later.
pub(super) fn check_machine(nodes: u8) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the test cluster needs root: it makes network namespaces and mounts");
    }
    let paths = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let is_there = |name: &str| match name.starts_with('/') {
        true => Path::new(name).exists(),
        false => paths.iter().any(|path| Path::new(path).join(name).exists()),
    };
    let needed = NEEDED.iter().chain(if nodes > 0 { NEEDED_FOR_NODES } else { &[] });
    let missing: Vec<String> = needed
        .filter(|(program, _)| !is_there(program))
        .map(|(program, package)| format!("{program} (Debian package {package})"))
        .collect();
    if !missing.is_empty() {
        bail!("the test cluster needs what this machine lacks: {}; e2e/run installs it", missing.join(", "));
    }
    if nodes > 0 && has_only_cgroup_v2() {
        bail!("nodes of the test cluster are written for cgroup v1, and this machine has v2 only");
    }
    Ok(())
}
