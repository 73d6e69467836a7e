//! What ships: one static file under 60 MB, in an image with nothing else, as a user without rights.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempo_e2e::{Image, operator::Release, run_tool};
use tokio::process::Command;

const LARGEST: u64 = 60_000_000;

#[tokio::test]
async fn images_are_small_and_their_binaries_static() -> anyhow::Result<()> {
    let Some(release) = Release::find() else { return Ok(()) };
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    for binary in [&release.tempo, &release.operator] {
        let archive = folder.path().join("image.tar");
        Image::of("tempo-rs/measured:1", binary).write(&archive).await?;
        let size = std::fs::metadata(&archive)?.len();
        ensure!(size < LARGEST, "the image of {} has {size} bytes", binary.display());
        let described = run_tool(Command::new("readelf").arg("--program-headers").arg(binary)).await?;
        ensure!(!described.contains("INTERP"), "{} needs a dynamic loader", binary.display());
    }
    Ok(())
}

#[test]
fn the_last_stage_of_a_dockerfile_is_scratch_and_runs_nothing() -> anyhow::Result<()> {
    for (file, binary) in
        [("components/tempo/Dockerfile", "/tempo"), ("operator/Dockerfile", "/tempo-operator")]
    {
        let text = std::fs::read_to_string(root().join(file))?;
        let (_, last) = text.rsplit_once("\nFROM ").context("a Dockerfile has stages")?;
        let mut lines = last.lines().filter(|line| !line.is_empty());
        ensure!(lines.next() == Some("scratch"), "{file}: the last stage is not FROM scratch");
        let lines: Vec<&str> = lines.collect();
        ensure!(lines.contains(&"USER 65532:65532"), "{file}: {lines:#?}");
        ensure!(lines.contains(&format!("ENTRYPOINT [\"{binary}\"]").as_str()), "{file}: {lines:#?}");
        ensure!(!lines.iter().any(|line| line.starts_with("RUN")), "{file}: {lines:#?}");
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
