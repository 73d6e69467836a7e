//! Jaeger over gRPC, HTTP and UDP: answers, tenants, limits, datagrams dropped and drained, over real sockets.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tempo_config::{ByteSize, JaegerReceiverConfig, Limits};
use tempo_distributor::{DatagramReceiver, IngesterPushError};
use tempo_proto::jaeger as proto;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tonic::{Code, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;
use tower::ServiceExt;

use crate::{
    fixtures::{Fixture, Setup},
    jaeger_batch::{Batch, Binary, Compact, Span, text},
};

const THRIFT: &str = "application/x-thrift";

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.config.receivers.jaeger = Some(JaegerReceiverConfig::all());
    setup
}

fn small_burst() -> Limits {
    let mut limits = Limits::default();
    limits.ingestion.rate_limit_bytes = ByteSize::from_bytes(10);
    limits.ingestion.burst_size_bytes = ByteSize::from_bytes(10);
    limits
}

fn batch(spans: u64) -> Batch {
    let span = |n| Span {
        trace_id: 1,
        span_id: n + 1,
        name: "op".to_owned(),
        tags: vec![text("k", "v")],
        ..Span::default()
    };
    Batch { service: "shop".to_owned(), process_tags: Vec::new(), spans: (0..spans).map(span).collect() }
}

fn accepted(fixture: &Fixture, transport: &str) -> f64 {
    fixture.counter("tempo_receiver_accepted_spans", &[("receiver", "jaeger"), ("transport", transport)])
}

fn refused(fixture: &Fixture, transport: &str) -> f64 {
    fixture.counter("tempo_receiver_refused_spans", &[("receiver", "jaeger"), ("transport", transport)])
}

fn post(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post("/api/traces").header("content-type", content_type).body(body.into()).unwrap()
}

async fn send(fixture: &Fixture, request: Request<Body>) -> (StatusCode, String) {
    let response: Response<_> =
        fixture.distributor.jaeger_thrift_http_routes().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).unwrap())
}

async fn connect(fixture: &Fixture) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = fixture.distributor.jaeger_grpc_routes();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn call<Q, A>(channel: &Channel, path: &'static str, request: tonic::Request<Q>) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    client.unary(request, path, ProstCodec::<Q, A>::default()).await.map(tonic::Response::into_inner)
}

async fn post_spans(channel: &Channel, batch: &Batch, tenant: Option<&str>) -> Result<(), Status> {
    let message = proto::PostSpansRequest::decode(batch.post_spans().as_slice()).unwrap();
    let mut request = tonic::Request::new(message);
    if let Some(tenant) = tenant {
        request.metadata_mut().insert("x-scope-orgid", tenant.parse().unwrap());
    }
    let path = "/jaeger.api_v2.CollectorService/PostSpans";
    call::<_, proto::PostSpansResponse>(channel, path, request).await.map(drop)
}

#[tokio::test]
async fn thrift_over_http_is_accepted_with_either_media_type() {
    let fixture = setup().build();

    for media in [THRIFT, "application/vnd.apache.thrift.binary", "Application/X-Thrift; charset=utf-8"] {
        let answer = send(&fixture, post(media, batch(2).thrift_batch())).await;
        assert_eq!(answer, (StatusCode::ACCEPTED, String::new()), "{media}");
    }
    let empty = send(&fixture, post(THRIFT, batch(0).thrift_batch())).await;

    assert_eq!(empty.0, StatusCode::ACCEPTED);
    assert_eq!((fixture.ingester.span_count(), accepted(&fixture, "collector_http")), (6, 6.0));
}

#[tokio::test]
async fn failures_over_http_are_text() {
    let fixture = setup().build();
    let limited = Setup { limits: small_burst(), ..setup() }.build();
    let busy = setup().build();
    *busy.ingester.answer.lock() = Some(Err(IngesterPushError::Unavailable("gone".to_owned())));

    let broken = send(&fixture, post(THRIFT, vec![12, 0, 1, 15])).await;
    let media = send(&fixture, post("text/<b>", vec![])).await;
    let rate = send(&limited, post(THRIFT, batch(1).thrift_batch())).await;
    let busy = send(&busy, post(THRIFT, batch(1).thrift_batch())).await;

    let bad = |text: &str| (StatusCode::BAD_REQUEST, text.to_owned());
    assert_eq!(broken, bad("Unable to process request body: thrift is cut off at byte 4\n"));
    assert_eq!(media, bad("Unsupported content type: text/&lt;b&gt;\n"));
    assert_eq!(rate.0, StatusCode::INTERNAL_SERVER_ERROR);
    let start =
        "Cannot submit Jaeger batch: rpc error: code = ResourceExhausted desc = RATE_LIMITED: batch size";
    assert!(rate.1.starts_with(start), "{}", rate.1);
    assert_eq!(refused(&limited, "collector_http"), 1.0);
    let unavailable =
        "Cannot submit Jaeger batch: rpc error: code = Unavailable desc = ingester is not available: gone\n";
    assert_eq!(busy, (StatusCode::INTERNAL_SERVER_ERROR, unavailable.to_owned()));
}

