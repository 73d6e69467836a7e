//! HTTP to one pod of a cluster: flush it, drain it, ask how far it is.
//!
//! Pods are addressed by their own address, never through a Service: the answer must come from the pod that is meant.
//! Every call is bounded in time and size, and what comes back is data to look at, never trusted: a pod may run any image.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;

/// The port of Tempo's HTTP server in a pod.
pub const HTTP_PORT: u16 = 3200;
const MOST_BODY_BYTES: usize = 64 << 10;
const MOST_TEXT_CHARS: usize = 300;

/// How long to wait for pods.
#[derive(Debug, Clone)]
pub struct PodHttpOptions {
    pub port: u16,
    pub connect_timeout: Duration,
    /// For everything but a flush.
    pub request_timeout: Duration,
    /// How long a restart waits for the flush before it. What is not flushed by then comes back from the WAL.
    pub flush_timeout: Duration,
}

impl Default for PodHttpOptions {
    fn default() -> Self {
        PodHttpOptions {
            port: HTTP_PORT,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            flush_timeout: Duration::from_secs(60),
        }
    }
}

/// How far a pod's drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DrainPhase {
    Serving,
    Flushing,
    Drained,
}

/// The answer of `GET /ingester/v1/drain`; `components/ingester/src/drain.rs` says what its fields mean.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainState {
    pub phase: DrainPhase,
    pub unflushed_blocks: u64,
    pub quarantined_blocks: u64,
    pub damaged_segments: u64,
    pub last_error: Option<String>,
    pub safe_to_terminate: bool,
}

/// Why a pod did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum PodCallError {
    #[error("{call}: no connection")]
    Unreachable { call: String, source: hyper_util::client::legacy::Error },
    #[error("{call}: no answer within {limit:?}")]
    TimedOut { call: String, limit: Duration },
    /// The image does not know this path.
    #[error("{call}: the pod does not know this call")]
    Unknown { call: String },
    #[error("{call}: {status}: {text}")]
    Refused { call: String, status: StatusCode, text: String },
    #[error("{call}: read the answer")]
    Body { call: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{call}: understand the answer")]
    Garbled { call: String, source: serde_json::Error },
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct PodHttp {
    options: PodHttpOptions,
    client: Client<HttpConnector, Full<Bytes>>,
}

const DRAIN: &str = "/ingester/v1/drain";

impl PodHttp {
    pub fn new(options: PodHttpOptions) -> PodHttp {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        // Pods come and go, and are asked rarely: a kept connection is more often dead than useful.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        PodHttp { options, client }
    }

    /// Returns when everything that the pod had at the call is in the storage.
    pub async fn flush(&self, pod: IpAddr) -> Result<(), PodCallError> {
        self.call(pod, Method::POST, "/flush?wait=true", self.options.flush_timeout).await.map(drop)
    }

    pub async fn drain_state(&self, pod: IpAddr) -> Result<DrainState, PodCallError> {
        self.drain(pod, Method::GET).await
    }

    pub async fn begin_drain(&self, pod: IpAddr) -> Result<DrainState, PodCallError> {
        self.drain(pod, Method::POST).await
    }

    pub async fn cancel_drain(&self, pod: IpAddr) -> Result<DrainState, PodCallError> {
        self.drain(pod, Method::DELETE).await
    }

    async fn drain(&self, pod: IpAddr, method: Method) -> Result<DrainState, PodCallError> {
        let call = format!("{method} {DRAIN}");
        let body = self.call(pod, method, DRAIN, self.options.request_timeout).await?;
        serde_json::from_slice(&body).map_err(|source| PodCallError::Garbled { call, source })
    }

    async fn call(
        &self,
        pod: IpAddr,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Bytes, PodCallError> {
        let call = format!("{method} {path}");
        let authority = std::net::SocketAddr::new(pod, self.options.port);
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{authority}{path}"))
            .body(Full::default())
            .expect("an address and a constant path make a URI");
        match tokio::time::timeout(limit, self.answer(&call, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(PodCallError::TimedOut { call, limit }),
        }
    }

    async fn answer(&self, call: &str, request: Request<Full<Bytes>>) -> Result<Bytes, PodCallError> {
        let call = || call.to_owned();
        let response = self.client.request(request).await;
        let response = response.map_err(|source| PodCallError::Unreachable { call: call(), source })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BODY_BYTES).collect().await;
        let body = body.map_err(|source| PodCallError::Body { call: call(), source })?.to_bytes();
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Err(PodCallError::Unknown { call: call() })
            }
            status => {
                let text = String::from_utf8_lossy(&body).trim().chars().take(MOST_TEXT_CHARS).collect();
                Err(PodCallError::Refused { call: call(), status, text })
            }
        }
    }
}

#[cfg(test)]
mod tests;
