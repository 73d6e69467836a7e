//! A plain HTTP client over pooled connections.

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Keeps connections open between requests; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client(Pool<HttpConnector, Full<Bytes>>);

#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Default for Client {
    fn default() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client(Pool::builder(TokioExecutor::new()).build(connector))
    }
}

impl Client {
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Response> {
        self.call(Method::GET, url, headers, Bytes::new()).await
    }

    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: Bytes) -> anyhow::Result<Response> {
        self.call(Method::POST, url, headers, body).await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Response> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.0.request(request.body(Full::new(body))?).await.with_context(|| format!("call {url}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.with_context(|| format!("read the answer of {url}"))?.to_bytes();
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} is not JSON: {}", self.status, self.text()))
    }
}
