//! OTLP over gRPC: answers, limits and broken messages, over a real socket.

use std::time::Duration;

use prost::Message;
use tempo_config::{ByteSize, Limits};
use tempo_proto::{
    collector::ExportTraceServiceRequest, collector::trace_service_client::TraceServiceClient,
};
use tokio::net::TcpListener;
use tonic::{Code, Request, codec::CompressionEncoding, transport::Channel};

use crate::fixtures::{Fixture, Setup, request, span, text};

/// A client of the distributor's gRPC routes on a loopback port. The server ends with the test's runtime.
async fn connect(fixture: &Fixture) -> TraceServiceClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = fixture.distributor.otlp_grpc_routes();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    TraceServiceClient::connect(format!("http://{address}")).await.unwrap()
}

fn large(bytes: usize) -> ExportTraceServiceRequest {
    let mut large = span(1, 1);
    large.attributes = vec![text("k", &"a".repeat(bytes))];
    request(vec![large])
}

#[tokio::test]
async fn spans_arrive_plain_and_compressed() {
    let fixture = Setup::default().build();
    let plain = connect(&fixture).await;

    for mut client in [
        plain.clone(),
        plain.clone().send_compressed(CompressionEncoding::Gzip),
        plain.send_compressed(CompressionEncoding::Zstd),
    ] {
        let answer = client.export(request(vec![span(1, 1), span(2, 2)])).await.unwrap().into_inner();
        assert_eq!(answer.partial_success.unwrap().rejected_spans, 0);
    }

    assert_eq!(fixture.ingester.span_count(), 6);
    assert_eq!(
        fixture.counter("tempo_receiver_accepted_spans", &[("receiver", "otlp"), ("transport", "grpc")]),
        6.0
    );
}

#[tokio::test]
async fn bad_spans_are_a_partial_success_and_only_bad_spans_a_failure() {
    let fixture = Setup::default().build();
    let mut client = connect(&fixture).await;
    let mut bad = span(2, 1);
    bad.span_id.clear();

    let partial = client.export(request(vec![span(1, 1), bad.clone()])).await.unwrap().into_inner();
    let refused = client.export(request(vec![bad])).await.unwrap_err();

    let text = "span ids must be 64 bit and not all zero, received 0 bits";
    let partial = partial.partial_success.unwrap();
    assert_eq!((partial.rejected_spans, partial.error_message.as_str()), (1, text));
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, text));
}

#[tokio::test]
async fn large_messages_and_bombs_are_refused_for_good() {
    let fixture = Setup::default().build();
    let plain = connect(&fixture).await;

    let expect = [
        (plain.clone(), "grpc: received message larger than max (4194304 bytes)"),
        (
            plain.clone().send_compressed(CompressionEncoding::Gzip),
            "Error decompressing: size limit, of 4194304 bytes, exceeded while decompressing message",
        ),
    ];
    for (mut client, text) in expect {
        let refused = client.export(large(5 << 20)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, text));
        assert!(refused.details().is_empty(), "no RetryInfo: the client must not send it again");
    }
    assert!(plain.clone().export(large(3 << 20)).await.is_ok());
}

#[tokio::test]
async fn the_tenant_is_in_the_metadata() {
    let fixture = Setup { multitenancy: true, ..Setup::default() }.build();
    let mut client = connect(&fixture).await;
    let mut named = Request::new(request(vec![span(1, 1)]));
    named.metadata_mut().insert("x-scope-orgid", "team-a".parse().unwrap());

    client.export(named).await.unwrap();
    let refused = client.export(request(vec![span(1, 1)])).await.unwrap_err();

    assert_eq!(fixture.ingester.batches.lock()[0].0.as_str(), "team-a");
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "no org id"));
    assert!(client.export(request(vec![])).await.is_ok(), "no spans, no tenant");
}

#[tokio::test]
async fn a_rate_limited_client_is_told_when_to_retry() {
    let mut limits = Limits::default();
    limits.ingestion.rate_limit_bytes = ByteSize::from_bytes(10);
    limits.ingestion.burst_size_bytes = ByteSize::from_bytes(10);
    let fixture = Setup { limits, ..Setup::default() }.retry_after(Duration::from_secs(5)).build();
    let mut client = connect(&fixture).await;

    let refused = client.export(request(vec![span(1, 1)])).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with("RATE_LIMITED: batch size"), "{}", refused.message());
    #[derive(Clone, PartialEq, prost::Message)]
    struct Duration5 {
        #[prost(int64, tag = "1")]
        seconds: i64,
    }
    let details = refused.details();
    let retry_info = b"type.googleapis.com/google.rpc.RetryInfo";
    assert!(details.windows(retry_info.len()).any(|w| w == retry_info));
    assert!(details.ends_with(&Duration5 { seconds: 5 }.encode_to_vec()));
}
