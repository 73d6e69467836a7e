//! `/livez`, `/readyz` and `/metrics` on one port.
//!
//! Alive: the loops of the controller turned recently, whatever the API server answers. Ready: the process waits for
//! leadership, or leads and has read all TempoClusters once. Neither depends on any cluster's state.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

/// A loop that did not turn for this long hangs; loops turn at least every `BEAT`.
const MOST_SILENCE: Duration = Duration::from_secs(60);
/// How often an idle loop says that it is alive.
pub(crate) const BEAT: Duration = Duration::from_secs(10);

/// What the probes ask for. Clones share one state.
#[derive(Debug, Clone)]
pub struct Health {
    beat: Arc<Mutex<Instant>>,
    is_ready: Arc<AtomicBool>,
}

impl Health {
    pub fn new(now: Instant) -> Health {
        Health { beat: Arc::new(Mutex::new(now)), is_ready: Arc::new(AtomicBool::new(false)) }
    }

    pub(crate) fn beat(&self, now: Instant) {
        *self.beat.lock() = now;
    }

    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.beat.lock()) < MOST_SILENCE
    }
}

#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Takes the port. Port 0 takes a free one.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}

/// Answers until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    registry: Registry,
    stop: CancellationToken,
) -> Result<(), std::io::Error> {
    axum::serve(listener, router(health, registry)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(health: Health, registry: Registry) -> Router {
    let probes = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health);
    Router::new().route("/metrics", get(metrics)).with_state(registry).merge(probes)
}

async fn livez(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_alive(Instant::now()) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the controller hangs\n")
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the TempoClusters are not read yet\n")
    }
}

async fn metrics(State(registry): State<Registry>) -> Result<String, StatusCode> {
    TextEncoder::new().encode_to_string(&registry.gather()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_not_alive() {
        let health = Health::new(Instant::now());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(livez(State(health.clone())).await.0, StatusCode::OK);

        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(livez(State(health.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);

        health.beat(Instant::now());
        assert_eq!(livez(State(health)).await.0, StatusCode::OK);
    }
}
