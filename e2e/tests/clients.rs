//! Real OpenTelemetry SDKs over gRPC and HTTP; what they sent comes back field by field, live and from a block.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tempo_e2e::{
    Client, Collector, Server, ServerOptions, SpanMaker, Way, eventually, go_clients, java, javascript,
    post_file, python, run_tool, telemetrygen,
};
use tokio::process::Command;

/// A client program, the transport it is asked to use, and where that goes.
struct Case {
    name: &'static str,
    program: Command,
}

fn command(program: &Path, script: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg(script).args(arguments);
    command
}

fn cases(server: &Server) -> Vec<Case> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let mut cases = Vec::new();
    if let Some(python) = python() {
        let script = here.join("python/send.py");
        let mut add = |name, arguments: &[&str]| {
            cases.push(Case { name, program: command(&python, &script, arguments) });
        };
        add("python grpc", &["grpc", &server.otlp_grpc]);
        add("python grpc gzip", &["grpc", &server.otlp_grpc, "gzip"]);
        add("python http", &["http", &server.otlp_http]);
        add("python http gzip", &["http", &server.otlp_http, "gzip"]);
    }
    if let Some(javascript) = javascript() {
        // Node looks for packages beside the script, so the script is copied to where they were installed.
        let script = javascript.join("send.mjs");
        let mut add = |name, arguments: &[&str]| {
            cases.push(Case { name, program: command(Path::new("node"), &script, arguments) });
        };
        add("javascript grpc", &["grpc", &server.otlp_grpc]);
        add("javascript json", &["http", &server.otlp_http]);
        add("javascript protobuf", &["proto", &server.otlp_http]);
        add("javascript protobuf gzip", &["proto", &server.otlp_http, "gzip"]);
    }
    if let Some(go) = go_clients() {
        let mut add = |name, arguments: &[&str]| {
            let mut program = Command::new(go.join("otlp"));
            program.args(arguments);
            cases.push(Case { name, program });
        };
        add("go grpc", &["grpc", &server.otlp_grpc]);
        add("go grpc gzip", &["grpc", &server.otlp_grpc, "gzip"]);
        add("go http", &["http", &server.otlp_http]);
        add("go http gzip", &["http", &server.otlp_http, "gzip"]);
    }
    for (name, arguments) in [
        ("java grpc", ["grpc", &server.otlp_grpc, "none"]),
        ("java grpc gzip", ["grpc", &server.otlp_grpc, "gzip"]),
        ("java http", ["http", &server.otlp_http, "none"]),
        ("java http gzip", ["http", &server.otlp_http, "gzip"]),
    ] {
        if let Some(mut program) = java("clients.Otlp") {
            program.args(arguments);
            cases.push(Case { name, program });
        }
    }
    cases
}

#[tokio::test]
async fn what_real_sdks_send_comes_back_field_by_field() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let client = Client::default();
    let mut sent = Vec::new();

    for mut case in cases(&server) {
        let printed = run_tool(&mut case.program).await.context(case.name)?;
        let facts: Value =
            serde_json::from_str(&printed).with_context(|| format!("{}: {printed}", case.name))?;
        let live = fetch(&client, &server, &facts).await.context(case.name)?;
        check(&live, &facts).context(case.name)?;
        sent.push((case.name, facts, live));
    }
    let flushed = client.get(&format!("{}/flush?wait=true", server.http), &[]).await?;
    ensure!(flushed.status == 204, "flush: {} {}", flushed.status, flushed.text());
    server.stop().await?;
    std::fs::remove_dir_all(dir.path().join("wal"))?;

    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    for (name, facts, live) in sent {
        let from_block = fetch(&client, &server, &facts).await.context(name)?;
        let (from_block, live) = (sorted(from_block), sorted(live));
        ensure!(from_block == live, "{name}: from the block {from_block}, live {live}");
    }
    server.stop().await?;
    Ok(())
}

/// The Collector batches, so what it was given arrives later.
#[tokio::test]
async fn what_the_collector_passes_on_over_otlp_comes_back_field_by_field() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let (Some(collector), Some(go)) = (Collector::start(dir.path(), &server).await?, go_clients()) else {
        return Ok(());
    };
    let client = Client::default();

    for way in [Way::OtlpGrpcZstd, Way::OtlpHttpGzip, Way::OtlpHttpJsonZstd] {
        let mut program = Command::new(go.join("otlp"));
        let printed = run_tool(program.args(["grpc", &collector.endpoint(way)])).await?;
        let facts: Value = serde_json::from_str(&printed)?;
        let name = way.as_str();
        let live = eventually("the trace is there", Duration::from_secs(20), async || {
            fetch(&client, &server, &facts).await
        });
        check(&live.await.context(name)?, &facts).context(name)?;
    }
    collector.stop().await?;
    server.stop().await?;
    Ok(())
}

