//! The one metrics registry of an app: process metrics and build information; components add theirs.

use prometheus::{IntGaugeVec, Opts, Registry, process_collector::ProcessCollector};

/// What this binary is.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// The Tempo release whose API this build has. Grafana compares it to decide which endpoints it may use.
    pub compatible: &'static str,
    pub version: &'static str,
    pub revision: &'static str,
    pub branch: &'static str,
    /// The least rustc that builds this; in the place of Tempo's `goversion`.
    pub rust: &'static str,
}

const fn or_unknown(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "unknown",
    }
}

pub const VERSION: Version = Version {
    compatible: "2.10.0",
    version: env!("CARGO_PKG_VERSION"),
    revision: or_unknown(option_env!("TEMPO_BUILD_REVISION")),
    branch: or_unknown(option_env!("TEMPO_BUILD_BRANCH")),
    rust: env!("CARGO_PKG_RUST_VERSION"),
};

/// A registry with what is true for every process.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let build = IntGaugeVec::new(
        Opts::new("tempo_build_info", "What was built from which source, always 1."),
        &["version", "revision", "branch", "rustversion"],
    )?;
    build.with_label_values(&[VERSION.version, VERSION.revision, VERSION.branch, VERSION.rust]).set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}
