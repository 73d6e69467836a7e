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

/// The S3 gateway `versitygw`.
pub fn versitygw() -> Option<PathBuf> {
    named("E2E_VERSITYGW")
}

/// The `pprof` command.
pub fn pprof_tool() -> Option<PathBuf> {
    named("E2E_PPROF")
}

#[expect(clippy::disallowed_methods, reason = "tests take their tools from the runner's environment")]
pub(crate) fn named_silently(variable: &str) -> Option<PathBuf> {
    std::env::var(variable).ok().map(PathBuf::from)
}

#[expect(clippy::print_stderr, reason = "a test that skips says so")]
pub(crate) fn named(variable: &str) -> Option<PathBuf> {
    let path = named_silently(variable);
    if path.is_none() {
        eprintln!("skipped: {variable} is not set, run e2e/run to install what this test needs");
    }
    path
}

/// Runs a command to its end and gives its standard output; a failure carries what it printed.
pub async fn run_tool(command: &mut Command) -> anyhow::Result<String> {
    let output = command.kill_on_drop(true).output().await;
    let command = command.as_std();
    let output: Output = output.with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}:\n{}\n{}", output.status, text.trim(), errors.trim());
    }
    Ok(text)
}
