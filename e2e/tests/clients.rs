//! Real OpenTelemetry SDKs over gRPC and HTTP; what they sent comes back field by field, live and from a block.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tempo_e2e::{Client, Server, ServerOptions, javascript, python, run_tool};
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
