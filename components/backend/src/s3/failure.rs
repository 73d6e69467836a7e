//! What went wrong, in three questions: may it pass, what is it for our caller, what must an operator do about it.
//!
//! Servers differ in their codes, so the code decides where it is known and the HTTP status where it is not. "Not
//! found" is said only of an object: a bucket that does not exist must never look like one that is empty.

use std::{error::Error, fmt::Write as _};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::store::{BoxError, StoreError, one_line};

/// What a failure is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no such object.
    NotFound,
    /// A conditional put found an object.
    Exists,
    /// May pass by itself.
    Unavailable,
    /// The bucket does not exist. It may be made later, but not within a few tries.
    NoBucket,
    /// The credentials are wrong or too old: others may be there by now.
    Credentials,
    /// The credentials may not do that.
    Denied,
    /// A range outside of the object.
    BadRange,
    /// There is no such multipart upload, perhaps because it was completed.
    NoUpload,
    /// The server does not know this kind of request.
    NotImplemented,
    Other,
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Failure {
    pub(super) kind: Kind,
    text: String,
    source: Option<BoxError>,
}

impl Failure {
    fn new(kind: Kind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into(), source: None }
    }

    pub(super) fn unavailable(text: impl Into<String>) -> Failure {
        Failure::new(Kind::Unavailable, text)
    }

    pub(super) fn other(text: impl Into<String>) -> Failure {
        Failure::new(Kind::Other, text)
    }

    pub(super) fn caused(kind: Kind, text: impl Into<String>, source: impl Into<BoxError>) -> Failure {
        Failure { kind, text: text.into(), source: Some(source.into()) }
    }

    /// True if the same request may succeed a moment later.
    pub(super) fn may_pass(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// What the request's answer, or the lack of one, means.
    pub(super) fn from_sdk<E>(error: SdkError<E, HttpResponse>, bucket: &str) -> Failure
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let said = Said {
                    status: context.raw().status().as_u16(),
                    code: context.err().code().unwrap_or_default(),
                    message: context.err().message().unwrap_or_default(),
                    region: context.raw().headers().get("x-amz-bucket-region"),
                    request_id: context.raw().headers().get("x-amz-request-id"),
                };
                Failure::new(said.kind(), said.text(bucket))
            }
            SdkError::ResponseError(context) => {
                let status = context.raw().status().as_u16();
                let kind = if status < 500 { Kind::Other } else { Kind::Unavailable };
                let text = format!("answer {status} is none of S3; is storage.trace.s3.endpoint right?");
                let chain = one_line(&SdkError::<E, HttpResponse>::ResponseError(context));
                Failure::caused(kind, text, chain)
            }
            SdkError::DispatchFailure(failure) => {
                let chain = failure
                    .as_connector_error()
                    .map_or_else(|| "request could not be sent".to_owned(), |error| one_line(error));
                let (kind, text) = not_sent(&chain);
                Failure::caused(kind, text, chain)
            }
            SdkError::TimeoutError(_) => Failure::unavailable("no answer in time"),
            error => {
                let chain = one_line(&error);
                Failure::caused(Kind::Other, "request could not be made", chain)
            }
        }
    }

    pub(super) fn into_store_error(self, key: &str) -> StoreError {
        let key = key.to_owned();
        match self.kind {
            Kind::NotFound => StoreError::NotFound { key },
            Kind::Exists => StoreError::AlreadyExists { key },
            Kind::Unavailable | Kind::NoBucket => StoreError::Unavailable { key, source: Box::new(self) },
            Kind::Credentials | Kind::Denied => StoreError::Denied { key, source: Box::new(self) },
            Kind::BadRange | Kind::NoUpload | Kind::NotImplemented | Kind::Other => {
                StoreError::Other { key, source: Box::new(self) }
            }
        }
    }
}

/// What to make of a request that did not get an answer.
fn not_sent(chain: &str) -> (Kind, &'static str) {
    let has = |texts: &[&str]| texts.iter().any(|text| chain.contains(text));
    if has(&["loading credentials", "no providers in chain", "CredentialsNotLoaded"]) {
        let text =
            "got no credentials: set storage.trace.s3.access_key and secret_key, or give the process a role";
        return (Kind::Credentials, text);
    }
    if has(&["UnknownIssuer", "invalid peer certificate", "NotValidForName"]) {
        let text =
            "the service's certificate is not trusted: give its authority in storage.trace.s3.tls_ca_path";
        return (Kind::Unavailable, text);
    }
    if has(&["InvalidContentType", "corrupt message"]) {
        let text = "the service does not speak TLS: set storage.trace.s3.insecure if that is meant, or correct endpoint";
        return (Kind::Unavailable, text);
    }
    (Kind::Unavailable, "no answer from the service at storage.trace.s3.endpoint")
}

/// An answer that says no.
#[derive(Debug, Clone, Copy, Default)]
struct Said<'a> {
    status: u16,
    /// Empty if the body had none: `HEAD` has no body.
    code: &'a str,
    message: &'a str,
    region: Option<&'a str>,
    request_id: Option<&'a str>,
}

