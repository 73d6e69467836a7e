//! The data volumes: how they are seen, grow, carry the proof of a drain, and go; and the fields of a StatefulSet that
//! the API server never lets change.
//!
//! Volumes only grow. A volume is deleted only with the proof on it, by uid, when the cluster's deletion policy says so.
//! A StatefulSet whose volume claim templates must change is deleted with its pods orphaned and applied again: its
//! controller adopts the running pods and the volumes by name, so nothing restarts. An operator that dies in between
//! finds no StatefulSet the next time and applies it.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};

use crate::{
    apply::FIELD_MANAGER,
    observe::{Record, VolumeView, ordinal, time},
};

/// Says when and by which pod a volume was proved empty.
pub const DRAINED_AT: &str = "tempo-rs.dev/drained-at";
/// The uid of the pod that `DRAINED_AT` or `UNFLUSHED` is about.
pub const DRAINED_POD: &str = "tempo-rs.dev/drained-pod";
/// Says why a volume that was kept still has spans that are nowhere else.
pub const UNFLUSHED: &str = "tempo-rs.dev/unflushed";

/// One volume claim template, as far as it must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimShape {
    pub name: String,
    pub storage_class: Option<String>,
    pub access_modes: Vec<String>,
    /// As it was written.
    pub size: String,
}

/// The fields of a StatefulSet that cannot be changed in place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    pub claims: Vec<ClaimShape>,
    pub service_name: String,
    pub pod_management_policy: String,
}

impl Shape {
    pub fn of(set: &StatefulSet) -> Shape {
        let Some(spec) = &set.spec else { return Shape::default() };
        let claims = spec.volume_claim_templates.iter().flatten().map(|claim| {
            let spec = claim.spec.as_ref();
            ClaimShape {
                name: claim.name_any(),
                storage_class: spec.and_then(|spec| spec.storage_class_name.clone()),
                access_modes: spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default(),
                size: spec.map(requested).unwrap_or_default(),
            }
        });
        Shape {
            claims: claims.collect(),
            service_name: spec.service_name.clone().unwrap_or_default(),
            pod_management_policy: spec
                .pod_management_policy
                .clone()
                .unwrap_or_else(|| "OrderedReady".to_owned()),
        }
    }

    /// The template of the data volume.
    pub(crate) fn data(&self) -> Option<&ClaimShape> {
        self.claims.first()
    }

    /// Whether a StatefulSet of the shape `live` must be made anew. A smaller size is no reason: volumes do not shrink.
    pub(crate) fn differs_from(&self, live: &Shape) -> bool {
        let Shape { claims, service_name, pod_management_policy } = self;
        let is_other = |(wanted, live): (&ClaimShape, &ClaimShape)| {
            let ClaimShape { name, storage_class, access_modes, size } = wanted;
            let is_larger = bytes(size) > bytes(&live.size);
            *name != live.name
                || (storage_class.is_some() && *storage_class != live.storage_class)
                || *access_modes != live.access_modes
                || is_larger
        };
        *service_name != live.service_name
            || *pod_management_policy != live.pod_management_policy
            || claims.len() != live.claims.len()
            || claims.iter().zip(&live.claims).any(is_other)
    }
}

/// Gives what is about to be applied the live values of what cannot change in place, so that everything else can be
/// applied. The planner sees the difference and has the StatefulSet made anew.
pub fn keep_immutable_fields(rendered: &mut StatefulSet, live: &StatefulSet) {
    let (Some(rendered), Some(live)) = (rendered.spec.as_mut(), live.spec.as_ref()) else { return };
    rendered.volume_claim_templates.clone_from(&live.volume_claim_templates);
    // What the server adds by itself is not ours to apply.
    for claim in rendered.volume_claim_templates.iter_mut().flatten() {
        claim.status = None;
        claim.metadata.creation_timestamp = None;
    }
    rendered.service_name.clone_from(&live.service_name);
    rendered.pod_management_policy.clone_from(&live.pod_management_policy);
    rendered.selector.clone_from(&live.selector);
}

fn requested(spec: &PersistentVolumeClaimSpec) -> String {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map(|size| size.0.clone()).unwrap_or_default()
}

