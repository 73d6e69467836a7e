//! What was acknowledged is there after the process stopped, however it stopped.

use axum::http::StatusCode;

use crate::sandbox::{Sandbox, hex};

const ID: [u8; 16] = [9; 16];

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_were_never_flushed_come_back_from_the_wal() {
    let sandbox = Sandbox::new();
    let first = sandbox.start().await;
    first.push(ID, &["before the stop"]).await;
    first.stop().await;

    let second = sandbox.start().await;
    let found = second.get(&format!("/api/traces/{}", hex(ID))).await;

    assert_eq!(found.status, StatusCode::OK);
    assert!(found.text().contains("before the stop"), "{}", found.text());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushed_spans_are_found_at_once_and_once_after_a_restart() {
    let sandbox = Sandbox::new();
    let first = sandbox.start().await;
    first.push(ID, &["in a block"]).await;
    assert_eq!(first.get("/flush?wait=true").await.status, StatusCode::NO_CONTENT);
    first.push(ID, &["in a block", "in the head"]).await;
    first.stop().await;

    let second = sandbox.start().await;
    let found = second.get(&format!("/api/traces/{}", hex(ID))).await;

    assert_eq!(found.text().matches("\"in a block\"").count(), 1, "{}", found.text());
    assert_eq!(found.text().matches("\"in the head\"").count(), 1, "{}", found.text());
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_app_on_the_same_directory_is_refused() {
    let sandbox = Sandbox::new();
    let first = sandbox.start().await;

    let config = sandbox.config.clone().validate().unwrap();
    let error = Box::pin(tempo::App::start(config)).await.unwrap_err();

    assert!(format!("{error:#}").contains("WAL"), "{error:#}");
    first.stop().await;
}
