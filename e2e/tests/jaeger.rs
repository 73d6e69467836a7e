//! Real Jaeger clients over every transport; what they sent comes back field by field, live and from a block, and what
//! is refused is answered or counted as documented.
//!
//! Jaeger's own clients for Python, JavaScript and Java send the same trace, which is written below by hand; they differ
//! in what they say of themselves and in the types of numbers. OpenTelemetry's exporters send another.

use std::{net::UdpSocket, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tempo_e2e::{
    Client, Server, ServerOptions, eventually, jaeger_java, jaeger_javascript, jaeger_python, run_tool,
};
use tokio::process::Command;

/// Where the receivers of a server listen.
struct Ports {
    grpc: String,
    thrift_http: String,
    compact: u16,
    binary: u16,
    sampling: String,
}

impl Ports {
    fn free() -> anyhow::Result<Ports> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            tcp.push(std::net::TcpListener::bind("127.0.0.1:0")?);
            udp.push(UdpSocket::bind("127.0.0.1:0")?);
        }
        let address = |n: usize| -> anyhow::Result<String> { Ok(tcp[n].local_addr()?.to_string()) };
        Ok(Ports {
            grpc: address(0)?,
            thrift_http: format!("http://{}/api/traces", address(1)?),
            compact: udp[0].local_addr()?.port(),
            binary: udp[1].local_addr()?.port(),
            sampling: address(2)?,
        })
    }

    /// Goes on behind the receivers that the server has anyway. `more` is put into each protocol.
    fn options(&self, [grpc, http, udp]: [&str; 3]) -> ServerOptions {
        let Ports { grpc: grpc_address, thrift_http, compact, binary, sampling } = self;
        let http_address = thrift_http.trim_start_matches("http://").trim_end_matches("/api/traces");
        let distributor = format!(
            "    jaeger:\n      protocols:\n        grpc: {{endpoint: '{grpc_address}'{grpc}}}\n        \
             thrift_http: {{endpoint: '{http_address}'{http}}}\n        \
             thrift_compact: {{endpoint: '127.0.0.1:{compact}'{udp}}}\n        \
             thrift_binary: {{endpoint: '127.0.0.1:{binary}'{udp}}}\n      \
             remote_sampling: {{host_endpoint: '{sampling}', tempo_rs: {{sampling_rate: 0.25}}}}"
        );
        ServerOptions { distributor, ..ServerOptions::default() }
    }
}

/// A client program, and what must come back: a function of the ids that it printed.
struct Case {
    name: &'static str,
    program: Command,
    expected: fn(&Ids) -> Value,
}

/// The ids that a client chose, as JSON has them.
struct Ids {
    trace_hex: String,
    trace: String,
    root: String,
    child: String,
    other_trace: String,
    other: String,
}

impl Ids {
    fn read(printed: &str) -> anyhow::Result<Ids> {
        let printed: Value = serde_json::from_str(printed).with_context(|| printed.to_owned())?;
        let hex = |name: &str| printed[name].as_str().unwrap_or("0").to_owned();
        let trace = |name: &str| -> anyhow::Result<String> {
            Ok(STANDARD.encode(u128::from_str_radix(&hex(name), 16)?.to_be_bytes()))
        };
        let span = |name: &str| -> anyhow::Result<String> {
            Ok(STANDARD.encode(u64::from_str_radix(&hex(name), 16)?.to_be_bytes()))
        };
        Ok(Ids {
            trace_hex: hex("trace_id"),
            trace: trace("trace_id")?,
            root: span("root")?,
            child: span("child")?,
            other_trace: trace("other_trace")?,
            other: span("other")?,
        })
    }
}

