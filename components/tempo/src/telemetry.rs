//! What the process says about itself: log lines, its own traces, its metrics registry.
//!
//! The subscriber is global, so `main` installs it and [`crate::App`] never does; tests run without one.

mod logfmt;
mod metrics;
mod self_tracing;

use std::{collections::BTreeMap, io::IsTerminal as _};

use tempo_config::{LogFormat, LogLevel};
use tracing_subscriber::{
    Layer as _, Registry, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::metrics::{VERSION, Version, registry};
use self::{
    logfmt::{JsonLine, LogfmtLine},
    self_tracing::SelfTracing,
};

pub(crate) use self::self_tracing::{REQUEST_TARGET, remote_parent};

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("a tracing subscriber is already installed")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
    #[error("export own traces: {0}")]
    SelfTracing(String),
}

/// Keeps the exporter of our own traces alive; [`Telemetry::shutdown`] sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    self_tracing: Option<SelfTracing>,
    /// What was asked for by the environment and cannot be done.
    pub warnings: Vec<String>,
}

impl Telemetry {
    /// Installs the subscriber. Needs a runtime: the exporter of our own traces connects on it.
    pub fn install(
        level: LogLevel,
        format: LogFormat,
        env: &BTreeMap<String, String>,
    ) -> Result<Telemetry, TelemetryError> {
        let mut warnings = Vec::new();
        let self_tracing = SelfTracing::from_env(env, &mut warnings).map_err(TelemetryError::SelfTracing)?;
        let level = match level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let lines = match format {
            LogFormat::Logfmt => lines.event_format(LogfmtLine).with_filter(OwnAndWarnings { level }).boxed(),
            LogFormat::Json => lines.event_format(JsonLine).with_filter(OwnAndWarnings { level }).boxed(),
        };
        let traces = self_tracing.as_ref().map(SelfTracing::layer);
        Registry::default().with(lines).with(traces).try_init()?;
        Ok(Telemetry { self_tracing, warnings })
    }

    pub async fn shutdown(self) {
        if let Some(self_tracing) = self.self_tracing {
            self_tracing.shutdown().await;
        }
    }
}

/// Our own events from `level` on, everybody else's from warnings on: h2 and hyper write a line per frame at debug.
struct OwnAndWarnings {
    level: LevelFilter,
}

impl<S: tracing::Subscriber> tracing_subscriber::layer::Filter<S> for OwnAndWarnings {
    fn enabled(
        &self,
        metadata: &tracing::Metadata<'_>,
        _: &tracing_subscriber::layer::Context<'_, S>,
    ) -> bool {
        let least = if metadata.target().starts_with("tempo") { self.level } else { LevelFilter::WARN };
        *metadata.level() <= least.min(self.level)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }
}