/// The bytes of a quantity of Kubernetes, rounded up; `None` if it is none.
pub(crate) fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = quantity.split_at_checked(digits)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // More digits than this are below a byte for every suffix that there is.
    let fraction: String = format!("{fraction:0<18}").chars().take(18).collect();
    let fraction: u128 = fraction.parse().ok()?;
    let multiplier: u128 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        "m" => return u64::try_from(whole.div_ceil(1000)).ok(),
        exponent => {
            let exponent: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_u128.checked_pow(exponent)?
        }
    };
    let fraction = fraction.checked_mul(multiplier)?.div_ceil(1_000_000_000_000_000_000);
    u64::try_from(whole.checked_mul(multiplier)?.checked_add(fraction)?).ok()
}

/// `None`: not the data volume of a pod of this StatefulSet.
pub(crate) fn view(claim: &PersistentVolumeClaim, set: &str) -> Option<VolumeView> {
    let name = claim.name_any();
    let (_, rest) = name.split_once('-')?;
    let ordinal = ordinal(rest, set)?;
    let status = claim.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let capacity = status.and_then(|status| status.capacity.as_ref()?.get("storage"));
    Some(VolumeView {
        uid: claim.uid().unwrap_or_default(),
        ordinal,
        is_bound: phase == Some("Bound"),
        is_lost: phase == Some("Lost"),
        is_terminating: time(claim.metadata.deletion_timestamp.as_ref()).is_some(),
        requested_bytes: claim.spec.as_ref().and_then(|spec| bytes(&requested(spec))).unwrap_or(0),
        capacity_bytes: capacity.and_then(|capacity| bytes(&capacity.0)),
        record: record(claim),
        name,
    })
}

fn record(claim: &PersistentVolumeClaim) -> Option<Record> {
    let annotations = claim.annotations();
    let pod_uid = annotations.get(DRAINED_POD).cloned().unwrap_or_default();
    if let Some(reason) = annotations.get(UNFLUSHED) {
        return Some(Record::Unflushed { pod_uid, reason: reason.clone() });
    }
    annotations.get(DRAINED_AT).map(|_| Record::Drained { pod_uid })
}

/// A volume, and no other one of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRef {
    pub name: String,
    pub uid: String,
}

impl From<&VolumeView> for VolumeRef {
    fn from(volume: &VolumeView) -> VolumeRef {
        VolumeRef { name: volume.name.clone(), uid: volume.uid.clone() }
    }
}

/// Writes on the volume what is known of its content, or that nothing is known.
pub(crate) async fn write_record(
    client: &Client,
    namespace: &str,
    volume: &VolumeRef,
    record: Option<&Record>,
    now: jiff::Timestamp,
) -> Result<(), kube::Error> {
    let annotations = match record {
        Some(Record::Drained { pod_uid }) => {
            json!({ DRAINED_AT: now.to_string(), DRAINED_POD: pod_uid, UNFLUSHED: null })
        }
        Some(Record::Unflushed { pod_uid, reason }) => {
            json!({ DRAINED_AT: null, DRAINED_POD: pod_uid, UNFLUSHED: reason })
        }
        None => json!({ DRAINED_AT: null, DRAINED_POD: null, UNFLUSHED: null }),
    };
    patch(client, namespace, volume, json!({ "metadata": { "annotations": annotations } })).await
}

pub(crate) async fn grow(
    client: &Client,
    namespace: &str,
    volume: &VolumeRef,
    size: &str,
) -> Result<(), kube::Error> {
    let requests = json!({ "storage": size });
    patch(client, namespace, volume, json!({ "spec": { "resources": { "requests": requests } } })).await
}

/// The uid in the patch makes the API server refuse it for another volume of the same name.
async fn patch(
    client: &Client,
    namespace: &str,
    volume: &VolumeRef,
    mut patch: Value,
) -> Result<(), kube::Error> {
    patch["metadata"]["uid"] = json!(volume.uid);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    claims.patch(&volume.name, &parameters, &Patch::Merge(patch)).await.map(drop)
}

pub(crate) async fn delete(client: &Client, namespace: &str, volume: &VolumeRef) -> Result<(), kube::Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    claims.delete(&volume.name, &this_one(&volume.uid)).await.map(drop)
}

/// Deletes the StatefulSet and leaves its pods running.
pub(crate) async fn orphan_pods(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: &str,
) -> Result<(), kube::Error> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let parameters = DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..this_one(uid) };
    sets.delete(name, &parameters).await.map(drop)
}

/// Deletes the object with this uid, and no later one of the same name.
pub(crate) fn this_one(uid: &str) -> DeleteParams {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    DeleteParams::default().preconditions(preconditions)
}

#[cfg(test)]
mod tests;