fn cases(ports: &Ports) -> Vec<Case> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/jaeger");
    let mut cases = Vec::new();
    let mut add = |name, mut program: Command, arguments: &[&str], expected| {
        program.args(arguments);
        cases.push(Case { name, program, expected });
    };
    let (compact, binary) = (ports.compact.to_string(), ports.binary.to_string());
    let http = ports.thrift_http.as_str();
    if let Some(python) = jaeger_python() {
        let run = |script: &str| {
            let mut command = Command::new(&python);
            command.arg(here.join("python").join(script));
            command
        };
        let uber = "send_jaeger.py";
        add("python compact", run(uber), &["127.0.0.1", &compact], uber_python as fn(&_) -> _);
        add("python compact 64 bit", run(uber), &["127.0.0.1", &compact, "64"], uber_python);
        let opentelemetry = "send_opentelemetry.py";
        add(
            "opentelemetry compact",
            run(opentelemetry),
            &["udp", "127.0.0.1", &compact],
            opentelemetry_thrift,
        );
        add("opentelemetry thrift http", run(opentelemetry), &["thrift", http], opentelemetry_thrift);
        add("opentelemetry grpc", run(opentelemetry), &["grpc", &ports.grpc], opentelemetry_grpc);
    }
    if let Some(javascript) = jaeger_javascript() {
        let run = || {
            let mut command = Command::new("node");
            command.arg(javascript.join("send.cjs"));
            command
        };
        add("javascript binary", run(), &["udp", "127.0.0.1", &binary], uber_javascript);
        add("javascript thrift http", run(), &["http", http], uber_javascript);
    }
    for (name, arguments) in
        [("java compact", vec!["udp", "127.0.0.1", &compact]), ("java thrift http", vec!["http", http])]
    {
        if let Some(java) = jaeger_java("clients.Jaeger") {
            add(name, java, &arguments, uber_java);
        }
    }
    cases
}

#[tokio::test]
async fn what_real_clients_send_comes_back_field_by_field() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let options = ports.options([""; 3]);
    let server = Server::start(dir.path(), &options).await?;
    let client = Client::default();
    let mut sent = Vec::new();

    for mut case in cases(&ports) {
        let printed = run_tool(&mut case.program).await.context(case.name)?;
        let ids = Ids::read(&printed).context(case.name)?;
        let live = fetch(&client, &server, &ids, 2).await.context(case.name)?;
        let wanted = sorted((case.expected)(&ids));
        ensure!(matches(&live, &wanted), "{}: found\n{live}\nwanted\n{wanted}", case.name);
        sent.push((case.name, ids, live));
    }
    let flushed = client.get(&format!("{}/flush?wait=true", server.http), &[]).await?;
    ensure!(flushed.status == 204, "flush: {} {}", flushed.status, flushed.text());
    server.stop().await?;
    std::fs::remove_dir_all(dir.path().join("wal"))?;

    let server = Server::start(dir.path(), &options).await?;
    for (name, ids, live) in sent {
        let from_block = fetch(&client, &server, &ids, 2).await.context(name)?;
        ensure!(from_block == live, "{name}: from the block\n{from_block}\nlive\n{live}");
    }
    server.stop().await?;
    Ok(())
}

/// A trace once it has so many spans: datagrams are not acknowledged.
async fn fetch(client: &Client, server: &Server, ids: &Ids, spans: usize) -> anyhow::Result<Value> {
    let url = format!("{}/api/traces/{}", server.http, ids.trace_hex);
    eventually(&url, Duration::from_secs(10), async || {
        let response = client.get(&url, &[]).await?;
        ensure!(response.status == 200, "{} {}", response.status, response.text());
        let trace = merged(response.json()?);
        let found = trace["spans"].as_array().map_or(0, Vec::len);
        ensure!(found == spans, "{found} spans of {spans}: {trace}");
        Ok(trace)
    })
    .await
}

/// One resource, one scope and all spans: clients send a batch of one span or of several as they like.
fn merged(trace: Value) -> Value {
    let batches = trace["batches"].as_array().cloned().unwrap_or_default();
    let scopes: Vec<&Value> = batches.iter().flat_map(|b| b["scopeSpans"].as_array()).flatten().collect();
    let spans: Vec<&Value> = scopes.iter().flat_map(|s| s["spans"].as_array()).flatten().collect();
    let mut resources: Vec<Value> = batches.iter().map(|b| sorted(b["resource"].clone())).collect();
    resources.dedup();
    let mut names: Vec<&Value> = scopes.iter().map(|s| &s["scope"]).collect();
    names.dedup();
    sorted(json!({"resources": resources, "scopes": names, "spans": spans}))
}