/// Spans that the server has taken in.
async fn spans_taken_in(client: &Client, server: &Server) -> anyhow::Result<u64> {
    metric(client, server, "tempo_distributor_spans_received_total{").await
}

/// The sum of all series that begin like this.
async fn metric(client: &Client, server: &Server, beginning: &str) -> anyhow::Result<u64> {
    let text = client.get(&format!("{}/metrics", server.http), &[]).await?.text();
    let values =
        text.lines().filter(|line| line.starts_with(beginning)).filter_map(|line| line.split(' ').nth(1));
    values.map(|value| value.parse::<u64>().with_context(|| value.to_owned())).sum()
}

#[tokio::test]
async fn everything_that_telemetrygen_sends_is_taken_in() -> anyhow::Result<()> {
    let Some(telemetrygen) = telemetrygen() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let client = Client::default();
    let http = server.otlp_http.trim_start_matches("http://").trim_end_matches("/v1/traces");
    let load = ["traces", "--otlp-insecure", "--traces=100", "--child-spans=3", "--workers=2", "--rate=0"];

    let mut grpc = Command::new(&telemetrygen);
    run_tool(grpc.args(load).args(["--otlp-endpoint", &server.otlp_grpc])).await?;
    ensure!(spans_taken_in(&client, &server).await? == 800);
    let mut over_http = Command::new(&telemetrygen);
    run_tool(over_http.args(load).args(["--otlp-http", "--otlp-endpoint", http])).await?;
    ensure!(spans_taken_in(&client, &server).await? == 1600);

    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_collector_comes_again_until_all_spans_are_in() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = ServerOptions {
        distributor: "  retry_after_on_resource_exhausted: 200ms".to_owned(),
        overrides: "  defaults:\n    ingestion: {rate_limit_bytes: 100000, burst_size_bytes: 100000}"
            .to_owned(),
        ..ServerOptions::default()
    };
    let server = Server::start(dir.path(), &options).await?;
    let collector = Collector::start(dir.path(), &server).await?;
    let (Some(collector), Some(telemetrygen)) = (collector, telemetrygen()) else { return Ok(()) };
    let client = Client::default();

    for (way, sum) in [(Way::OtlpGrpcZstd, 400), (Way::OtlpHttpGzip, 800)] {
        let mut load = Command::new(&telemetrygen);
        load.args(["traces", "--otlp-insecure", "--traces=200", "--rate=0", "--size=0"])
            .args(["--telemetry-attributes", &format!("filler=\"{}\"", "x".repeat(500))])
            .args(["--otlp-endpoint", &collector.endpoint(way)]);
        run_tool(&mut load).await?;
        eventually("all spans are in", Duration::from_secs(60), async || {
            let spans = spans_taken_in(&client, &server).await?;
            ensure!(spans == sum, "{spans} of {sum} spans");
            Ok(())
        })
        .await
        .context(way.as_str())?;
    }
    let refused = metric(&client, &server, "tempo_discarded_spans_total{reason=\"rate_limited\"").await?;
    ensure!(refused > 0, "the rate was never too high");
    collector.stop().await?;
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn limits_are_answered_as_documented() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let overrides = "  defaults:\n    ingestion: {rate_limit_bytes: 100, burst_size_bytes: 100}".to_owned();
    let server = Server::start(dir.path(), &ServerOptions { overrides, ..ServerOptions::default() }).await?;
    let client = Client::default();
    let post = async |body: Vec<u8>| {
        client.post(&server.otlp_http, &[("content-type", "application/x-protobuf")], body.into()).await
    };
    let batch = SpanMaker { seed: 1, spans_per_trace: 3 }.batch(0, 1);

    let over_rate = post(batch.body.to_vec()).await?;
    ensure!(over_rate.status == 429, "{} {}", over_rate.status, over_rate.text());
    ensure!(over_rate.text().contains("RATE_LIMITED: batch size ("), "{}", over_rate.text());
    let file = dir.path().join("too-large");
    std::fs::write(&file, vec![0; (20 << 20) + 1])?;
    let (status, text) = post_file(&server.otlp_http, "application/x-protobuf", &file).await?;
    ensure!(status == 400 && text.contains("http: request body too large"), "{status} {text}");
    if let Some(go) = go_clients() {
        let mut program = Command::new(go.join("otlp"));
        let Err(refused) = run_tool(program.args(["grpc", &server.otlp_grpc])).await else {
            bail!("a batch over the rate was taken in");
        };
        ensure!(refused.to_string().contains("ResourceExhausted desc = RATE_LIMITED: "), "{refused}");
    }
    server.stop().await?;
    Ok(())
}

