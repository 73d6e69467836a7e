//! An S3 server beside the cluster: versitygw on the host's address as pods see it, with a bucket `traces`.

use std::{net::TcpListener, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context as _;
use tempo_e2e::{eventually, versitygw};
use tokio::process::{Child, Command};

use super::scene::Scene;

/// Killed when dropped; the objects stay until then.
pub(crate) struct Bucket {
    program: PathBuf,
    folder: tempfile::TempDir,
    pub(crate) endpoint: String,
    process: Option<Child>,
}

impl Bucket {
    /// `None`, with a message, where it is not installed, or on a cluster whose pods would not reach it.
    pub(crate) async fn start(scene: &Scene) -> anyhow::Result<Option<Bucket>> {
        let Some(program) = versitygw() else { return Ok(None) };
        if !scene.has_test_images() {
            return Ok(None);
        }
        let host = scene.cluster.host()?;
        let port = TcpListener::bind((host, 0))?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("traces"))?;
        let mut bucket = Bucket { program, folder, endpoint: format!("{host}:{port}"), process: None };
        bucket.run().await?;
        Ok(Some(bucket))
    }

    pub(crate) async fn run(&mut self) -> anyhow::Result<()> {
        let process = Command::new(&self.program)
            .args([
                "--access",
                "tempo",
                "--secret",
                "open-sesame",
                "--quiet",
                "--port",
                &self.endpoint,
                "posix",
            ])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start versitygw")?;
        self.process = Some(process);
        eventually("the bucket answers", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(&self.endpoint).await?;
            Ok(())
        })
        .await
    }

    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// A Secret in tempo-operator's form.
    pub(crate) fn secret(&self) -> String {
        secret(&format!(
            "bucket: traces, endpoint: 'http://{}', access_key_id: tempo, access_key_secret: open-sesame, region: us-east-1",
            self.endpoint
        ))
    }
}

/// The Secret that [`STORAGE`] names, with these keys.
pub(crate) fn secret(keys: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: bucket}}\nstringData: {{{keys}}}\n")
}

/// Storage of which the Secret says everything.
pub(crate) const STORAGE: &str = "{s3: {forcePathStyle: true}, credentials: {secretRef: {name: bucket}}}";
