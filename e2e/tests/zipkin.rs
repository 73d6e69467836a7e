//! Real Zipkin clients in every format; what they sent comes back field by field, live and from a block.
//!
//! `py_zipkin`, zipkin-go and Java's zipkin-reporter send the same three spans, whose expected form is written below by
//! hand: once for version 2 and once for version 1, which has no endpoints of a span. The others send two spans each.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use tempo_e2e::{
    Client, Collector, Server, ServerOptions, Way, eventually, go_clients, java, javascript, post_file,
    python, run_tool,
};
use tokio::process::Command;

/// A client program, and what must come back: a function of the trace's id and of what the program printed.
struct Case {
    name: &'static str,
    program: Command,
    /// `None`: the program prints it.
    trace_id: Option<&'static str>,
    expected: fn(&Facts) -> anyhow::Result<Vec<Value>>,
}

/// What a client printed about its trace.
struct Facts {
    trace_id: String,
    printed: Value,
}

impl Facts {
    fn base64(&self, name: &str) -> anyhow::Result<String> {
        let hex = self.printed[name].as_str().context("an id")?;
        Ok(STANDARD.encode(u64::from_str_radix(hex, 16)?.to_be_bytes()))
    }

    /// Nanoseconds that the client rounds to microseconds.
    fn micros(&self, name: &str) -> anyhow::Result<u64> {
        Ok((self.printed[name].as_u64().context("a time")? + 500) / 1000)
    }

    fn trace(&self) -> anyhow::Result<String> {
        Ok(STANDARD.encode(u128::from_str_radix(&self.trace_id, 16)?.to_be_bytes()))
    }
}

fn cases(server: &Server) -> Vec<Case> {
    let (v1, v2) = (format!("{}/api/v1/spans", server.zipkin), format!("{}/api/v2/spans", server.zipkin));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
    let mut cases = Vec::new();
    let mut add = |name, mut program: Command, arguments: &[&str], trace_id, expected| {
        program.args(arguments);
        cases.push(Case { name, program, trace_id, expected });
    };
    let script = |program: &Path, script: &Path| {
        let mut command = Command::new(program);
        command.arg(script);
        command
    };
    if let Some(python) = python() {
        let run = || script(&python, &here.join("python/zipkin.py"));
        for (name, encoding, url, id, expected) in [
            (
                "py_zipkin v1 json",
                "V1_JSON",
                &v1,
                "463ac35c9f6413ad48485a3953bb6101",
                version_1 as fn(&_) -> _,
            ),
            ("py_zipkin v2 json", "V2_JSON", &v2, "463ac35c9f6413ad48485a3953bb6102", version_2),
            ("py_zipkin v2 protobuf", "V2_PROTO3", &v2, "463ac35c9f6413ad48485a3953bb6103", version_2),
            ("py_zipkin 64 bit", "V2_JSON", &v2, "48485a3953bb6104", version_2),
        ] {
            add(name, run(), &["py_zipkin", encoding, url, id], Some(id), expected);
        }
        add("opentelemetry python v1", run(), &["opentelemetry", "v1", &v1], None, opentelemetry_python_v1);
        add("opentelemetry python v2", run(), &["opentelemetry", "v2", &v2], None, opentelemetry_python);
    }
    if let Some(javascript) = javascript() {
        let run = || script(Path::new("node"), &javascript.join("zipkin.mjs"));
        add("zipkin.js v1", run(), &["zipkin", "JSON_V1", &v1], None, zipkin_js_v1);
        add("zipkin.js v2", run(), &["zipkin", "JSON_V2", &v2], None, zipkin_js);
        add("opentelemetry js", run(), &["opentelemetry", &v2], None, opentelemetry_js);
    }
    if let Some(go) = go_clients() {
        let run = || Command::new(go.join("zipkin"));
        for (name, format, id) in [
            ("zipkin-go json", "json", "463ac35c9f6413ad48485a3953bb6111"),
            ("zipkin-go protobuf", "proto", "463ac35c9f6413ad48485a3953bb6112"),
        ] {
            add(name, run(), &[format, &v2], Some(id), version_2);
        }
    }
    for (name, format, url, id, expected) in [
        (
            "zipkin-reporter v1 json",
            "JSON_V1",
            &v1,
            "463ac35c9f6413ad48485a3953bb6121",
            version_1 as fn(&_) -> _,
        ),
        ("zipkin-reporter v1 thrift", "THRIFT", &v1, "463ac35c9f6413ad48485a3953bb6122", version_1),
        ("zipkin-reporter v2 json", "JSON_V2", &v2, "463ac35c9f6413ad48485a3953bb6123", version_2),
        ("zipkin-reporter v2 protobuf", "PROTO3", &v2, "463ac35c9f6413ad48485a3953bb6124", version_2),
    ] {
        if let Some(program) = java("clients.Zipkin") {
            add(name, program, &[format, url, id], Some(id), expected);
        }
    }
    cases
}

