//! `kill -9` at a random moment loses no acknowledged span; twenty rounds on one data directory.
//!
//! Small heads and segments make cutting, completing, flushing and WAL removal happen all the time, and some rounds kill
//! the server again while it replays. After each round every trace of the round is read back, and at the end every
//! trace of all rounds: none may be missing, none may show a span twice.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tempo_e2e::{Client, Server, ServerOptions, SpanMaker};
use tempo_proto::tempopb::Trace;
use tokio::task::JoinSet;

const ROUNDS: u64 = 20;
const CONNECTIONS: u64 = 4;
const SPANS_PER_TRACE: u64 = 50;
const TRACES_PER_REQUEST: u64 = 5;
const SPANS_PER_ROUND: u64 = 200_000;
const SEND_DEADLINE: Duration = Duration::from_secs(120);
const TRACES_PER_ROUND: u64 = SPANS_PER_ROUND / SPANS_PER_TRACE;

fn options() -> ServerOptions {
    ServerOptions {
        ingester: "  flush_check_period: 200ms\n  tempo_rs: {head_bytes: 8MiB, wal_segment_bytes: 2MiB, \
                   replay_memory_bytes: 16MiB, flush_retry_backoff_min: 100ms}"
            .into(),
        overrides: "  defaults: {ingestion: {rate_limit_bytes: 4000000000, burst_size_bytes: 4000000000, \
                    max_traces_per_user: 0}}"
            .into(),
        ..ServerOptions::default()
    }
}

/// Sends the round's traces until the server is gone; gives the numbers of those acknowledged.
async fn send(url: String, maker: SpanMaker, connection: u64, sent: Arc<AtomicU64>) -> Vec<u64> {
    let client = Client::default();
    let mut acknowledged = Vec::new();
    let per_connection = TRACES_PER_ROUND / CONNECTIONS;
    let mut first = connection * per_connection;
    while first < (connection + 1) * per_connection {
        let batch = maker.batch(first, TRACES_PER_REQUEST);
        let headers = [("content-type", "application/x-protobuf")];
        match client.post(&url, &headers, batch.body).await {
            Ok(response) if response.status.is_success() => {
                acknowledged.extend(first..first + TRACES_PER_REQUEST);
                sent.fetch_add(TRACES_PER_REQUEST * SPANS_PER_TRACE, Ordering::Relaxed);
                first += TRACES_PER_REQUEST;
            }
            // Told to come back: so we do.
            Ok(response) if [429, 503].contains(&response.status.as_u16()) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(_) | Err(_) => break,
        }
    }
    acknowledged
}

/// Every acknowledged trace of a round, whole, each span once.
async fn verify(http: &str, maker: SpanMaker, traces: &[u64]) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for part in traces.chunks(traces.len().div_ceil(4).max(1)) {
        let (http, part) = (http.to_owned(), part.to_vec());
        tasks.spawn(async move {
            let client = Client::default();
            for trace in part {
                let url = format!("{http}/api/traces/{}", maker.trace_id_hex(trace));
                let response = client.get(&url, &[("accept", "application/protobuf")]).await?;
                ensure!(response.status == 200, "trace {trace}: {} {}", response.status, response.text());
                let found = Trace::decode(response.body)?;
                let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
                let scopes = found.resource_spans.iter().flat_map(|r| &r.scope_spans);
                for span in scopes.flat_map(|s| &s.spans) {
                    *seen.entry(span.span_id.clone()).or_default() += 1;
                }
                for span in 0..SPANS_PER_TRACE {
                    let times = seen.remove(maker.span_id(span).as_slice()).unwrap_or_default();
                    ensure!(times == 1, "trace {trace}, span {span}: found {times} times");
                }
                ensure!(seen.is_empty(), "trace {trace}: spans nobody sent: {seen:?}");
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Sends the round's traces and kills the server in the middle; gives the traces that were acknowledged.
async fn send_and_kill(
    dir: &Path,
    maker: SpanMaker,
    rng: &mut SmallRng,
    spans: u64,
) -> anyhow::Result<Vec<u64>> {
    let server = Server::start(dir, &options()).await?;
    let sent = Arc::new(AtomicU64::new(0));
    let mut senders = JoinSet::new();
    for connection in 0..CONNECTIONS {
        senders.spawn(send(server.otlp_http.clone(), maker, connection, Arc::clone(&sent)));
    }
    // The moment is random in the work done, so that a slow machine is hit in the middle too.
    let mut every = tokio::time::interval(Duration::from_millis(1));
    let reached = async {
        while sent.load(Ordering::Relaxed) < spans {
            every.tick().await;
        }
    };
    tokio::time::timeout(SEND_DEADLINE, reached)
        .await
        .context("the senders ended before their spans were taken")?;
    tokio::time::sleep(Duration::from_millis(rng.random_range(0..300))).await;
    server.kill().await?;
    let mut acknowledged = Vec::new();
    while let Some(part) = senders.join_next().await {
        acknowledged.extend(part?);
    }
    Ok(acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_span_is_found_after_sigkill() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut rounds: Vec<(SpanMaker, Vec<u64>)> = Vec::new();
    for round in 0..ROUNDS {
        let maker = SpanMaker { seed: seed.wrapping_add(round), spans_per_trace: SPANS_PER_TRACE };
        // Every fifth round sends everything and is killed while the rest is completed and flushed.
        let spans = if round % 5 == 4 { SPANS_PER_ROUND } else { rng.random_range(1..SPANS_PER_ROUND) };
        let acknowledged = send_and_kill(dir.path(), maker, &mut rng, spans).await?;
        if round % 3 == 1 {
            // Again, in the middle of the replay.
            let replaying = Server::spawn(dir.path(), &options())?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..200))).await;
            replaying.kill().await?;
        }
        let server = Server::start(dir.path(), &options()).await?;
        verify(&server.http, maker, &acknowledged)
            .await
            .with_context(|| format!("round {round}, seed {seed}"))?;
        eprintln!(
            "round {round}: {} spans acknowledged, all found",
            acknowledged.len() as u64 * SPANS_PER_TRACE
        );
        server.kill().await?;
        rounds.push((maker, acknowledged));
    }
    let server = Server::start(dir.path(), &options()).await?;
    for (round, (maker, acknowledged)) in rounds.iter().enumerate() {
        let found = verify(&server.http, *maker, acknowledged).await;
        found.with_context(|| format!("round {round}, at the end, seed {seed}"))?;
    }
    server.stop().await?;
    Ok(())
}
