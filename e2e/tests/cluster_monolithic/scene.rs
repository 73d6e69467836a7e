//! The cluster that all tests share, and the namespace of one test with its TempoCluster `traces`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tempo_e2e::{
    Client, Image,
    cluster::{Cluster, Kubectl},
    eventually,
    operator::{Release, VERSION},
};
use tokio::sync::OnceCell;

/// Has the same content as [`VERSION`]; what is under test is the way from one to the other.
pub(crate) const NEXT_VERSION: &str = "0.1.1";
/// Ends at once.
pub(crate) const CRASHING_VERSION: &str = "0.1.66";
/// Is ready, and ends some seconds later.
pub(crate) const DYING_VERSION: &str = "0.1.67";
/// Is in no registry.
pub(crate) const MISSING_VERSION: &str = "0.1.99";

pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// One for all tests of this binary; its supervisor takes it down when the process ends.
static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();

pub(crate) struct Scene {
    pub(crate) cluster: &'static Cluster,
    pub(crate) namespace: String,
    pub(crate) client: Client,
}

/// What a test deploys; the rest of the spec is the smallest there is.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) version: &'static str,
    /// YAML behind `storage:`.
    pub(crate) storage: String,
    /// Further lines of the spec, indented by two.
    pub(crate) more: String,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec { version: VERSION, storage: "{filesystem: {}}".into(), more: String::new() }
    }
}

impl Spec {
    pub(crate) fn yaml(&self) -> String {
        let Spec { version, storage, more } = self;
        format!(
            "apiVersion: tempo-rs.dev/v1alpha1\nkind: TempoCluster\nmetadata: {{name: traces}}\nspec:\n  \
             mode: Monolithic\n  version: '{version}'\n  storage: {storage}\n  \
             monolithic: {{persistence: {{size: 1Gi}}}}\n  rollout: {{soak: 2s, progressDeadline: 1m}}\n{more}"
        )
    }
}

impl Scene {
    /// A fresh namespace on the shared cluster; `None`, with a message, where something is not installed.
    pub(crate) async fn set(namespace: &str) -> anyhow::Result<Option<Scene>> {
        let Some(cluster) = SHARED.get_or_try_init(start).await? else { return Ok(None) };
        cluster.kubectl().run(&["create", "namespace", namespace]).await?;
        Ok(Some(Scene { cluster, namespace: namespace.to_owned(), client: Client::default() }))
    }

    /// Images with other versions are put on our own cluster only; says so elsewhere.
    #[expect(clippy::print_stderr, reason = "a test that skips says so")]
    pub(crate) fn has_test_images(&self) -> bool {
        if !self.cluster.is_ours() {
            eprintln!(
                "skipped: {} needs images that the cluster of KUBECONFIG does not have",
                self.namespace
            );
        }
        self.cluster.is_ours()
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.cluster.kubectl()
    }