/// Attributes by key, spans by name.
fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields {
                *field = sorted(field.take());
                match (field, name.as_str()) {
                    (Value::Array(attributes), "attributes") => {
                        attributes.sort_by_key(|attribute| attribute["key"].to_string());
                    }
                    (Value::Array(spans), "spans") => spans.sort_by_key(|span| span["name"].to_string()),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = sorted(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// Whether they are the same; `"*"` stands for any text.
fn matches(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            found.len() == wanted.len()
                && wanted.iter().all(|(key, value)| found.get(key).is_some_and(|f| matches(f, value)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| matches(f, w))
        }
        (Value::String(_), Value::String(wanted)) if wanted == "*" => true,
        (found, wanted) => found == wanted,
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn flag(key: &str, value: bool) -> Value {
    json!({"key": key, "value": {"boolValue": value}})
}

fn int(key: &str, value: i64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn double(key: &str, value: f64) -> Value {
    if value.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, reason = "small whole numbers of the trace")]
        return json!({"key": key, "value": {"doubleValue": value as i64}});
    }
    json!({"key": key, "value": {"doubleValue": value}})
}

/// What differs between Jaeger's own clients.
struct Uber {
    resource: Vec<Value>,
    root: Vec<Value>,
    code: Value,
    event_nanos: &'static str,
}

/// The trace that all of Jaeger's own clients send.
fn uber(ids: &Ids, client: Uber) -> Value {
    let mut root = vec![
        text("sampler.type", "const"),
        flag("sampler.param", true),
        text("text", "grüße"),
        flag("flag", true),
        double("share", 0.5),
        text("empty", ""),
    ];
    root.extend(client.root);
    json!({
        "resources": [{"attributes": client.resource}],
        "scopes": [{}],
        "spans": [
            {
                "traceId": ids.trace,
                "spanId": ids.root,
                "name": "checkout",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": "1700000000000001000",
                "endTimeUnixNano": "1700000000003001000",
                "attributes": root,
                "status": {},
            },
            {
                "traceId": ids.trace,
                "spanId": ids.child,
                "parentSpanId": ids.root,
                "name": "pay",
                "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": "1700000000001001000",
                "endTimeUnixNano": "1700000000002001000",
                "events": [{
                    "timeUnixNano": client.event_nanos,
                    "name": "declined",
                    "attributes": [client.code, flag("retry", false)],
                }],
                "links": [{
                    "traceId": ids.other_trace,
                    "spanId": ids.other,
                    "attributes": [text("opentracing.ref_type", "follows_from")],
                }],
                "status": {"code": "STATUS_CODE_ERROR"},
            },
        ],
    })
}

fn uber_python(ids: &Ids) -> Value {
    uber(
        ids,
        Uber {
            resource: vec![
                text("service.name", "python-shop"),
                int("host.cores", 2),
                text("ip", "*"),
                text("host.name", "*"),
                text("opencensus.exporterversion", "Jaeger-Python-4.8.0"),
            ],
            // `again` was set twice.
            root: vec![int("count", 7), int("negative", -(1 << 40)), int("again", 2)],
            code: int("code", 51),
            // The client cuts off what it cannot have as a float.
            event_nanos: "1700000000001500000",
        },
    )
}

fn uber_javascript(ids: &Ids) -> Value {
    uber(
        ids,
        Uber {
            resource: vec![
                text("service.name", "javascript-shop"),
                double("host.cores", 2.0),
                text("ip", "*"),
                text("client-uuid", "*"),
                text("host.name", "*"),
                text("opencensus.exporterversion", "Jaeger-Node-3.19.0"),
            ],
            root: vec![double("count", 7.0), json!({"key": "bytes", "value": {"bytesValue": "AP8="}})],
            code: double("code", 51.0),
            event_nanos: "1700000000001501000",
        },
    )
}

fn uber_java(ids: &Ids) -> Value {
    uber(
        ids,
        Uber {
            resource: vec![
                text("service.name", "java-shop"),
                int("host.cores", 2),
                text("ip", "*"),
                text("host.name", "*"),
                text("opencensus.exporterversion", "Jaeger-Java-1.8.1"),
            ],
            root: vec![int("count", 7), int("negative", -(1 << 40))],
            code: int("code", 51),
            event_nanos: "1700000000001501000",
        },
    )
}

/// The thrift exporter has no place for the resource but the service's name; times are microseconds.
fn opentelemetry_thrift(ids: &Ids) -> Value {
    opentelemetry(
        ids,
        vec![text("service.name", "otel-shop")],
        [
            "1700000000000001000",
            "1700000000003001000",
            "1700000000001001000",
            "1700000000002001000",
            "1700000000001501000",
        ],
    )
}

/// The gRPC exporter computes its times with floats.
fn opentelemetry_grpc(ids: &Ids) -> Value {
    opentelemetry(
        ids,
        vec![text("service.name", "otel-shop"), int("host.cores", 2)],
        [
            "1700000000000000953",
            "1700000000003000974",
            "1700000000001000881",
            "1700000000002000808",
            "1700000000001500844",
        ],
    )
}

/// The exporters repeat the resource in every span, call the name of an event `message`, and lose attributes of links.
fn opentelemetry(ids: &Ids, resource: Vec<Value>, times: [&str; 5]) -> Value {
    let [start, end, child_start, child_end, event] = times;
    json!({
        "resources": [{"attributes": resource}],
        "scopes": [{"name": "e2e.python", "version": "1.2.3"}],
        "spans": [
            {
                "traceId": ids.trace,
                "spanId": ids.root,
                "name": "checkout",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": start,
                "endTimeUnixNano": end,
                "attributes": [
                    text("text", "grüße"),
                    flag("flag", true),
                    int("count", 7),
                    double("share", 0.5),
                    text("list", "('a', 'b')"),
                    text("empty", ""),
                    text("service.name", "otel-shop"),
                    int("host.cores", 2),
                ],
                "status": {"code": "STATUS_CODE_OK"},
            },
            {
                "traceId": ids.trace,
                "spanId": ids.child,
                "parentSpanId": ids.root,
                "name": "pay",
                "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": child_start,
                "endTimeUnixNano": child_end,
                "attributes": [text("service.name", "otel-shop"), int("host.cores", 2)],
                "events": [{
                    "timeUnixNano": event,
                    "attributes": [int("code", 51), text("message", "declined")],
                }],
                "links": [{
                    "traceId": "EjRWeJCrze8SNFZ4kKvN7w==",
                    "spanId": "EjRWeJCrze8=",
                    "attributes": [text("opentracing.ref_type", "follows_from")],
                }],
                "status": {"message": "card declined", "code": "STATUS_CODE_ERROR"},
            },
        ],
    })
}

/// One span with a name of `size` bytes, as a batch in the binary encoding.
fn binary_batch(size: usize) -> Vec<u8> {
    let mut batch = vec![12, 0, 1, 11, 0, 1, 0, 0, 0, 4];
    batch.extend_from_slice(b"shop\0");
    batch.extend_from_slice(&[15, 0, 2, 12, 0, 0, 0, 1]);
    for id in [1, 2, 3] {
        batch.extend_from_slice(&[10, 0, id, 0, 0, 0, 0, 0, 0, 0, id]);
    }
    batch.extend_from_slice(&[11, 0, 5]);
    batch.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    batch.extend(std::iter::repeat_n(b'x', size));
    batch.extend_from_slice(&[0, 0]);
    batch
}

/// As a message for an agent.
fn binary_message(size: usize) -> Vec<u8> {
    let mut message = vec![0x80, 1, 0, 4, 0, 0, 0, 9];
    message.extend_from_slice(b"emitBatch\0\0\0\0\x0c\0\x01");
    message.extend(binary_batch(size));
    message.push(0);
    message
}

/// The same in the compact encoding.
fn compact_message(size: usize) -> Vec<u8> {
    let mut message =
        Vec::from(*b"\x82\x81\0\x09emitBatch\x1c\x1c\x18\x04shop\0\x19\x1c\x16\x02\x16\x04\x16\x06\x28");
    let mut rest = size;
    while rest >= 0x80 {
        message.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    message.push(u8::try_from(rest).unwrap_or_default());
    message.extend(std::iter::repeat_n(b'x', size));
    message.extend_from_slice(&[0, 0, 0]);
    message
}

async fn metric(client: &Client, server: &Server, line: &str) -> anyhow::Result<()> {
    eventually(line, Duration::from_secs(10), async || {
        let response = client.get(&format!("{}/metrics", server.http), &[]).await?;
        let text = response.text();
        let near: Vec<&str> = text.lines().filter(|l| l.starts_with("tempo_receiver")).collect();
        ensure!(text.lines().any(|l| l == line), "no {line} in {near:#?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn limits_are_answered_as_documented() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let mut options = ports.options([
        ", max_recv_msg_size_mib: 1",
        ", max_request_body_size: 5000",
        ", max_packet_size: 5000",
    ]);
    options.overrides =
        "  defaults: {ingestion: {rate_limit_bytes: 1000, burst_size_bytes: 1000}}".to_owned();
    let server = Server::start(dir.path(), &options).await?;
    let client = Client::default();
    let limited = "RATE_LIMITED: batch size (2070 bytes) exceeds ingestion limit (local: 1000 bytes/s, global: 0 \
                   bytes/s, burst: 1000 bytes) while adding 2070 bytes for user single-tenant. consider reducing \
                   batch size or increasing rate limit.";

    let post = async |media: &str, body: Vec<u8>| {
        let headers = [("content-type", media)];
        let response = client.post(&ports.thrift_http, &headers, Bytes::from(body)).await?;
        anyhow::Ok((response.status.as_u16(), response.text()))
    };
    let thrift = "application/x-thrift";
    let answers = [
        (post(thrift, binary_batch(10)).await?, (202, String::new())),
        (
            post(thrift, binary_batch(2000)).await?,
            (
                500,
                format!("Cannot submit Jaeger batch: rpc error: code = ResourceExhausted desc = {limited}\n"),
            ),
        ),
        (
            post(thrift, binary_batch(5000)).await?,
            (400, "Unable to process request body: http: request body too large\n".to_owned()),
        ),
        (
            post(thrift, vec![12, 0]).await?,
            (400, "Unable to process request body: thrift is cut off at byte 1\n".to_owned()),
        ),
        (post("text/plain", vec![0]).await?, (400, "Unsupported content type: text/plain\n".to_owned())),
        (post("", vec![0]).await?, (400, "Cannot parse content type: mime: no media type\n".to_owned())),
    ];
    for (found, wanted) in answers {
        ensure!(found == wanted, "found {found:?}, wanted {wanted:?}");
    }
    if let Some(python) = jaeger_python() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/jaeger/python/post_spans.py");
        for (size, code, message) in [
            ("2000", "RESOURCE_EXHAUSTED", limited),
            ("2000000", "RESOURCE_EXHAUSTED", "grpc: received message larger than max (1048576 bytes)"),
        ] {
            let printed = run_tool(Command::new(&python).arg(&script).args([&ports.grpc, size])).await?;
            let answer: Value = serde_json::from_str(&printed)?;
            ensure!(answer == json!({"code": code, "message": message}), "{size}: {answer}");
        }
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for (transport, port, message) in [
        ("udp_thrift_compact", ports.compact, compact_message as fn(usize) -> Vec<u8>),
        ("udp_thrift_binary", ports.binary, binary_message),
    ] {
        for datagram in [message(2000), message(5000), vec![1, 2, 3]] {
            socket.send_to(&datagram, ("127.0.0.1", port))?;
        }
        let labels = format!("receiver=\"jaeger\",transport=\"{transport}\"");
        metric(&client, &server, &format!("tempo_receiver_refused_spans{{{labels}}} 1")).await?;
        for reason in ["too_large", "malformed"] {
            let labels = format!("reason=\"{reason}\",receiver=\"jaeger\",transport=\"{transport}\"");
            metric(&client, &server, &format!("tempo_receiver_datagrams_dropped_total{{{labels}}} 1"))
                .await?;
        }
    }
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn clients_are_told_how_much_to_sample() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let server = Server::start(dir.path(), &ports.options([""; 3])).await?;
    let client = Client::default();

    let collector = ports.thrift_http.replace("/api/traces", "/api/sampling");
    for url in
        [format!("http://{}/sampling?service=shop", ports.sampling), format!("{collector}?service=shop")]
    {
        let found = client.get(&url, &[]).await?.json()?;
        let wanted =
            json!({"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": 0.25}});
        ensure!(found == wanted, "{url}: {found}");
    }
    let refused = client.get(&format!("http://{}/sampling", ports.sampling), &[]).await?;
    ensure!(refused.status == 400, "{}", refused.text());
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn datagrams_that_were_sent_before_the_stop_are_kept() -> anyhow::Result<()> {
    const SENT: u8 = 60;
    let dir = tempfile::tempdir()?;
    let ports = Ports::free()?;
    let options = ports.options([""; 3]);
    let server = Server::start(dir.path(), &options).await?;
    let client = Client::default();

    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for trace in 1..=SENT {
        let mut datagram = compact_message(100);
        // The low half of the trace id, zigzag.
        let at = datagram.windows(2).position(|field| field == [0x16, 2]).context("a trace id")?;
        datagram[at + 1] = trace * 2;
        socket.send_to(&datagram, ("127.0.0.1", ports.compact))?;
    }
    server.stop().await?;

    let server = Server::start(dir.path(), &options).await?;
    for trace in 1..=SENT {
        let response = client.get(&format!("{}/api/traces/{:016x}{trace:016x}", server.http, 2), &[]).await?;
        ensure!(response.status == 200, "{trace}: {}", response.text());
    }
    server.stop().await?;
    Ok(())
}
