//! What the operator asks of the API server: a layer under `kube::Client` that every request passes.
//!
//! It counts writes by resource and verb, refuses writes while this process does not lead, and bounds the time of
//! everything that is not a watch. `ApiCall` names a request the way RBAC does, so that tests can compare the verbs used
//! with the verbs granted.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use kube::client::Body;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use crate::{leader::Leadership, metrics::Metrics};

/// Longer than any answer of a healthy API server, shorter than a reconcile may hang.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// One request in the words of RBAC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiCall {
    pub group: String,
    /// `statefulsets`, or `pods/eviction`.
    pub resource: String,
    pub verb: &'static str,
}

impl ApiCall {
    /// `None` for requests that are not about a resource (`/version`, discovery).
    pub fn of<B>(request: &Request<B>) -> Option<ApiCall> {
        let mut parts = request.uri().path().split('/').filter(|part| !part.is_empty());
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        let _version = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let (resource, name, subresource) = match rest.as_slice() {
            ["namespaces", _namespace, resource, tail @ ..] => (*resource, tail.first(), tail.get(1)),
            [resource, tail @ ..] => (*resource, tail.first(), tail.get(1)),
            [] => return None,
        };
        let is_watch =
            request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        let verb = match *request.method() {
            Method::GET if is_watch => "watch",
            Method::GET if name.is_some() => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if name.is_some() => "delete",
            Method::DELETE => "deletecollection",
            _ => return None,
        };
        let resource = subresource.map_or_else(|| resource.to_owned(), |sub| format!("{resource}/{sub}"));
        Some(ApiCall { group: group.to_owned(), resource, verb })
    }

    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

impl fmt::Display for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(f, "{} {}", self.verb, self.resource)
        } else {
            write!(f, "{} {}.{}", self.verb, self.resource, self.group)
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RefusedCall {
    #[error("{0}: this process does not lead")]
    NotLeading(ApiCall),
    #[error("{0}: no answer within {CALL_TIMEOUT:?}")]
    TimedOut(ApiCall),
}

/// Puts `ApiCalls` under a client: `ClientBuilder::with_layer`.
#[derive(Debug, Clone)]
pub struct ApiCallsLayer {
    pub leadership: Leadership,
    pub metrics: Metrics,
}

impl<S> Layer<S> for ApiCallsLayer {
    type Service = ApiCalls<S>;

    fn layer(&self, inner: S) -> ApiCalls<S> {
        ApiCalls { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
pub struct ApiCalls<S> {
    inner: S,
    layer: ApiCallsLayer,
}

impl<S, B> Service<Request<Body>> for ApiCalls<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = ApiCall::of(&request);
        if let Some(call) = call.as_ref().filter(|call| call.is_write()) {
            if !self.layer.leadership.is_held(Instant::now()) {
                let refused = RefusedCall::NotLeading(call.clone());
                return Box::pin(async move { Err(refused.into()) });
            }
            self.layer.metrics.wrote(&call.resource, call.verb);
        }
        let answer = self.inner.call(request);
        match call.filter(|call| call.verb != "watch") {
            None => Box::pin(async move { answer.await.map_err(Into::into) }),
            Some(call) => Box::pin(async move {
                match tokio::time::timeout(CALL_TIMEOUT, answer).await {
                    Ok(answer) => answer.map_err(Into::into),
                    Err(_elapsed) => Err(RefusedCall::TimedOut(call).into()),
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::ApiCall;

    fn call(method: &str, uri: &str) -> Option<String> {
        let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        ApiCall::of(&request).map(|call| call.to_string())
    }

    #[test]
    fn requests_are_named_as_rbac_names_them() {
        let cases = [
            ("GET", "/api/v1/namespaces/a/pods?labelSelector=x", "list pods"),
            ("GET", "/api/v1/pods?watch=true&labelSelector=x", "watch pods"),
            ("GET", "/api/v1/namespaces/a", "get namespaces"),
            ("POST", "/api/v1/namespaces/a/pods/p/eviction", "create pods/eviction"),
            ("PATCH", "/apis/apps/v1/namespaces/a/statefulsets/s", "patch statefulsets.apps"),
            (
                "PATCH",
                "/apis/tempo-rs.dev/v1alpha1/namespaces/a/tempoclusters/t/status",
                "patch tempoclusters/status.tempo-rs.dev",
            ),
            ("DELETE", "/api/v1/namespaces/a/configmaps", "deletecollection configmaps"),
        ];
        for (method, uri, expected) in cases {
            assert_eq!(call(method, uri).as_deref(), Some(expected), "{method} {uri}");
        }
        assert_eq!(call("GET", "/version"), None);
    }
}
