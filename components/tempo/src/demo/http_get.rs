//! One HTTP/1.1 GET over plain TCP: all that the demo needs to read back what it sent.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(10);
const MOST_BODY_BYTES: usize = 64 << 20;

/// Status and body of `url`.
pub(super) async fn get(url: &str, tenant: Option<&str>) -> anyhow::Result<(u16, String)> {
    let uri: Uri = url.parse().with_context(|| format!("parse {url}"))?;
    ensure!(uri.scheme_str() == Some("http"), "only http:// can be asked, not {url}");
    let host = uri.host().with_context(|| format!("{url} has no host"))?.to_owned();
    let port = uri.port_u16().unwrap_or(80);
    tokio::time::timeout(TIMEOUT, exchange(&uri, &host, port, tenant))
        .await
        .with_context(|| format!("{url} did not answer within {TIMEOUT:?}"))?
        .with_context(|| format!("ask {url}"))
}

async fn exchange(uri: &Uri, host: &str, port: u16, tenant: Option<&str>) -> anyhow::Result<(u16, String)> {
    let stream =
        TcpStream::connect((host, port)).await.with_context(|| format!("connect to {host}:{port}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(header::HOST, format!("{host}:{port}"));
    if let Some(tenant) = tenant {
        request = request.header("x-scope-orgid", tenant);
    }
    let request = request.body(Empty::<bytes::Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST_BODY_BYTES).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!("read the answer: {e}"))?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}
