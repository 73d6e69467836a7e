//! `run`: logs, signals, and the way to the API server; everything else is in `process.rs`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::flags::{LogFormat, RunFlags};
use crate::{
    leader::LeaderOptions,
    process::{self, RunOptions},
};

/// Runs until a signal comes or a part fails.
pub(super) fn run(flags: RunFlags, environment: &BTreeMap<String, String>) -> anyhow::Result<()> {
    install_logs(flags.log_level, flags.log_format)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is already installed"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let config =
            kube::Config::infer().await.context("find the API server (in the pod, or by KUBECONFIG)")?;
        let options = options(flags, environment);
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let running = process::run(options, config, stop.clone());
        tokio::pin!(running);
        tokio::select! {
            ended = &mut running => return ended,
            _ = terminate.recv() => info!("received SIGTERM"),
            _ = interrupt.recv() => info!("received SIGINT"),
        }
        stop.cancel();
        running.await
    })
}

fn options(flags: RunFlags, environment: &BTreeMap<String, String>) -> RunOptions {
    let RunFlags { listen, watch_namespaces, lease, defaults, concurrency, log_level: _, log_format: _ } =
        flags;
    let identity = || {
        // The same pod may start twice, and the second start must not take the first one's lease for its own.
        let pod = environment.get("POD_NAME").or_else(|| environment.get("HOSTNAME")).cloned();
        format!("{}_{:08x}", pod.unwrap_or_else(|| "tempo-operator".to_owned()), rand::random::<u32>())
    };
    RunOptions {
        watch_namespaces,
        listen,
        leader_election: lease.map(|(namespace, name)| LeaderOptions::new(namespace, name, identity())),
        concurrency,
        defaults,
    }
}

/// Our own lines from `level` on; of libraries only warnings and errors.
fn install_logs(level: tempo_config::LogLevel, format: LogFormat) -> anyhow::Result<()> {
    let level = match level {
        tempo_config::LogLevel::Debug => tracing::Level::DEBUG,
        tempo_config::LogLevel::Info => tracing::Level::INFO,
        tempo_config::LogLevel::Warn => tracing::Level::WARN,
        tempo_config::LogLevel::Error => tracing::Level::ERROR,
    };
    let others = level.min(tracing::Level::WARN);
    let shown = Targets::new().with_default(others).with_target("tempo_operator", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_filter(shown).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(shown).boxed(),
    };
    tracing_subscriber::registry().with(lines).try_init().context("install the log lines")
}
