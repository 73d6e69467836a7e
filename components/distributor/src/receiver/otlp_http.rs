//! OTLP over HTTP: `POST` of protobuf or JSON, compressed or not; answers as the collector's receiver gives them.
//!
//! Errors are `google.rpc.Status` in the request's encoding, except for a wrong method or media type, which are text.
//! A body that is too large or cannot be inflated is a 400, as in Tempo.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use tonic::Code;

use super::{
    TENANT_HEADER,
    body::{self, BodyError},
    encode_response, offload, otlp_json,
    rpc_status::RpcStatus,
    tenant_of,
};
use crate::{
    metrics::Transport,
    push::{Distributor, PushOutcome},
};

/// Largest body that is parsed as JSON on a runtime worker: half a millisecond.
const INLINE_JSON_BYTES: usize = 96 << 10;

/// The encoding of request and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    Protobuf,
    Json,
}

pub(crate) fn routes(distributor: &Distributor) -> Router {
    let path = distributor.otlp_http_config().map_or("/v1/traces", |http| http.traces_url_path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Router::new().route(&path, any(export)).with_state(distributor.clone())
}

async fn export(State(distributor): State<Distributor>, request: Request) -> Response {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]");
    }
    let Some(media) = Media::of(request.headers()) else {
        return text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "415 unsupported media type, supported: [application/json, application/x-protobuf]",
        );
    };
    match take(&distributor, media, request).await {
        Ok(outcome) => media.success(&outcome),
        Err(status) => media.failure(&status),
    }
}

async fn take(distributor: &Distributor, media: Media, request: Request) -> Result<PushOutcome, RpcStatus> {
    let limit = distributor.otlp_http_config().map_or(0, |http| http.max_body().to_usize());
    let (parts, body) = request.into_parts();
    let (body, reservation) = body::receive(&parts.headers, body, limit, distributor.inflight()).await?;
    let body = match media {
        Media::Protobuf => body,
        Media::Json => {
            // The protobuf is smaller than the JSON it comes from.
            let converted = offload(body.len(), INLINE_JSON_BYTES, || otlp_json::to_protobuf(&body));
            Bytes::from(converted.map_err(RpcStatus::invalid_argument)?)
        }
    };
    let headers = parts.headers.get_all(TENANT_HEADER).iter().map(|value| value.as_bytes());
    let tenant = tenant_of(distributor, headers);
    Ok(super::push(distributor, Transport::OtlpHttp, tenant, body, reservation).await?)
}

impl Media {
    fn of(headers: &HeaderMap) -> Option<Media> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split_once(';').map_or(value, |(essence, _)| essence).trim();
        if essence.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Media::Protobuf)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Some(Media::Json)
        } else {
            None
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Media::Protobuf => "application/x-protobuf",
            Media::Json => "application/json",
        }
    }

    fn success(self, outcome: &PushOutcome) -> Response {
        let body = match self {
            Media::Protobuf => Body::from(encode_response(outcome)),
            Media::Json if outcome.rejected_spans == 0 => Body::from(r#"{"partialSuccess":{}}"#),
            Media::Json => Body::from(
                serde_json::json!({ "partialSuccess": {
                    "rejectedSpans": outcome.rejected_spans.to_string(),
                    "errorMessage": outcome.error_message,
                }})
                .to_string(),
            ),
        };
        ([(CONTENT_TYPE, self.content_type())], body).into_response()
    }

    fn failure(self, status: &RpcStatus) -> Response {
        let body = match self {
            Media::Protobuf => Body::from(status.encode()),
            Media::Json => Body::from(status.to_json()),
        };
        let http_status = status.http_status();
        let mut response = (http_status, [(CONTENT_TYPE, self.content_type())], body).into_response();
        let may_retry =
            matches!(http_status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(secs) = status.retry_after_secs().filter(|_| may_retry) {
            response.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        response
    }
}

impl From<BodyError> for RpcStatus {
    fn from(error: BodyError) -> RpcStatus {
        match error {
            BodyError::Refused(refused) => refused.into(),
            BodyError::Idle => {
                RpcStatus { code: Code::DeadlineExceeded, message: error.to_string(), retry_after: None }
            }
            BodyError::TooLarge
            | BodyError::Encoding(_)
            | BodyError::Broken(_)
            | BodyError::Inflate { encoding: _, problem: _ } => RpcStatus::invalid_argument(error),
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain")], body).into_response()
}
