//! The process: how it stops, who may share its directory, how large a trace may be.

use anyhow::ensure;
use prost::Message as _;
use tempo_e2e::{Client, Server, ServerOptions, SpanMaker};
use tempo_proto::tempopb::Trace;

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

#[tokio::test]
async fn sigterm_leaves_everything_safe_and_says_so() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let client = Client::default();
    let maker = SpanMaker { seed: 1, spans_per_trace: 10 };
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let pushed = client.post(&server.otlp_http, &PROTOBUF, maker.batch(0, 100).body).await?;
    ensure!(pushed.status == 200, "{}", pushed.text());

    let (status, took) = server.stop().await?;

    ensure!(status.code() == Some(0), "ended with {status}");
    ensure!(took.as_secs() < 5, "took {took:?}");
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    for trace in 0..100 {
        let found =
            client.get(&format!("{}/api/traces/{}", server.http, maker.trace_id_hex(trace)), &[]).await?;
        ensure!(found.status == 200, "trace {trace}: {}", found.status);
    }
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_process_on_the_same_directory_is_refused() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;

    let second = Server::start(dir.path(), &ServerOptions::default()).await;

    let refusal = second.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("wal"), "{refusal}");
    let ready = Client::default().get(&format!("{}/ready", server.http), &[]).await?;
    ensure!(ready.text() == "ready\n", "{}", ready.text());
    server.stop().await?;
    Ok(())
}

#[tokio::test]
async fn a_trace_of_100000_spans_comes_back_whole_live_and_from_its_block() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = ServerOptions {
        overrides: "  defaults:\n    global: {max_bytes_per_trace: 0}\n    \
                    ingestion: {rate_limit_bytes: 1000000000, burst_size_bytes: 1000000000}"
            .into(),
        ..ServerOptions::default()
    };
    let server = Server::start(dir.path(), &options).await?;
    let client = Client::default();
    let maker = SpanMaker { seed: 2, spans_per_trace: 100_000 };
    for part in 0..20 {
        let batch = maker.part(0, part * 5_000..(part + 1) * 5_000);
        let pushed = client.post(&server.otlp_http, &PROTOBUF, batch).await?;
        ensure!(pushed.status == 200, "{}", pushed.text());
    }

    let live = fetch(&client, &server, &maker).await?;
    let flushed = client.get(&format!("{}/flush?wait=true", server.http), &[]).await?;
    ensure!(flushed.status == 204, "{}", flushed.text());
    let from_block = fetch(&client, &server, &maker).await?;

    ensure!(live == 100_000 && from_block == 100_000, "{live} spans live, {from_block} from the block");
    server.stop().await?;
    Ok(())
}

async fn fetch(client: &Client, server: &Server, maker: &SpanMaker) -> anyhow::Result<usize> {
    let url = format!("{}/api/traces/{}", server.http, maker.trace_id_hex(0));
    let response = client.get(&url, &[("accept", "application/protobuf")]).await?;
    ensure!(response.status == 200, "{} {}", response.status, response.text());
    let trace = Trace::decode(response.body)?;
    Ok(trace.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum())
}