    /// `kubectl` in the test's namespace.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl().run(&[&["-n", &self.namespace], arguments].concat()).await
    }

    pub(crate) async fn get(&self, object: &str) -> anyhow::Result<Value> {
        self.kubectl().json(&["-n", &self.namespace, "get", object]).await
    }

    pub(crate) async fn find(&self, object: &str) -> anyhow::Result<Option<Value>> {
        self.kubectl().find(&["-n", &self.namespace, object]).await
    }

    pub(crate) async fn apply(&self, manifest: &str) -> anyhow::Result<()> {
        self.kubectl().run_with_input(&["-n", &self.namespace, "apply", "-f", "-"], manifest).await?;
        Ok(())
    }

    /// Applies the spec and waits until the operator says that it holds.
    pub(crate) async fn deploy(&self, spec: &Spec) -> anyhow::Result<()> {
        self.apply(&spec.yaml()).await?;
        self.ready().await
    }

    /// Waits until the newest spec is Ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        self.condition("Ready", DEADLINE, |ready| ready.status == "True").await?;
        Ok(())
    }

    /// Waits for a condition, of the newest generation, that is as wanted.
    pub(crate) async fn condition(
        &self,
        kind: &str,
        deadline: Duration,
        is_wanted: impl Fn(&Condition) -> bool,
    ) -> anyhow::Result<Condition> {
        eventually(format!("{kind} is as wanted"), deadline, async || {
            let object = self.get("tempocluster/traces").await?;
            let condition = Condition::of(&object, kind)?;
            ensure!(is_wanted(&condition), "{condition:?}, {}", object["status"]["message"]);
            Ok(condition)
        })
        .await
    }

    pub(crate) async fn field(&self, object: &str, path: &str) -> anyhow::Result<String> {
        self.run(&["get", object, "-o", &format!("jsonpath={{{path}}}")]).await
    }

    pub(crate) async fn uid(&self, object: &str) -> anyhow::Result<String> {
        self.field(object, ".metadata.uid").await
    }

    /// Address of the Service, without port.
    pub(crate) async fn service(&self) -> anyhow::Result<String> {
        self.field("service/traces", ".spec.clusterIP").await
    }

    /// Reasons of all Events about the TempoCluster.
    pub(crate) async fn events(&self) -> anyhow::Result<Vec<String>> {
        let reasons =
            "jsonpath={range .items[?(@.regarding.kind==\"TempoCluster\")]}{.reason}: {.note}{\"\\n\"}{end}";
        let printed = self.run(&["get", "events.events.k8s.io", "-o", reasons]).await?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Deletes the TempoCluster and tells how long that took.
    pub(crate) async fn delete(&self, deadline: Duration) -> anyhow::Result<Duration> {
        let started = tokio::time::Instant::now();
        let timeout = format!("--timeout={}s", deadline.as_secs());
        self.run(&["delete", "tempocluster", "traces", &timeout]).await?;
        Ok(started.elapsed())
    }

    /// The folder of the claim's volume on the node.
    pub(crate) async fn volume_folder(&self) -> anyhow::Result<PathBuf> {
        let volume = self.field("pvc/data-traces-0", ".spec.volumeName").await?;
        let path = ["get", "pv", &volume, "-o", "jsonpath={.spec.local.path}"];
        Ok(self.kubectl().run(&path).await?.into())
    }

    /// A namespace that stays would keep pods running beside the other tests.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        self.kubectl().run(&["delete", "namespace", &self.namespace, "--wait=false"]).await?;
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Condition {
    pub(crate) fn of(object: &Value, kind: &str) -> anyhow::Result<Condition> {
        let generation = &object["metadata"]["generation"];
        let conditions = object["status"]["conditions"].as_array().context("no conditions yet")?;
        let found = conditions.iter().find(|condition| condition["type"] == kind);
        let found = found.with_context(|| format!("no condition {kind}"))?;
        ensure!(found["observedGeneration"] == *generation, "the newest spec has not been looked at");
        let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        Ok(Condition { status: text("status"), reason: text("reason"), message: text("message") })
    }
}

async fn start() -> anyhow::Result<Option<Cluster>> {
    let Some(release) = Release::find() else { return Ok(None) };
    let Some(cluster) = Cluster::start("monolithic", 1).await? else { return Ok(None) };
    if !cluster.is_ours() {
        release.install(&cluster, Path::new("/"), &[]).await?;
        return Ok(Some(cluster));
    }
    let folder = cluster.folder()?;
    release.install(&cluster, &folder, &[]).await?;
    release.load_tempo(&cluster, &folder, NEXT_VERSION).await?;
    for image in [crashing(), dying()] {
        let archive = folder.join("broken.tar");
        image.write(&archive).await?;
        cluster.load(&archive).await?;
    }
    Ok(Some(cluster))
}

/// Busybox does not know an applet of the name `-config.file=…`.
fn crashing() -> Image {
    busybox(CRASHING_VERSION, &["/busybox"])
}

/// Says that it is ready, and nothing else, for eight seconds.
fn dying() -> Image {
    let script = "mkdir -p /tmp/www; echo ready >/tmp/www/ready; echo ok >/tmp/www/livez; \
                  httpd -p 3200 -h /tmp/www; sleep 8; exit 1";
    busybox(DYING_VERSION, &["/busybox", "sh", "-c", script])
}

fn busybox(version: &str, entrypoint: &[&str]) -> Image {
    let paths = ["/usr/bin/busybox", "/bin/busybox"];
    let binary = paths.into_iter().find(|path| Path::new(path).exists()).unwrap_or("/bin/busybox");
    Image {
        name: format!("tempo-rs/tempo:{version}"),
        binary: binary.into(),
        path: "/busybox".into(),
        entrypoint: entrypoint.iter().map(|&word| word.to_owned()).collect(),
    }
}

/// Waits until an object is gone.
pub(crate) async fn gone(scene: &Scene, object: &str, deadline: Duration) -> anyhow::Result<()> {
    eventually(format!("{object} is gone"), deadline, async || match scene.find(object).await? {
        None => Ok(()),
        Some(found) => bail!("{object} is there: {}", found["metadata"]),
    })
    .await
}
