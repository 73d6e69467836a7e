//! What the operator reports. Output only: nothing is decided from it, and deleting it changes nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `status` of a TempoCluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TempoClusterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What is going on, or what is wrong, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// All conditions of `conditions.rs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Versions of Tempo and of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionStatus>,
    /// What holds where the spec leaves a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveStatus>,
    /// The pods that hold data: in mode Monolithic the one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingester: Option<IngesterStatus>,
    /// The change that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Where traces are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// Where to send spans and where to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsStatus>,
}

/// One word for people.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Creating,
    Running,
    Rolling,
    Draining,
    Paused,
    Stalled,
    Deleting,
}

/// `status.version`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// What all pods run; not set while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// What the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The operator's own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
}

/// `status.effective`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveStatus {
    /// The image of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Size of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_size: Option<String>,
    /// Time a pod has to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// `rollout.soak`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<String>,
    /// `rollout.progressDeadline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<String>,
    /// `deletionPolicy.drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
}

/// `status.ingester`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IngesterStatus {
    /// Pods that there are.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are as the spec says.
    pub updated: i32,
    /// Ready of wanted, such as 1/1.
    pub summary: String,
    /// Labels that select the pods.
    pub selector: String,
}

/// `status.rollout`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Updated of wanted, such as 1/1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Pods that keep the rollout from going on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_pods: Vec<String>,
}

/// `status.storage`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// s3 or filesystem.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as s3://traces/prod.
    pub location: String,
}

/// `status.endpoints`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EndpointsStatus {
    /// The HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// OTLP over gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_grpc: Option<String>,
    /// OTLP over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<String>,
    /// Jaeger over gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_grpc: Option<String>,
    /// Jaeger's Thrift over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_http: Option<String>,
    /// Jaeger's compact Thrift over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_compact: Option<String>,
    /// Jaeger's binary Thrift over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_binary: Option<String>,
    /// Zipkin over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<String>,
}
