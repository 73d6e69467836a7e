//! Writes an image archive that containerd imports, without a builder: one static binary, CA certificates, an empty `/tmp`.
//!
//! The same content as the Dockerfiles' last stage (`FROM scratch`). The archive is `docker save`'s: `manifest.json`, the
//! configuration, one layer.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;
use tokio::process::Command;

use crate::run_tool;

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The user of every image; the chart and the operator's pods name it too.
const USER: &str = "65532:65532";

#[derive(Debug, Clone)]
pub struct Image {
    /// With its tag: `tempo-rs/tempo:0.1.0`.
    pub name: String,
    /// A statically linked program.
    pub binary: PathBuf,
    /// Where it lies in the image.
    pub path: PathBuf,
    pub entrypoint: Vec<String>,
}

impl Image {
    /// An image that runs this binary, which lies at `/<its file name>`.
    pub fn of(name: &str, binary: &Path) -> Image {
        let path = Path::new("/").join(binary.file_name().unwrap_or_default());
        let entrypoint = vec![path.display().to_string()];
        Image { name: name.to_owned(), binary: binary.to_owned(), path, entrypoint }
    }

    /// The same content under another name.
    pub fn named(&self, name: &str) -> Image {
        Image { name: name.to_owned(), ..self.clone() }
    }

    /// Writes the archive. Equal content gives equal bytes.
    pub async fn write(&self, archive: &Path) -> anyhow::Result<()> {
        let work = archive.with_extension("image");
        let root = work.join("root");
        let written = self.write_parts(&work, &root, archive).await;
        std::fs::remove_dir_all(&work)?;
        written.with_context(|| format!("make image {} from {}", self.name, self.binary.display()))
    }

    async fn write_parts(&self, work: &Path, root: &Path, archive: &Path) -> anyhow::Result<()> {
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        std::fs::create_dir_all(root.join("tmp"))?;
        std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777))?;
        let mut files = vec![(self.binary.as_path(), below(&self.path), 0o755)];
        if Path::new(CERTIFICATES).exists() {
            files.push((Path::new(CERTIFICATES), below(Path::new(CERTIFICATES)), 0o644));
        }
        for (from, to, mode) in files {
            std::fs::create_dir_all(to.parent().context("a file has a folder")?)?;
            std::fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode))?;
        }
        pack(&work.join("layer.tar"), root, ".").await?;
        let layer = sha256(&work.join("layer.tar")).await?;
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": USER},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        });
        std::fs::write(work.join("config.json"), config.to_string())?;
        let config = format!("{}.json", sha256(&work.join("config.json")).await?);
        std::fs::rename(work.join("config.json"), work.join(&config))?;
        let manifest = json!([{"Config": config, "RepoTags": [self.name], "Layers": ["layer.tar"]}]);
        std::fs::write(work.join("manifest.json"), manifest.to_string())?;
        pack(archive, work, &format!("manifest.json {config} layer.tar")).await
    }
}

async fn pack(archive: &Path, folder: &Path, names: &str) -> anyhow::Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar"]);
    tar.arg("-cf").arg(archive).arg("-C").arg(folder).args(names.split(' '));
    run_tool(&mut tar).await?;
    Ok(())
}

async fn sha256(path: &Path) -> anyhow::Result<String> {
    let printed = run_tool(Command::new("sha256sum").arg(path)).await?;
    printed.split_whitespace().next().map(str::to_owned).context("sha256sum prints the sum")
}
