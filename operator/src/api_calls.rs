//! What the operator asks of the API server: a layer under `kube::Client` that every request passes.
//!
//! It counts writes by resource and verb, refuses writes while this process does not lead, bounds the time of everything
//! that is not a watch, and tries again, soon and a few times, what may be done twice: reads and server-side applies.
//! (kube's own retry policy also repeats evictions that a budget refuses, for minutes; it is switched off.)
//! `ApiCall` names a request the way RBAC does, so that tests can compare the verbs used with the verbs granted.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::TryFutureExt as _;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use kube::client::Body;
use rand::Rng as _;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt as _};

use crate::{leader::Leadership, metrics::Metrics};

/// Longer than any answer of a healthy API server, shorter than a reconcile may hang.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const MOST_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

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

/// Puts `ApiCalls` under a client: `ClientBuilder::with_layer`, over a buffer, because attempts need clones.
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
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let unused = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, unused);
        let layer = self.layer.clone();
        match ApiCall::of(&request) {
            None => Box::pin(ready.oneshot(request).map_err(Into::into)),
            Some(call) if call.verb == "watch" => Box::pin(ready.oneshot(request).map_err(Into::into)),
            Some(call) => Box::pin(async move { layer.call(call, ready, request).await }),
        }
    }
}

impl ApiCallsLayer {
    async fn call<S, B>(
        &self,
        call: ApiCall,
        mut service: S,
        mut request: Request<Body>,
    ) -> Result<Response<B>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Send,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let is_repeatable = is_repeatable(&call, &request);
        let mut pause = FIRST_PAUSE;
        for _ in 1..MOST_ATTEMPTS {
            let again = if is_repeatable { copy(&request) } else { None };
            let answer = self.attempt(&call, &mut service, request).await;
            let Some(again) = again.filter(|_| is_passing(&answer)) else {
                return answer;
            };
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            tokio::time::sleep(jittered).await;
            pause = pause.saturating_mul(2);
            request = again;
        }
        self.attempt(&call, &mut service, request).await
    }

    async fn attempt<S, B>(
        &self,
        call: &ApiCall,
        service: &mut S,
        request: Request<Body>,
    ) -> Result<Response<B>, BoxError>
    where
        S: Service<Request<Body>, Response = Response<B>> + Send,
        S::Error: Into<BoxError>,
        S::Future: Send,
    {
        let ready = service.ready().await.map_err(Into::into)?;
        if call.is_write() {
            if !self.leadership.is_held(Instant::now()) {
                return Err(RefusedCall::NotLeading(call.clone()).into());
            }
            self.metrics.wrote(&call.resource, call.verb);
        }
        match tokio::time::timeout(CALL_TIMEOUT, ready.call(request)).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_elapsed) => Err(RefusedCall::TimedOut(call.clone()).into()),
        }
    }
}

/// Reads, and applies, which say the whole of what they want.
fn is_repeatable(call: &ApiCall, request: &Request<Body>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE);
    let is_apply = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/apply-patch"));
    !call.is_write() || (call.verb == "patch" && is_apply)
}

/// Whether the same call may succeed in a moment.
fn is_passing<B>(answer: &Result<Response<B>, BoxError>) -> bool {
    match answer {
        Ok(answer) => answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.status().is_server_error(),
        Err(error) => !error.is::<RefusedCall>(),
    }
}

fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
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
