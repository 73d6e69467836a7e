//! `/flush` and `/shutdown` as clients see them.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use tempo_ingester::PushError;
use tower::ServiceExt as _;

use crate::fixture::{Bucket, Running, batch, config, tenant};

async fn call(routes: Router, method: Method, uri: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let response = routes.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_answers_204_and_with_wait_the_block_is_in_the_backend() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();
    let routes = running.ingester.http_routes();

    let unknown = call(routes.clone(), Method::GET, "/flush?tenant=nobody").await;
    let waited = call(routes.clone(), Method::POST, "/flush?tenant=single-tenant&wait=true").await;

    assert_eq!(unknown, (StatusCode::NOT_FOUND, String::new()));
    assert_eq!(waited, (StatusCode::NO_CONTENT, String::new()));
    assert_eq!(bucket.metas().await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_is_acknowledged_at_once_refuses_pushes_and_flushes_everything() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();

    let answer = call(running.ingester.http_routes(), Method::GET, "/shutdown").await;
    let refused = running.ingester.push(&tenant(), batch([2], 0, 1)).await.unwrap_err();
    running.stop_process.cancelled().await;

    assert_eq!(answer, (StatusCode::OK, "shutdown job acknowledged".to_owned()));
    assert!(matches!(refused, PushError::ShuttingDown));
    assert_eq!(bucket.metas().await.len(), 1);
    running.stop().await;
}
