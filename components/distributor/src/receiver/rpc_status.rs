//! Errors as `google.rpc.Status`: the one place that decides which code a failed push has.
//!
//! Written by hand (three messages): `Status { code = 1, message = 2, details = 3: Any { type_url = 1, value = 2 } }`
//! with at most one detail, `RetryInfo { retry_delay = 1: Duration { seconds = 1, nanos = 2 } }`.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tonic::Code;

use crate::{
    inflight::Refused,
    push::{IngesterPushError, PushError},
    wire::{VARINT, put_bytes, put_tag, put_varint, tag},
};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// When a client that found us full or stopping should come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

const MAX_MESSAGE_BYTES: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RpcStatus {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

impl RpcStatus {
    /// The message may quote the request, so its length is bounded here.
    pub(super) fn invalid_argument(error: impl ToString) -> RpcStatus {
        let mut message = error.to_string();
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        RpcStatus { code: Code::InvalidArgument, message, retry_after: None }
    }

    /// The HTTP status, as the collector's receiver maps codes.
    pub(super) fn http_status(&self) -> StatusCode {
        match self.code {
            Code::Ok => StatusCode::OK,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::Unimplemented => StatusCode::NOT_FOUND,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unknown
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whole seconds, rounded up: `Retry-After` knows no less.
    pub(super) fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut status = Vec::new();
        put_number(&mut status, 1, self.code as u64);
        put_bytes(&mut status, 2, self.message.as_bytes());
        if let Some(delay) = self.retry_after {
            let mut duration = Vec::new();
            put_number(&mut duration, 1, delay.as_secs());
            put_number(&mut duration, 2, u64::from(delay.subsec_nanos()));
            let mut retry_info = Vec::new();
            put_bytes(&mut retry_info, 1, &duration);
            let mut any = Vec::new();
            put_bytes(&mut any, 1, RETRY_INFO.as_bytes());
            put_bytes(&mut any, 2, &retry_info);
            put_bytes(&mut status, 3, &any);
        }
        status
    }

    pub(super) fn to_json(&self) -> String {
        let mut status = serde_json::json!({ "code": self.code as i32, "message": self.message });
        if let Some(delay) = self.retry_after {
            let delay = format!("{}s", delay.as_secs_f64());
            status["details"] = serde_json::json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
        }
        status.to_string()
    }

    pub(super) fn into_grpc(self) -> tonic::Status {
        match self.retry_after {
            Some(_) => {
                tonic::Status::with_details(self.code, self.message.as_str(), Bytes::from(self.encode()))
            }
            None => tonic::Status::new(self.code, self.message),
        }
    }
}

impl From<PushError> for RpcStatus {
    fn from(error: PushError) -> RpcStatus {
        let message = error.to_string();
        let (code, retry_after) = match error {
            PushError::Tenant(_) | PushError::Invalid(_) | PushError::Contexts(_) => {
                (Code::InvalidArgument, None)
            }
            PushError::RateLimited { limited: _, retry_after } => (Code::ResourceExhausted, retry_after),
            PushError::Refused(refused) => return refused.into(),
            PushError::Ingester(IngesterPushError::ResourceExhausted(retry_after)) => {
                (Code::ResourceExhausted, Some(retry_after))
            }
            PushError::Ingester(IngesterPushError::Unavailable(_)) => (Code::Unavailable, None),
            PushError::Ingester(IngesterPushError::Internal(_)) => (Code::Internal, None),
        };
        RpcStatus { code, message, retry_after }
    }
}

impl From<Refused> for RpcStatus {
    fn from(refused: Refused) -> RpcStatus {
        RpcStatus { code: Code::Unavailable, message: refused.to_string(), retry_after: Some(COME_AGAIN) }
    }
}

fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value > 0 {
        put_tag(out, tag(field, VARINT));
        put_varint(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_quote_the_request_are_bounded() {
        let status = RpcStatus::invalid_argument("€".repeat(1000));

        assert_eq!(status.message, format!("{}…", "€".repeat(333)));
    }

    #[test]
    fn retry_info_is_encoded_as_google_does() {
        let status = RpcStatus {
            code: Code::ResourceExhausted,
            message: "no".to_owned(),
            retry_after: Some(Duration::from_millis(5500)),
        };

        let mut want = vec![0x08, 8, 0x12, 2, b'n', b'o', 0x1a, 0x36, 0x0a, 40];
        want.extend_from_slice(RETRY_INFO.as_bytes());
        want.extend_from_slice(&[0x12, 10, 0x0a, 8, 0x08, 5, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]);
        assert_eq!(status.encode(), want);
        assert_eq!(status.retry_after_secs(), Some(6));
        assert_eq!(
            status.to_json(),
            r#"{"code":8,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"5.5s"}],"message":"no"}"#
        );
    }
}
