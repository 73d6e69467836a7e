//! Programs of other languages that tests use; `run` installs them and names their places in the environment.

use std::{path::PathBuf, process::Output};

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// The Python of the tests' virtual environment, or `None` (with a message) where it is not installed.
pub fn python() -> Option<PathBuf> {
    named("E2E_PYTHON")
}

/// The folder with the installed JavaScript clients.
pub fn javascript() -> Option<PathBuf> {
    named("E2E_JAVASCRIPT")
}

/// The `pprof` command.
pub fn pprof_tool() -> Option<PathBuf> {
    named("E2E_PPROF")
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
fn named(variable: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests take their tools from the runner's environment")]
    let path = std::env::var(variable).ok().map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: {variable} is not set, run e2e/run to install what this test needs");
    }
    path
}

/// Runs a command to its end and gives its standard output; a failure carries what it printed.
pub async fn run_tool(command: &mut Command) -> anyhow::Result<String> {
    let output: Output =
        command.kill_on_drop(true).output().await.with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{text}\n{errors}", output.status);
    }
    Ok(text)
}
