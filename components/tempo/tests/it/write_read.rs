//! What goes in over OTLP comes out by id: at once, after a flush, over gRPC and HTTP.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use tempo::Outcome;
use tempo_proto::collector::{ExportTraceServiceResponse, trace_service_client::TraceServiceClient};

use crate::{
    http_client,
    sandbox::{Sandbox, hex, request},
};

const ID: [u8; 16] = [7; 16];

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_as_soon_as_it_is_acknowledged() {
    let running = Sandbox::new().start().await;

    running.push(ID, &["root", "child"]).await;
    let v1 = running.get(&format!("/api/traces/{}", hex(ID))).await;
    let v2 = running.get(&format!("/api/v2/traces/{}", hex(ID))).await;

    assert_eq!((v1.status, v1.header("content-type")), (StatusCode::OK, Some("application/json")));
    assert!(v1.text().starts_with("{\"batches\":["), "{}", v1.text());
    assert_eq!(v1.text().matches("\"spanId\"").count(), 2);
    assert!(v2.text().starts_with("{\"trace\":{\"resourceSpans\":["), "{}", v2.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_the_same_after_its_block_was_flushed() {
    let running = Sandbox::new().start().await;
    running.push(ID, &["root", "child"]).await;
    let path = format!("/api/traces/{}", hex(ID));
    let live = running.get(&path).await;

    let flushed = running.get("/flush?wait=true").await;
    let from_block = running.get(&path).await;

    assert_eq!(flushed.status, StatusCode::NO_CONTENT, "{:?}", flushed.body);
    assert_eq!(from_block.text(), live.text());
    let blocks = running.get("/status/blocklist?tenant=single-tenant").await;
    assert_eq!(blocks.text().lines().count(), 6, "{}", blocks.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_over_grpc_is_taken() {
    let running = Sandbox::new().start().await;
    let address = running.app.addresses().receivers.otlp_grpc.unwrap();

    let mut client = TraceServiceClient::connect(format!("http://{address}")).await.unwrap();
    let response = client.export(request(ID, &["over grpc"])).await.unwrap().into_inner();

    assert_eq!(response, ExportTraceServiceResponse { partial_success: response.partial_success.clone() });
    let found = running.get(&format!("/api/traces/{}", hex(ID))).await;
    assert!(found.text().contains("over grpc"), "{}", found.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_trace_is_not_found() {
    let running = Sandbox::new().start().await;

    let answer = running.get("/api/traces/1234").await;

    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_moves_under_its_prefix() {
    let mut sandbox = Sandbox::new();
    sandbox.config.http_api_prefix = "/tempo".to_owned();
    let running = sandbox.start().await;
    running.push(ID, &["x"]).await;

    for (path, expected) in [
        (format!("/tempo/api/traces/{}", hex(ID)), StatusCode::OK),
        (format!("/querier/tempo/api/traces/{}", hex(ID)), StatusCode::OK),
        ("/tempo/api/echo".to_owned(), StatusCode::OK),
        ("/tempo/api/status/buildinfo".to_owned(), StatusCode::OK),
        (format!("/api/traces/{}", hex(ID)), StatusCode::NOT_FOUND),
        ("/ready".to_owned(), StatusCode::OK),
    ] {
        assert_eq!(running.get(&path).await.status, expected, "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_flushes_and_ends_the_run() {
    let sandbox = Sandbox::new();
    let running = sandbox.start().await;
    running.push(ID, &["x"]).await;
    let address = running.http();

    let run = running.app.run(std::future::pending());
    let ask = http_client::send(address, Method::POST, "/shutdown", &[], Bytes::new());
    let both = futures::future::join(run, ask);
    let (outcome, answer) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();

    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "shutdown job acknowledged"));
    assert!(matches!(outcome, Outcome::Clean), "{outcome:?}");
    let blocks = std::fs::read_dir(sandbox.dir.path().join("blocks/single-tenant")).unwrap().count();
    assert!(blocks >= 1, "no block was written");
}
