//! The real Argo CD beside a test cluster: application controller and repo server as processes of this machine, with a redis
//! and a Git repository that `git daemon` serves. No UI, no API server of Argo CD's: an [`Application`] is a custom resource.

mod application;
mod repository;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub use application::{Application, State};
pub use repository::Repository;

use crate::{
    cluster::{Cluster, Kubectl},
    eventually,
    server::free_ports,
    tools::named,
};

const NAMESPACE: &str = "argocd";
const REPOSITORY: &str = "gitops";
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// A running Argo CD; its processes end with this.
#[derive(Debug)]
pub struct ArgoCd {
    kubectl: Kubectl,
    repository: Repository,
    repository_url: String,
    /// The cluster's address, by which Argo CD knows it.
    server: String,
    processes: Vec<Child>,
}

/// Where things are, while they are started.
struct Setup<'a> {
    program: PathBuf,
    folder: &'a Path,
    kubeconfig: PathBuf,
    /// The flattened kubeconfig, as JSON.
    access: Value,
    kubectl: Kubectl,
}

impl ArgoCd {
    /// Starts Argo CD for this cluster, with its files below `folder`. `health` are health checks: `<group>_<Kind>` and Lua.
    /// `None`, with a message, where it is not installed.
    pub async fn start(
        cluster: &Cluster,
        folder: &Path,
        health: &[(&str, &str)],
    ) -> anyhow::Result<Option<ArgoCd>> {
        let Some(program) = named("E2E_ARGOCD") else { return Ok(None) };
        let setup = Setup::new(cluster, program, folder).await?;
        setup.install(health).await?;
        let repository = Repository::create(&folder.join("git"), REPOSITORY).await?;
        let [git, redis, repo_server, repo_server_metrics, controller_metrics] = free_ports()?;
        let redis_address = format!("127.0.0.1:{redis}");
        let repo_server_address = format!("127.0.0.1:{repo_server}");
        let processes = vec![
            setup.start_git(&repository, git).await?,
            setup.start_redis(redis)?,
            setup.start_repo_server(&redis_address, repo_server, repo_server_metrics)?,
            setup.start_controller(&redis_address, &repo_server_address, controller_metrics)?,
        ];
        let server = setup.server()?.to_owned();
        let repository_url = format!("git://127.0.0.1:{git}/{REPOSITORY}.git");
        let mut argocd = ArgoCd { kubectl: setup.kubectl, repository, repository_url, server, processes };
        argocd.wait_ready(controller_metrics).await?;
        Ok(Some(argocd))
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Makes an Application that keeps `namespace` as folder `path` of the repository says, and heals what drifts.
    pub async fn create_application(
        &self,
        name: &str,
        path: &str,
        namespace: &str,
    ) -> anyhow::Result<Application> {
        let application = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "project": "default",
                "source": {"repoURL": self.repository_url, "targetRevision": "main", "path": path},
                "destination": {"server": self.server, "namespace": namespace},
                "syncPolicy": {
                    "automated": {"prune": true, "selfHeal": true},
                    "syncOptions": ["ServerSideApply=true"],
                },
            },
        });
        self.kubectl.apply(&application.to_string()).await?;
        Application::watch(&self.kubectl, NAMESPACE, name)
    }

    /// Until the controller serves its metrics.
    async fn wait_ready(&mut self, port: u16) -> anyhow::Result<()> {
        eventually("Argo CD's controller serves", READY_DEADLINE, async || {
            Ok(tokio::net::TcpStream::connect(("127.0.0.1", port)).await?)
        })
        .await?;
        for process in &mut self.processes {
            let ended = process.try_wait()?;
            ensure!(
                ended.is_none(),
                "a process of Argo CD ended with {ended:?}; its log is in the test's folder"
            );
        }
        Ok(())
    }
}

