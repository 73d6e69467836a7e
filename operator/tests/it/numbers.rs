//! Acceptance case F4: what the operator's process costs with one and with many clusters, on a real API server.

use std::{
    net::TcpListener,
    process::{Child, Command},
};

use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::{
    control_plane::{DEADLINE, Playground, minimal, told, within},
    kubelet::Kubelet,
};

const CLUSTERS: usize = 200;

/// The binary, killed when dropped.
struct Process {
    child: Child,
    address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    fn start(playground: &Playground) -> Process {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(env!("CARGO_BIN_EXE_tempo-operator"))
            .args([
                "run",
                &format!("--listen={address}"),
                &format!("--watch-namespaces={}", playground.namespace),
            ])
            .args(["--lease-namespace", &playground.namespace, "--log-level=warn"])
            .env("KUBECONFIG", told("E2E_KUBECONFIG").expect("checked before"))
            .spawn()
            .expect("the operator starts");
        Process { child, address }
    }

    async fn get(&self, path: &str) -> Option<String> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let uri = format!("http://{}{path}", self.address).parse().expect("an address");
        let answer = client.get(uri).await.ok().filter(|answer| answer.status().is_success())?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(body.to_vec()).ok()
    }

    /// The sum of all series of a metric.
    async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.expect("metrics");
        let is_it =
            |line: &&str| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "));
        let values =
            text.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    /// Reconciles that took at most this many seconds (a bucket's bound), and all.
    async fn faster_than(&self, bound: &str) -> (f64, f64) {
        let bucket = format!("tempo_operator_reconcile_duration_seconds_bucket{{le=\"{bound}\"}} ");
        let text = self.get("/metrics").await.expect("metrics");
        let fast =
            text.lines().find_map(|line| line.strip_prefix(&bucket)?.parse().ok()).expect("the bucket");
        (fast, self.metric("tempo_operator_reconcile_duration_seconds_count").await)
    }

    async fn settle(&self) {
        let mut seen = (-1.0, 0);
        let settled = within(DEADLINE * 4, async || {
            let count = self.metric("tempo_operator_reconcile_total").await;
            seen = if count > seen.0 { (count, 0) } else { (count, seen.1 + 1) };
            (seen.1 > 40).then_some(())
        });
        settled.await.expect("the operator comes to rest");
    }

    async fn memory_mib(&self) -> f64 {
        self.metric("process_resident_memory_bytes").await / 1_048_576.0
    }
}

async fn wait_ready(playground: &Playground, wanted: usize) {
    let ready = within(DEADLINE * 8, async || {
        let all = playground.clusters().list(&ListParams::default()).await.ok()?;
        let conditions = all.iter().filter_map(|cluster| Some(&cluster.status.as_ref()?.conditions));
        let ready =
            conditions.filter(|all| all.iter().any(|found| found.type_ == "Ready" && found.status == "True"));
        (ready.count() == wanted).then_some(())
    });
    ready.await.expect("all clusters become ready");
}

async fn annotate(playground: &Playground, name: &str) {
    let patch = json!({"metadata": {"annotations": {"tempo-rs.dev/look": "again"}}});
    let clusters = playground.clusters();
    clusters.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("an annotation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_two_hundred_clusters_cost_little_memory_and_no_writes_once_they_are_settled() {
    let Some(playground) = Playground::open("f4").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    let process = Process::start(&playground);
    playground.apply_cluster("c0", minimal()).await;
    wait_ready(&playground, 1).await;
    assert!(process.get("/livez").await.is_some() && process.get("/readyz").await.is_some());
    let one = process.memory_mib().await;

    let names: Vec<String> = (1..CLUSTERS).map(|i| format!("c{i}")).collect();
    stream::iter(&names)
        .for_each_concurrent(8, async |name| drop(playground.apply_cluster(name, minimal()).await))
        .await;
    wait_ready(&playground, CLUSTERS).await;
    process.settle().await;
    let many = process.memory_mib().await;

    // Every cluster is looked at once more, as the hours do it.
    let writes = process.metric("tempo_operator_writes_total").await;
    let (fast_before, all_before) = process.faster_than("0.128").await;
    stream::iter(&names).for_each_concurrent(4, async |name| annotate(&playground, name).await).await;
    process.settle().await;
    let (fast, all) = process.faster_than("0.128").await;
    let written = process.metric("tempo_operator_writes_total").await - writes;

    let looked = all - all_before;
    let share = (fast - fast_before) / looked;
    eprintln!(
        "memory: {one:.0} MiB with 1 cluster, {many:.0} MiB with {CLUSTERS}; {looked} reconciles, {:.2} % under 128 ms (dev profile), {written} writes",
        share * 100.0
    );
    assert!(one < 40.0, "{one} MiB");
    assert!(many < 150.0, "{many} MiB");
    assert!(looked >= 199.0, "{looked}");
    assert!(written.abs() < 0.5, "{written} writes");
}
