//! A Git repository as a team would have it: a folder to commit in and a bare one that is served.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::run_tool;

#[derive(Debug, Clone)]
pub struct Repository {
    work: PathBuf,
    served: PathBuf,
}

impl Repository {
    /// An empty repository below `folder`, served as `<name>.git`.
    pub(super) async fn create(folder: &Path, name: &str) -> anyhow::Result<Repository> {
        let repository = Repository { work: folder.join("work"), served: folder.join("served") };
        let bare = repository.served.join(format!("{name}.git"));
        for (path, arguments) in [(&repository.work, &["init", "-q"][..]), (&bare, &["init", "-q", "--bare"])]
        {
            std::fs::create_dir_all(path)?;
            git(path, arguments).await?;
            git(path, &["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
        }
        git(&repository.work, &["remote", "add", "origin", &bare.display().to_string()]).await?;
        Ok(repository)
    }

    /// The folder with the bare repositories.
    pub(super) fn served(&self) -> &Path {
        &self.served
    }

    /// Writes a file, commits and pushes; gives the commit's id.
    pub async fn commit(&self, message: &str, path: &str, content: &str) -> anyhow::Result<String> {
        let file = self.work.join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, content)?;
        git(&self.work, &["add", path]).await?;
        git(&self.work, &["commit", "-q", "-m", message]).await?;
        self.push().await
    }

    /// `git revert` of the last commit, pushed; gives the new commit's id.
    pub async fn revert(&self) -> anyhow::Result<String> {
        git(&self.work, &["revert", "--no-edit", "HEAD"]).await?;
        self.push().await
    }

    async fn push(&self) -> anyhow::Result<String> {
        git(&self.work, &["push", "-q", "origin", "HEAD:main"]).await?;
        Ok(git(&self.work, &["rev-parse", "HEAD"]).await?.trim().to_owned())
    }
}

async fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command
        .current_dir(folder)
        .args(["-c", "user.name=e2e", "-c", "user.email=e2e@tempo-rs.dev"])
        .args(arguments);
    // The user's own settings (signing, hooks) have no say here.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    run_tool(&mut command).await
}
