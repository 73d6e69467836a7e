//! The story of a process: arguments → configuration → telemetry → app → signals → exit code.

use std::{collections::BTreeMap, fmt, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use tempo_config::{
    BackendKind, Config, Finding, GoDuration, Lines, ParseOptions, Parsed, TraceStorageConfig, ValidConfig,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, field::display, info, warn};

use crate::{
    app::{Addresses, App, Outcome, ReceiverAddresses},
    demo,
    flags::{self, Command, ServerFlags},
    telemetry::{Telemetry, VERSION},
};

/// How a process ends; the number is its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Clean = 0,
    /// Could not start, or a part failed while running.
    Failed = 1,
    /// Wrong flags or configuration.
    Usage = 2,
    /// Stopped with something unfinished at the deadline, or by a second signal.
    Unfinished = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Everything `main` does. `program` is how it was called, `arguments` follow that.
pub fn main(program: &str, arguments: Vec<String>, env: &BTreeMap<String, String>) -> ExitCode {
    let command = match flags::command(arguments) {
        Ok(command) => command,
        Err(error) => return usage(&format!("{error}\nRun `tempo -h` or `tempo demo -h` for all flags.")),
    };
    match command {
        Command::Help(text) => print(&text),
        Command::Version => print(&format!(
            "tempo-rs {} (revision {}, branch {}, compatible with Tempo {})\n",
            VERSION.version, VERSION.revision, VERSION.branch, VERSION.compatible
        )),
        Command::Demo(flags) => on_runtime(demo::run(flags)),
        Command::Serve(flags) => {
            let loaded = match load(&flags, env) {
                Ok(loaded) => loaded,
                Err(error) => return usage(&error.to_string()),
            };
            if flags.verify {
                for warning in &loaded.warnings {
                    complain(&format!("warning: {warning}"));
                }
                return print("configuration is valid\n");
            }
            on_runtime(async { Box::pin(serve(program, &flags, loaded, env)).await })
        }
    }
}

/// Runs `story` on a runtime with a worker per core. Whatever still runs when it ends is abandoned.
fn on_runtime(story: impl Future<Output = Exit>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: start the runtime: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(story);
    runtime.shutdown_background();
    exit.into()
}

fn usage(text: &str) -> ExitCode {
    complain(&format!("error: {text}"));
    Exit::Usage.into()
}

/// To standard output, for humans who started the program by hand; a closed pipe is not an error.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).ok();
    Exit::Clean.into()
}

