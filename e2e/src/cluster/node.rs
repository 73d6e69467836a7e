//! A node: containerd, kubelet and kube-proxy on a machine with a pod range and a cgroup of its own, in zone a, b, c, ...
//!
//! What containerd and kubelet must not lose in a reboot (images, volumes, pod folders) lies in the node's folder of the
//! cluster's state; the settings that look odd are those without which it does not run without SYS_RESOURCE, on cgroup v1
//! and with several nodes on one kernel.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{certificates::Subject, command::run, control_plane::Place, machine::Machine};

const CGROUPS: &str = "/sys/fs/cgroup";

/// A node whose containerd answers and whose kubelet does not run yet.
pub(super) async fn boot(place: &Place, node: u8) -> anyhow::Result<Machine> {
    let name = place.addresses.machine_name(node);
    let folder = folder(place, node);
    for part in ["cni", "kubelet", "containerd", "volumes"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    create_cgroups(&name)?;
    std::fs::write(folder.join("cni/10-bridge.conflist"), cni(place, node).to_string())?;
    std::fs::write(folder.join("containerd.toml"), containerd(&folder))?;
    let socket = socket(place, node);
    if socket.exists() {
        std::fs::remove_file(&socket)?;
    }
    let mut machine = Machine::boot(&name, &place.logs()).await?;
    machine
        .start("containerd".as_ref(), &[format!("--config={}", folder.join("containerd.toml").display())])?;
    let mut every = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        every.tick().await;
        machine.check()?;
        if run(&format!("ctr --address {} version", socket.display())).await.is_ok() {
            return Ok(machine);
        }
    }
    bail!("containerd on node {node} does not answer")
}

/// Starts kubelet and kube-proxy; the API server must be there.
pub(super) fn join(place: &Place, node: u8, machine: &mut Machine) -> anyhow::Result<()> {
    let folder = folder(place, node);
    let (name, address) = (format!("node{node}"), place.addresses.node(node));
    let serving = place.authority.sign(
        &format!("kubelet{node}"),
        &Subject { user: &name, group: None, names: &[&name], addresses: &[IpAddr::V4(address)] },
    )?;
    let user = format!("system:node:{name}");
    let kubeconfig = place.kubeconfig(
        &format!("kubelet{node}"),
        &Subject { user: &user, group: Some("system:nodes"), names: &[], addresses: &[] },
    )?;
    // Pods would inherit the host's resolver, which they cannot reach.
    let resolver = folder.join("resolv.conf");
    std::fs::write(&resolver, "")?;
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": place.authority.certificate()},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", place.addresses.machine_name(node)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{}", socket(place, node).display()),
        "tlsCertFile": serving.certificate,
        "tlsPrivateKeyFile": serving.key,
        "clusterDNS": [place.addresses.dns_service()],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "volumePluginDir": folder.join("kubelet/plugins"),
        "nodeStatusUpdateFrequency": "4s",
        // Disk figures cannot be read on such a machine, and pods would be evicted for them.
        "localStorageCapacityIsolation": false,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
    });
    std::fs::write(folder.join("kubelet.yaml"), kubelet.to_string())?;
    let zone = char::from(b'a' + (node - 1) % 26);
    machine.start(
        &place.programs.join("kubelet"),
        &[
            format!("--config={}", folder.join("kubelet.yaml").display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={name}"),
            format!("--root-dir={}", folder.join("kubelet").display()),
            format!("--node-ip={address}"),
            format!("--node-labels=topology.kubernetes.io/zone=zone-{zone},kubernetes.io/hostname={name}"),
        ],
    )?;
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": place.user("proxy", "system:kube-proxy")?},
        "mode": "nftables",
        "clusterCIDR": place.addresses.all_pods(),
        "hostnameOverride": name,
        // Otherwise it writes a sysctl that it may not.
        "conntrack": {"maxPerCore": 0},
    });
    std::fs::write(folder.join("proxy.yaml"), proxy.to_string())?;
    machine.start(
        &place.programs.join("kube-proxy"),
        &[format!("--config={}", folder.join("proxy.yaml").display())],
    )
}

/// Imports an image archive; a running node keeps it over a reboot.
pub(super) async fn load(place: &Place, node: u8, archive: &Path) -> anyhow::Result<()> {
    let socket = socket(place, node);
    run(&format!(
        "ctr --address {} --namespace k8s.io images import {}",
        socket.display(),
        archive.display()
    ))
    .await
    .with_context(|| format!("load {} on node {node}", archive.display()))?;
    Ok(())
}

/// Where the volumes of a node lie.
pub(super) fn volumes(place: &Place, node: u8) -> PathBuf {
    folder(place, node).join("volumes")
}

fn folder(place: &Place, node: u8) -> PathBuf {
    place.folder.join(format!("node{node}"))
}

fn socket(place: &Place, node: u8) -> PathBuf {
    folder(place, node).join("containerd.sock")
}

fn cni(place: &Place, node: u8) -> serde_json::Value {
    let ipam = json!({
        "type": "host-local",
        "dataDir": folder(place, node).join("cni/ipam"),
        "ranges": [[{"subnet": place.addresses.pods(node)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    });
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn containerd(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "/run/containerd/state"
[grpc]
address = "{folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Writing a lower score needs SYS_RESOURCE.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        pause = super::addons::PAUSE_IMAGE
    )
}

/// kubelet wants its root cgroup in every controller, and an empty cpuset takes no process.
fn create_cgroups(name: &str) -> anyhow::Result<()> {
    for controller in controllers()?.iter().filter(|path| !path.ends_with("unified")) {
        std::fs::create_dir_all(controller.join(name))?;
    }
    let cpuset = Path::new(CGROUPS).join("cpuset");
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = std::fs::read(cpuset.join(file)).context("read the machine's cpuset")?;
        std::fs::write(cpuset.join(name).join(file), inherited)?;
    }
    Ok(())
}

/// The folders of all controllers, and `unified`, where runc makes cgroups of its own accord.
fn controllers() -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(CGROUPS).context("cgroup v1 is mounted")?;
    let folders = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(folders.into_iter().filter(|path| path.is_dir()).collect())
}

/// Removes a dead node's cgroups. The kernel lets go of them a moment after the last process.
pub(super) async fn remove_cgroups(name: &str) -> anyhow::Result<()> {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    let mut last = Ok(());
    for _ in 0..100 {
        every.tick().await;
        last = controllers()?.iter().try_for_each(|controller| remove_cgroup(&controller.join(name)));
        if last.is_ok() {
            return Ok(());
        }
    }
    last.with_context(|| format!("remove the cgroups of {name}"))
}

fn remove_cgroup(folder: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_cgroup(&path)?;
        }
    }
    std::fs::remove_dir(folder)
}
