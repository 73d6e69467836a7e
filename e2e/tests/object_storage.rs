//! Blocks in a bucket: the process and its disk may go, the bucket may come late, go away and change its keys.
//!
//! The bucket is on versitygw, an S3 gateway that is used in production, as a process beside ours.

use std::{
    collections::HashSet,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use tempo_e2e::{Client, Server, ServerOptions, SpanMaker, eventually, versitygw};
use tempo_proto::tempopb::Trace;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const SPANS_PER_TRACE: u64 = 10;
const DEADLINE: Duration = Duration::from_secs(60);

/// versitygw on a folder; killed when dropped.
struct Gateway {
    program: PathBuf,
    root: PathBuf,
    port: u16,
    secret: String,
    child: Option<Child>,
}

impl Gateway {
    /// A gateway that runs, without a bucket; `None` where it is not installed.
    async fn start(dir: &Path) -> anyhow::Result<Option<Gateway>> {
        let Some(program) = versitygw() else { return Ok(None) };
        let root = dir.join("gateway");
        std::fs::create_dir_all(&root)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut gateway = Gateway { program, root, port, secret: "first-secret".to_owned(), child: None };
        gateway.run().await?;
        Ok(Some(gateway))
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let child = Command::new(&self.program)
            .args(["--access", "tempo", "--secret", &self.secret, "--quiet"])
            .args(["--port", &format!("127.0.0.1:{}", self.port), "posix"])
            .arg(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start versitygw")?;
        self.child = Some(child);
        let address = ("127.0.0.1", self.port);
        eventually(
            "versitygw listens",
            DEADLINE,
            async || Ok(tokio::net::TcpStream::connect(address).await?),
        )
        .await?;
        Ok(())
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    fn make_bucket(&self) -> anyhow::Result<()> {
        Ok(std::fs::create_dir_all(self.root.join("traces"))?)
    }

    /// A server on the bucket; `credentials` are keys of `s3`.
    fn options(&self, credentials: &str) -> ServerOptions {
        ServerOptions {
            ingester: "  flush_check_period: 200ms\n  tempo_rs: {head_bytes: 2MiB, wal_segment_bytes: 1MiB, \
                       flush_retry_backoff_min: 100ms, flush_retry_backoff_max: 1s}"
                .into(),
            overrides:
                "  defaults: {ingestion: {rate_limit_bytes: 4000000000, burst_size_bytes: 4000000000, \
                        max_traces_per_user: 0}}"
                    .into(),
            storage: format!(
                "    backend: s3\n    s3: {{bucket: traces, endpoint: '127.0.0.1:{}', insecure: true, \
                 region: us-east-1, {credentials}}}\n    blocklist_poll: 2s",
                self.port
            ),
            ..ServerOptions::default()
        }
    }

    fn options_with_keys(&self) -> ServerOptions {
        self.options(&format!("access_key: tempo, secret_key: {}", self.secret))
    }
}

async fn push(server: &Server, maker: SpanMaker, first: u64, traces: u64) -> anyhow::Result<()> {
    let batch = maker.batch(first, traces);
    let pushed = Client::default().post(&server.otlp_http, &PROTOBUF, batch.body).await?;
    ensure!(pushed.status == 200, "{} {}", pushed.status, pushed.text());
    Ok(())
}

/// Every trace whole, every span once.
async fn verify(server: &Server, maker: SpanMaker, traces: impl Iterator<Item = u64>) -> anyhow::Result<()> {
    let client = Client::default();
    for trace in traces {
        let url = format!("{}/api/traces/{}", server.http, maker.trace_id_hex(trace));
        let response = client.get(&url, &[("accept", "application/protobuf")]).await?;
        ensure!(response.status == 200, "trace {trace}: {} {}", response.status, response.text());
        let found = Trace::decode(response.body)?;
        let scopes = found.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let spans: Vec<Vec<u8>> = scopes.flat_map(|scope| &scope.spans).map(|s| s.span_id.clone()).collect();
        let different: HashSet<&Vec<u8>> = spans.iter().collect();
        let expected = usize::try_from(SPANS_PER_TRACE)?;
        ensure!(
            spans.len() == expected && different.len() == expected,
            "trace {trace}: {} spans, {} different",
            spans.len(),
            different.len()
        );
    }
    Ok(())
}

async fn flush(server: &Server) -> anyhow::Result<()> {
    let url = format!("{}/flush?wait=true", server.http);
    let flushed = tokio::time::timeout(DEADLINE, Client::default().get(&url, &[])).await??;
    ensure!(flushed.status == 204, "{} {}", flushed.status, flushed.text());
    Ok(())
}

async fn ready(server: &Server) -> anyhow::Result<String> {
    let ready = Client::default().get(&format!("{}/ready", server.http), &[]).await?;
    ensure!(ready.status == 200, "{} {}", ready.status, ready.text());
    Ok(ready.text())
}

/// Reads that object storage has answered with data.
const READS: &str = "tempodb_backend_request_duration_seconds_count{operation=\"GET\",status_code=\"200\"}";

/// The value of one series; 0 if there is none yet.
async fn metric(server: &Server, series: &str) -> anyhow::Result<f64> {
    let metrics = Client::default().get(&format!("{}/metrics", server.http), &[]).await?.text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)).map(str::trim);
    Ok(value.map(str::parse).transpose()?.unwrap_or(0.0))
}

/// Kills the server and removes all it had on disk.
async fn lose(server: Server, dir: &Path) -> anyhow::Result<()> {
    server.kill().await?;
    Ok(std::fs::remove_dir_all(dir)?)
}

fn new_disk(dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let disk = dir.join(name);
    std::fs::create_dir_all(&disk)?;
    Ok(disk)
}

#[tokio::test]
async fn a_new_process_with_an_empty_disk_answers_everything_from_the_bucket() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(gateway) = Gateway::start(dir.path()).await? else { return Ok(()) };
    gateway.make_bucket()?;
    let maker = SpanMaker { seed: 1, spans_per_trace: SPANS_PER_TRACE };
    let disk = new_disk(dir.path(), "first")?;
    let server = Server::start(&disk, &gateway.options_with_keys()).await?;
    for first in (0..500).step_by(50) {
        push(&server, maker, first, 50).await?;
    }
    flush(&server).await?;
    lose(server, &disk).await?;

    let server = Server::start(&new_disk(dir.path(), "second")?, &gateway.options_with_keys()).await?;
    let before = metric(&server, READS).await?;
    verify(&server, maker, 0..1).await?;
    let reads = metric(&server, READS).await? - before;
    verify(&server, maker, 0..500).await?;

    // A bloom of every block; the trace index and one range of the block that has the trace.
    let blocks = metric(&server, "tempodb_blocklist_length{tenant=\"single-tenant\"}").await?;
    ensure!((1.0..=blocks + 2.0).contains(&reads), "{reads} reads for a trace in {blocks} blocks");
    ensure!(ready(&server).await? == "ready\n");
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_comes_late_is_used_without_a_restart() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(gateway) = Gateway::start(dir.path()).await? else { return Ok(()) };
    let maker = SpanMaker { seed: 2, spans_per_trace: SPANS_PER_TRACE };
    let disk = new_disk(dir.path(), "disk")?;
    let server = Server::start(&disk, &gateway.options_with_keys()).await?;

    push(&server, maker, 0, 50).await?;
    verify(&server, maker, 0..50).await?;
    let told = ready(&server).await?;
    ensure!(told.contains("bucket 'traces'"), "{told}");
    // A restart while it is away: what the WAL has is there again.
    server.kill().await?;
    let server = Server::start(&disk, &gateway.options_with_keys()).await?;
    push(&server, maker, 50, 50).await?;
    verify(&server, maker, 0..100).await?;

    gateway.make_bucket()?;
    flush(&server).await?;
    eventually("the trouble is over", DEADLINE, async || {
        let told = ready(&server).await?;
        ensure!(told == "ready\n", "{told}");
        Ok(())
    })
    .await?;
    lose(server, &disk).await?;
    let server = Server::start(&new_disk(dir.path(), "second")?, &gateway.options_with_keys()).await?;
    verify(&server, maker, 0..100).await?;
    server.stop().await?;
    Ok(())
}

