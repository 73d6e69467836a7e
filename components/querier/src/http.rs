//! `/querier/api/traces/{id}` and its v2: one job over HTTP, for clients that address one querier.
//!
//! The body is a `TraceByIDResponse` in both versions, protobuf if `Accept` is exactly `application/protobuf`, else
//! JSON. A miss on v1 is a 404 that still has the response, with its metrics, as body. Errors are those of Go's
//! `http.Error`: the message and a newline, as plain text that is not to be sniffed.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::any,
};
use http::{Extensions, HeaderValue, StatusCode, header, request::Parts};
use prost::Message;
use tempo_model::{TenantId, Tenants, json::write_trace_by_id_response};
use tempo_proto::tempopb::TraceByIdResponse;
use tracing::warn;

use crate::{
    find_trace::{Answer, span_count, work_aside},
    job::{Job, JobError},
    params,
    querier::Inner,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

pub(crate) fn routes(inner: Arc<Inner>, api_prefix: &str) -> Router {
    let base = format!("/querier/{}", api_prefix.trim_matches('/'));
    let base = base.trim_end_matches('/');
    Router::new()
        .route(&format!("{base}/api/traces/{{trace_id}}"), any(v1))
        .route(&format!("{base}/api/v2/traces/{{trace_id}}"), any(v2))
        .with_state(inner)
}

async fn v1(State(inner): State<Arc<Inner>>, Path(trace_id): Path<String>, parts: Parts) -> Response {
    answer(&inner, Version::V1, &trace_id, &parts).await.unwrap_or_else(HttpError::into_response)
}

async fn v2(State(inner): State<Arc<Inner>>, Path(trace_id): Path<String>, parts: Parts) -> Response {
    answer(&inner, Version::V2, &trace_id, &parts).await.unwrap_or_else(HttpError::into_response)
}

async fn answer(
    inner: &Inner,
    version: Version,
    trace_id: &str,
    parts: &Parts,
) -> Result<Response, HttpError> {
    let as_protobuf = parts.headers.get(header::ACCEPT) == Some(&PROTOBUF);
    let tenant = tenant(&parts.extensions)?;
    let job = params::job(tenant, trace_id, &parts.uri).map_err(|error| bad_request(&error))?;

    let found = inner.run(&job).await.map_err(|error| HttpError::of(&job, &error))?;
    if version == Version::V1 && found.is_too_large {
        let message = format!("trace exceeds max size (max bytes: {})", found.max_bytes);
        return Err(HttpError { status: StatusCode::UNPROCESSABLE_ENTITY, message });
    }
    let spans = found.trace.as_ref().map_or(0, span_count);
    let encoded = work_aside(spans, move || encode(version, as_protobuf, found)).await;
    encoded.map_err(|error| HttpError::of(&job, &error))
}

fn encode(version: Version, as_protobuf: bool, found: Answer) -> Response {
    let is_miss = found.trace.is_none();
    let mut response = found.into_response();
    if version == Version::V2 {
        // On the wire even if empty: clients dereference it unchecked.
        response.trace.get_or_insert_default();
    }
    let status = if is_miss && version == Version::V1 { StatusCode::NOT_FOUND } else { StatusCode::OK };
    if as_protobuf {
        (status, [(header::CONTENT_TYPE, PROTOBUF)], response.encode_to_vec()).into_response()
    } else {
        (status, [(header::CONTENT_TYPE, JSON)], json(&response)).into_response()
    }
}

fn json(response: &TraceByIdResponse) -> String {
    let mut out = String::new();
    write_trace_by_id_response(&mut out, response);
    out
}

/// The one tenant that the server's tenant layer found in the request.
fn tenant(extensions: &Extensions) -> Result<TenantId, HttpError> {
    if let Some(tenant) = extensions.get::<TenantId>() {
        return Ok(tenant.clone());
    }
    match extensions.get::<Tenants>().map(Tenants::as_slice) {
        Some([tenant]) => Ok(tenant.clone()),
        Some(_) => Err(bad_request(&"multiple org IDs present")),
        None => Err(HttpError { status: StatusCode::UNAUTHORIZED, message: "no org id".to_owned() }),
    }
}

/// An error as Go's `http.Error` writes it.
#[derive(Debug)]
struct HttpError {
    status: StatusCode,
    message: String,
}

fn bad_request(message: &impl ToString) -> HttpError {
    HttpError { status: StatusCode::BAD_REQUEST, message: message.to_string() }
}

impl HttpError {
    fn of(job: &Job, error: &JobError) -> HttpError {
        let status = match error {
            JobError::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            JobError::Malformed(_)
            | JobError::Tenant(_)
            | JobError::Recent(_)
            | JobError::Block(_)
            | JobError::Stopped => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message = error.story();
        warn!(tenant = %job.tenant, trace_id = %job.trace_id, error = message, "failed lookup by id");
        HttpError { status, message }
    }

    fn into_response(self) -> Response {
        let HttpError { status, message } = self;
        let headers = [(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)];
        (status, headers, format!("{message}\n")).into_response()
    }
}