#[tokio::test]
async fn what_real_zipkin_clients_send_comes_back_field_by_field() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let client = Client::default();
    let mut sent = Vec::new();

    for mut case in cases(&server) {
        let printed = run_tool(&mut case.program).await.context(case.name)?;
        let facts = facts(&printed, case.trace_id).context(case.name)?;
        let expected = ordered((case.expected)(&facts).context(case.name)?);
        check(&client, &server, &facts, &expected).await.with_context(|| format!("{} live", case.name))?;
        sent.push((case.name, facts, expected));
    }
    let flushed = client.get(&format!("{}/flush?wait=true", server.http), &[]).await?;
    ensure!(flushed.status == 204, "flush: {} {}", flushed.status, flushed.text());
    server.stop().await?;
    std::fs::remove_dir_all(dir.path().join("wal"))?;

    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    for (name, facts, expected) in sent {
        check(&client, &server, &facts, &expected).await.with_context(|| format!("{name} from the block"))?;
    }
    server.stop().await?;
    Ok(())
}

fn facts(printed: &str, trace_id: Option<&str>) -> anyhow::Result<Facts> {
    if let Some(id) = trace_id {
        return Ok(Facts { trace_id: id.to_owned(), printed: Value::Null });
    }
    let printed: Value = serde_json::from_str(printed).with_context(|| printed.to_owned())?;
    Ok(Facts { trace_id: printed["trace_id"].as_str().context("trace_id")?.to_owned(), printed })
}

/// Compares the whole trace.
async fn check(client: &Client, server: &Server, facts: &Facts, expected: &[Value]) -> anyhow::Result<()> {
    equal(&fetch(client, server, facts).await?, expected)
}

fn equal(found: &[Value], expected: &[Value]) -> anyhow::Result<()> {
    let (found, expected) = (serde_json::to_string_pretty(found)?, serde_json::to_string_pretty(expected)?);
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    ensure!(found == expected, "first difference {differing:?}\nfound {found}\nexpected {expected}");
    Ok(())
}

/// The spans of a trace, each with its resource and scope. Order of spans and attributes is the block's business, so
/// both are sorted.
async fn fetch(client: &Client, server: &Server, facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let response = client.get(&format!("{}/api/traces/{}", server.http, facts.trace_id), &[]).await?;
    ensure!(response.status == 200, "{}: {} {}", facts.trace_id, response.status, response.text());
    let trace = response.json()?;
    let mut found = Vec::new();
    for batch in trace["batches"].as_array().context("batches")? {
        for scope_spans in batch["scopeSpans"].as_array().context("scopeSpans")? {
            for span in scope_spans["spans"].as_array().context("spans")? {
                found.push(json!({
                    "resource": batch["resource"], "scope": scope_spans["scope"], "span": span,
                }));
            }
        }
    }
    Ok(ordered(found))
}

fn ordered(mut spans: Vec<Value>) -> Vec<Value> {
    for span in &mut spans {
        sort_attributes(span);
    }
    spans.sort_by_key(|span| (span["span"]["spanId"].to_string(), span["span"]["kind"].to_string()));
    spans
}

