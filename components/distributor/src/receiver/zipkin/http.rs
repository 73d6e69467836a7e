//! Zipkin over HTTP: a `POST` on any path; answers as the collector's receiver gives them.
//!
//! | path | `Content-Type` | body |
//! |---|---|---|
//! | has `api/v1/spans` in it | `application/x-thrift` | version 1, thrift |
//! | has `api/v1/spans` in it | any other, or none | version 1, JSON |
//! | any other | `application/x-protobuf` | version 2, protobuf |
//! | any other | any other, or none | version 2, JSON |
//!
//! | outcome | answer |
//! |---|---|
//! | taken in; also when a limit of the ingester dropped spans | 202, empty |
//! | body that cannot be read, inflated or parsed, or is too large | 400, what is wrong with it |
//! | spans that can never be taken in, no tenant | 400, `"Bad Request"` |
//! | rate limit, memory full, ingester not there | 500, `"Internal Server Error"` |

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::CONTENT_TYPE};

use super::{Converted, ZipkinFormat, convert};
use crate::{
    inflight::Reservation,
    metrics::Transport,
    push::{Distributor, PushError},
    receiver::{
        TENANT_HEADER,
        body::{self, BodyError},
        offload, push,
        rpc_status::RpcStatus,
        tenant_of,
    },
};

/// Largest body that is parsed on a runtime worker: half a millisecond.
const INLINE_BYTES: usize = 128 << 10;

/// Room for the spans of the smallest bodies.
const MIN_ROOM_BYTES: usize = 4 << 10;

pub(crate) fn routes(distributor: &Distributor) -> Router {
    Router::new().fallback(receive).with_state(distributor.clone())
}

/// Why spans were not taken in.
enum Refusal {
    /// The client's fault, in words.
    Malformed(String),
    Permanent,
    Transient,
}

async fn receive(State(distributor): State<Distributor>, request: Request) -> Response {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed, supported: [POST]".to_owned());
    }
    match take(&distributor, request).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(Refusal::Malformed(problem)) => text(StatusCode::BAD_REQUEST, problem),
        Err(Refusal::Permanent) => text(StatusCode::BAD_REQUEST, r#""Bad Request""#.to_owned()),
        Err(Refusal::Transient) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, r#""Internal Server Error""#.to_owned())
        }
    }
}

async fn take(distributor: &Distributor, request: Request) -> Result<(), Refusal> {
    let (limit, parse_string_tags) = distributor
        .zipkin_config()
        .map_or((0, false), |zipkin| (zipkin.max_body().to_usize(), zipkin.parse_string_tags));
    let (parts, body) = request.into_parts();
    let format = format_of(parts.uri.path(), &parts.headers);
    let (body, mut reservation) = body::receive(&parts.headers, body, limit, distributor.inflight()).await?;
    let converted = otlp_of(format, parse_string_tags, &body, &mut reservation)?;
    drop(body);
    reservation.shrink_to(converted.len());
    let headers = parts.headers.get_all(TENANT_HEADER).iter().map(|value| value.as_bytes());
    let tenant = tenant_of(distributor, headers);
    push(distributor, format.transport(), tenant, Bytes::from(converted), reservation).await?;
    Ok(())
}

/// Converts a body with room reserved before it is used. OTLP is smaller than the Zipkin it comes from, but for spans
/// with next to nothing in them: those are read again with more room.
fn otlp_of(
    format: ZipkinFormat,
    parse_string_tags: bool,
    body: &[u8],
    reservation: &mut Reservation,
) -> Result<Vec<u8>, Refusal> {
    let mut room = body.len().max(MIN_ROOM_BYTES);
    reservation.grow(room * 2).map_err(|_| Refusal::Transient)?;
    loop {
        let converted = offload(body.len(), INLINE_BYTES, || convert(format, parse_string_tags, body, room));
        match converted {
            Ok(Converted::Request(otlp)) => return Ok(otlp),
            Ok(Converted::NeedsRoom) => {
                reservation.grow(room * 6).map_err(|_| Refusal::Transient)?;
                room *= 4;
            }
            Err(fault) => return Err(Refusal::Malformed(RpcStatus::invalid_argument(fault).message)),
        }
    }
}

fn format_of(path: &str, headers: &HeaderMap) -> ZipkinFormat {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split_once(';').map_or(media, |(essence, _)| essence).trim();
    if path.contains("api/v1/spans") {
        if media.eq_ignore_ascii_case("application/x-thrift") {
            ZipkinFormat::V1Thrift
        } else {
            ZipkinFormat::V1Json
        }
    } else if media.eq_ignore_ascii_case("application/x-protobuf") {
        ZipkinFormat::V2Protobuf
    } else {
        ZipkinFormat::V2Json
    }
}

impl ZipkinFormat {
    fn transport(self) -> Transport {
        match self {
            ZipkinFormat::V1Json => Transport::ZipkinV1Json,
            ZipkinFormat::V1Thrift => Transport::ZipkinV1Thrift,
            ZipkinFormat::V2Json => Transport::ZipkinV2Json,
            ZipkinFormat::V2Protobuf => Transport::ZipkinV2Protobuf,
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Refusal {
        match error {
            BodyError::Refused(_) | BodyError::Idle => Refusal::Transient,
            BodyError::TooLarge
            | BodyError::Encoding(_)
            | BodyError::Broken(_)
            | BodyError::Inflate { encoding: _, problem: _ } => {
                Refusal::Malformed(RpcStatus::invalid_argument(error).message)
            }
        }
    }
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Refusal {
        match error {
            PushError::Tenant(_) | PushError::Invalid(_) | PushError::Contexts(_) => Refusal::Permanent,
            PushError::RateLimited { limited: _, retry_after: _ }
            | PushError::Refused(_)
            | PushError::Ingester(_) => Refusal::Transient,
        }
    }
}

fn text(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_media_type_choose_the_format() {
        let table = [
            ("/api/v2/spans", "application/json", ZipkinFormat::V2Json),
            ("/spans", "", ZipkinFormat::V2Json),
            ("/", "text/plain", ZipkinFormat::V2Json),
            ("/api/v2/spans", "application/x-protobuf", ZipkinFormat::V2Protobuf),
            ("/x", "Application/X-Protobuf; q=1", ZipkinFormat::V2Protobuf),
            ("/api/v1/spans", "application/json; charset=utf-8", ZipkinFormat::V1Json),
            ("/zipkin/api/v1/spans/", "application/x-protobuf", ZipkinFormat::V1Json),
            ("/api/v1/spans", "application/x-thrift", ZipkinFormat::V1Thrift),
            ("/api/v2/spans", "application/x-thrift", ZipkinFormat::V2Json),
        ];
        for (path, media, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media.parse().unwrap());
            assert_eq!(format_of(path, &headers), want, "{path} {media}");
        }
    }
}