impl Said<'_> {
    fn kind(&self) -> Kind {
        match self.code {
            "NoSuchKey" | "NotFound" | "NoSuchVersion" => Kind::NotFound,
            "NoSuchBucket" => Kind::NoBucket,
            "NoSuchUpload" => Kind::NoUpload,
            "PreconditionFailed" => Kind::Exists,
            "InvalidRange" => Kind::BadRange,
            "NotImplemented" => Kind::NotImplemented,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "ExpiredTokenException" => Kind::Credentials,
            // Another bucket's region, like missing rights, passes only when somebody changes something.
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "AccessDenied"
            | "AllAccessDisabled"
            | "AccountProblem"
            | "InvalidPayer"
            | "NotSignedUp" => Kind::Denied,
            // The clock may be set, what was changed on the way may arrive the next time, the other writer ends.
            "RequestTimeTooSkewed"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "IncompleteBody"
            | "RequestTimeout"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "InternalError"
            | "ServiceUnavailable"
            | "QuotaExceeded"
            | "XMinioStorageFull" => Kind::Unavailable,
            _ => self.kind_by_status(),
        }
    }

    fn kind_by_status(&self) -> Kind {
        match self.status {
            404 if self.code.is_empty() => Kind::NotFound,
            412 => Kind::Exists,
            416 => Kind::BadRange,
            301 | 307 | 401 | 403 => Kind::Denied,
            501 => Kind::NotImplemented,
            408 | 429 | 500.. => Kind::Unavailable,
            _ => Kind::Other,
        }
    }

    fn text(&self, bucket: &str) -> String {
        let Said { status, code, message, region, request_id } = *self;
        let mut text = format!("the service answered {status}");
        let mut add = |before: &str, said: &str, after: &str| {
            if !said.is_empty() {
                write!(text, "{before}{said}{after}").expect("writing to a String");
            }
        };
        add(" ", code, "");
        add(" (", message, ")");
        add(", request ", request_id.unwrap_or_default(), "");
        add("; ", &self.advice(bucket, region), "");
        text
    }

    /// What an operator must do; empty if there is nothing to say.
    fn advice(&self, bucket: &str, region: Option<&str>) -> String {
        match self.code {
            "NoSuchBucket" => format!("create bucket '{bucket}' or correct storage.trace.s3.bucket"),
            // An answer without a body, to a HEAD, has no code.
            "AccessDenied" | "" if self.status == 403 => format!(
                "these credentials need s3:ListBucket on bucket '{bucket}' and s3:GetObject, s3:PutObject, \
                 s3:DeleteObject and s3:AbortMultipartUpload on its objects"
            ),
            "InvalidAccessKeyId" => {
                "there is no such access key: correct storage.trace.s3.access_key".to_owned()
            }
            "SignatureDoesNotMatch" => {
                "storage.trace.s3.secret_key is not that of the access key, or a proxy changes requests"
                    .to_owned()
            }
            "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired" => {
                "the credentials have expired: renew them".to_owned()
            }
            "RequestTimeTooSkewed" => "set this machine's clock".to_owned(),
            "QuotaExceeded" | "XMinioStorageFull" => "the store is full".to_owned(),
            code if code.starts_with("KMS") => {
                "check storage.trace.s3.sse.kms_key_id and the rights to use that key".to_owned()
            }
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => other_region(bucket, region),
            _ if matches!(self.status, 301 | 307) => other_region(bucket, region),
            _ => String::new(),
        }
    }
}

fn other_region(bucket: &str, region: Option<&str>) -> String {
    let region = region.map(|region| format!(" '{region}'")).unwrap_or_default();
    format!("bucket '{bucket}' is in another region{region}: correct storage.trace.s3.region and endpoint")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: &str) -> Said<'_> {
        Said { status, code, ..Said::default() }
    }

    #[test]
    fn a_missing_bucket_does_not_look_like_a_missing_object() {
        assert_eq!(said(404, "NoSuchBucket").kind(), Kind::NoBucket);
        assert_eq!(said(404, "NoSuchKey").kind(), Kind::NotFound);
        // Of HEAD, whose caller asks for the bucket then.
        assert_eq!(said(404, "").kind(), Kind::NotFound);
        assert_eq!(said(404, "PageNotFound").kind(), Kind::Other);
        let error = Failure::new(Kind::NoBucket, "no bucket").into_store_error("a");
        assert!(matches!(error, StoreError::Unavailable { .. }));
    }

    #[test]
    fn codes_and_statuses_say_what_may_pass() {
        for (status, code, kind) in [
            (503, "SlowDown", Kind::Unavailable),
            (503, "", Kind::Unavailable),
            (500, "InternalError", Kind::Unavailable),
            (429, "", Kind::Unavailable),
            (400, "RequestTimeout", Kind::Unavailable),
            (409, "ConditionalRequestConflict", Kind::Unavailable),
            (403, "RequestTimeTooSkewed", Kind::Unavailable),
            (507, "XMinioStorageFull", Kind::Unavailable),
            (403, "AccessDenied", Kind::Denied),
            (403, "", Kind::Denied),
            (403, "SignatureDoesNotMatch", Kind::Credentials),
            (400, "ExpiredToken", Kind::Credentials),
            (412, "", Kind::Exists),
            (416, "InvalidRange", Kind::BadRange),
            (501, "NotImplemented", Kind::NotImplemented),
            (400, "InvalidArgument", Kind::Other),
            (301, "PermanentRedirect", Kind::Denied),
        ] {
            assert_eq!(said(status, code).kind(), kind, "{status} {code}");
        }
    }

    #[test]
    fn an_operator_is_told_what_to_do() {
        let redirect =
            Said { status: 301, code: "PermanentRedirect", region: Some("eu-west-1"), ..Said::default() };
        let denied = Said {
            status: 403,
            code: "AccessDenied",
            message: "Access Denied",
            request_id: Some("R1"),
            region: None,
        };

        assert_eq!(
            redirect.text("traces"),
            "the service answered 301 PermanentRedirect; bucket 'traces' is in another region 'eu-west-1': \
             correct storage.trace.s3.region and endpoint"
        );
        assert_eq!(
            denied.text("traces"),
            "the service answered 403 AccessDenied (Access Denied), request R1; these credentials need \
             s3:ListBucket on bucket 'traces' and s3:GetObject, s3:PutObject, s3:DeleteObject and \
             s3:AbortMultipartUpload on its objects"
        );
    }
}
