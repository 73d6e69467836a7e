//! Our blocks, read by a Parquet library that is not ours: schema leaf by leaf, every value, order, page index.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempo_e2e::{Client, Server, ServerOptions, SpanMaker, python, run_tool};
use tokio::process::Command;

#[tokio::test]
async fn pyarrow_reads_our_blocks_and_finds_tempos_schema() -> anyhow::Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let client = Client::default();
    let maker = SpanMaker { seed: 7, spans_per_trace: 31 };
    for first in (0..2000).step_by(100) {
        let headers = [("content-type", "application/x-protobuf")];
        let response = client.post(&server.otlp_http, &headers, maker.batch(first, 100).body).await?;
        ensure!(response.status == 200, "{} {}", response.status, response.text());
    }

    let flushed = client.get(&format!("{}/flush?wait=true", server.http), &[]).await?;
    ensure!(flushed.status == 204, "{} {}", flushed.status, flushed.text());
    let data = find(&dir.path().join("blocks/single-tenant"), "data.parquet").context("a block")?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python");
    let said = run_tool(
        Command::new(python).arg(scripts.join("schema.py")).arg(data).arg(scripts.join("vparquet4.txt")),
    )
    .await?;

    ensure!(said.starts_with("ok: 2000 rows, 103 leaves"), "{said}");
    server.stop().await?;
    Ok(())
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}
