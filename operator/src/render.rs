//! [`ValidatedCluster`] → every Kubernetes object of the cluster. Pure and deterministic: the same cluster gives the same
//! bytes, so that a settled cluster is never written to.
//!
//! Metadata follows what Argo CD and other owners of objects need: selectors never use `app.kubernetes.io/instance`, labels
//! and annotations of the TempoCluster are not copied, and volumes carry Argo's "leave alone" annotations.

mod config;
mod config_map;
mod labels;
pub mod names;
mod overrides;
mod pod;
mod pod_disruption_budget;
mod pod_patch;
mod service;
mod service_account;
pub(crate) mod service_monitor;
mod single_binary;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    apply::Child,
    crd::TempoCluster,
    validate::{Refusal, ValidatedCluster},
};

/// Everything that a cluster consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct KubernetesResources {
    /// `None` if the spec names one of its own.
    pub service_account: Option<ServiceAccount>,
    /// For clients, and the headless one of the StatefulSet.
    pub services: Vec<Service>,
    /// The configuration (immutable, named by its content) and the limits (read again by running pods).
    pub config_maps: Vec<ConfigMap>,
    pub pod_disruption_budget: PodDisruptionBudget,
    pub stateful_set: StatefulSet,
    /// Of a kind that the API server may lack.
    pub service_monitor: Option<DynamicObject>,
    /// What is worth saying about the configuration: keys that Tempo has and this version of tempo-rs has not.
    pub warnings: Vec<String>,
}

/// Renders all objects, or says which key of the spec keeps it from doing so.
pub fn render(cluster: &ValidatedCluster) -> Result<KubernetesResources, Refusal> {
    let config = config::render(cluster)?;
    let overrides = overrides::render(cluster, &config.valid.overrides.defaults)?;
    let config_map = config_map::config(cluster, &config);
    let template = pod::template(cluster, &config)?;
    let warnings = config.warnings.into_iter().chain(overrides.warnings).collect();
    Ok(KubernetesResources {
        service_account: service_account::render(cluster),
        services: vec![service::headless(cluster), service::clients(cluster)],
        config_maps: vec![config_map, config_map::overrides(cluster, overrides.text)],
        pod_disruption_budget: pod_disruption_budget::render(cluster),
        stateful_set: single_binary::render(cluster, template),
        service_monitor: service_monitor::render(cluster),
        warnings,
    })
}

impl KubernetesResources {
    /// The objects in the order in which they must be there: what pods refer to before what makes pods.
    pub fn in_apply_order(&self) -> Vec<Child> {
        let Self {
            service_account,
            services,
            config_maps,
            pod_disruption_budget,
            stateful_set,
            service_monitor,
            warnings: _,
        } = self;
        let mut children = Vec::new();
        children.extend(service_account.iter().map(child));
        children.extend(services.iter().map(child));
        children.extend(config_maps.iter().map(child));
        children.push(child(pod_disruption_budget));
        children.push(child(stateful_set));
        children.extend(
            service_monitor
                .iter()
                .map(|monitor| Child { resource: service_monitor::resource(), value: to_value(monitor) }),
        );
        children
    }
}

fn child<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Child {
    Child { resource: ApiResource::erase::<K>(&()), value: to_value(object) }
}

fn to_value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("objects of Kubernetes are maps with text keys")
}

/// Metadata of an object that the cluster owns.
fn owned(cluster: &ValidatedCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(cluster.namespace.clone()),
        labels: Some(labels::object(cluster)),
        owner_references: Some(vec![OwnerReference {
            api_version: TempoCluster::api_version(&()).into_owned(),
            kind: TempoCluster::kind(&()).into_owned(),
            name: cluster.name.clone(),
            uid: cluster.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
