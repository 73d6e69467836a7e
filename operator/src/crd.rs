//! The custom resource `TempoCluster`: its types, and the CustomResourceDefinition that is generated from them.
//!
//! `crds/tempoclusters.yaml` is what [`definition`] returns; a test compares. Change the types, never that file.

mod conditions;
#[expect(unreachable_pub, reason = "the derive of KubeSchema repeats types inside of a function")]
mod spec;
#[expect(unreachable_pub, reason = "the derive of KubeSchema repeats types inside of a function")]
mod status;
mod text;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
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
///
/// Without `nullable`, which the derive puts on every optional field: the API server then drops a null as it does in its
/// own objects, instead of keeping it as a difference to what is in Git.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = TempoCluster::crd();
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            without_nullable(schema);
        }
    }
    definition
}

fn without_nullable(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.properties.iter_mut().flatten().for_each(|(_, schema)| without_nullable(schema));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => without_nullable(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(without_nullable),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        without_nullable(value);
    }
}
