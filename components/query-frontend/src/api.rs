//! HTTP in, HTTP out: routes, whose data a request asks for, and how errors look.
//!
//! Errors made here are Tempo's frontend errors: the status and the bare message, no newline.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::any,
};
use http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use tempo_model::{TenantId, Tenants};

use crate::{find_trace::QueryError, queriers::JobError, query_frontend::Inner};

mod llm;
mod params;
mod traces;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) fn routes(inner: Arc<Inner>) -> Router {
    Router::new()
        .route("/api/echo", any(echo))
        .route("/api/traces/{trace_id}", any(traces::v1))
        .route("/api/v2/traces/{trace_id}", any(traces::v2))
        .with_state(inner)
}

/// Grafana's "save and test". Asks nobody.
async fn echo() -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    ([(header::CONTENT_TYPE, TEXT), (header::X_CONTENT_TYPE_OPTIONS, nosniff)], "echo\n").into_response()
}

/// An error as the client sees it.
#[derive(Debug, PartialEq, Eq)]
struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    fn bad_request(message: impl ToString) -> ApiError {
        ApiError { status: StatusCode::BAD_REQUEST, message: message.to_string() }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        let status = match &error {
            QueryError::QueueFull(_) => StatusCode::TOO_MANY_REQUESTS,
            QueryError::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            QueryError::Job(JobError::DeadlineExceeded) => StatusCode::GATEWAY_TIMEOUT,
            // A job that a querier refuses is a fault of ours, not of the client.
            QueryError::Job(JobError::Failed(_) | JobError::Refused(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError { status, message: error.to_string() }
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> ApiError {
        QueryError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let ApiError { status, message } = self;
        if message.is_empty() {
            // Not even a content type: Go sniffs it from the first byte.
            return (status, Body::empty()).into_response();
        }
        (status, [(header::CONTENT_TYPE, TEXT)], message).into_response()
    }
}

/// What the client wants to read. A substring anywhere in `Accept` decides, and the first of this list wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
    /// JSON for language models: hex ids, attributes as plain objects.
    Llm,
}

impl Format {
    fn of(headers: &HeaderMap) -> Format {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if accept.contains("application/protobuf") {
            Format::Protobuf
        } else if !accept.contains("application/json") && accept.contains("application/vnd.grafana.llm") {
            Format::Llm
        } else {
            Format::Json
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Format::Protobuf => "application/protobuf",
            Format::Json => "application/json",
            Format::Llm => "application/vnd.grafana.llm+json",
        })
    }
}

impl Inner {
    /// Whose data a request asks for, as the server's tenant layer found out.
    fn tenants(&self, extensions: &Extensions) -> Result<Tenants, ApiError> {
        let several = extensions.get::<Tenants>().cloned();
        let tenants = several.or_else(|| extensions.get::<TenantId>().cloned().map(Tenants::from));
        match tenants {
            Some(tenants) if tenants.as_slice().len() > 1 && !self.config.multi_tenant_queries_enabled => {
                Err(ApiError::bad_request("multiple org IDs present"))
            }
            Some(tenants) => Ok(tenants),
            None if !self.multitenancy => Ok(TenantId::single().into()),
            None => Err(ApiError { status: StatusCode::UNAUTHORIZED, message: "no org id\n".to_owned() }),
        }
    }
}
