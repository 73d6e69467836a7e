//! The custom resource `TempoCluster`: its types, and the CustomResourceDefinition that is generated from them.
//!
//! `crds/tempoclusters.yaml` is what [`definition`] returns; a test compares. Change the types, never that file.

mod conditions;
#[expect(unreachable_pub, reason = "the derive of KubeSchema repeats types inside of a function")]
mod spec;
#[expect(unreachable_pub, reason = "the derive of KubeSchema repeats types inside of a function")]
mod status;
mod text;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use self::{
    conditions::{ConditionStatus, ConditionType},
    spec::{
        AmbientSpec, ConfigSpec, CredentialKeysSpec, CredentialsSpec, DeletionPolicySpec, DrainPolicy,
        EnvFieldSpec, EnvFromSpec, EnvKeySpec, EnvObjectSpec, EnvSourceSpec, EnvSpec, FilesystemSpec,
        ImageSpec, IngestSpec, IngestTlsMode, IngestTlsSpec, IngestionLimitsSpec, KeyHolder, KeyReference,
        LimitsSpec, LocalReference, LogLevel, ManagementState, Mode, MonolithicSpec, ObservabilitySpec,
        PersistenceSpec, PullPolicy, ReceiverSpec, ResourcesSpec, RolloutSpec, S3Spec, ServiceAccountSpec,
        ServiceKind, ServiceMonitorSpec, ServiceSpec, StorageSpec, StorageTlsSpec, TempoCluster,
        TempoClusterSpec, TenancySpec, TenantLimitsSpec, VolumePolicy,
    },
    status::{
        EffectiveStatus, EndpointsStatus, IngesterStatus, Phase, RolloutStatus, StorageStatus,
        TempoClusterStatus, VersionStatus,
    },
    text::{DurationText, SizeText},
};

/// The definition that is installed in the API server.
pub fn definition() -> CustomResourceDefinition {
    TempoCluster::crd()
}
