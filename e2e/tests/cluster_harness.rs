//! The test cluster itself: what tests rely on works, and nothing is left of it, however it ends.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempo_e2e::{
    Client,
    cluster::{Cluster, Kubectl},
    eventually,
};

/// Two pods with a shell and a volume; they serve their name over HTTP and a folder that only the group may write.
const PODS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  serviceName: web-headless
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, runAsNonRoot: true}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
      - name: web
        image: localhost/pause:1
        imagePullPolicy: Never
        command: [/bin/busybox, sh, -c]
        args: ["date >> /data/starts; hostname > /data/index.html; exec httpd -f -p 8080 -h /data"]
        securityContext: {readOnlyRootFilesystem: true}
        readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"#;

#[tokio::test]
async fn three_nodes_run_pods_with_volumes_names_and_services_and_survive_the_loss_of_one()
-> anyhow::Result<()> {
    let Some(cluster) = Cluster::start("harness", 3).await? else { return Ok(()) };
    let kubectl = cluster.kubectl();
    let nodes = kubectl.json(&["get", "nodes"]).await?;
    let zones: Vec<_> = nodes["items"]
        .as_array()
        .context("nodes")?
        .iter()
        .map(|node| node["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str())
        .collect();
    if cluster.is_ours() {
        ensure!(zones == [Some("zone-a"), Some("zone-b"), Some("zone-c")], "{zones:?}");
    }

    kubectl.apply(PODS).await?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=60s"]).await?;
    services_are_reachable_from_here_and_names_inside(kubectl).await?;
    volumes_grow_under_running_pods(kubectl).await?;
    if cluster.is_ours() {
        a_lost_node_comes_back_with_its_volume(&cluster).await?;
        a_node_that_is_cut_off_runs_on(&cluster).await?;
    }
    volumes_go_with_their_claims(kubectl).await?;

    let left = Leavings::of(&cluster)?;
    cluster.stop().await?;
    left.are_gone()
}

async fn services_are_reachable_from_here_and_names_inside(kubectl: &Kubectl) -> anyhow::Result<()> {
    let service = kubectl.json(&["get", "service", "web"]).await?;
    let address = service["spec"]["clusterIP"].as_str().context("an address")?;
    let answer = Client::default().get(&format!("http://{address}/index.html"), &[]).await?;
    ensure!(answer.text().starts_with("web-"), "{}", answer.text());
    for name in ["web", "web-1.web-headless.default.svc.cluster.local"] {
        let found = kubectl.run(&["exec", "web-0", "--", "/bin/busybox", "nslookup", name]).await;
        // It asks for both kinds of address and complains of the missing one.
        let found = found.or_else(|error| match format!("{error:#}") {
            text if text.contains("Address") => Ok(text),
            _ => Err(error),
        })?;
        ensure!(found.contains(".svc.cluster.local"), "{name}: {found}");
    }
    let logs = kubectl.run(&["logs", "web-0"]).await?;
    ensure!(logs.is_empty(), "{logs}");
    Ok(())
}

async fn volumes_grow_under_running_pods(kubectl: &Kubectl) -> anyhow::Result<()> {
    let pod = uid(kubectl, "pod/web-0").await?;
    let grown = r#"{"spec": {"resources": {"requests": {"storage": "3Gi"}}}}"#;
    kubectl.run(&["patch", "pvc", "data-web-0", "-p", grown]).await?;
    eventually("the claim has its new size", Duration::from_secs(20), async || {
        let claim = kubectl.json(&["get", "pvc", "data-web-0"]).await?;
        ensure!(claim["status"]["capacity"]["storage"] == "3Gi", "{}", claim["status"]);
        Ok(())
    })
    .await?;
    ensure!(uid(kubectl, "pod/web-0").await? == pod, "the pod was restarted");
    Ok(())
}

async fn a_lost_node_comes_back_with_its_volume(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    let pod = kubectl.json(&["get", "pod", "web-0"]).await?;
    let name = pod["spec"]["nodeName"].as_str().context("a node")?;
    let node: u8 = name.strip_prefix("node").and_then(|number| number.parse().ok()).context("a number")?;

    cluster.node_down(node).await?;
    kubectl.run(&["wait", &format!("node/{name}"), "--for=condition=Ready=unknown", "--timeout=60s"]).await?;
    // The way to Services moved to another node, and the lost pod gets no requests.
    let service = kubectl.json(&["get", "service", "web"]).await?;
    let url = format!("http://{}/index.html", service["spec"]["clusterIP"].as_str().context("an address")?);
    eventually("the other pod answers", Duration::from_secs(30), async || {
        let answer = tokio::time::timeout(Duration::from_secs(2), Client::default().get(&url, &[])).await??;
        ensure!(answer.text() == "web-1\n", "{}", answer.text());
        Ok(())
    })
    .await?;
    cluster.node_up(node).await?;
    kubectl.run(&["wait", &format!("node/{name}"), "--for=condition=Ready", "--timeout=60s"]).await?;
    kubectl.run(&["rollout", "status", "statefulset/web", "--timeout=60s"]).await?;

    eventually("both starts are in the volume", Duration::from_secs(30), async || {
        let starts = kubectl.run(&["exec", "web-0", "--", "/bin/busybox", "cat", "/data/starts"]).await?;
        ensure!(starts.lines().count() == 2, "{starts}");
        Ok(())
    })
    .await
}

async fn a_node_that_is_cut_off_runs_on(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    let restarts = restarts(kubectl).await?;
    cluster.partition(2).await?;
    kubectl.run(&["wait", "node/node2", "--for=condition=Ready=unknown", "--timeout=60s"]).await?;
    cluster.heal(2).await?;
    kubectl.run(&["wait", "node/node2", "--for=condition=Ready", "--timeout=60s"]).await?;
    ensure!(self::restarts(kubectl).await? == restarts, "a pod was restarted");
    Ok(())
}

async fn restarts(kubectl: &Kubectl) -> anyhow::Result<String> {
    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    kubectl.run(&["get", "pods", "-l", "app=web", "-o", path]).await
}

async fn volumes_go_with_their_claims(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl.run(&["delete", "statefulset", "web"]).await?;
    kubectl.run(&["delete", "pvc", "--all", "--timeout=60s"]).await?;
    eventually("no volume is left", Duration::from_secs(20), async || {
        let volumes = kubectl.run(&["get", "pv", "-o", "name"]).await?;
        ensure!(volumes.is_empty(), "{volumes}");
        Ok(())
    })
    .await
}

async fn uid(kubectl: &Kubectl, object: &str) -> anyhow::Result<String> {
    kubectl.run(&["get", object, "-o", "jsonpath={.metadata.uid}"]).await
}

#[tokio::test]
async fn clusters_side_by_side_do_not_meet() -> anyhow::Result<()> {
    let (first, second) = tokio::join!(Cluster::start("harness-a", 0), Cluster::start("harness-b", 0));
    let (Some(first), Some(second)) = (first?, second?) else { return Ok(()) };
    if !first.is_ours() {
        return Ok(());
    }

    first.kubectl().run(&["create", "namespace", "only-here"]).await?;

    ensure!(second.kubectl().find(&["namespace", "only-here"]).await?.is_none(), "it is in both");
    let left = [Leavings::of(&first)?, Leavings::of(&second)?];
    first.stop().await?;
    second.kubectl().run(&["get", "--raw", "/readyz"]).await?;
    second.stop().await?;
    left.iter().try_for_each(Leavings::are_gone)
}

#[tokio::test]
async fn nothing_is_left_when_the_test_dies() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start("harness-c", 1).await? else { return Ok(()) };
    if !cluster.is_ours() {
        return Ok(());
    }
    cluster.kubectl().apply(&PODS.replace("replicas: 2", "replicas: 1")).await?;
    cluster.kubectl().run(&["rollout", "status", "statefulset/web", "--timeout=60s"]).await?;
    let left = Leavings::of(&cluster)?;

    // What the kernel does for a process that is killed: it closes the pipe.
    drop(cluster);

    eventually("everything is gone", Duration::from_secs(30), async || left.are_gone()).await
}

#[tokio::test]
async fn what_a_killed_supervisor_left_is_removed_at_the_next_start() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start("harness-d", 1).await? else { return Ok(()) };
    if !cluster.is_ours() {
        return Ok(());
    }
    let left = Leavings::of(&cluster)?;
    let pid = i32::try_from(cluster.supervisor_pid()?).ok().and_then(Pid::from_raw).context("a pid")?;
    kill_process(pid, Signal::KILL)?;

    eventually("its processes died with it", Duration::from_secs(10), async || left.processes_are_gone())
        .await?;
    let Some(next) = Cluster::start("harness-e", 0).await? else { return Ok(()) };

    left.are_gone()?;
    next.stop().await
}

