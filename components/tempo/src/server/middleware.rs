//! What stands before every HTTP route: metrics, panics, time, clean paths, compression, and the refusal while stopping.

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tokio::{sync::watch, time::Instant};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate as _, SizeAbove},
    },
};
use tracing::{Instrument as _, error};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::metrics::Metrics;
use crate::telemetry::{REQUEST_TARGET, remote_parent};

/// Smaller answers are not worth compressing.
const LEAST_COMPRESSED_BYTES: u64 = 1024;

/// Layers for the routes of an HTTP listener; applied inside out. `untimed` may take as long as they want.
pub fn wrap_http(timed: Router, untimed: Router, metrics: &Metrics, limit: Option<Duration>) -> Router {
    let compressed = SizeAbove::new(LEAST_COMPRESSED_BYTES).and(NotForContentType::GRPC);
    let timed = timed.layer(CompressionLayer::new().gzip(true).compress_when(compressed));
    let timed = match limit {
        Some(limit) => timed.layer(from_fn_with_state(limit, within)),
        None => timed,
    };
    let routes = timed.merge(untimed).fallback(not_found);
    wrap_any(routes, metrics).layer(from_fn(clean_path))
}

/// Layers for the routes of a receiver: a request that has not been read and answered by then is given up.
pub fn wrap_receiver(routes: Router, metrics: &Metrics, limit: Option<Duration>) -> Router {
    let routes = match limit {
        Some(limit) => routes.layer(from_fn_with_state(limit, within)),
        None => routes,
    };
    wrap_any(routes, metrics)
}

/// Layers for all routes: metrics and panics.
pub fn wrap_any(routes: Router, metrics: &Metrics) -> Router {
    let panics = metrics.clone();
    let answer_panic = move |panic: Box<dyn Any + Send + 'static>| {
        panics.panicked();
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("not a text");
        error!(panic = message, "a request panicked");
        (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response()
    };
    routes.layer(CatchPanicLayer::custom(answer_panic)).layer(from_fn_with_state(metrics.clone(), measure))
}

async fn within(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unable to process request in the configured timeout")
            .into_response(),
    }
}

async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let is_grpc = super::grpc::is_grpc(&request);
    let method = if is_grpc { "gRPC" } else { method_label(request.method()) };
    let route = match request.extensions().get::<MatchedPath>() {
        None => "other".to_owned(),
        Some(path) if is_grpc => path.as_str().replace("/{*rest}", ""),
        Some(path) => route_label(path.as_str()),
    };
    let inflight = metrics.started(method, &route);
    let response = next.run(request).await;
    drop(inflight);
    let http_status = response.status();
    let status = if is_grpc { grpc_status(&response) } else { http_status.as_str() };
    metrics.finished(method, &route, status, start.elapsed());
    response
}

/// gRPC puts its status in a header if nothing was sent before it failed.
fn grpc_status(response: &Response) -> &'static str {
    match response.headers().get("grpc-status").map(HeaderValue::as_bytes) {
        None | Some(b"0") => "success",
        Some(b"1") => "cancel",
        Some(_) => "error",
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// `/api/v2/traces/{traceID}` → `api_v2_traces_traceid`, as Tempo labels its routes.
fn route_label(path: &str) -> String {
    let mut label = String::with_capacity(path.len());
    for c in path.chars() {
        if c.is_ascii_alphanumeric() {
            label.push(c.to_ascii_lowercase());
        } else if c != '{' && c != '}' && !label.ends_with('_') && !label.is_empty() {
            label.push('_');
        }
    }
    let label = label.trim_end_matches('_');
    if label.is_empty() { "root".to_owned() } else { label.to_owned() }
}

/// `//` and dot segments are answered with a redirect to the clean path, as gorilla/mux does.
async fn clean_path(request: Request, next: Next) -> Response {
    let uri = request.uri();
    let Some(mut target) = cleaned(uri.path()) else { return next.run(request).await };
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    match HeaderValue::try_from(target) {
        Ok(location) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// The clean form of `path`; `None` if it is clean.
fn cleaned(path: &str) -> Option<String> {
    let is_dirty = path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..");
    if !is_dirty {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", kept.join("/")))
}

/// What an unknown path gets.
pub async fn not_found() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

/// Middleware for routes that take new work: refused once the stop began.
pub async fn refuse_when_stopping(
    State(is_stopping): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    if *is_stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Application is stopping\n").into_response();
    }
    next.run(request).await
}

/// A span around each API request, under the caller's: what self-tracing exports.
pub async fn trace_request(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let span = tracing::info_span!(
        target: REQUEST_TARGET,
        "request",
        otel.kind = "server",
        otel.name = format!("{} {route}", request.method()),
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    // Fails only if nothing is exported; then there is nothing to set.
    span.set_parent(remote_parent(request.headers())).ok();
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_gorilla_does() {
        for (path, expected) in [
            ("/api/traces/1", None),
            ("//api//traces/1", Some("/api/traces/1")),
            ("/a/../b", Some("/b")),
            ("/../../etc", Some("/etc")),
            ("/a//", Some("/a/")),
            ("//", Some("/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn routes_are_labelled_as_tempo_labels_them() {
        assert_eq!(route_label("/api/v2/traces/{traceID}"), "api_v2_traces_traceid");
        assert_eq!(route_label("/status/{endpoint}"), "status_endpoint");
        assert_eq!(route_label("/"), "root");
    }
}
