//! Routes of every process that are not an API: `/ready`, `/livez`, `/metrics`, `/config`, `/memberlist`, build
//! information, and the pages of `status.rs`. None of them asks for a tenant.
//!
//! `/ready`: should requests be sent here? `/livez`: is this process worth keeping? It says yes whenever it is asked,
//! whatever the state of storage, WAL replay or a drain: a kubelet that restarts a process over one of those only makes
//! it begin again.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use display_error_chain::DisplayErrorChain;
use prometheus::{Encoder as _, Registry, TextEncoder};
use tracing::warn;

use super::status::{self, StatusPages};
use crate::{services::Services, telemetry::VERSION};

/// Plain text with the headers of Go's `http.Error`.
pub(super) fn plain(status: StatusCode, text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text).into_response()
}

/// `/ready`, `/livez` and `/metrics` alone: all that the internal server has.
pub fn probe_routes(services: Services, registry: Registry) -> Router {
    Router::new()
        .route("/ready", any(ready).with_state(services))
        .route("/livez", get(async || plain(StatusCode::OK, "alive\n".to_owned())))
        .route("/metrics", get(metrics).with_state(registry))
}

/// Everything an operator reads.
pub fn routes(services: Services, registry: Registry, pages: StatusPages, prefix: &str) -> Router {
    let buildinfo = format!("{prefix}/api/status/buildinfo");
    let usage_stats = format!("{prefix}/status/usage-stats");
    probe_routes(services, registry)
        .route("/memberlist", any(async || "This instance doesn't use memberlist."))
        .route(&buildinfo, get(build_info))
        .route(&usage_stats, any(async || "usage-stats is not enabled"))
        .merge(status::routes(pages))
}

/// What every other path answers until everything is there.
pub(super) fn starting() -> Response {
    plain(StatusCode::SERVICE_UNAVAILABLE, "Application is starting\n".to_owned())
}

async fn ready(State(services): State<Services>) -> Response {
    match services.readiness() {
        Ok(()) => {
            let remark = services.remark().map(|remark| format!("{remark}\n")).unwrap_or_default();
            plain(StatusCode::OK, format!("ready\n{remark}"))
        }
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(registry): State<Registry>) -> Response {
    let mut out = Vec::new();
    let encoder = TextEncoder::new();
    if let Err(error) = encoder.encode(&registry.gather(), &mut out) {
        warn!(error = %DisplayErrorChain::new(&error), "failed to encode metrics");
        return plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"));
    }
    ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], out).into_response()
}

async fn build_info() -> Response {
    axum::Json(serde_json::json!({
        "version": VERSION.compatible,
        "revision": format!("tempo-rs {} {}", VERSION.version, VERSION.revision),
        "branch": VERSION.branch,
        "buildUser": "",
        "buildDate": "",
        "goVersion": format!("rust{}", VERSION.rust),
    }))
    .into_response()
}
