//! One machine of the cluster: processes in a network namespace made before, with a process and mount namespace of their own.
//!
//! The first process is a shell that mounts empty folders over those places of the host that Kubernetes programs insist on,
//! and then reaps. Killing it is pulling the plug: the kernel kills everything in its process namespace (containers too) and
//! unmounts everything in its mount namespace. It dies with the process that booted it, however that one ends.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// `/run` and `/var/lib` are empty after a boot; what must survive one lies in the machine's folder.
const INIT: &str = "
set -e
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $folder; done
echo booted
exec >/dev/null
while :; do sleep 86400 & wait $!; done
";

#[derive(Debug)]
pub(super) struct Machine {
    name: String,
    /// `unshare`, which waits for the machine's first process and takes it along when it dies.
    plug: Child,
    /// The first process as the host numbers it.
    init: u32,
    logs: PathBuf,
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    name: String,
    process: Child,
}

impl Machine {
    /// Boots a machine in the network namespace of its name. Logs of its programs go into `logs`.
    ///
    /// Must be called on the thread that lives as long as the process: the kernel's "parent died" signal means the thread.
    pub(super) async fn boot(name: &str, logs: &Path) -> anyhow::Result<Machine> {
        let mut plug = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter", &format!("--net=/run/netns/{name}")])
            .args(["unshare", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", INIT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file(&logs.join(format!("{name}.log")))?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("boot {name}"))?;
        let output = plug.stdout.take().context("the first process has an output")?;
        let said = BufReader::new(output).lines().next_line().await?;
        if said.as_deref() != Some("booted") {
            bail!("machine {name} did not boot:\n{}", tail(&logs.join(format!("{name}.log"))));
        }
        let pid = plug.id().with_context(|| format!("machine {name} has ended"))?;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let init =
            children.trim().parse().with_context(|| format!("first process of {name}: {children:?}"))?;
        Ok(Machine { name: name.to_owned(), plug, init, logs: logs.to_owned(), programs: Vec::new() })
    }

    /// Starts a program on the machine and leaves it running.
    pub(super) fn start(&mut self, program: &Path, arguments: &[String]) -> anyhow::Result<()> {
        let stem = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{}-{stem}", self.name);
        let log = log_file(&self.logs.join(format!("{name}.log")))?;
        let process = Command::new("nsenter")
            .args(["--target", &self.init.to_string(), "--net", "--mount", "--pid", "--"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        self.programs.push(Program { name, process });
        Ok(())
    }

    /// An error with the end of the log when a program has ended: all of them are meant to run until the plug is pulled.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for program in &mut self.programs {
            if let Some(status) = program.process.try_wait()? {
                let log = self.logs.join(format!("{}.log", program.name));
                bail!("{} ended with {status}:\n{}", program.name, tail(&log));
            }
        }
        Ok(())
    }

    /// Ends everything on the machine at once.
    pub(super) async fn pull_plug(mut self) -> anyhow::Result<()> {
        self.plug.kill().await.with_context(|| format!("pull the plug of {}", self.name))?;
        for mut program in self.programs {
            program.process.wait().await?;
        }
        Ok(())
    }
}

fn log_file(path: &Path) -> anyhow::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
