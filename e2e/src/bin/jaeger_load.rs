//! Sends Jaeger spans as fast as asked and says what it took: the tool behind the figures in the README.
//!
//! ```text
//! jaeger_load udp HOST:PORT SPANS_PER_SECOND SECONDS   thrift compact, 20 spans a datagram
//! jaeger_load grpc HOST:PORT MEGABYTES                 PostSpans, 200 spans a request, 4 requests at once
//! ```
//!
//! Spans have 12 tags, one log and a process with 4 tags; traces have 8 spans.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tempo_proto::jaeger as proto;

const SPANS_PER_TRACE: u64 = 8;
const SPANS_PER_DATAGRAM: u64 = 20;
const SPANS_PER_REQUEST: u64 = 200;
const REQUESTS_AT_ONCE: usize = 4;
const START_MICROS: u64 = 1_700_000_000_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["udp", address, rate, seconds] => udp(address, rate.parse()?, seconds.parse()?),
        ["grpc", address, megabytes] => grpc(address, megabytes.parse()?).await,
        _ => bail!("jaeger_load udp HOST:PORT SPANS_PER_SECOND SECONDS | grpc HOST:PORT MEGABYTES"),
    }
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a tool that measures and says what it found"
)]
fn udp(address: &str, rate: u64, seconds: u64) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    let datagrams = rate * seconds / SPANS_PER_DATAGRAM;
    let every = Duration::from_secs(1) * u32::try_from(SPANS_PER_DATAGRAM)? / u32::try_from(rate)?;
    let (mut out, mut bytes) = (Vec::new(), 0);
    let start = Instant::now();
    for n in 0..datagrams {
        compact_message(&mut out, n * SPANS_PER_DATAGRAM);
        bytes += socket.send(&out)?;
        // Ahead by less than a sleep can be exact: go on.
        let ahead = (every * u32::try_from(n)?).saturating_sub(start.elapsed());
        if ahead > Duration::from_millis(1) {
            std::thread::sleep(ahead);
        }
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "sent {} spans, {datagrams} datagrams, {bytes} bytes in {took:.2} s",
        datagrams * SPANS_PER_DATAGRAM
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a tool that measures and says what it found"
)]
async fn grpc(address: &str, megabytes: u64) -> anyhow::Result<()> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let url = format!("http://{address}/jaeger.api_v2.CollectorService/PostSpans");
    let (mut first, mut bytes) = (0, 0);
    let start = Instant::now();
    while bytes < megabytes * 1_000_000 {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..REQUESTS_AT_ONCE {
            let message = request(first);
            first += SPANS_PER_REQUEST;
            bytes += message.len() as u64;
            let mut framed = vec![0];
            framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
            framed.extend_from_slice(&message);
            let call = http::Request::post(&url)
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from(framed)))?;
            calls.spawn(client.request(call));
        }
        while let Some(answer) = calls.join_next().await {
            let (head, body) = answer??.into_parts();
            let body = body.collect().await?;
            let status = body.trailers().or(Some(&head.headers)).and_then(|t| t.get("grpc-status")).cloned();
            ensure!(status.context("no status")? == "0", "{:?} {:?}", head.headers, body.trailers());
        }
    }
    let took = start.elapsed().as_secs_f64();
    println!("sent {first} spans, {bytes} bytes in {took:.2} s");
    Ok(())
}

fn random(n: u64) -> u64 {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1
}

/// Tags of a span: texts, and last a number.
fn tags(span: u64) -> (Vec<(&'static str, String)>, i64) {
    let random = random(span);
    let texts = vec![
        ("http.method", "GET".to_owned()),
        ("http.url", format!("http://catalog.shop.svc:8080/api/v1/products/{span}?page=3&size=50")),
        ("http.route", "/api/v1/products/{id}".to_owned()),
        ("url.scheme", "http".to_owned()),
        ("peer.address", format!("10.2.{}.{}", random % 200, random % 251)),
        ("peer.service", "catalog".to_owned()),
        (
            "user_agent",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)".to_owned(),
        ),
        ("thread.name", "http-nio-8080-exec-7".to_owned()),
        ("app.user.id", format!("{random:016x}")),
        ("component", "spring-webmvc".to_owned()),
        ("span.kind", if span.is_multiple_of(2) { "server" } else { "client" }.to_owned()),
    ];
    (texts, 200)
}

const PROCESS: [(&str, &str); 4] = [
    ("hostname", "catalog-7d9f8b6c5-x2x9z"),
    ("ip", "10.2.3.4"),
    ("jaeger.version", "Go-2.30.0"),
    ("k8s.namespace.name", "shop"),
];

