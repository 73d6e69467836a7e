//! `/api/traces/{id}` and `/api/v2/traces/{id}`.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | found | the trace, JSON key `batches` | `TraceByIDResponse` |
//! | not found | 404, no body | 200, an empty trace, present on the wire: Grafana reads it unchecked |
//! | too large | 422 | 200, what fits, `PARTIAL` and a message |

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header, request::Parts};
use prost::Message;
use tempo_model::{
    TenantId, TraceId,
    json::{write_trace, write_trace_by_id_response},
    trace::{dedupe_zipkin, sort},
};
use tempo_proto::tempopb::{PartialStatus, TraceByIdMetrics, TraceByIdResponse};
use tracing::{debug, warn};

use crate::{
    api::{ApiError, Format, llm::write_llm, params::trace_query},
    find_trace::{FoundTrace, QueryError, TraceQuery, span_count, work_aside},
    metrics::Slo,
    query_frontend::Inner,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

pub(super) async fn v1(
    State(inner): State<Arc<Inner>>,
    Path(trace_id): Path<String>,
    parts: Parts,
) -> Response {
    answer(&inner, Version::V1, &trace_id, &parts).await
}

pub(super) async fn v2(
    State(inner): State<Arc<Inner>>,
    Path(trace_id): Path<String>,
    parts: Parts,
) -> Response {
    answer(&inner, Version::V2, &trace_id, &parts).await
}

async fn answer(inner: &Inner, version: Version, trace_id: &str, parts: &Parts) -> Response {
    let format = Format::of(&parts.headers);
    let tenants = match inner.tenants(&parts.extensions) {
        Ok(tenants) => tenants,
        Err(refusal) => return refusal.into_response(),
    };
    let query = match trace_query(trace_id, &parts.uri) {
        Ok(query) => query,
        Err(error) => return ApiError::bad_request(error).into_response(),
    };

    let id = query.trace_id;
    match Box::pin(inner.timed_find(tenants.as_slice(), &query)).await {
        Ok(found) => {
            let spans = found.trace.as_ref().map_or(0, span_count);
            let encoded = work_aside(spans, move || encode(version, format, id, found)).await;
            encoded.unwrap_or_else(|error| ApiError::from(error).into_response())
        }
        Err(error) => {
            let refusal = ApiError::from(error);
            if refusal.status.is_server_error() {
                warn!(trace_id = %id, status = refusal.status.as_u16(), error = refusal.message, "failed trace query");
            } else {
                debug!(trace_id = %id, status = refusal.status.as_u16(), error = refusal.message, "refused trace query");
            }
            refusal.into_response()
        }
    }
}

impl Inner {
    /// [`Inner::find_trace`] with a deadline and measured.
    async fn timed_find(&self, tenants: &[TenantId], query: &TraceQuery) -> Result<FoundTrace, QueryError> {
        let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
        let config = &self.config.trace_by_id;
        let slo = Slo { duration: *config.duration_slo, throughput_bytes: config.throughput_bytes_slo.get() };
        let running = self.metrics.trace_query_started(names.join("|"), slo);
        let timeout: Duration = *self.config.api_timeout;
        let find = self.find_trace(tenants, query);
        let found = if timeout.is_zero() {
            find.await
        } else {
            tokio::time::timeout(timeout, find).await.unwrap_or(Err(QueryError::Timeout))
        };
        match &found {
            Ok(found) => running.finished(found.inspected_bytes),
            Err(_) => running.failed(),
        }
        found
    }
}

fn encode(version: Version, format: Format, trace_id: TraceId, found: FoundTrace) -> Response {
    let FoundTrace { trace, inspected_bytes, max_bytes, is_too_large } = found;
    let trace = trace.map(|mut trace| {
        dedupe_zipkin(&mut trace);
        sort(&mut trace);
        trace
    });
    let body = match version {
        Version::V1 if is_too_large => {
            let message = format!("trace exceeds max size (max bytes: {max_bytes})");
            return ApiError { status: StatusCode::UNPROCESSABLE_ENTITY, message }.into_response();
        }
        Version::V1 => {
            let Some(trace) = trace else {
                return ApiError { status: StatusCode::NOT_FOUND, message: String::new() }.into_response();
            };
            match format {
                Format::Protobuf => trace.encode_to_vec(),
                // Tempo has no form for language models here, but keeps the content type.
                Format::Json | Format::Llm => json(|out| write_trace(out, &trace, "batches")),
            }
        }
        Version::V2 => {
            let mut response = TraceByIdResponse {
                trace: Some(trace.unwrap_or_default()),
                metrics: Some(TraceByIdMetrics { inspected_bytes }),
                ..TraceByIdResponse::default()
            };
            if is_too_large {
                response.status = PartialStatus::Partial as i32;
                response.message =
                    format!("Trace exceeds maximum size of {max_bytes} bytes, a partial trace is returned");
            }
            match format {
                Format::Protobuf => response.encode_to_vec(),
                Format::Json => json(|out| write_trace_by_id_response(out, &response)),
                Format::Llm => json(|out| write_llm(out, trace_id, &response)),
            }
        }
    };
    ([(header::CONTENT_TYPE, format.content_type())], body).into_response()
}

fn json(write: impl FnOnce(&mut String)) -> Vec<u8> {
    let mut out = String::new();
    write(&mut out);
    out.into_bytes()
}
