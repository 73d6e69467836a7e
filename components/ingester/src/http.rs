//! `/flush` and `/shutdown`, for any method, as Tempo 1.0 to 2.10 answer them, and our own `/ingester/v1/drain`.
//!
//! `/flush`: 204 once every head is sealed; the blocks are written in the background. `?tenant=X` limits it to one tenant
//! (404 if it has no data here). Ours: `?wait=true` answers when everything present at the call is in the backend: 204, or
//! 500 with a line per block that had to be quarantined, or 503 if the process stopped first.
//! `/shutdown`: 200 at once; pushes are refused, everything is flushed, the process ends. Whoever starts it again has an
//! ingester that takes pushes: to empty one for good, drain it.
//! `/ingester/v1/drain`: POST begins a drain (202; again is the same), GET asks for its state (200), DELETE takes it back
//! (200). All answer with the JSON of [`crate::DrainState`], or 500 if the volume does not take the marker.

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use display_error_chain::DisplayErrorChain;
use serde::Deserialize;
use tempo_model::TenantId;

use crate::{drain::DrainError, flush::FlushError, open::Ingester};

#[derive(Debug, Deserialize)]
struct FlushParams {
    tenant: Option<String>,
    #[serde(default)]
    wait: bool,
}

impl Ingester {
    pub fn http_routes(&self) -> Router {
        Router::new()
            .route("/flush", any(flush))
            .route("/shutdown", any(shutdown))
            .route("/ingester/v1/drain", get(drain_state).post(begin_drain).delete(cancel_drain))
            .with_state(self.clone())
    }
}

async fn flush(State(ingester): State<Ingester>, Query(params): Query<FlushParams>) -> Response {
    let tenant = match params.tenant.as_deref().map(TenantId::parse).transpose() {
        Ok(tenant) => tenant,
        Err(_) => return StatusCode::NOT_FOUND.into_response(),
    };
    match ingester.flush(tenant.as_ref(), params.wait).await {
        Ok(report) if report.quarantined.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(report) => {
            let line = |(block, reason)| {
                format!("block {block} is quarantined, its spans are safe in the WAL: {reason}\n")
            };
            let text: String = report.quarantined.into_iter().map(line).collect();
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
        Err(FlushError::UnknownTenant(_)) => StatusCode::NOT_FOUND.into_response(),
        Err(error @ FlushError::Stopped) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
        }
    }
}

async fn shutdown(State(ingester): State<Ingester>) -> &'static str {
    ingester.shared.is_read_only.store(true, std::sync::atomic::Ordering::Release);
    ingester.shared.shutdown_asked.notify_one();
    "shutdown job acknowledged"
}

async fn drain_state(State(ingester): State<Ingester>) -> Response {
    axum::Json(ingester.drain_state().await).into_response()
}

async fn begin_drain(State(ingester): State<Ingester>) -> Response {
    match ingester.begin_drain().await {
        Ok(()) => (StatusCode::ACCEPTED, axum::Json(ingester.drain_state().await)).into_response(),
        Err(error) => marker_failed(&error),
    }
}

async fn cancel_drain(State(ingester): State<Ingester>) -> Response {
    match ingester.cancel_drain().await {
        Ok(()) => axum::Json(ingester.drain_state().await).into_response(),
        Err(error) => marker_failed(&error),
    }
}

fn marker_failed(error: &DrainError) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", DisplayErrorChain::new(error))).into_response()
}
