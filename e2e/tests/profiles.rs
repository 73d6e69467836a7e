//! `/debug/pprof/*` in the form that the `pprof` command opens.

use anyhow::{Context as _, ensure};
use tempo_e2e::{Client, Server, ServerOptions, pprof_tool, run_tool};
use tokio::process::Command;

#[tokio::test]
async fn pprof_opens_every_profile() -> anyhow::Result<()> {
    let Some(pprof) = pprof_tool() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path(), &ServerOptions::default()).await?;
    let client = Client::default();

    for (name, sample_type) in [
        ("profile?seconds=1", "cpu/nanoseconds"),
        ("heap", "inuse_space/bytes"),
        ("goroutine", "goroutine/count"),
        ("block", "contentions/count"),
        ("mutex", "contentions/count"),
    ] {
        let response = client.get(&format!("{}/debug/pprof/{name}", server.http), &[]).await?;
        ensure!(response.status == 200, "{name}: {} {}", response.status, response.text());
        ensure!(response.body.starts_with(&[0x1f, 0x8b]), "{name} is not gzip");
        let file = dir.path().join("profile.pb.gz");
        std::fs::write(&file, &response.body)?;
        let raw = run_tool(Command::new(&pprof).arg("-raw").arg(&file)).await.context(name)?;
        ensure!(raw.contains(sample_type), "{name} has no {sample_type}:\n{raw}");
    }
    server.stop().await?;
    Ok(())
}
