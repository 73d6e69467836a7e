//! What is there: the StatefulSet, its pods and their volumes as the API server has them now, and what pods say themselves.
//!
//! Live reads, never a cache: the planner must not decide on what was true a moment ago. Nothing of the cluster's own
//! `.status` is read. Pods are asked over HTTP only when the answer can matter: while the cluster is being deleted, and
//! when a pod is not ready (it may be left in a drain). All foreign objects are reduced to the plain views below;
//! `pod_state.rs` has the rules by which a pod is ready or in trouble.

mod pod_state;

use std::net::IpAddr;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Namespace, PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{Api, Client, ResourceExt as _, api::ListParams};

use crate::{
    apply::FIELD_MANAGER,
    crd::TempoCluster,
    pods::{DrainState, PodCallError, PodHttp},
    volumes::{self, Shape},
};

/// Why a pod does not work, in the words of the kubelet or the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable`, ...
    pub reason: String,
    pub message: String,
}

/// What a pod said about its drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainAnswer {
    NotAsked,
    /// No answer, or not one that says anything; why.
    Silent(String),
    /// The image has no drain.
    Unknown,
    State(DrainState),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    pub name: String,
    pub uid: String,
    pub ordinal: u32,
    pub ip: Option<IpAddr>,
    /// The revision of the StatefulSet that it was made from.
    pub revision: Option<String>,
    /// The version of Tempo that it was made for.
    pub version: Option<String>,
    /// When it last was made, became ready, stopped being ready, or was told to go.
    pub moved_at: Timestamp,
    pub is_terminating: bool,
    /// `None`: it is not ready.
    pub ready_since: Option<Timestamp>,
    pub problem: Option<Problem>,
    pub drain: DrainAnswer,
    /// The claim of its data volume.
    pub volume: Option<String>,
}

/// What the operator has written on a volume about its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The pod with this uid has proved that nothing is left on it.
    Drained { pod_uid: String },
    /// The pod with this uid, if there was one, could not be drained.
    Unflushed { pod_uid: String, reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeView {
    pub name: String,
    pub uid: String,
    pub ordinal: u32,
    pub is_bound: bool,
    pub is_lost: bool,
    pub is_terminating: bool,
    pub requested_bytes: u64,
    /// What the volume has; it follows the request when the volume grows.
    pub capacity_bytes: Option<u64>,
    pub record: Option<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatefulSetView {
    pub name: String,
    pub uid: String,
    pub is_terminating: bool,
    /// Its controller has seen the newest template, so the revision is that template's.
    pub is_observed: bool,
    pub replicas: u32,
    pub update_revision: Option<String>,
    /// It was changed since it was made, so its pods may be of something new.
    pub has_rolled: bool,
    /// When the operator last changed it, or its controller last counted other pods.
    pub changed_at: Timestamp,
    pub shape: Shape,
}

/// Everything that the planner decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub now: Timestamp,
    pub stateful_set: Option<StatefulSetView>,
    /// By ordinal.
    pub pods: Vec<PodView>,
    /// By ordinal.
    pub volumes: Vec<VolumeView>,
    pub is_namespace_terminating: bool,
}

impl Observed {
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.is_ready()).count()
    }

    /// Pods of the newest revision.
    pub fn updated_pods(&self) -> usize {
        let revision = self.stateful_set.as_ref().and_then(|set| set.update_revision.as_deref());
        self.pods.iter().filter(|pod| pod.revision.is_some() && pod.revision.as_deref() == revision).count()
    }

    pub(crate) fn volume_of(&self, pod: &PodView) -> Option<&VolumeView> {
        self.volumes.iter().find(|volume| Some(&volume.name) == pod.volume.as_ref())
    }
}

impl PodView {
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && !self.is_terminating
    }
}

/// Why the API server's objects could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {object}")]
pub struct ObserveError {
    object: &'static str,
    source: kube::Error,
}

/// The labels that the StatefulSet, its pods and their volumes have.
pub const CLUSTER_LABEL: &str = "tempo-rs.dev/cluster";
pub const COMPONENT_LABEL: &str = "tempo-rs.dev/component";
pub const SINGLE_BINARY: &str = "single-binary";

