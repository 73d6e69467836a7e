//! The Kubernetes API that these tests run against: a real kube-apiserver, etcd and controller-manager without nodes, named
//! by `E2E_KUBECONFIG` (`e2e/run` starts it). Without it the tests say so and pass.
//! Every test has a namespace of its own, so that they can run at once.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use serde_json::{Value, json};
use tempo_operator::crd::{TempoCluster, TempoClusterStatus, definition};
use tokio::time::Instant;

/// Longer than anything here takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One test's part of the cluster, and a client that may do everything.
pub(crate) struct Playground {
    pub(crate) config: kube::Config,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Playground {
    /// `None` when there is no cluster to test against.
    pub(crate) async fn open(test: &str) -> Option<Playground> {
        let config = config().await?;
        let client = Client::try_from(config.clone()).expect("a client");
        install_definition(&client).await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let metadata = ObjectMeta { generate_name: Some(format!("{test}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made = namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
        Some(Playground { config, client, namespace: made.name_any() })
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn clusters(&self) -> Api<TempoCluster> {
        self.api()
    }

    /// Server-side apply as a user does it.
    pub(crate) async fn apply_cluster(&self, name: &str, spec: Value) -> TempoCluster {
        self.try_apply_cluster(name, spec).await.expect("the API server takes the cluster")
    }

    pub(crate) async fn try_apply_cluster(
        &self,
        name: &str,
        spec: Value,
    ) -> Result<TempoCluster, kube::Error> {
        let object = json!({
            "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster", "metadata": {"name": name}, "spec": spec,
        });
        self.clusters().patch(name, &PatchParams::apply("kubectl").force(), &Patch::Apply(object)).await
    }

    pub(crate) async fn get_status(&self, name: &str) -> TempoClusterStatus {
        self.clusters().get(name).await.expect("the cluster").status.unwrap_or_default()
    }

    /// Waits until the condition has this status, and returns its reason and message.
    pub(crate) async fn wait_condition(&self, name: &str, condition: &str, wanted: &str) -> (String, String) {
        let mut last = String::new();
        let found = within(DEADLINE, async || {
            let status = self.get_status(name).await;
            last = format!("{:?}", status.conditions);
            let found = status
                .conditions
                .into_iter()
                .find(|found| found.type_ == condition && found.status == wanted)?;
            Some((found.reason, found.message))
        })
        .await;
        found.unwrap_or_else(|| panic!("{condition} did not become {wanted}: {last}"))
    }
}

/// Looks again and again until there is an answer or the time is over.
pub(crate) async fn within<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(found) = look().await {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

/// What `e2e/run` says about the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "e2e/run tells tests by the environment what there is to test with"
)]
pub(crate) fn told(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

async fn config() -> Option<kube::Config> {
    let Some(path) = told("E2E_KUBECONFIG") else {
        eprintln!("skipped: E2E_KUBECONFIG names no cluster");
        return None;
    };
    let kubeconfig = Kubeconfig::read_from(path).expect("E2E_KUBECONFIG is a kubeconfig");
    let options = KubeConfigOptions::default();
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a usable kubeconfig");
    config.default_retry = false;
    Some(config)
}

async fn install_definition(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = definition();
    let name = definition.name_any();
    api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&definition))
        .await
        .expect("the API server takes the CRD");
    let established = await_condition(api, &name, is_crd_established());
    tokio::time::timeout(DEADLINE, established)
        .await
        .expect("the CRD is established in time")
        .expect("a watch");
}

/// The smallest cluster that needs nothing else.
pub(crate) fn minimal() -> Value {
    json!({"mode": "Monolithic", "storage": {"filesystem": {}}})
}