#[tokio::test]
async fn grpc_is_answered_with_the_status() {
    let fixture = setup().build();
    let channel = connect(&fixture).await;
    let limited = Setup { limits: small_burst(), ..setup() }.build();
    let limited_channel = connect(&limited).await;

    post_spans(&channel, &batch(3), None).await.unwrap();
    let rate = post_spans(&limited_channel, &batch(1), None).await.unwrap_err();
    let mut large = batch(1);
    large.service = "x".repeat(5 << 20);
    let large = post_spans(&channel, &large, None).await.unwrap_err();

    assert_eq!((fixture.ingester.span_count(), accepted(&fixture, "grpc")), (3, 3.0));
    assert_eq!(rate.code(), Code::ResourceExhausted);
    assert!(rate.message().starts_with("RATE_LIMITED: batch size"), "{rate}");
    assert_eq!(
        (large.code(), large.message()),
        (Code::ResourceExhausted, "grpc: received message larger than max (4194304 bytes)")
    );
}

#[tokio::test]
async fn tenants_are_named_by_header_and_metadata() {
    let fixture = Setup { multitenancy: true, ..setup() }.build();
    let channel = connect(&fixture).await;

    post_spans(&channel, &batch(1), Some("a")).await.unwrap();
    let missing = post_spans(&channel, &batch(1), None).await.unwrap_err();
    let mut named = post(THRIFT, batch(1).thrift_batch());
    named.headers_mut().insert("x-scope-orgid", "b".parse().unwrap());
    let named = send(&fixture, named).await;
    let unnamed = send(&fixture, post(THRIFT, batch(1).thrift_batch())).await;

    let tenants: Vec<_> =
        fixture.ingester.batches.lock().iter().map(|(t, _)| t.as_str().to_owned()).collect();
    assert_eq!(tenants, ["a", "b"]);
    assert_eq!((missing.code(), named.0), (Code::InvalidArgument, StatusCode::ACCEPTED));
    assert_eq!(unnamed.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn clients_are_told_the_configured_rate_or_nothing() {
    let mut on = setup();
    let jaeger = on.config.receivers.jaeger.as_mut().unwrap();
    jaeger.remote_sampling.as_mut().unwrap().tempo_rs.sampling_rate = 0.5;
    let on = on.build();
    let mut off = setup();
    off.config.receivers.jaeger.as_mut().unwrap().remote_sampling = None;
    let off = off.build();
    let ask = async |channel: &Channel| {
        let request = tonic::Request::new(proto::SamplingStrategyParameters::default());
        let path = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy";
        call::<_, proto::SamplingStrategyResponse>(channel, path, request).await
    };
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();

    let told = ask(&connect(&on).await).await.unwrap();
    let not_told = ask(&connect(&off).await).await.unwrap_err();

    let sampling = proto::ProbabilisticSamplingStrategy { sampling_rate: 0.5 };
    assert_eq!((told.strategy_type, told.probabilistic_sampling), (0, Some(sampling)));
    assert_eq!(not_told.code(), Code::Unimplemented);
    let json = r#"{"probabilisticSampling":{"samplingRate":0.5},"strategyType":"PROBABILISTIC"}"#;
    assert_eq!(send(&on, get("/api/sampling?service=a")).await, (StatusCode::OK, json.to_owned()));
    assert_eq!(send(&on, get("/api/sampling")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&off, get("/api/sampling?service=a")).await.0, StatusCode::NOT_FOUND);
}

/// A receiver that runs on a socket of its own.
struct Receiving {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Receiving {
    async fn start(fixture: &Fixture, name: &str) -> Receiving {
        let receivers = fixture.distributor.datagram_receivers();
        let receiver: DatagramReceiver = receivers.into_iter().find(|r| r.name() == name).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(receiver.run(socket, async { stopped.await.unwrap_or_default() }));
        Receiving { address, stop, task }
    }

    async fn send(&self, datagram: &[u8]) {
        UdpSocket::bind("127.0.0.1:0").await.unwrap().send_to(datagram, self.address).await.unwrap();
    }

    /// What was sent before is in the socket, so it is read.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn dropped(fixture: &Fixture, transport: &str, reason: &str) -> f64 {
    let labels = [("receiver", "jaeger"), ("transport", transport), ("reason", reason)];
    fixture.counter("tempo_receiver_datagrams_dropped_total", &labels)
}

#[tokio::test]
async fn datagrams_of_both_encodings_are_pushed_before_the_stop() {
    let fixture = setup().build();
    let compact = Receiving::start(&fixture, "jaeger_thrift_compact").await;
    let binary = Receiving::start(&fixture, "jaeger_thrift_binary").await;

    for _ in 0..50 {
        compact.send(&batch(2).message::<Compact>()).await;
        binary.send(&batch(1).message::<Binary>()).await;
    }
    compact.stop().await;
    binary.stop().await;

    assert_eq!(fixture.ingester.span_count(), 150);
    assert_eq!(accepted(&fixture, "udp_thrift_compact"), 100.0);
    let labels = [("receiver", "jaeger"), ("transport", "udp_thrift_binary")];
    assert_eq!(fixture.counter("tempo_receiver_datagrams_total", &labels), 50.0);
}

#[tokio::test]
async fn datagrams_that_cannot_be_taken_in_are_counted_by_reason() {
    let mut setup = setup();
    let compact = &mut setup.config.receivers.jaeger.as_mut().unwrap().protocols.thrift_compact;
    compact.as_mut().unwrap().max_packet_size = ByteSize::from_bytes(1_000);
    let fixture = setup.build();
    let receiving = Receiving::start(&fixture, "jaeger_thrift_compact").await;

    receiving.send(&batch(100).message::<Compact>()).await;
    receiving.send(&batch(1).message::<Binary>()).await;
    receiving.send(b"").await;
    receiving.send(&batch(1).message::<Compact>()).await;
    receiving.stop().await;

    let reasons = ["too_large", "malformed", "queue_full", "refused", "socket_buffer_full"];
    let found = reasons.map(|reason| dropped(&fixture, "udp_thrift_compact", reason));
    assert_eq!(found, [1.0, 2.0, 0.0, 0.0, 0.0]);
    assert_eq!(fixture.ingester.span_count(), 1);
}

#[tokio::test]
async fn datagrams_wait_in_a_bounded_queue_while_the_ingester_is_slow() {
    let mut setup = setup();
    let compact = &mut setup.config.receivers.jaeger.as_mut().unwrap().protocols.thrift_compact;
    let compact = compact.as_mut().unwrap();
    (compact.workers, compact.queue_size) = (1, 3);
    let fixture = setup.build();
    let gate = Arc::new(Notify::new());
    *fixture.ingester.gate.lock() = Some(Arc::clone(&gate));
    let receiving = Receiving::start(&fixture, "jaeger_thrift_compact").await;

    // One at a time, so that the first is on its way before the others wait.
    let labels = [("receiver", "jaeger"), ("transport", "udp_thrift_compact")];
    for sent in 1..=6 {
        receiving.send(&batch(1).message::<Compact>()).await;
        while fixture.counter("tempo_receiver_datagrams_total", &labels) < f64::from(sent) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(dropped(&fixture, "udp_thrift_compact", "queue_full"), 2.0);
    *fixture.ingester.gate.lock() = None;
    gate.notify_one();
    receiving.stop().await;

    assert_eq!(fixture.ingester.span_count(), 4);
}

#[tokio::test]
async fn datagrams_have_the_configured_tenant_or_are_refused() {
    let mut named = Setup { multitenancy: true, ..setup() };
    named.config.tempo_rs.udp_tenant = "edge".to_owned();
    let named = named.build();
    let unnamed = Setup { multitenancy: true, ..setup() }.build();

    for fixture in [&named, &unnamed] {
        let receiving = Receiving::start(fixture, "jaeger_thrift_compact").await;
        receiving.send(&batch(2).message::<Compact>()).await;
        receiving.stop().await;
    }

    assert_eq!(named.ingester.batches.lock()[0].0.as_str(), "edge");
    assert_eq!((unnamed.ingester.span_count(), refused(&unnamed, "udp_thrift_compact")), (0, 2.0));
}

#[tokio::test]
async fn a_body_in_flight_is_accounted_for() {
    let mut setup = setup();
    setup.config.tempo_rs.max_inflight_bytes = ByteSize::from_bytes(100);
    let fixture = setup.build();

    let answer = send(&fixture, post(THRIFT, Bytes::from(batch(3).thrift_batch()))).await;

    assert_eq!(answer.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.1.contains("too many bytes in flight"), "{}", answer.1);
    tokio::time::timeout(Duration::from_secs(5), fixture.distributor.drain()).await.unwrap();
}
