//! Jaeger thrift over HTTP: `POST /api/traces` with a `Batch` in the binary encoding, compressed or not.
//!
//! Answers are those of the collector's receiver: 202, or text with 400 for what cannot be read and 500 for what cannot
//! be taken in, limits included. 400 texts are escaped, because they quote the request.

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};

use super::{JaegerFormat, sampling, to_request};
use crate::{
    metrics::Transport,
    push::Distributor,
    receiver::{
        TENANT_HEADER,
        body::{self, BodyError},
        push,
        rpc_status::RpcStatus,
        tenant_of,
    },
};

const MEDIA_TYPES: [&str; 2] = ["application/x-thrift", "application/vnd.apache.thrift.binary"];

/// Why a batch was not taken in.
#[derive(Debug)]
enum Refusal {
    /// The request cannot be read.
    Unreadable(String),
    Failed(RpcStatus),
}

pub(crate) fn routes(distributor: &Distributor) -> Router {
    let routes = Router::new().route("/api/traces", post(post_batch)).with_state(distributor.clone());
    routes.merge(sampling::collector_routes(distributor))
}

async fn post_batch(State(distributor): State<Distributor>, request: Request) -> Response {
    match take(&distributor, request).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(Refusal::Unreadable(message)) => text(StatusCode::BAD_REQUEST, &escape(&message)),
        Err(Refusal::Failed(status)) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!(
                "Cannot submit Jaeger batch: rpc error: code = {:?} desc = {}",
                status.code, status.message
            ),
        ),
    }
}

async fn take(distributor: &Distributor, request: Request) -> Result<(), Refusal> {
    let config = distributor.jaeger_config().and_then(|jaeger| jaeger.protocols.thrift_http.as_ref());
    let limit = config.map_or(0, |http| http.max_body().to_usize());
    let (parts, body) = request.into_parts();
    check_media_type(&parts.headers)?;
    let (body, reservation) = body::receive(&parts.headers, body, limit, distributor.inflight()).await?;
    let (body, reservation) = to_request(JaegerFormat::ThriftBatch, body, reservation)?;
    let headers = parts.headers.get_all(TENANT_HEADER).iter().map(|value| value.as_bytes());
    let tenant = tenant_of(distributor, headers);
    let pushed = push(distributor, Transport::JaegerThriftHttp, tenant, body, reservation).await;
    pushed.map(drop).map_err(|error| Refusal::Failed(error.into()))
}

/// The texts are Go's.
fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(CONTENT_TYPE).map_or(&[][..], |value| value.as_bytes());
    let value = String::from_utf8_lossy(value);
    let essence = value.split_once(';').map_or(&*value, |(essence, _)| essence).trim().to_ascii_lowercase();
    if essence.is_empty() {
        return Err(Refusal::Unreadable("Cannot parse content type: mime: no media type".to_owned()));
    }
    if !MEDIA_TYPES.contains(&essence.as_str()) {
        return Err(Refusal::Unreadable(format!("Unsupported content type: {essence}")));
    }
    Ok(())
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        match error {
            BodyError::Refused(refused) => Refusal::Failed(refused.into()),
            BodyError::TooLarge
            | BodyError::Encoding(_)
            | BodyError::Broken(_)
            | BodyError::Idle
            | BodyError::Inflate { encoding: _, problem: _ } => {
                Refusal::Unreadable(format!("Unable to process request body: {error}"))
            }
        }
    }
}

impl From<super::ConvertError> for Refusal {
    fn from(error: super::ConvertError) -> Refusal {
        match error {
            super::ConvertError::Fault(fault) => {
                Refusal::Unreadable(format!("Unable to process request body: {fault}"))
            }
            super::ConvertError::Refused(refused) => Refusal::Failed(refused.into()),
        }
    }
}

fn text(status: StatusCode, message: &str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, format!("{message}\n")).into_response()
}

/// As Go's `html.EscapeString`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_quotes_the_request_is_escaped() {
        assert_eq!(escape("a<b>&\"'"), "a&lt;b&gt;&amp;&#34;&#39;");
    }
}
