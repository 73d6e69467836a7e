//! One `tempo` process on free ports, in a directory of its own, stopped by its pid also when a test fails.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Client;

const READY_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// What differs between the servers of the tests.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// YAML put below `distributor:`, each line indented by two.
    pub distributor: String,
    /// YAML put behind the `ingester:` line, each line indented by two.
    pub ingester: String,
    /// YAML put behind the `overrides:` line, each line indented by two.
    pub overrides: String,
    /// YAML put below `storage: {trace:}`, each line indented by four. Empty: blocks are on local disk.
    pub storage: String,
    /// Variables of the process's environment.
    pub environment: Vec<(String, String)>,
    /// Whole sections put at the end.
    pub more: String,
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    pub http: String,
    pub otlp_http: String,
    /// host:port
    pub otlp_grpc: String,
    /// Without a path.
    pub zipkin: String,
    /// From the start of the process until `/ready` said so.
    pub ready_after: Duration,
}

impl Server {
    /// Starts a server whose data is below `dir`; what an earlier server left there is taken over.
    pub async fn start(dir: &Path, options: &ServerOptions) -> anyhow::Result<Server> {
        let mut server = Server::spawn(dir, options)?;
        server.wait_ready().await?;
        Ok(server)
    }

    /// Starts a server and does not wait for it.
    pub fn spawn(dir: &Path, options: &ServerOptions) -> anyhow::Result<Server> {
        let [http, grpc, otlp_http, otlp_grpc, zipkin] = free_ports()?;
        let data = dir.display();
        let ServerOptions { distributor, ingester, overrides, storage, environment, more } = options;
        let storage = if storage.is_empty() {
            format!("    backend: local\n    local: {{path: '{data}/blocks'}}")
        } else {
            storage.clone()
        };
        let yaml = format!(
            "server: {{http_listen_address: 127.0.0.1, http_listen_port: {http}, \
             grpc_listen_address: 127.0.0.1, grpc_listen_port: {grpc}}}\n\
             distributor:\n  receivers:\n    otlp:\n      protocols:\n        \
             http: {{endpoint: '127.0.0.1:{otlp_http}'}}\n        grpc: {{endpoint: '127.0.0.1:{otlp_grpc}'}}\n    \
             zipkin: {{endpoint: '127.0.0.1:{zipkin}'}}\n\
             {distributor}\ningester:\n{ingester}\n\
             storage:\n  trace:\n{storage}\n    wal: {{path: '{data}/wal'}}\n\
             overrides:\n{overrides}\n{more}\n"
        );
        let config = dir.join("tempo.yaml");
        std::fs::write(&config, yaml)?;
        let log = dir.join("tempo.log");
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(tempo_binary()?)
            .arg(format!("-config.file={}", config.display()))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("start the tempo binary")?;
        Ok(Server {
            child,
            config,
            log,
            http: format!("http://127.0.0.1:{http}"),
            otlp_http: format!("http://127.0.0.1:{otlp_http}/v1/traces"),
            otlp_grpc: format!("127.0.0.1:{otlp_grpc}"),
            zipkin: format!("http://127.0.0.1:{zipkin}"),
            ready_after: Duration::ZERO,
        })
    }

    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let client = Client::default();
        let url = format!("{}/ready", self.http);
        #[expect(clippy::disallowed_methods, reason = "the process has no paused clock")]
        let started = Instant::now();
        let mut every = tokio::time::interval(Duration::from_millis(5));
        loop {
            every.tick().await;
            if let Ok(response) = client.get(&url, &[]).await
                && response.status.is_success()
            {
                self.ready_after = started.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("tempo ended with {status} before it was ready:\n{}", self.log_tail());
            }
            if started.elapsed() > READY_DEADLINE {
                bail!("tempo was not ready after {READY_DEADLINE:?}:\n{}", self.log_tail());
            }
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL: what a power cut leaves in the page cache is still lost to nobody, the process is gone at once.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("kill tempo")
    }

    /// SIGTERM, and how the process ended.
    pub async fn stop(mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.context("tempo has ended already")?, Signal::TERM)?;
        #[expect(clippy::disallowed_methods, reason = "the process has no paused clock")]
        let started = Instant::now();
        let ended = tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await;
        let status = ended.with_context(|| format!("tempo did not stop:\n{}", self.log_tail()))??;
        Ok((status, started.elapsed()))
    }

    pub fn config_path(&self) -> &Path {
        &self.config
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The binary that `e2e/run` names, or the one built beside this test.
fn tempo_binary() -> anyhow::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests take their binary from the runner's environment")]
    let named = std::env::var("TEMPO_BINARY").ok().map(PathBuf::from);
    let beside = || -> anyhow::Result<PathBuf> {
        // target/<profile>/deps/<this test>
        let test = std::env::current_exe()?;
        let profile = test.ancestors().nth(2).context("find the target folder")?;
        Ok(profile.join("tempo"))
    };
    let binary = named.map_or_else(beside, Ok)?;
    if !binary.is_file() {
        bail!(
            "{} is not there: build it with `cargo build -p tempo`, or name one in TEMPO_BINARY",
            binary.display()
        );
    }
    Ok(binary)
}

/// Ports that were free a moment ago. Another process may take one before the server does; then the server says so.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
