//! Programs of other languages that tests use; `run` installs them and names their places in the environment.

use std::{
    path::{Path, PathBuf},
    process::Output,
};

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

/// The folder with the clients in Go and the Collector.
pub fn go_clients() -> Option<PathBuf> {
    named("E2E_GO_CLIENTS")
}

/// A Java program of the clients, or `None` where they are not installed.
pub fn java(class: &str) -> Option<Command> {
    java_in(&named("E2E_JAVA")?, class)
}

fn java_in(folder: &Path, class: &str) -> Option<Command> {
    let mut command = Command::new("java");
    command.arg("-cp").arg(format!("{0}/classes:{0}/dependency/*", folder.display())).arg(class);
    Some(command)
}

/// A Python that has Jaeger's client and OpenTelemetry's exporters to Jaeger.
pub fn jaeger_python() -> Option<PathBuf> {
    named("E2E_JAEGER_PYTHON")
}

/// The folder with Jaeger's client for JavaScript.
pub fn jaeger_javascript() -> Option<PathBuf> {
    named("E2E_JAEGER_JAVASCRIPT")
}

/// A program with Jaeger's client for Java, or `None` where it is not installed.
pub fn jaeger_java(class: &str) -> Option<Command> {
    java_in(&named("E2E_JAEGER_JAVA")?, class)
}

/// The load generator `telemetrygen`.
pub fn telemetrygen() -> Option<PathBuf> {
    named("E2E_TELEMETRYGEN")
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

/// Posts a file with curl, which asks before it sends: a server that refuses a body for its size does not read it.
/// Gives the status and the answer.
pub async fn post_file(url: &str, content_type: &str, file: &Path) -> anyhow::Result<(u16, String)> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"])
        .args(["--header", "Expect: 100-continue", "--header", &format!("Content-Type: {content_type}")])
        .args(["--data-binary", &format!("@{}", file.display()), url]);
    let printed = run_tool(&mut curl).await?;
    let (text, status) = printed.rsplit_once('\n').context("curl prints the status")?;
    Ok((status.parse()?, text.to_owned()))
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