impl<'a> Setup<'a> {
    async fn new(cluster: &Cluster, program: PathBuf, folder: &'a Path) -> anyhow::Result<Setup<'a>> {
        for part in ["home", "tmp"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let kubectl = cluster.kubectl().clone();
        let mut access = kubectl.json(&["config", "view", "--raw", "--flatten", "--minify"]).await?;
        // The controller takes its own namespace from here.
        let context = access.pointer_mut("/contexts/0/context").context("the kubeconfig has a context")?;
        if let Some(context) = context.as_object_mut() {
            context.insert("namespace".into(), NAMESPACE.into());
        }
        let kubeconfig = folder.join("kubeconfig");
        std::fs::write(&kubeconfig, access.to_string())?;
        Ok(Setup { program, folder, kubeconfig, access, kubectl })
    }

    fn server(&self) -> anyhow::Result<&str> {
        let server = self.access.pointer("/clusters/0/cluster/server").and_then(Value::as_str);
        server.context("the kubeconfig has a server")
    }

    /// Argo CD's own manifests, and what its installer would ask for: the cluster, a key, a project that allows all.
    async fn install(&self, health: &[(&str, &str)]) -> anyhow::Result<()> {
        let manifests = self.program.join("manifests");
        let shown = manifests.display();
        self.kubectl
            .apply(
                &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
                    .to_string(),
            )
            .await?;
        for crd in ["application", "appproject"] {
            let file = format!("{shown}/crds/{crd}-crd.yaml");
            self.kubectl.run(&["apply", "--server-side", "-f", &file]).await?;
        }
        for map in
            ["cm", "cmd-params-cm", "gpg-keys-cm", "rbac-cm", "ssh-known-hosts-cm", "tls-certs-cm", "secret"]
        {
            let file = format!("{shown}/base/config/argocd-{map}.yaml");
            self.kubectl.run(&["apply", "--namespace", NAMESPACE, "-f", &file]).await?;
        }
        let key = json!({"stringData": {"server.secretkey": "e2e"}});
        self.patch("secret", "argocd-secret", &key).await?;
        let checks: serde_json::Map<String, Value> = health
            .iter()
            .map(|(kind, lua)| (format!("resource.customizations.health.{kind}"), Value::from(*lua)))
            .collect();
        self.patch("configmap", "argocd-cm", &json!({"data": checks})).await?;
        for object in [self.cluster_secret()?, project()] {
            self.kubectl.apply(&object.to_string()).await?;
        }
        Ok(())
    }

    async fn patch(&self, kind: &str, name: &str, patch: &Value) -> anyhow::Result<()> {
        let patch = patch.to_string();
        self.kubectl
            .run(&["patch", kind, name, "--namespace", NAMESPACE, "--type", "merge", "--patch", &patch])
            .await?;
        Ok(())
    }

    /// `https://kubernetes.default.svc`, the cluster that Argo CD knows by itself, only works inside a pod.
    fn cluster_secret(&self) -> anyhow::Result<Value> {
        let cluster = self.access.pointer("/clusters/0/cluster").context("the kubeconfig has a cluster")?;
        let user = self.access.pointer("/users/0/user").context("the kubeconfig has a user")?;
        let config = json!({
            "bearerToken": user.get("token"),
            "tlsClientConfig": {
                "caData": cluster.get("certificate-authority-data"),
                "certData": user.get("client-certificate-data"),
                "keyData": user.get("client-key-data"),
            },
        });
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "test-cluster",
                "namespace": NAMESPACE,
                "labels": {"argocd.argoproj.io/secret-type": "cluster"},
            },
            "stringData": {"name": "test", "server": self.server()?, "config": config.to_string()},
        }))
    }

    /// Not as `git daemon`: that is a parent of the daemon, which would outlive it.
    async fn start_git(&self, repository: &Repository, port: u16) -> anyhow::Result<Child> {
        let asked = Command::new("git")
            .arg("--exec-path")
            .output()
            .await
            .context("ask git where its programs are")?;
        let programs = String::from_utf8(asked.stdout).context("git --exec-path")?;
        let mut command = self.command(&Path::new(programs.trim()).join("git-daemon"));
        command.args(["--reuseaddr", "--export-all", "--listen=127.0.0.1"]);
        command.arg(format!("--base-path={}", repository.served().display())).arg(format!("--port={port}"));
        self.spawn(command, "git")
    }

    fn start_redis(&self, port: u16) -> anyhow::Result<Child> {
        let mut command = self.command(Path::new("redis-server"));
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port.to_string(),
        ]);
        self.spawn(command, "redis")
    }

    fn start_repo_server(&self, redis: &str, port: u16, metrics_port: u16) -> anyhow::Result<Child> {
        let mut command = self.command(&self.program.join("argocd-repo-server"));
        command.args(["--address", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--metrics-address", "127.0.0.1", "--metrics-port", &metrics_port.to_string()]);
        // A commit is seen at the next look, not three minutes later.
        command.args(["--disable-tls", "--redis", redis, "--revision-cache-expiration", "1s"]);
        self.spawn(command, "repo-server")
    }

    fn start_controller(&self, redis: &str, repo_server: &str, metrics_port: u16) -> anyhow::Result<Child> {
        let mut command = self.command(&self.program.join("argocd-application-controller"));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--metrics-port", &metrics_port.to_string(), "--redis", redis]);
        command.args(["--repo-server", repo_server, "--repo-server-plaintext"]);
        // Looks every two seconds; the health of each object is shown in the Application.
        command.args(["--app-resync", "2", "--app-resync-jitter", "0", "--persist-resource-health"]);
        self.spawn(command, "controller")
    }

    /// A program that dies with the thread that starts it, also when the test is killed.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
            .env("HOME", self.folder.join("home"))
            .env("TMPDIR", self.folder.join("tmp"))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("ARGOCD_GPG_ENABLED", "false");
        command
    }

    fn spawn(&self, mut command: Command, name: &str) -> anyhow::Result<Child> {
        let log = std::fs::File::create(self.folder.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| format!("start {name}"))
    }
}

fn project() -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    })
}
