use std::net::{Ipv4Addr, SocketAddr};

use axum::{Router, routing::any};
use tokio::task::JoinSet;

use super::*;

/// A pod that answers as `routes` say, for as long as the set lives.
async fn pod(routes: Router) -> (PodHttp, IpAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let limit = Duration::from_millis(200);
    let options = PodHttpOptions {
        port: address.port(),
        connect_timeout: limit,
        request_timeout: limit,
        flush_timeout: limit,
    };
    (PodHttp::new(options), IpAddr::V4(*address.ip()), server)
}

#[tokio::test]
async fn the_state_of_a_drain_is_understood_with_fields_that_come_later() {
    let answer = r#"{"phase":"Flushing","unflushedBlocks":3,"quarantinedBlocks":1,"damagedSegments":0,
        "lastError":"s3: 503","safeToTerminate":false,"new":1}"#;
    let (http, ip, _server) = pod(Router::new().route(DRAIN, any(move || async move { answer }))).await;

    let state = http.drain_state(ip).await.unwrap();

    assert_eq!(
        state,
        DrainState {
            phase: DrainPhase::Flushing,
            unflushed_blocks: 3,
            quarantined_blocks: 1,
            damaged_segments: 0,
            last_error: Some("s3: 503".to_owned()),
            safe_to_terminate: false,
        }
    );
}

#[tokio::test]
async fn a_pod_that_never_answers_is_given_up() {
    let (http, ip, _server) = pod(Router::new().route("/flush", any(std::future::pending::<()>))).await;

    let error = http.flush(ip).await.unwrap_err();

    assert_eq!(error.to_string(), "POST /flush?wait=true: no answer within 200ms");
}

#[tokio::test]
async fn an_image_without_the_drain_is_told_from_one_that_refuses() {
    let (http, ip, _server) = pod(Router::new()
        .route("/flush", any(|| async { (StatusCode::SERVICE_UNAVAILABLE, "Application is starting\n") })))
    .await;

    let unknown = http.begin_drain(ip).await.unwrap_err();
    let refused = http.flush(ip).await.unwrap_err();

    assert!(matches!(unknown, PodCallError::Unknown { .. }), "{unknown}");
    assert_eq!(
        refused.to_string(),
        "POST /flush?wait=true: 503 Service Unavailable: Application is starting"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (http, ip, _server) =
        pod(Router::new().route(DRAIN, any(|| async { vec![b' '; MOST_BODY_BYTES + 1] }))).await;

    let error = http.drain_state(ip).await.unwrap_err();

    assert!(matches!(error, PodCallError::Body { .. }), "{error}");
}
