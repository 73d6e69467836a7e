//! One OpenTelemetry Collector, which passes on what it gets over OTLP in several ways at once.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::{Child, Command};

use crate::{Server, eventually, go_clients};

/// How the Collector passes spans on. Each way has a receiver of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    OtlpGrpcZstd,
    OtlpHttpGzip,
    OtlpHttpJsonZstd,
    ZipkinJson,
    ZipkinProtobuf,
}

impl Way {
    pub const ALL: [Way; 5] =
        [Way::OtlpGrpcZstd, Way::OtlpHttpGzip, Way::OtlpHttpJsonZstd, Way::ZipkinJson, Way::ZipkinProtobuf];

    pub fn as_str(self) -> &'static str {
        match self {
            Way::OtlpGrpcZstd => "otlp/zstd",
            Way::OtlpHttpGzip => "otlphttp/gzip",
            Way::OtlpHttpJsonZstd => "otlphttp/json",
            Way::ZipkinJson => "zipkin/json",
            Way::ZipkinProtobuf => "zipkin/proto",
        }
    }

    fn exporter(self, server: &Server) -> String {
        let retry = "retry_on_failure: {initial_interval: 200ms, max_interval: 1s}";
        let http = server.otlp_http.trim_end_matches("/v1/traces");
        match self {
            Way::OtlpGrpcZstd => {
                format!(
                    "{{endpoint: '{}', tls: {{insecure: true}}, compression: zstd, {retry}}}",
                    server.otlp_grpc
                )
            }
            Way::OtlpHttpGzip => format!("{{endpoint: '{http}', compression: gzip, {retry}}}"),
            Way::OtlpHttpJsonZstd => {
                format!("{{endpoint: '{http}', encoding: json, compression: zstd, {retry}}}")
            }
            Way::ZipkinJson => format!("{{endpoint: '{}/api/v2/spans', format: json}}", server.zipkin),
            Way::ZipkinProtobuf => format!("{{endpoint: '{}/api/v2/spans', format: proto}}", server.zipkin),
        }
    }
}

/// A running Collector. Dropping it kills the process.
#[derive(Debug)]
pub struct Collector {
    child: Child,
    ports: [u16; Way::ALL.len()],
}

impl Collector {
    /// `None` where it is not installed.
    pub async fn start(dir: &Path, server: &Server) -> anyhow::Result<Option<Collector>> {
        let Some(programs) = go_clients() else { return Ok(None) };
        let mut ports = [0; Way::ALL.len()];
        let mut listeners = Vec::new();
        for port in &mut ports {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            *port = listener.local_addr()?.port();
            listeners.push(listener);
        }
        drop(listeners);
        let (mut receivers, mut exporters, mut pipelines) = (String::new(), String::new(), String::new());
        for (way, port) in Way::ALL.into_iter().zip(ports) {
            let (name, exporter) = (way.as_str(), way.exporter(server));
            let id = name.replace('/', "-");
            receivers += &format!("  otlp/{id}: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{port}'}}}}}}\n");
            exporters += &format!("  {name}: {exporter}\n");
            pipelines += &format!(
                "    traces/{id}: {{receivers: [otlp/{id}], processors: [batch], exporters: [{name}]}}\n"
            );
        }
        let config = dir.join("collector.yaml");
        std::fs::write(
            &config,
            format!(
                "receivers:\n{receivers}processors:\n  batch: {{timeout: 100ms, send_batch_size: 50, send_batch_max_size: 50}}\nexporters:\n{exporters}\
                 service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n{pipelines}"
            ),
        )?;
        let log = std::fs::File::create(dir.join("collector.log"))?;
        let child = Command::new(programs.join("collector"))
            .arg(format!("--config={}", config.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start the Collector")?;
        let collector = Collector { child, ports };
        eventually("the Collector listens", Duration::from_secs(30), async || {
            for port in collector.ports {
                TcpStream::connect(("127.0.0.1", port))?;
            }
            Ok(())
        })
        .await
        .with_context(|| std::fs::read_to_string(dir.join("collector.log")).unwrap_or_default())?;
        Ok(Some(collector))
    }

    /// Where OTLP over gRPC goes that way, as host:port.
    pub fn endpoint(&self, way: Way) -> String {
        let port = Way::ALL.into_iter().zip(self.ports).find(|(other, _)| *other == way);
        format!("127.0.0.1:{}", port.map_or(0, |(_, port)| port))
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("stop the Collector")
    }
}