async fn fetch(client: &Client, server: &Server, facts: &Value) -> anyhow::Result<Value> {
    let id = facts["trace_id"].as_str().context("the client names its trace")?;
    let response = client.get(&format!("{}/api/traces/{id}", server.http), &[]).await?;
    ensure!(response.status == 200, "{id}: {} {}", response.status, response.text());
    response.json()
}

fn check(trace: &Value, facts: &Value) -> anyhow::Result<()> {
    let batches = trace["batches"].as_array().context("batches")?;
    let resources: Vec<&Value> =
        batches.iter().flat_map(|b| b["resource"]["attributes"].as_array()).flatten().collect();
    has(&resources, &json!({"key": "service.name", "value": {"stringValue": facts["service"]}}))?;
    has(&resources, &json!({"key": "host.cores", "value": {"intValue": "2"}}))?;
    let scopes: Vec<&Value> = batches.iter().flat_map(|b| b["scopeSpans"].as_array()).flatten().collect();
    ensure!(
        scopes.iter().all(|s| s["scope"] == json!({"name": facts["scope"], "version": "1.2.3"})),
        "scopes: {scopes:?}"
    );
    let spans: Vec<&Value> = scopes.iter().flat_map(|s| s["spans"].as_array()).flatten().collect();
    ensure!(spans.len() == 2, "{} spans", spans.len());

    let root = by_name(&spans, "checkout")?;
    ensure!(
        root["spanId"] == base64_of_hex(&facts["root"])? && root.get("parentSpanId").is_none(),
        "root: {root}"
    );
    ensure!(root["kind"] == "SPAN_KIND_SERVER", "kind: {root}");
    let attributes: Vec<&Value> = root["attributes"].as_array().context("attributes")?.iter().collect();
    has(&attributes, &json!({"key": "text", "value": {"stringValue": "grüße"}}))?;
    has(&attributes, &json!({"key": "flag", "value": {"boolValue": true}}))?;
    has(&attributes, &json!({"key": "count", "value": {"intValue": "7"}}))?;
    has(&attributes, &json!({"key": "share", "value": {"doubleValue": 0.5}}))?;
    has(&attributes, &json!({"key": "empty", "value": {"stringValue": ""}}))?;
    let list = json!({"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}});
    has(&attributes, &json!({"key": "list", "value": list}))?;

    let child = by_name(&spans, "pay")?;
    ensure!(child["spanId"] == base64_of_hex(&facts["child"])?, "child: {child}");
    ensure!(child["parentSpanId"] == root["spanId"] && child["kind"] == "SPAN_KIND_CLIENT", "child: {child}");
    ensure!(
        child["status"] == json!({"message": "card declined", "code": "STATUS_CODE_ERROR"}),
        "status: {child}"
    );
    let event = &child["events"][0];
    ensure!(event["name"] == "declined" && event["timeUnixNano"].is_string(), "event: {event}");
    ensure!(event["attributes"] == json!([{"key": "code", "value": {"intValue": "51"}}]), "event: {event}");
    let link = &child["links"][0];
    ensure!(
        link["traceId"] == "EjRWeJCrze8SNFZ4kKvN7w==" && link["spanId"] == "EjRWeJCrze8=",
        "link: {link}"
    );
    ensure!(link["attributes"] == json!([{"key": "why", "value": {"stringValue": "retry"}}]), "link: {link}");
    Ok(())
}

/// Attributes by key: a block keeps some of them in columns of their own, and their order is lost.
fn sorted(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields {
                *field = sorted(field.take());
                if let (Value::Array(attributes), "attributes") = (field, name.as_str()) {
                    attributes.sort_by_key(|attribute| attribute["key"].to_string());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = sorted(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn has(values: &[&Value], wanted: &Value) -> anyhow::Result<()> {
    ensure!(values.contains(&wanted), "{wanted} is not in {values:?}");
    Ok(())
}

fn by_name<'a>(spans: &[&'a Value], name: &str) -> anyhow::Result<&'a Value> {
    spans
        .iter()
        .find(|span| span["name"] == name)
        .copied()
        .with_context(|| format!("no span {name} in {spans:?}"))
}

fn base64_of_hex(hex: &Value) -> anyhow::Result<Value> {
    use base64::Engine as _;
    let id = u64::from_str_radix(hex.as_str().context("a span id")?, 16)?;
    Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(id.to_be_bytes())))
}
