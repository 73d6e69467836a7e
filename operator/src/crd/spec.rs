//! What a user may write in a TempoCluster: the types, their schema and the rules (CEL) that the API server keeps.
//!
//! No field has an OpenAPI default and the operator never writes a spec: what is in Git and what is in the API server stay
//! the same. Defaults are applied in `validate.rs` and shown in `status.effective`. Every text, list and map has a bound,
//! because the API server refuses rules over unbounded values.

mod config;
mod ingest;
mod lifecycle;
mod limits;
mod monolithic;
mod storage;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    config::{ConfigSpec, EnvFieldSpec, EnvFromSpec, EnvKeySpec, EnvObjectSpec, EnvSourceSpec, EnvSpec},
    ingest::{IngestSpec, IngestTlsMode, IngestTlsSpec, ReceiverSpec},
    lifecycle::{DeletionPolicySpec, DrainPolicy, RolloutSpec, VolumePolicy},
    limits::{IngestionLimitsSpec, LimitsSpec, TenantLimitsSpec},
    monolithic::{LogLevel, MonolithicSpec, PersistenceSpec, ResourcesSpec, ServiceKind, ServiceSpec},
    storage::{
        AmbientSpec, CredentialKeysSpec, CredentialsSpec, FilesystemSpec, S3Spec, StorageSpec, StorageTlsSpec,
    },
};
use crate::crd::{status::TempoClusterStatus, text::DurationText};

/// A Tempo for traces: receivers, storage and query API, kept running, upgraded and drained by the operator.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "tempo-rs.dev",
    version = "v1alpha1",
    kind = "TempoCluster",
    plural = "tempoclusters",
    namespaced,
    cel,
    status = "TempoClusterStatus",
    derive = "PartialEq",
    doc = "A Tempo for traces: receivers, storage and query API, kept running, upgraded and drained by the operator.",
    shortname = "tpc",
    shortname = "tempoc",
    category = "tempo-rs",
    category = "observability",
    selectable = ".spec.mode",
    scale(
        spec_replicas_path = ".spec.ingester.replicas",
        status_replicas_path = ".status.ingester.replicas",
        label_selector_path = ".status.ingester.selector"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version.current"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ingesters", type_ = "string", json_path = ".status.ingester.summary"),
    printcolumn(name = "Updated", type_ = "string", json_path = ".status.rollout.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.storage.location", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    validation = Rule::new(
        "self.metadata.name.size() <= 32 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    )
    .message("the name must have at most 32 characters, begin with a letter, and have only a-z, 0-9 and -")
)]
#[x_kube(
    validation = Rule::new(
        "!has(self.limits) || !(has(self.limits.tenants) || has(self.limits.tenantsFrom)) || (has(self.tenancy) && has(self.tenancy.enabled) && self.tenancy.enabled)"
    )
    .message("limits of tenants need tenancy.enabled: true")
    .field_path(".limits"),
    validation = Rule::new("!has(self.image) || !has(self.image.digest) || has(self.version)")
        .message("image.digest does not say which version it is: set version as well")
        .field_path(".version")
)]
#[serde(rename_all = "camelCase")]
pub struct TempoClusterSpec {
    /// What the operator does: Managed keeps everything as written here; Paused only observes and reports; Unmanaged
    /// leaves the cluster alone. Default: Managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_state: Option<ManagementState>,
    /// How Tempo runs: Monolithic is one process in one pod.
    pub mode: Mode,
    /// Version of Tempo, such as 0.4.1. Default: the operator's own. Supported are the operator's minor version and the one
    /// before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: Option<String>,
    /// The image that pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// Secrets with credentials of the image registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// The service account of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountSpec>,
    /// Where traces are kept.
    pub storage: StorageSpec,
    /// Limits, for all tenants and for single ones. Changes are read by running pods and restart nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Whether there is more than one tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<TenancySpec>,
    /// The one pod of mode Monolithic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monolithic: Option<MonolithicSpec>,
    /// The protocols in which spans are taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingest: Option<IngestSpec>,
    /// How Tempo itself is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<ObservabilitySpec>,
    /// Configuration of Tempo that has no field of its own here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigSpec>,
    /// How changes reach running pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// What happens when this object is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicySpec>,
}

/// What the operator does with a cluster.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ManagementState {
    #[default]
    Managed,
    Paused,
    Unmanaged,
}

/// How Tempo runs.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Monolithic,
}

/// `image`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.tag) && has(self.digest))").message("set tag or digest, not both")
)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Registry and name, without tag. Default: the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: Option<String>,
    /// Tag. Default: the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), regex(pattern = r"^[0-9A-Za-z_][0-9A-Za-z_.-]*$"))]
    pub tag: Option<String>,
    /// Digest, such as sha256:4f53...; then no tag is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 135), regex(pattern = r"^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"))]
    pub digest: Option<String>,
    /// When the image is pulled. Default: as Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
}

/// When an image is pulled.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The name of an object in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a ConfigMap or Secret in the same namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct KeyReference {
    /// ConfigMap or Secret. Default: ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<KeyHolder>,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl KeyReference {
    pub fn holder(&self) -> KeyHolder {
        self.kind.unwrap_or_default()
    }
}

/// What kind of object holds a key.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyHolder {
    #[default]
    ConfigMap,
    Secret,
}

/// `serviceAccount`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountSpec {
    /// Whether the operator creates it. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// Its name. Default: the name of the TempoCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Annotations, such as the cloud's role to take.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// `tenancy`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TenancySpec {
    /// Whether every request must name its tenant in X-Scope-OrgID. The header is believed: put something in front that
    /// sets it. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// `observability`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ObservabilitySpec {
    /// A ServiceMonitor for the Prometheus operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_monitor: Option<ServiceMonitorSpec>,
}

/// `observability.serviceMonitor`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMonitorSpec {
    /// Whether it is made; if the cluster does not know the kind, the status says so. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How often metrics are read. Default: as Prometheus is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationText>,
    /// Labels by which Prometheus finds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
}

/// An object whose fields the API server does not know.
fn free_form(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