fn sort_attributes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                sort_attributes(field);
                if let (Value::Array(attributes), "attributes") = (field, name.as_str()) {
                    attributes.sort_by_key(|attribute| attribute["key"].to_string());
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort_attributes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn int(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn both(some: &[Value], more: &[Value]) -> Vec<Value> {
    [some, more].concat()
}

fn nanos(micros: u64) -> String {
    (micros * 1000).to_string()
}

const START: u64 = 1_700_000_000_500_000;

/// The three spans in version 2: endpoints are attributes of the spans.
fn version_2(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let front = vec![text("service.name", "front")];
    let back = vec![text("service.name", "back")];
    let at_back = [text("net.host.ip", "2001:db8::c001"), int("net.host.port", 9000)];
    let client = [text("net.host.ip", "10.0.0.1"), int("net.host.port", 8080)];
    three_spans(facts, [&front, &back, &back], [&client, &at_back, &at_back])
}

/// The three spans in version 1: endpoints are attributes of the resources.
fn version_1(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let front = vec![text("service.name", "front"), text("ipv4", "10.0.0.1"), text("port", "8080")];
    let back = vec![text("service.name", "back"), text("ipv6", "2001:db8::c001"), text("port", "9000")];
    three_spans(facts, [&front, &back, &back], [&[], &[], &[]])
}

/// A client's span, the server's that shares its id, and one below them. Ids are unique in the answer: the server's span
/// has got the next free one, its client's as parent, and the span below.
fn three_spans(facts: &Facts, resources: [&[Value]; 3], own: [&[Value]; 3]) -> anyhow::Result<Vec<Value>> {
    let trace = facts.trace()?;
    let client = [
        text("http.path", "/"),
        text("text", "grüße"),
        text("empty", ""),
        text("peer.service", "back"),
        text("net.peer.ip", "2001:db8::c001"),
        int("net.peer.port", 9000),
    ];
    let server = [text("peer.service", "front"), text("net.peer.ip", "10.0.0.1"), int("net.peer.port", 8080)];
    let local = [text("error", "timed out")];
    Ok(vec![
        json!({
            "resource": {"attributes": resources[0]}, "scope": {},
            "span": {
                "traceId": trace, "spanId": "ERERERERERE=", "name": "get /", "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": nanos(START), "endTimeUnixNano": nanos(START + 500_000),
                "attributes": both(own[0], &client),
                "events": [{"timeUnixNano": nanos(START + 250_000), "name": "cache miss"}], "status": {},
            },
        }),
        json!({
            "resource": {"attributes": resources[1]}, "scope": {},
            "span": {
                "traceId": trace, "spanId": "IiIiIiIiIiM=", "parentSpanId": "ERERERERERE=", "name": "get /",
                "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": nanos(START + 125_000), "endTimeUnixNano": nanos(START + 375_000),
                "attributes": both(own[1], &server), "status": {},
            },
        }),
        json!({
            "resource": {"attributes": resources[2]}, "scope": {},
            "span": {
                "traceId": trace, "spanId": "IiIiIiIiIiI=", "parentSpanId": "IiIiIiIiIiM=", "name": "query",
                "startTimeUnixNano": nanos(START + 187_500), "endTimeUnixNano": nanos(START + 250_000),
                "attributes": both(own[2], &local),
                "status": {"message": "timed out", "code": "STATUS_CODE_ERROR"},
            },
        }),
    ])
}

fn opentelemetry_python(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let resource = vec![text("service.name", "python-shop"), text("host.name", "shop-1")];
    let endpoint = [text("net.host.ip", "10.0.0.1"), int("net.host.port", 8080)];
    opentelemetry_python_with(facts, &resource, &endpoint, true)
}

fn opentelemetry_python_v1(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let resource = vec![
        text("service.name", "python-shop"),
        text("host.name", "shop-1"),
        text("ipv4", "10.0.0.1"),
        text("port", "8080"),
    ];
    opentelemetry_python_with(facts, &resource, &[], false)
}

/// Version 1 of this exporter does not tell the kind.
fn opentelemetry_python_with(
    facts: &Facts,
    resource: &[Value],
    endpoint: &[Value],
    has_kind: bool,
) -> anyhow::Result<Vec<Value>> {
    let (trace, root, child) = (facts.trace()?, facts.base64("root")?, facts.base64("child")?);
    let scope = json!({"name": "e2e.python", "version": "1.2.3"});
    let times = |name: &str| -> anyhow::Result<(String, String)> {
        let [from, to] = [format!("{name}_start"), format!("{name}_end")];
        let start = facts.micros(&from)?;
        let ended = facts.printed[to].as_u64().context("an end")?;
        let began = facts.printed[from].as_u64().context("a start")?;
        Ok((nanos(start), nanos(start + (ended - began + 500) / 1000)))
    };
    let (root_start, root_end) = times("root")?;
    let (child_start, child_end) = times("child")?;
    let tags =
        [text("text", "grüße"), text("flag", "true"), text("count", "7"), text("list", r#"["a","b"]"#)];
    let mut spans = vec![
        json!({
            "resource": {"attributes": resource}, "scope": scope,
            "span": {
                "traceId": trace, "spanId": root, "name": "checkout", "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": root_start, "endTimeUnixNano": root_end,
                "attributes": both(endpoint, &tags), "status": {},
            },
        }),
        json!({
            "resource": {"attributes": resource}, "scope": scope,
            "span": {
                "traceId": trace, "spanId": child, "parentSpanId": root, "name": "pay", "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": child_start, "endTimeUnixNano": child_end,
                "attributes": both(endpoint, &[text("error", "card declined")]),
                "events": [{
                    "timeUnixNano": nanos(facts.micros("event")?), "name": "declined",
                    "attributes": [int("code", 51)],
                }],
                "status": {"message": "card declined", "code": "STATUS_CODE_ERROR"},
            },
        }),
    ];
    for span in spans.iter_mut().filter(|_| !has_kind).filter_map(|span| span["span"].as_object_mut()) {
        span.remove("kind");
    }
    Ok(spans)
}

fn zipkin_js(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let resource = vec![text("service.name", "javascript-shop")];
    let endpoint = [text("net.host.ip", "10.0.0.1"), int("net.host.port", 8080)];
    zipkin_js_with(facts, [&resource, &resource], &endpoint)
}

fn zipkin_js_v1(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let service = text("service.name", "javascript-shop");
    let root = [service.clone(), text("ipv4", "10.0.0.1"), text("port", "8080")];
    zipkin_js_with(facts, [&root, &[service]], &[])
}

fn zipkin_js_with(facts: &Facts, resources: [&[Value]; 2], endpoint: &[Value]) -> anyhow::Result<Vec<Value>> {
    let (trace, root, child) = (facts.trace()?, facts.base64("root")?, facts.base64("child")?);
    let start = 1_700_000_000_000_001;
    let root_tags = [
        text("text", "grüße"),
        text("region", "eu"),
        text("net.peer.ip", "10.0.0.7"),
        int("net.peer.port", 40000),
    ];
    let child_tags = [
        text("error", "timed out"),
        text("region", "eu"),
        text("peer.service", "db"),
        text("net.peer.ip", "10.0.0.9"),
        int("net.peer.port", 3306),
    ];
    Ok(vec![
        json!({
            "resource": {"attributes": resources[0]}, "scope": {},
            "span": {
                "traceId": trace, "spanId": root, "name": "get /", "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": nanos(start), "endTimeUnixNano": nanos(start + 3000),
                "attributes": both(endpoint, &root_tags), "status": {},
            },
        }),
        json!({
            "resource": {"attributes": resources[1]}, "scope": {},
            "span": {
                "traceId": trace, "spanId": child, "parentSpanId": root, "name": "query", "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": nanos(start + 1000), "endTimeUnixNano": nanos(start + 2000),
                "attributes": child_tags,
                "events": [{"timeUnixNano": nanos(start + 1500), "name": "cache miss"}],
                "status": {"message": "timed out", "code": "STATUS_CODE_ERROR"},
            },
        }),
    ])
}

fn opentelemetry_js(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let (trace, root, child) = (facts.trace()?, facts.base64("root")?, facts.base64("child")?);
    let resource = [text("service.name", "javascript-shop"), text("host.name", "shop-1")];
    let start = 1_700_000_000_000_000;
    Ok(vec![
        json!({
            "resource": {"attributes": resource}, "scope": {},
            "span": {
                "traceId": trace, "spanId": root, "name": "checkout", "kind": "SPAN_KIND_SERVER",
                "startTimeUnixNano": nanos(start + 1), "endTimeUnixNano": nanos(start + 9),
                "attributes": [text("text", "grüße"), text("flag", "true"), text("count", "7")], "status": {},
            },
        }),
        json!({
            "resource": {"attributes": resource}, "scope": {},
            "span": {
                "traceId": trace, "spanId": child, "parentSpanId": root, "name": "pay", "kind": "SPAN_KIND_CLIENT",
                "startTimeUnixNano": nanos(start + 2), "endTimeUnixNano": nanos(start + 5),
                "attributes": [text("error", "card declined")],
                "events": [{"timeUnixNano": nanos(start + 3), "name": "declined"}],
                "status": {"message": "card declined", "code": "STATUS_CODE_ERROR"},
            },
        }),
    ])
}

#[tokio::test]
async fn what_the_collector_passes_on_over_zipkin_comes_back_field_by_field() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let (Some(collector), Some(go)) = (Collector::start(dir.path(), &server).await?, go_clients()) else {
        return Ok(());
    };
    let client = Client::default();

    for way in [Way::ZipkinJson, Way::ZipkinProtobuf] {
        let mut program = Command::new(go.join("otlp"));
        let printed = run_tool(program.args(["grpc", &collector.endpoint(way)])).await?;
        let facts = facts(&printed, None)?;
        let found = eventually("the trace is there", Duration::from_secs(20), async || {
            fetch(&client, &server, &facts).await
        });
        let mut found = found.await.context(way.as_str())?;
        for span in found.iter_mut().filter_map(|span| span["span"].as_object_mut()) {
            ensure!(span.remove("startTimeUnixNano").is_some() && span.remove("endTimeUnixNano").is_some());
        }
        if let Some(event) =
            found.iter_mut().find_map(|span| span["span"].pointer_mut("/events/0")?.as_object_mut())
        {
            event.remove("timeUnixNano");
        }
        equal(&found, &ordered(go_through_zipkin(&facts)?)).context(way.as_str())?;
    }
    collector.stop().await?;
    server.stop().await?;
    Ok(())
}

/// The trace of the client in Go without its times, after the Collector made Zipkin spans of it: attributes are text.
fn go_through_zipkin(facts: &Facts) -> anyhow::Result<Vec<Value>> {
    let (trace, root, child) = (facts.trace()?, facts.base64("root")?, facts.base64("child")?);
    let resource = json!({"attributes": [text("service.name", "go-shop")]});
    let scope = json!({"name": "e2e.go", "version": "1.2.3"});
    let root_tags = [
        text("host.cores", "2"),
        text("text", "grüße"),
        text("flag", "true"),
        text("count", "7"),
        text("share", "0.5"),
        text("list", r#"["a","b"]"#),
        text("empty", ""),
    ];
    Ok(vec![
        json!({
            "resource": resource, "scope": scope,
            "span": {
                "traceId": trace, "spanId": root, "name": "checkout", "kind": "SPAN_KIND_SERVER",
                "attributes": root_tags, "status": {},
            },
        }),
        json!({
            "resource": resource, "scope": scope,
            "span": {
                "traceId": trace, "spanId": child, "parentSpanId": root, "name": "pay", "kind": "SPAN_KIND_CLIENT",
                "attributes": [text("host.cores", "2")],
                "events": [{"name": "declined", "attributes": [int("code", 51)]}],
                "links": [{
                    "traceId": "EjRWeJCrze8SNFZ4kKvN7w==", "spanId": "EjRWeJCrze8=",
                    "attributes": [text("why", "retry")],
                }],
                "status": {"message": "card declined", "code": "STATUS_CODE_ERROR"},
            },
        }),
    ])
}

#[tokio::test]
async fn limits_are_answered_as_documented() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let overrides =
        "  defaults:\n    ingestion: {rate_limit_bytes: 10000, burst_size_bytes: 10000}".to_owned();
    let server = Server::start(dir.path(), &ServerOptions { overrides, ..ServerOptions::default() }).await?;
    let client = Client::default();
    let url = format!("{}/api/v2/spans", server.zipkin);
    let post = async |body: Vec<u8>| -> anyhow::Result<(u16, String)> {
        let response = client.post(&url, &[("content-type", "application/json")], Bytes::from(body)).await?;
        Ok((response.status.as_u16(), response.text()))
    };
    let tag = "x".repeat(20_000);
    let over_rate = format!(r#"[{{"traceId":"1","id":"1","tags":{{"t":"{tag}"}}}}]"#);
    let file = dir.path().join("too-large");
    std::fs::write(&file, vec![b' '; (20 << 20) + 1])?;

    ensure!(post(over_rate.into_bytes()).await? == (500, r#""Internal Server Error""#.to_owned()));
    let too_large = post_file(&url, "application/json", &file).await?;
    ensure!(too_large == (400, "http: request body too large".to_owned()), "{too_large:?}");
    ensure!(post(b"[{]".to_vec()).await? == (400, "key must be a string at line 1 column 3".to_owned()));
    ensure!(post(br#"[{"traceId":"1","id":"1"}]"#.to_vec()).await? == (202, String::new()));
    server.stop().await?;
    Ok(())
}