fn complain(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// A configuration, checked, and what is to be said about it.
#[derive(Debug)]
pub struct Loaded {
    pub config: ValidConfig,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
pub enum LoadError {
    Read { path: std::path::PathBuf, source: std::io::Error },
    Findings { origin: String, findings: Vec<Finding> },
    Flag { name: &'static str, problem: String },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Read { path, source } => write!(f, "read {}: {source}", path.display()),
            LoadError::Findings { origin, findings } => {
                write!(f, "{origin} cannot be used:")?;
                findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
            }
            LoadError::Flag { name, problem } => write!(f, "flag -{name}: {problem}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// The configuration file, or the embedded default, with the flags over it.
pub fn load(flags: &ServerFlags, env: &BTreeMap<String, String>) -> Result<Loaded, LoadError> {
    let mut warnings = flags.warnings.clone();
    let (mut config, origin, lines) = match &flags.config_file {
        None => (Config::embedded_default(), "the command line".to_owned(), Lines::default()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| LoadError::Read { path: path.clone(), source })?;
            let origin = path.display().to_string();
            let options = ParseOptions { expand_env: flags.expand_env };
            let Parsed { config, warnings: found, lines } =
                Config::from_yaml(&text, env, options).map_err(|findings| LoadError::Findings {
                    origin: origin.clone(),
                    findings: findings.into_iter().collect(),
                })?;
            warnings.extend(found.iter().map(ToString::to_string));
            (config, origin, lines)
        }
    };
    apply_flags(&mut config, flags)?;
    let config = config
        .validate()
        .map_err(|findings| LoadError::Findings { origin, findings: lines.locate(findings) })?;
    Ok(Loaded { config, warnings })
}

/// Flags win over the file.
fn apply_flags(config: &mut Config, flags: &ServerFlags) -> Result<(), LoadError> {
    fn set<T: Clone>(key: &mut T, flag: &Option<T>) {
        if let Some(value) = flag {
            *key = value.clone();
        }
    }
    if let Some(target) = &flags.target {
        let flag = |problem: tempo_config::UnknownTarget| LoadError::Flag {
            name: "target",
            problem: problem.to_string(),
        };
        config.target = target.parse().map_err(flag)?;
    }
    set(&mut config.multitenancy_enabled, &flags.multitenancy);
    set(&mut config.http_api_prefix, &flags.http_api_prefix);
    set(&mut config.shutdown_delay, &flags.shutdown_delay.map(GoDuration::from));
    set(&mut config.server.http_listen_address, &flags.http_listen_address);
    set(&mut config.server.http_listen_port, &flags.http_listen_port);
    set(&mut config.server.grpc_listen_address, &flags.grpc_listen_address);
    set(&mut config.server.grpc_listen_port, &flags.grpc_listen_port);
    set(&mut config.server.log_level, &flags.log_level);
    set(&mut config.server.log_format, &flags.log_format);
    set(&mut config.storage.trace.local.path, &flags.local_path);
    set(&mut config.storage.trace.wal.path, &flags.wal_path);
    Ok(())
}

async fn serve(program: &str, flags: &ServerFlags, loaded: Loaded, env: &BTreeMap<String, String>) -> Exit {
    let Loaded { config, warnings } = loaded;
    let telemetry = match Telemetry::install(config.server.log_level, config.server.log_format, env) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            complain(&format!("error: {}", display_error_chain::DisplayErrorChain::new(&error)));
            return Exit::Failed;
        }
    };
    for warning in warnings.iter().chain(&telemetry.warnings) {
        warn!(%warning, "configuration");
    }
    info!(version = VERSION.version, revision = VERSION.revision, target = %config.target, "starting tempo");
    let greeter = flags.config_file.is_none().then_some(program);
    // Boxed: what starts everything is large, and needed once.
    let exit = match Box::pin(start_and_run(greeter, config)).await {
        Ok(Outcome::Clean) => Exit::Clean,
        Ok(Outcome::Failed(_)) => Exit::Failed,
        Ok(Outcome::Unfinished(_)) => Exit::Unfinished,
        Err(error) => {
            error!(error = format!("{error:#}"), "failed to start");
            Exit::Failed
        }
    };
    telemetry.shutdown().await;
    exit
}

/// `greeter` is the program's name if somebody is to be told what runs now.
async fn start_and_run(greeter: Option<&str>, config: ValidConfig) -> anyhow::Result<Outcome> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let storage = config.storage.trace.clone();
    let app = tokio::select! {
        app = App::start(config) => app?,
        name = signals.next() => {
            info!(signal = name, "stopped during the start");
            return Ok(Outcome::Clean);
        }
    };
    let addresses = app.addresses();
    let Addresses { http, grpc, internal: _, receivers: ReceiverAddresses { otlp_grpc, otlp_http, .. } } =
        addresses;
    let (otlp_grpc, otlp_http) = (otlp_grpc.map(display), otlp_http.map(display));
    info!(%http, %grpc, otlp_grpc, otlp_http, "tempo is ready");
    if let Some(program) = greeter {
        print(&welcome(program, addresses, &storage));
    }
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let mut running = std::pin::pin!(app.run(async { stopping.await.unwrap_or_default() }));
    tokio::select! {
        outcome = &mut running => return Ok(outcome),
        name = signals.next() => info!(signal = name, "received a signal, the next one ends the process at once"),
    }
    // The receiver is gone only if the app is stopping already.
    stop.send(()).ok();
    tokio::select! {
        outcome = running => Ok(outcome),
        name = signals.next() => {
            warn!(signal = name, "second signal: ending at once, the WAL keeps what was acknowledged");
            Ok(Outcome::Unfinished(Vec::new()))
        }
    }
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Where each receiver that is on takes spans.
fn receiver_rows(addresses: ReceiverAddresses) -> Vec<(&'static str, String)> {
    let ReceiverAddresses {
        otlp_grpc,
        otlp_http,
        jaeger_grpc,
        jaeger_thrift_http,
        jaeger_thrift_compact,
        jaeger_thrift_binary,
        jaeger_sampling: _,
        zipkin,
    } = addresses;
    [
        (otlp_grpc, "OTLP over gRPC  http://", ""),
        (otlp_http, "OTLP over HTTP  http://", "/v1/traces"),
        (jaeger_grpc, "Jaeger gRPC     ", ""),
        (jaeger_thrift_http, "Jaeger thrift   http://", "/api/traces"),
        (jaeger_thrift_compact, "Jaeger compact  udp://", ""),
        (jaeger_thrift_binary, "Jaeger binary   udp://", ""),
        (zipkin, "Zipkin          http://", "/api/v2/spans"),
    ]
    .into_iter()
    .filter_map(|(address, before, after)| Some(("send spans", format!("{before}{}{after}", address?))))
    .collect()
}

/// Where to send and where to ask, for somebody who started `tempo` without a configuration file.
fn welcome(program: &str, addresses: Addresses, storage: &TraceStorageConfig) -> String {
    let Addresses { http, receivers, grpc: _, internal: _ } = addresses;
    let mut rows = receiver_rows(receivers);
    rows.push(("read a trace", format!("curl http://{http}/api/traces/<trace id>")));
    rows.push(("in Grafana", format!("data source Tempo, URL http://{http}")));
    rows.push(("try it", format!("{program} demo   (in another terminal)")));
    rows.push(("recent spans", format!("in {}", storage.wal.path)));
    if storage.backend == BackendKind::Local {
        rows.push(("blocks", format!("in {}", storage.local.path)));
    }
    rows.push(("stop", "Ctrl-C".to_owned()));
    let mut text = format!("\ntempo-rs {} is ready:\n\n", VERSION.version);
    for (what, how) in rows {
        text.push_str(&format!("  {what:<14}{how}\n"));
    }
    text.push_str(&format!("\nFor a configuration file and all flags see: {program} -h\n\n"));
    text
}
