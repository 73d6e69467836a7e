//! The per-tenant overrides file: read at start, then every `per_tenant_override_period`; readers watch one channel.
//!
//! At start a file that cannot be used is an error. Later the last good one stays in force, a metric says so and one
//! warning per change of the file is logged.

use std::{path::PathBuf, sync::Arc, time::Duration};

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tempo_config::{Findings, Limits, Overrides, OverridesConfig, parse_overrides};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The most the file may have.
const MOST_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    #[error("read the per-tenant overrides {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the per-tenant overrides {path} are larger than {MOST_FILE_BYTES} bytes")]
    TooLarge { path: PathBuf },
    #[error("the per-tenant overrides {path} cannot be used:\n{findings}")]
    Invalid { path: PathBuf, findings: Findings },
}

#[derive(Debug)]
struct Metrics {
    reloads: IntCounterVec,
    last_successful: IntGauge,
    hash: IntGaugeVec,
}

impl Metrics {
    fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let reloads = IntCounterVec::new(
            Opts::new("tempo_runtime_config_reloads_total", "Times the changed overrides file was read."),
            &["outcome"],
        )?;
        let last_successful = IntGauge::new(
            "tempo_runtime_config_last_reload_successful",
            "Whether the last runtime-config reload attempt was successful.",
        )?;
        let hash = IntGaugeVec::new(
            Opts::new("tempo_runtime_config_hash", "Hash (CRC-32) of the overrides file in force, always 1."),
            &["crc32"],
        )?;
        registry.register(Box::new(reloads.clone()))?;
        registry.register(Box::new(last_successful.clone()))?;
        registry.register(Box::new(hash.clone()))?;
        Ok(Metrics { reloads, last_successful, hash })
    }

    fn in_force(&self, text: &str) {
        self.last_successful.set(1);
        self.hash.reset();
        self.hash.with_label_values(&[&format!("{:08x}", crc32fast::hash(text.as_bytes()))]).set(1);
    }
}

/// Reads the file and tells the watchers.
#[derive(Debug)]
pub struct Reloader {
    path: Option<PathBuf>,
    period: Duration,
    defaults: Limits,
    sender: watch::Sender<Arc<Overrides>>,
    metrics: Metrics,
    /// The text last read, good or bad.
    seen: Option<String>,
}

/// Why a start with overrides failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Overrides(#[from] OverridesError),
    #[error("register metrics of the overrides")]
    Metrics(#[from] prometheus::Error),
}

impl Reloader {
    pub async fn open(config: &OverridesConfig, registry: &Registry) -> Result<Reloader, OpenError> {
        let defaults = config.defaults.clone();
        let file = config.per_tenant_override_config.as_str();
        let (sender, _) = watch::channel(Arc::new(Overrides::new(defaults.clone())));
        let mut reloader = Reloader {
            path: (!file.is_empty()).then(|| file.into()),
            period: config.per_tenant_override_period.get().max(Duration::from_millis(100)),
            defaults,
            sender,
            metrics: Metrics::register(registry)?,
            seen: None,
        };
        if let Some(path) = reloader.path.clone() {
            let text = read(&path).await?;
            reloader.take_over(path, &text)?;
            reloader.seen = Some(text);
        }
        Ok(reloader)
    }

    pub fn subscribe(&self) -> watch::Receiver<Arc<Overrides>> {
        self.sender.subscribe()
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let Some(path) = self.path.clone() else { return stop.cancelled().await };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.period) => {}
            }
            self.reload(path.clone()).await;
        }
    }

    async fn reload(&mut self, path: PathBuf) {
        let outcome = match read(&path).await {
            Ok(text) if self.seen.as_ref() == Some(&text) => return,
            Ok(text) => {
                let outcome = self.take_over(path, &text);
                self.seen = Some(text);
                outcome
            }
            Err(error) => {
                // Warn once while the file is missing.
                if self.seen.take().is_none() {
                    return;
                }
                Err(error)
            }
        };
        match outcome {
            Ok(tenants) => {
                self.metrics.reloads.with_label_values(&["success"]).inc();
                info!(tenants, "reloaded the per-tenant overrides");
            }
            Err(error) => {
                self.metrics.reloads.with_label_values(&["failure"]).inc();
                self.metrics.last_successful.set(0);
                let error = display_error_chain::DisplayErrorChain::new(&error);
                warn!(%error, "kept the old per-tenant overrides");
            }
        }
    }

    fn take_over(&self, path: PathBuf, text: &str) -> Result<usize, OverridesError> {
        let (overrides, warnings) = parse_overrides(text, &self.defaults)
            .map_err(|findings| OverridesError::Invalid { path, findings })?;
        for warning in warnings {
            warn!(%warning, "the per-tenant overrides have no full effect");
        }
        let tenants = overrides.tenants.len();
        self.sender.send_replace(Arc::new(overrides));
        self.metrics.in_force(text);
        Ok(tenants)
    }
}

async fn read(path: &PathBuf) -> Result<String, OverridesError> {
    let failed = |source| OverridesError::Read { path: path.clone(), source };
    if tokio::fs::metadata(path).await.map_err(failed)?.len() > MOST_FILE_BYTES {
        return Err(OverridesError::TooLarge { path: path.clone() });
    }
    tokio::fs::read_to_string(path).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broken_file_keeps_the_last_good_one_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overrides.yaml");
        std::fs::write(&path, "overrides:\n  a:\n    ingestion:\n      rate_limit_bytes: 7\n").unwrap();
        let config = OverridesConfig {
            per_tenant_override_config: path.to_str().unwrap().to_owned(),
            ..OverridesConfig::default()
        };
        let mut reloader = Reloader::open(&config, &Registry::new()).await.unwrap();
        let seen = reloader.subscribe();
        let limit = || seen.borrow().for_tenant("a").ingestion.rate_limit_bytes;
        let good = limit();

        std::fs::write(&path, "overrides: [").unwrap();
        reloader.reload(path.clone()).await;
        assert_eq!((limit(), reloader.metrics.last_successful.get()), (good, 0));

        std::fs::write(&path, "overrides:\n  a:\n    ingestion:\n      rate_limit_bytes: 8\n").unwrap();
        reloader.reload(path).await;
        assert_ne!(limit(), good);
        assert_eq!(reloader.metrics.last_successful.get(), 1);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_used_at_the_start_is_an_error() {
        let config = OverridesConfig {
            per_tenant_override_config: "/nonexistent".to_owned(),
            ..OverridesConfig::default()
        };

        let error = Reloader::open(&config, &Registry::new()).await.unwrap_err();

        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