/// Sends traces until told to stop; gives how many were acknowledged. What was refused is sent again.
async fn load(url: String, maker: SpanMaker, stop: Arc<AtomicBool>) -> anyhow::Result<u64> {
    let client = Client::default();
    let mut first = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch = maker.batch(first, 20);
        let pushed = client.post(&url, &PROTOBUF, batch.body).await?;
        if pushed.status == 200 {
            first += 20;
        } else {
            ensure!([429, 503].contains(&pushed.status.as_u16()), "{} {}", pushed.status, pushed.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_bucket_goes_away_under_load() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(mut gateway) = Gateway::start(dir.path()).await? else { return Ok(()) };
    gateway.make_bucket()?;
    let disk = new_disk(dir.path(), "disk")?;
    let server = Server::start(&disk, &gateway.options_with_keys()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    let makers = [3, 4].map(|seed| SpanMaker { seed, spans_per_trace: SPANS_PER_TRACE });
    for maker in makers {
        let (url, stop) = (server.otlp_http.clone(), Arc::clone(&stop));
        senders.spawn(async move { Ok::<_, anyhow::Error>((maker, load(url, maker, stop).await?)) });
    }

    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        gateway.stop().await?;
        eventually("the trouble shows", DEADLINE, async || {
            let told = ready(&server).await?;
            ensure!(told.contains("no answer from the service"), "{told}");
            Ok(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        gateway.run().await?;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    while let Some(sent) = senders.join_next().await {
        acknowledged.push(sent??);
    }
    flush(&server).await?;
    lose(server, &disk).await?;

    let server = Server::start(&new_disk(dir.path(), "second")?, &gateway.options_with_keys()).await?;
    for (maker, traces) in acknowledged {
        ensure!(traces > 100, "only {traces} traces were taken");
        verify(&server, maker, (0..traces).step_by(7)).await?;
    }
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn keys_that_change_in_their_file_are_taken_without_a_restart() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(mut gateway) = Gateway::start(dir.path()).await? else { return Ok(()) };
    gateway.make_bucket()?;
    let file = dir.path().join("credentials");
    let write_keys = |secret: &str| {
        std::fs::write(
            &file,
            format!("[default]\naws_access_key_id = tempo\naws_secret_access_key = {secret}\n"),
        )
    };
    write_keys(&gateway.secret)?;
    let profile = ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), file.display().to_string());
    let options =
        ServerOptions { environment: vec![profile], ..gateway.options("tempo_rs: {max_attempts: 2}") };
    let maker = SpanMaker { seed: 5, spans_per_trace: SPANS_PER_TRACE };
    let disk = new_disk(dir.path(), "disk")?;
    let server = Server::start(&disk, &options).await?;
    push(&server, maker, 0, 50).await?;
    flush(&server).await?;

    gateway.stop().await?;
    gateway.secret = "second-secret".to_owned();
    gateway.run().await?;
    push(&server, maker, 50, 50).await?;
    eventually("the denial shows", DEADLINE, async || {
        let told = ready(&server).await?;
        ensure!(told.contains("secret_key is not that of the access key"), "{told}");
        Ok(())
    })
    .await?;
    write_keys(&gateway.secret)?;
    flush(&server).await?;

    lose(server, &disk).await?;
    let server = Server::start(&new_disk(dir.path(), "second")?, &options).await?;
    verify(&server, maker, 0..100).await?;
    server.stop().await?;
    Ok(())
}
