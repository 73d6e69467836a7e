//! Zipkin over HTTP: formats by path and media type, answers, limits and broken bodies.

use std::{io::Write, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tempo_config::{ByteSize, ZipkinReceiverConfig};
use tempo_distributor::IngesterPushError;
use tower::ServiceExt;

use crate::fixtures::{Fixture, Setup};

const SPAN: &str = r#"[{"traceId":"463ac35c9f6413ad","id":"a2fb4a1d1a96d312","tags":{"n":"1"}}]"#;

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.config.receivers.zipkin = Some(ZipkinReceiverConfig::default());
    setup
}

fn post(path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("content-type", content_type).body(body.into()).unwrap()
}

fn json(body: impl Into<Body>) -> Request<Body> {
    post("/api/v2/spans", "application/json", body)
}

async fn send(fixture: &Fixture, request: Request<Body>) -> Response<Bytes> {
    let response = fixture.distributor.zipkin_routes().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn answer(fixture: &Fixture, request: Request<Body>) -> (u16, String) {
    let response = send(fixture, request).await;
    (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
}

fn accepted() -> (u16, String) {
    (202, String::new())
}

fn refused(text: &str) -> (u16, String) {
    (400, text.to_owned())
}

fn failed() -> (u16, String) {
    (500, r#""Internal Server Error""#.to_owned())
}

#[tokio::test]
async fn every_format_is_answered_with_202_and_counted() {
    let fixture = setup().build();
    let protobuf: &[u8] = b"\x0a\x14\x0a\x08\0\0\0\0\0\0\0\x05\x1a\x08\0\0\0\0\0\0\0\x06";
    let thrift: &[u8] = b"\x0c\0\0\0\x01\x0a\0\x01\0\0\0\0\0\0\0\x05\x0a\0\x04\0\0\0\0\0\0\0\x06\0";

    for (transport, request) in [
        ("http_v2_json", json(SPAN)),
        ("http_v2_proto", post("/api/v2/spans", "application/x-protobuf", protobuf)),
        ("http_v1_json", post("/api/v1/spans", "application/json", SPAN)),
        ("http_v1_thrift", post("/api/v1/spans", "application/x-thrift", thrift)),
    ] {
        assert_eq!(answer(&fixture, request).await, accepted(), "{transport}");
        let labels = [("receiver", "zipkin"), ("transport", transport)];
        assert_eq!(fixture.counter("tempo_receiver_accepted_spans", &labels), 1.0, "{transport}");
    }
    assert_eq!(fixture.ingester.span_count(), 4);
}

#[tokio::test]
async fn any_path_takes_posts_and_nothing_else() {
    let fixture = setup().build();

    for path in ["/", "/spans", "/zipkin/api/v2/spans/"] {
        assert_eq!(answer(&fixture, post(path, "", SPAN)).await, accepted(), "{path}");
    }
    let get = Request::get("/api/v2/spans").body(Body::empty()).unwrap();
    assert_eq!(send(&fixture, get).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn compressed_bodies_are_inflated() {
    let fixture = setup().build();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(SPAN.as_bytes()).unwrap();
    let zstd = zstd::encode_all(SPAN.as_bytes(), 1).unwrap();

    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd)] {
        let mut request = json(body);
        request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        assert_eq!(answer(&fixture, request).await, accepted(), "{encoding}");
    }
    assert_eq!(fixture.ingester.span_count(), 2);
}

#[tokio::test]
async fn bodies_that_are_too_large_or_wrong_are_a_400_in_words() {
    let mut setup = setup();
    setup.config.receivers.zipkin.as_mut().unwrap().max_request_body_size = ByteSize::from_bytes(1000);
    let fixture = setup.build();
    let bomb = zstd::encode_all(vec![b' '; 1_000_000].as_slice(), 1).unwrap();
    let encoded = |encoding: &str, body: Vec<u8>| {
        let mut request = json(body);
        request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
        request
    };

    let too_large = refused("http: request body too large");
    assert_eq!(answer(&fixture, json(" ".repeat(1001))).await, too_large);
    assert_eq!(answer(&fixture, encoded("zstd", bomb)).await, too_large);
    assert_eq!(
        answer(&fixture, encoded("br", Vec::new())).await,
        refused("unsupported Content-Encoding: br")
    );
    assert_eq!(
        answer(&fixture, json(r#"[{"traceId":"1","id":{}}]"#)).await,
        refused("[0].id: invalid type: map, expected an id of up to 16 hex digits at line 1 column 23")
    );
    assert_eq!(
        answer(&fixture, post("/api/v1/spans", "application/x-thrift", "")).await,
        refused("[0]: thrift is cut off at byte 0")
    );
    assert!(fixture.ingester.batches.lock().is_empty());
}

#[tokio::test]
async fn spans_that_grow_are_taken_in_while_there_is_memory() {
    let many: Vec<String> = (1..2000).map(|n| format!(r#"{{"traceId":"1","id":"{n:x}"}}"#)).collect();
    let body = format!("[{}]", many.join(","));
    let fixture = |bytes| {
        let mut setup = setup();
        setup.config.tempo_rs.max_inflight_bytes = ByteSize::from_bytes(bytes);
        setup.build()
    };

    assert_eq!(answer(&fixture(1_000_000), json(body.clone())).await, accepted());
    let full = fixture(300_000);
    assert_eq!(answer(&full, json(body)).await, failed());
    assert_eq!(answer(&full, json(SPAN)).await, accepted());
}

#[tokio::test]
async fn a_list_without_spans_is_a_success_without_tenant() {
    let fixture = Setup { multitenancy: true, ..setup() }.build();

    assert_eq!(answer(&fixture, json("[]")).await, accepted());
    assert_eq!(answer(&fixture, json(SPAN)).await, refused(r#""Bad Request""#));
    let mut named = json(SPAN);
    named.headers_mut().insert("x-scope-orgid", "team-a".parse().unwrap());
    assert_eq!(answer(&fixture, named).await, accepted());
    assert_eq!(fixture.ingester.batches.lock()[0].0.as_str(), "team-a");
}

#[tokio::test]
async fn limits_and_failures_are_a_500() {
    let mut setup = setup();
    setup.limits.ingestion.rate_limit_bytes = ByteSize::from_bytes(100);
    setup.limits.ingestion.burst_size_bytes = ByteSize::from_bytes(100);
    let limited = setup.build();
    let many: Vec<String> = (1..100).map(|n| format!(r#"{{"traceId":"1","id":"{n}"}}"#)).collect();

    assert_eq!(answer(&limited, json(format!("[{}]", many.join(",")))).await, failed());
    let labels = [("reason", "rate_limited"), ("tenant", "single-tenant")];
    assert_eq!(limited.counter("tempo_discarded_spans_total", &labels), 99.0);

    let fixture = self::setup().build();
    for error in [
        IngesterPushError::ResourceExhausted(Duration::from_secs(1)),
        IngesterPushError::Unavailable("starting".to_owned()),
        IngesterPushError::Internal("disk".to_owned()),
    ] {
        *fixture.ingester.answer.lock() = Some(Err(error));
        assert_eq!(answer(&fixture, json(SPAN)).await, failed());
    }
}