fn ids(span: u64) -> [u64; 4] {
    let trace = span / SPANS_PER_TRACE;
    let parent = if span.is_multiple_of(SPANS_PER_TRACE) { 0 } else { random(trace * SPANS_PER_TRACE) };
    [random(!trace), random(trace), random(span), parent]
}

fn request(first: u64) -> Vec<u8> {
    let text = |(key, value): (&str, String)| proto::KeyValue {
        key: key.to_owned(),
        v_str: value,
        ..proto::KeyValue::default()
    };
    let span = |n: u64| {
        let [low, high, id, parent] = ids(n);
        let trace_id = Bytes::from([high.to_be_bytes(), low.to_be_bytes()].concat());
        let (texts, status) = tags(n);
        let mut tags: Vec<_> = texts.into_iter().map(text).collect();
        tags.push(proto::KeyValue {
            key: "http.status_code".to_owned(),
            v_type: 2,
            v_int64: status,
            ..proto::KeyValue::default()
        });
        let reference = proto::SpanRef {
            trace_id: trace_id.clone(),
            span_id: Bytes::copy_from_slice(&parent.to_be_bytes()),
            ref_type: 0,
        };
        let micros = START_MICROS + n;
        let time = proto::SecondsAndNanos {
            seconds: i64::try_from(micros / 1_000_000).unwrap_or_default(),
            nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default(),
        };
        proto::Span {
            trace_id,
            span_id: Bytes::copy_from_slice(&id.to_be_bytes()),
            operation_name: "GET /api/v1/products/{id}".to_owned(),
            references: if parent == 0 { Vec::new() } else { vec![reference] },
            start_time: Some(time),
            duration: Some(proto::SecondsAndNanos { seconds: 0, nanos: 1_500_000 }),
            tags,
            logs: vec![proto::Log {
                timestamp: Some(time),
                fields: vec![text(("event", "cache miss".to_owned()))],
            }],
            ..proto::Span::default()
        }
    };
    let process = proto::Process {
        service_name: format!("service-{}", first / SPANS_PER_REQUEST % 20),
        tags: PROCESS.iter().map(|(key, value)| text((key, (*value).to_owned()))).collect(),
    };
    let spans = (first..first + SPANS_PER_REQUEST).map(span).collect();
    proto::PostSpansRequest { batch: Some(proto::Batch { spans, process: Some(process) }) }.encode_to_vec()
}

/// An `emitBatch` message in Thrift's compact encoding.
fn compact_message(out: &mut Vec<u8>, first: u64) {
    out.clear();
    out.extend_from_slice(b"\x82\x81\0\x09emitBatch\x1c\x1c");
    out.push(0x18);
    text(out, &format!("service-{}", first / SPANS_PER_DATAGRAM % 20));
    out.extend_from_slice(&[0x19, 0x4c]);
    for (key, value) in PROCESS {
        text_tag(out, key, value);
    }
    out.extend_from_slice(&[0, 0x19, 0xfc]);
    varint(out, SPANS_PER_DATAGRAM);
    for n in first..first + SPANS_PER_DATAGRAM {
        for id in ids(n) {
            out.push(0x16);
            zigzag(out, id.cast_signed());
        }
        out.push(0x18);
        text(out, "GET /api/v1/products/{id}");
        // flags, behind the references that are not there; start, duration
        out.extend_from_slice(&[0x25, 2]);
        for micros in [START_MICROS + n, 1_500] {
            out.push(0x16);
            zigzag(out, micros.cast_signed());
        }
        let (texts, status) = tags(n);
        out.extend_from_slice(&[0x19, 0xcc]);
        for (key, value) in texts {
            text_tag(out, key, &value);
        }
        out.push(0x18);
        text(out, "http.status_code");
        out.extend_from_slice(&[0x15, 6, 0x46]);
        zigzag(out, status);
        out.push(0);
        out.extend_from_slice(&[0x19, 0x1c, 0x16]);
        zigzag(out, (START_MICROS + n).cast_signed());
        out.extend_from_slice(&[0x19, 0x1c]);
        text_tag(out, "event", "cache miss");
        out.extend_from_slice(&[0, 0]);
    }
    out.extend_from_slice(&[0, 0]);
}

fn text_tag(out: &mut Vec<u8>, key: &str, value: &str) {
    out.push(0x18);
    text(out, key);
    out.extend_from_slice(&[0x15, 0, 0x18]);
    text(out, value);
    out.push(0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn zigzag(out: &mut Vec<u8>, value: i64) {
    varint(out, (value << 1 ^ value >> 63).cast_unsigned());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}
