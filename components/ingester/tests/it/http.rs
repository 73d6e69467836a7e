//! `/flush`, `/shutdown` and the drain as clients see them.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode},
};
use tempo_backend::{Fault, When};
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

async fn drain(running: &Running, method: Method) -> (StatusCode, serde_json::Value) {
    let (status, text) = call(running.ingester.http_routes(), method, "/ingester/v1/drain").await;
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// Nothing tells a client when a flush ended but the answer itself: asks until it is this.
async fn drained(running: &Running) -> serde_json::Value {
    let patience = Duration::from_secs(20);
    let asking = async {
        loop {
            let (_, state) = drain(running, Method::GET).await;
            if state["phase"] == "Drained" {
                return state;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, asking).await.expect("drained in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_refuses_pushes_and_says_when_nothing_is_left() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();
    let (_, before) = drain(&running, Method::GET).await;

    let (begun, _) = drain(&running, Method::POST).await;
    let refused = running.ingester.push(&tenant(), batch([2], 0, 1)).await.unwrap_err();
    let after = drained(&running).await;

    assert_eq!((&before["phase"], &before["unflushedBlocks"]), (&"Serving".into(), &1.into()));
    assert_eq!(begun, StatusCode::ACCEPTED);
    assert!(matches!(refused, PushError::ShuttingDown));
    assert_eq!(
        after,
        serde_json::json!({
            "phase": "Drained", "unflushedBlocks": 0, "quarantinedBlocks": 0, "damagedSegments": 0,
            "lastError": null, "safeToTerminate": true,
        })
    );
    assert_eq!(bucket.metas().await.len(), 1);
    running.assert_has([1], 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_outlives_the_process_and_goes_on_until_it_is_taken_back() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    bucket.breaks(When::From(0), Fault::Unavailable);
    let running = Running::start(dir.path(), &bucket, &config()).await;
    running.ingester.push(&tenant(), batch([1], 0, 1)).await.unwrap();
    drain(&running, Method::POST).await;
    running.stop().await;

    let running = Running::start(dir.path(), &bucket, &config()).await;
    let refused = running.ingester.push(&tenant(), batch([2], 0, 1)).await.unwrap_err();
    let (_, away) = drain(&running, Method::GET).await;
    bucket.faults.heal();
    let healed = drained(&running).await;
    let (_, taken_back) = drain(&running, Method::DELETE).await;
    running.ingester.push(&tenant(), batch([2], 0, 1)).await.unwrap();

    assert!(matches!(refused, PushError::ShuttingDown));
    assert_eq!((&away["phase"], &away["unflushedBlocks"]), (&"Flushing".into(), &1.into()));
    assert_eq!(away["safeToTerminate"], false);
    assert_eq!(healed["safeToTerminate"], true);
    assert_eq!(taken_back["phase"], "Serving");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_with_damaged_segments_is_not_safe_to_remove() {
    let (dir, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    let running = Running::start(dir.path(), &bucket, &config()).await;
    std::fs::write(dir.path().join("wal").join(format!("{:020}.wal.damaged", 7)), b"spans").unwrap();

    drain(&running, Method::POST).await;
    let state = drained(&running).await;

    assert_eq!((&state["damagedSegments"], &state["safeToTerminate"]), (&1.into(), &false.into()));
    running.stop().await;
}
