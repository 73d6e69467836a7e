//! The one metrics registry of an app: process metrics and build information; components add theirs.

use prometheus::{
    IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::MetricFamily,
};
use tikv_jemalloc_ctl::{epoch, stats};

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

/// What the allocator says about itself when it is asked; zero where it is not jemalloc.
struct HeapCollector {
    /// Bytes that the program holds.
    allocated: IntGauge,
    /// Bytes in physical pages, with what was freed and not given back yet.
    resident: IntGauge,
}

impl HeapCollector {
    fn new() -> Result<HeapCollector, prometheus::Error> {
        Ok(HeapCollector {
            allocated: IntGauge::new("tempo_memory_allocated_bytes", "Bytes allocated by the program.")?,
            resident: IntGauge::new("tempo_memory_resident_bytes", "Bytes the allocator keeps in memory.")?,
        })
    }
}

impl Collector for HeapCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.allocated.desc(), self.resident.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The statistics stand still until the epoch is advanced.
        if epoch::advance().is_ok() {
            let read = |value: Result<usize, _>| i64::try_from(value.unwrap_or(0)).unwrap_or(i64::MAX);
            self.allocated.set(read(stats::allocated::read()));
            self.resident.set(read(stats::resident::read()));
        }
        [self.allocated.collect(), self.resident.collect()].concat()
    }
}

/// A registry with what is true for every process.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    registry.register(Box::new(HeapCollector::new()?))?;
    let build = IntGaugeVec::new(
        Opts::new("tempo_build_info", "What was built from which source, always 1."),
        &["version", "revision", "branch", "rustversion"],
    )?;
    build.with_label_values(&[VERSION.version, VERSION.revision, VERSION.branch, VERSION.rust]).set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}
