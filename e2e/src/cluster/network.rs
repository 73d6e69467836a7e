//! The cluster's network: a namespace with a bridge for the control plane, one namespace per node on it, a link to the host.
//!
//! The host keeps its firewall and its routes; it gets one interface and the routes to pods and Services over it, which go
//! away with the interface. Namespaces are entered by `nsenter --net`, never by `ip netns exec`, which would mount a fresh
//! `/sys` and lose the cgroups. `remove` works from names alone, also after a crash in the middle of `create`.

use std::time::Duration;

use anyhow::Context as _;

use super::{addresses::Addresses, command::run};

/// Makes the control plane's namespace, its bridge and the host's link to it.
pub(super) async fn create(addresses: &Addresses) -> anyhow::Result<()> {
    let (netns, host, slot) = (addresses.control_plane_name(), addresses.host_interface(), addresses.slot());
    let (api, mac) = (addresses.api(), addresses.bridge_mac());
    run(&format!("ip netns add {netns}")).await?;
    run(&format!("ip -n {netns} link set lo up")).await?;
    run(&format!("ip -n {netns} link add br0 address {mac} type bridge")).await?;
    run(&format!("ip -n {netns} addr add {api}/24 dev br0")).await?;
    run(&format!("ip -n {netns} link set br0 up")).await?;
    run(&format!("ip link add {host} type veth peer name host{slot} netns {netns}")).await?;
    run(&format!("ip -n {netns} link set host{slot} master br0 up")).await?;
    run(&format!("ip addr add {}/24 dev {host}", addresses.host())).await?;
    run(&format!("ip link set {host} up")).await?;
    forward(&netns).await
}

/// Makes a node's namespace and its link. Pods of other nodes are reached over their node, everything else over the host.
pub(super) async fn create_node(addresses: &Addresses, node: u8, nodes: u8) -> anyhow::Result<()> {
    let (cluster, netns) = (addresses.control_plane_name(), addresses.machine_name(node));
    let (address, pods) = (addresses.node(node), addresses.pods(node));
    run(&format!("ip netns add {netns}")).await?;
    run(&format!("ip -n {netns} link set lo up")).await?;
    run(&format!("ip link add eth0 netns {netns} type veth peer name node{node} netns {cluster}")).await?;
    run(&format!("ip -n {cluster} link set node{node} master br0 up")).await?;
    run(&format!("ip -n {netns} addr add {address}/24 dev eth0")).await?;
    run(&format!("ip -n {netns} link set eth0 up")).await?;
    run(&format!("ip -n {netns} route add default via {}", addresses.host())).await?;
    for other in (1..=nodes).filter(|other| *other != node) {
        let (pods, via) = (addresses.pods(other), addresses.node(other));
        run(&format!("ip -n {netns} route add {pods} via {via}")).await?;
    }
    run(&format!("ip -n {cluster} route add {pods} via {address}")).await?;
    run(&format!("ip route add {pods} via {address}")).await?;
    forward(&netns).await
}

async fn forward(netns: &str) -> anyhow::Result<()> {
    run(&format!("nsenter --net=/run/netns/{netns} sysctl -qw net.ipv4.ip_forward=1")).await?;
    Ok(())
}

/// Sends what the host and the API server say to Service addresses over this node, whose kube-proxy translates them.
pub(super) async fn route_services(addresses: &Addresses, node: u8) -> anyhow::Result<()> {
    let (services, via) = (addresses.services(), addresses.node(node));
    run(&format!("ip route replace {services} via {via}")).await?;
    run(&format!("ip -n {} route replace {services} via {via}", addresses.control_plane_name())).await?;
    Ok(())
}

/// Pulls or plugs a node's cable.
pub(super) async fn link(addresses: &Addresses, node: u8, is_up: bool) -> anyhow::Result<()> {
    let state = if is_up { "up" } else { "down" };
    run(&format!("ip -n {} link set node{node} {state}", addresses.control_plane_name())).await?;
    Ok(())
}

/// Whether the host already uses addresses of this slot.
pub(super) async fn is_taken(addresses: &Addresses) -> anyhow::Result<bool> {
    let used = run("ip -4 route show table all").await?;
    Ok(used.split_whitespace().any(|word| word.starts_with(&addresses.prefix())))
}

/// Kills what still runs in the cluster's namespaces and removes them and the host's link.
pub(super) async fn remove(addresses: &Addresses, nodes: u8) -> anyhow::Result<()> {
    let host = addresses.host_interface();
    if run("ip -o link").await?.contains(&format!(" {host}@")) {
        run(&format!("ip link del {host}")).await?;
    }
    let existing = run("ip netns list").await?;
    let machines = (1..=nodes).map(|node| addresses.machine_name(node));
    for netns in machines.chain([addresses.control_plane_name()]) {
        if !existing.lines().any(|line| line.split_whitespace().next() == Some(&netns)) {
            continue;
        }
        end_processes(&netns).await?;
        run(&format!("ip netns del {netns}")).await?;
    }
    Ok(())
}

async fn end_processes(netns: &str) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        every.tick().await;
        let pids = run(&format!("ip netns pids {netns}")).await?;
        if pids.trim().is_empty() {
            return Ok(());
        }
        for pid in pids.split_whitespace() {
            let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw).context("a process id")?;
            // It may have ended between the list and the signal.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
    anyhow::bail!("processes in {netns} do not end")
}
