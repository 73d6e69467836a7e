//! OTLP over HTTP: encodings, answers, limits and broken bodies, over a real socket.

use std::{io::Write, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tempo_config::ByteSize;
use tempo_distributor::IngesterPushError;
use tempo_proto::collector::ExportTraceServiceResponse;
use tower::ServiceExt;

use crate::fixtures::{Fixture, Setup, encoded, span, text};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn post(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/traces").header("content-type", content_type).body(body.into()).unwrap()
}

fn with_header(mut request: Request<Body>, name: &'static str, value: &'static str) -> Request<Body> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

async fn send(fixture: &Fixture, request: Request<Body>) -> Response<Bytes> {
    let response = fixture.distributor.otlp_http_routes().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// The code and message of a `google.rpc.Status`.
fn rpc_status(response: &Response<Bytes>) -> (i32, String) {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
    }
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    let status = Status::decode(response.body().clone()).unwrap();
    (status.code, status.message)
}

fn body_text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[tokio::test]
async fn protobuf_is_answered_with_protobuf_and_json_with_json() {
    let fixture = Setup::default().build();

    let protobuf = send(&fixture, post(PROTOBUF, encoded(vec![span(1, 1), span(2, 2), span(1, 3)]))).await;
    let json = send(
        &fixture,
        post(
            "application/json; charset=utf-8",
            r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#,
        ),
    )
    .await;

    assert_eq!((protobuf.status(), protobuf.body().as_ref()), (StatusCode::OK, &[0x0a, 0][..]));
    assert_eq!(protobuf.headers()["content-type"], PROTOBUF);
    assert_eq!((json.status(), body_text(&json)), (StatusCode::OK, r#"{"partialSuccess":{}}"#));
    assert_eq!(json.headers()["content-type"], JSON);
    let batches = fixture.ingester.batches.lock();
    assert_eq!(
        (batches[0].0.as_str(), batches[0].1.trace_count(), batches[0].1.span_count()),
        ("single-tenant", 2, 3)
    );
    assert_eq!(batches[1].1.span_count(), 1);
    assert_eq!(
        fixture.counter("tempo_distributor_spans_received_total", &[("tenant", "single-tenant")]),
        4.0
    );
    assert_eq!(
        fixture.counter("tempo_receiver_accepted_spans", &[("receiver", "otlp"), ("transport", "http")]),
        4.0
    );
}

#[tokio::test]
async fn requests_without_spans_are_a_success_without_tenant() {
    let fixture = Setup { multitenancy: true, ..Setup::default() }.build();

    for (media, body) in [(PROTOBUF, ""), (JSON, "{}"), (JSON, r#"{"resourceSpans":[]}"#)] {
        assert_eq!(send(&fixture, post(media, body)).await.status(), StatusCode::OK);
    }
    assert!(fixture.ingester.batches.lock().is_empty());
}

#[tokio::test]
async fn other_methods_and_media_types_are_refused_in_words() {
    let fixture = Setup::default().build();
    let get = Request::get("/v1/traces").body(Body::empty()).unwrap();
    let untyped = Request::post("/v1/traces").body(Body::empty()).unwrap();

    let method = send(&fixture, get).await;
    assert_eq!(method.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(body_text(&method), "405 method not allowed, supported: [POST]");
    for request in [untyped, post("text/plain", ""), post("application/protobuf", "")] {
        let media = send(&fixture, request).await;
        assert_eq!(media.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(
            body_text(&media),
            "415 unsupported media type, supported: [application/json, application/x-protobuf]"
        );
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_in_their_encoding() {
    let fixture = Setup::default().build();
    let good = encoded(vec![span(1, 1)]);

    let cut_off = send(&fixture, post(PROTOBUF, good[..good.len() - 1].to_vec())).await;
    let json = send(&fixture, post(JSON, "{\"resourceSpans\":[\n{]}")).await;

    assert_eq!(cut_off.status(), StatusCode::BAD_REQUEST);
    let want = format!("field 1 is cut off at byte {}", good.len() - 1);
    assert_eq!(rpc_status(&cut_off), (3, want));
    assert_eq!(json.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        body_text(&json),
        r#"{"code":3,"message":"resourceSpans[0]: key must be a string at line 2 column 2"}"#
    );
}

#[tokio::test]
async fn bad_spans_are_a_partial_success_and_only_bad_spans_a_failure() {
    let fixture = Setup::default().build();
    let mut bad = span(2, 1);
    bad.trace_id.truncate(8);

    let partial = send(&fixture, post(PROTOBUF, encoded(vec![span(1, 1), bad.clone(), span(1, 2)]))).await;
    let nothing_left = send(&fixture, post(PROTOBUF, encoded(vec![bad]))).await;
    let json = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"eee19b7ec3c1b174"},{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}]}]}]}"#;
    let partial_json = send(&fixture, post(JSON, json)).await;

    let text = "trace ids must be 128 bit, received 64 bits";
    assert_eq!(partial.status(), StatusCode::OK);
    let answer = ExportTraceServiceResponse::decode(partial.body().clone()).unwrap().partial_success.unwrap();
    assert_eq!((answer.rejected_spans, answer.error_message.as_str()), (1, text));
    assert_eq!(nothing_left.status(), StatusCode::BAD_REQUEST);
    assert_eq!(rpc_status(&nothing_left), (3, text.to_owned()));
    assert_eq!(
        body_text(&partial_json),
        r#"{"partialSuccess":{"errorMessage":"trace ids must be 128 bit, received 0 bits","rejectedSpans":"1"}}"#
    );
    assert_eq!(fixture.ingester.span_count(), 3);
    let labels = [("reason", "invalid_trace_id"), ("tenant", "single-tenant")];
    assert_eq!(fixture.counter("tempo_discarded_spans_total", &labels), 3.0);
    assert_eq!(
        fixture.counter("tempo_receiver_refused_spans", &[("receiver", "otlp"), ("transport", "http")]),
        3.0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_bodies_are_inflated_off_the_workers() {
    let fixture = Setup::default().build();
    // Large enough to be walked in `block_in_place`, too.
    let noise: String =
        (0..2_000_000u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 28) as u8)).collect();
    let mut large = span(1, 1);
    large.attributes =
        noise.as_bytes().chunks(2000).map(|c| text("k", std::str::from_utf8(c).unwrap())).collect();
    let body = encoded(vec![large]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let zstd = zstd::encode_all(body.as_slice(), 1).unwrap();

    for (encoding, compressed) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("identity", body)] {
        let response =
            send(&fixture, with_header(post(PROTOBUF, compressed), "content-encoding", encoding)).await;
        assert_eq!(response.status(), StatusCode::OK, "{encoding}");
    }
    assert_eq!(fixture.ingester.span_count(), 3);
}

#[tokio::test]
async fn bodies_that_are_too_large_or_broken_are_a_400() {
    let mut setup = Setup::default();
    setup.config.receivers.otlp.as_mut().unwrap().protocols.http.as_mut().unwrap().max_request_body_size =
        ByteSize::from_bytes(100_000);
    let fixture = setup.build();
    let bomb = zstd::encode_all(vec![0u8; 10_000_000].as_slice(), 1).unwrap();

    let large = send(&fixture, post(PROTOBUF, vec![0; 100_001])).await;
    let bomb = send(&fixture, with_header(post(PROTOBUF, bomb), "content-encoding", "zstd")).await;
    let broken = send(&fixture, with_header(post(PROTOBUF, "no gzip"), "content-encoding", "gzip")).await;
    let unknown = send(&fixture, with_header(post(PROTOBUF, ""), "content-encoding", "br")).await;

    for response in [&large, &bomb, &broken, &unknown] {
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(rpc_status(&large), (3, "http: request body too large".to_owned()));
    assert_eq!(rpc_status(&bomb), (3, "http: request body too large".to_owned()));
    assert!(rpc_status(&broken).1.starts_with("request body is not valid gzip: "));
    assert_eq!(rpc_status(&unknown), (3, "unsupported Content-Encoding: br".to_owned()));
}

#[tokio::test]
async fn with_multitenancy_exactly_one_valid_tenant_is_needed() {
    let fixture = Setup { multitenancy: true, ..Setup::default() }.build();
    let request = || post(PROTOBUF, encoded(vec![span(1, 1)]));
    let tenant = |value| with_header(request(), "X-Scope-OrgID", value);

    assert_eq!(send(&fixture, tenant("team-a")).await.status(), StatusCode::OK);
    assert_eq!(fixture.ingester.batches.lock()[0].0.as_str(), "team-a");
    for (refused, text) in [
        (request(), "no org id"),
        (tenant(""), "no org id"),
        (tenant("a|"), "no org id"),
        (tenant("a|b"), "multiple org IDs present"),
        (with_header(tenant("a"), "X-Scope-OrgID", "b"), "multiple org IDs present"),
        (tenant("a/b"), "tenant ID 'a/b' contains unsupported character '/'"),
        (tenant(".."), "tenant ID is '.' or '..'"),
    ] {
        let response = send(&fixture, refused).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{text}");
        assert_eq!(rpc_status(&response), (3, text.to_owned()));
    }
    assert_eq!(fixture.ingester.batches.lock().len(), 1);
}

#[tokio::test]
async fn without_multitenancy_the_header_is_ignored() {
    let fixture = Setup::default().build();

    let response =
        send(&fixture, with_header(post(PROTOBUF, encoded(vec![span(1, 1)])), "X-Scope-OrgID", "a/b")).await;

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(fixture.ingester.batches.lock()[0].0.as_str(), "single-tenant");
}

#[tokio::test]
async fn codes_of_the_ingester_become_http_statuses() {
    let fixture = Setup::default().build();
    let expect = [
        (
            IngesterPushError::ResourceExhausted(Duration::from_millis(1500)),
            StatusCode::TOO_MANY_REQUESTS,
            8,
            Some("2"),
        ),
        (IngesterPushError::Unavailable("starting".to_owned()), StatusCode::SERVICE_UNAVAILABLE, 14, None),
        (IngesterPushError::Internal("disk".to_owned()), StatusCode::INTERNAL_SERVER_ERROR, 13, None),
    ];

    for (error, status, code, retry_after) in expect {
        *fixture.ingester.answer.lock() = Some(Err(error));
        let response = send(&fixture, post(PROTOBUF, encoded(vec![span(1, 1)]))).await;
        assert_eq!((response.status(), rpc_status(&response).0), (status, code));
        assert_eq!(response.headers().get("retry-after").map(|v| v.to_str().unwrap()), retry_after);
    }
    assert_eq!(
        fixture.counter(
            "tempo_distributor_ingester_append_failures_total",
            &[("ingester", "local"), ("reason", "internal")]
        ),
        1.0
    );
}

#[tokio::test]
async fn the_path_is_configurable() {
    let mut setup = Setup::default();
    setup.config.receivers.otlp.as_mut().unwrap().protocols.http.as_mut().unwrap().traces_url_path =
        "/otlp/spans".to_owned();
    let fixture = setup.build();

    let elsewhere = send(&fixture, post(PROTOBUF, "")).await;
    let mut request = post(PROTOBUF, "");
    *request.uri_mut() = "/otlp/spans".parse().unwrap();

    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    assert_eq!(send(&fixture, request).await.status(), StatusCode::OK);
}