/// Where a cluster shows on the machine.
struct Leavings {
    folder: String,
    machine: String,
    interface: String,
    /// The next cluster may get the same name for its interface, but not the same number.
    interface_number: Option<String>,
}

impl Leavings {
    fn of(cluster: &Cluster) -> anyhow::Result<Leavings> {
        if !cluster.is_ours() {
            let nowhere = || "\0".to_owned();
            return Ok(Leavings {
                folder: nowhere(),
                machine: nowhere(),
                interface: nowhere(),
                interface_number: None,
            });
        }
        let (machine, interface) = (cluster.machine_name(1)?, cluster.host_interface()?);
        let leavings = Leavings {
            folder: cluster.folder()?.display().to_string(),
            machine: machine.trim_end_matches("-node1").to_owned(),
            interface_number: interface_number(&interface),
            interface,
        };
        ensure!(leavings.are_gone().is_err(), "the test looks in the wrong places");
        Ok(leavings)
    }

    fn are_gone(&self) -> anyhow::Result<()> {
        let Leavings { folder, machine, interface, interface_number: number } = self;
        self.processes_are_gone()?;
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        ensure!(!mounts.contains(folder), "a mount is left:\n{mounts}");
        let now = interface_number(interface);
        ensure!(now.is_none() || now != *number, "interface {interface} is left");
        let routes = std::fs::read_to_string("/proc/self/net/route")?;
        ensure!(now.is_some() || !routes.contains(interface), "a route is left:\n{routes}");
        let namespaces = names_in("/run/netns").unwrap_or_default();
        ensure!(
            !namespaces.iter().any(|name| name.starts_with(machine)),
            "namespaces are left: {namespaces:?}"
        );
        for controller in names_in("/sys/fs/cgroup")? {
            let cgroups = names_in(&format!("/sys/fs/cgroup/{controller}")).unwrap_or_default();
            ensure!(
                !cgroups.iter().any(|name| name.starts_with(machine)),
                "a cgroup of {controller} is left"
            );
        }
        ensure!(!std::path::Path::new(folder).exists(), "its folder is left");
        Ok(())
    }

    /// No process has the cluster's folder in its command line, but for those that ask.
    fn processes_are_gone(&self) -> anyhow::Result<()> {
        for pid in names_in("/proc")?.iter().filter(|name| name.parse::<u32>().is_ok()) {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            ensure!(!command.contains(&self.folder), "a process is left: {command}");
        }
        Ok(())
    }
}

fn interface_number(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()
}

fn names_in(folder: &str) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