/// Reads everything.
pub async fn observe(
    client: &Client,
    http: &PodHttp,
    cluster: &TempoCluster,
    now: Timestamp,
) -> Result<Observed, ObserveError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let name = cluster.name_any();
    let is_deleting = cluster.metadata.deletion_timestamp.is_some();
    let labels = format!("{CLUSTER_LABEL}={name},{COMPONENT_LABEL}={SINGLE_BINARY}");
    let selected = ListParams::default().labels(&labels);
    let failed = |object| move |source| ObserveError { object, source };

    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let set = sets.get_opt(&name).await.map_err(failed("the StatefulSet"))?;
    let pods = pods.list(&selected).await.map_err(failed("the pods"))?;
    let mut found = claims.list(&selected).await.map_err(failed("the volumes"))?.items;
    let is_namespace_terminating = is_deleting && is_terminating(client, &namespace).await?;

    let mut pods: Vec<PodView> = pods.iter().filter_map(|pod| pod_state::view(pod, &name, now)).collect();
    pods.sort_by_key(|pod| pod.ordinal);
    ask_pods(http, &mut pods, is_deleting).await;
    // A claim that was there before its pod (restored from a snapshot, say) has none of our labels.
    for claim in pods.iter().filter_map(|pod| pod.volume.as_deref()) {
        if found.iter().all(|there| there.name_any() != claim) {
            let named = ListParams::default().fields(&format!("metadata.name={claim}"));
            found.extend(claims.list(&named).await.map_err(failed("a volume"))?);
        }
    }
    let mut volumes: Vec<VolumeView> = found.iter().filter_map(|claim| volumes::view(claim, &name)).collect();
    volumes.sort_by(|a, b| (a.ordinal, &a.name).cmp(&(b.ordinal, &b.name)));
    Ok(Observed {
        now,
        stateful_set: set.as_ref().map(|set| stateful_set(set, now)),
        pods,
        volumes,
        is_namespace_terminating,
    })
}

/// Whether the whole namespace is going away. An operator that may not read namespaces takes the careful answer.
async fn is_terminating(client: &Client, namespace: &str) -> Result<bool, ObserveError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match namespaces.get_opt(namespace).await {
        Ok(found) => Ok(found.is_none_or(|found| found.metadata.deletion_timestamp.is_some())),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(false),
        Err(source) => Err(ObserveError { object: "the namespace", source }),
    }
}

async fn ask_pods(http: &PodHttp, pods: &mut [PodView], is_deleting: bool) {
    let asked = pods.iter_mut().filter(|pod| is_deleting || !pod.is_ready());
    join_all(asked.map(|pod| async move {
        let Some(ip) = pod.ip.filter(|_| !pod.is_terminating) else { return };
        pod.drain = match http.drain_state(ip).await {
            Ok(state) => DrainAnswer::State(state),
            Err(PodCallError::Unknown { .. }) => DrainAnswer::Unknown,
            Err(error) => {
                DrainAnswer::Silent(display_error_chain::DisplayErrorChain::new(&error).to_string())
            }
        };
    }))
    .await;
}

fn stateful_set(set: &StatefulSet, now: Timestamp) -> StatefulSetView {
    let status = set.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    StatefulSetView {
        name: set.name_any(),
        uid: set.uid().unwrap_or_default(),
        is_terminating: set.metadata.deletion_timestamp.is_some(),
        is_observed: observed >= set.metadata.generation,
        replicas: u32::try_from(replicas).unwrap_or(0),
        has_rolled: set.metadata.generation.is_some_and(|generation| generation > 1),
        update_revision: status.and_then(|status| status.update_revision.clone()),
        changed_at: changed_at(set).or_else(|| time(set.metadata.creation_timestamp.as_ref())).unwrap_or(now),
        shape: Shape::of(set),
    }
}

/// When the operator's own fields or the status last changed: the API server keeps that time per field manager, and a
/// write that changes nothing leaves it alone. A rollout's deadline is counted from it, and that of a pod that went away.
fn changed_at(set: &StatefulSet) -> Option<Timestamp> {
    let told = set.metadata.managed_fields.iter().flatten().filter(|fields| {
        match fields.subresource.as_deref().unwrap_or("") {
            "" => fields.manager.as_deref() == Some(FIELD_MANAGER),
            subresource => subresource == "status",
        }
    });
    told.filter_map(|fields| time(fields.time.as_ref())).max()
}

pub(crate) fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// The number behind `<prefix>-`.
pub(crate) fn ordinal(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?.strip_prefix('-')?;
    let is_canonical = digits == "0" || !digits.starts_with('0');
    if is_canonical && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stateful_set_has_changed_when_the_operator_or_its_controller_wrote() {
        let set = |fields| {
            let set =
                json!({"metadata": {"creationTimestamp": "2026-11-23T00:00:00Z", "managedFields": fields}});
            stateful_set(&serde_json::from_value(set).unwrap(), Timestamp::UNIX_EPOCH).changed_at.to_string()
        };
        let ours = json!({"manager": FIELD_MANAGER, "time": "2026-11-23T00:10:00Z"});
        let counts = json!({"manager": "kcm", "subresource": "status", "time": "2026-11-23T00:20:00Z"});
        let foreign = json!({"manager": "kubectl", "time": "2026-11-23T00:30:00Z"});

        assert_eq!(set(json!([])), "2026-11-23T00:00:00Z");
        assert_eq!(set(json!([ours, foreign])), "2026-11-23T00:10:00Z");
        assert_eq!(set(json!([ours, counts, foreign])), "2026-11-23T00:20:00Z");
    }
}
