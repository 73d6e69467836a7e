//! TempoCluster + [`References`] → [`ValidatedCluster`]: every default is applied, everything referred to is there, and
//! nothing below has to ask again. Or a [`Refusal`] that names the key to change.
//!
//! Pure. What the API server keeps (schema, CEL) is not repeated here, unless it holds for effective values only. What can
//! only be known once the configuration is rendered is refused by [`crate::render`].

mod lifecycle;
mod receivers;
mod storage;
mod version;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use serde_json::Value;

pub use self::{
    lifecycle::{Deletion, Rollout},
    receivers::{CaFile, IngestTls, Protocol, Receivers},
    storage::{CredentialKeys, Credentials, S3, Storage},
};
use crate::{
    crd::{
        ConditionType, ConfigSpec, EffectiveStatus, EndpointsStatus, LogLevel, PullPolicy, ResourcesSpec,
        ServiceKind, StorageStatus, TempoCluster, TenantLimitsSpec,
    },
    references::{KeyState, OperatorDefaults, References},
    render::names,
};

const DEFAULT_VOLUME_SIZE: &str = "10Gi";
const DEFAULT_GRACE_SECS: i64 = 300;

/// Why a cluster is not rendered; the running pods stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Refusal {
    /// The condition that says so.
    pub condition: ConditionType,
    /// One word.
    pub reason: String,
    /// A sentence with the key to change.
    pub message: String,
    /// Whether it may pass without a change of the spec: something that is referred to is not there yet.
    pub is_waiting: bool,
}

impl Refusal {
    /// Something referred to is missing or incomplete.
    pub(crate) fn waiting(condition: ConditionType, reason: &str, message: impl Into<String>) -> Self {
        Self { condition, reason: reason.to_owned(), message: message.into(), is_waiting: true }
    }

    /// The spec must be changed.
    pub(crate) fn spec(condition: ConditionType, reason: &str, message: impl Into<String>) -> Self {
        Self { condition, reason: reason.to_owned(), message: message.into(), is_waiting: false }
    }
}

/// A cluster whose every choice is made.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedCluster {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) version: String,
    pub(crate) image: String,
    pub(crate) pull_policy: Option<PullPolicy>,
    pub(crate) pull_secrets: Vec<String>,
    pub(crate) service_account: ServiceAccount,
    pub(crate) storage: Storage,
    pub(crate) is_multitenant: bool,
    pub(crate) limits: Limits,
    pub(crate) pod: Pod,
    pub(crate) receivers: Receivers,
    pub(crate) service_monitor: Option<ServiceMonitor>,
    pub(crate) config: ConfigSpec,
    pub(crate) rollout: Rollout,
    pub(crate) deletion: Deletion,
}

/// The account of the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) name: String,
    pub(crate) is_created: bool,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What becomes the per-tenant file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Limits {
    pub(crate) defaults: TenantLimitsSpec,
    pub(crate) tenants: BTreeMap<String, TenantLimitsSpec>,
    /// Text of the file of `tenantsFrom`, and where it is from.
    pub(crate) file: Option<(String, String)>,
}

/// The one pod and its Service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod {
    pub(crate) volume_size: String,
    pub(crate) storage_class: Option<String>,
    pub(crate) resources: ResourcesSpec,
    pub(crate) patch: Option<Value>,
    pub(crate) service_kind: ServiceKind,
    pub(crate) service_annotations: BTreeMap<String, String>,
    pub(crate) grace_secs: i64,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) extra_args: Vec<String>,
}

/// A ServiceMonitor that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceMonitor {
    pub(crate) interval: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Checks what the API server cannot, and applies defaults.
pub fn validate(cluster: &TempoCluster, references: &References) -> Result<ValidatedCluster, Refusal> {
    let spec = &cluster.spec;
    let name = cluster.name_any();
    let version = version::supported(spec.version.as_deref(), &references.operator.version)?;
    let account = spec.service_account.clone().unwrap_or_default();
    let image = spec.image.clone().unwrap_or_default();
    let tenancy = spec.tenancy.clone().unwrap_or_default();
    let monitor = spec.observability.as_ref().and_then(|observability| observability.service_monitor.clone());
    Ok(ValidatedCluster {
        namespace: cluster.namespace().unwrap_or_else(|| "default".to_owned()),
        uid: cluster.uid().unwrap_or_default(),
        image: image_reference(cluster, &version, &references.operator),
        version,
        pull_policy: image.pull_policy,
        pull_secrets: spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        service_account: ServiceAccount {
            name: account.name.unwrap_or_else(|| name.clone()),
            is_created: account.create.unwrap_or(true),
            annotations: account.annotations,
        },
        storage: storage::validate(&spec.storage, references)?,
        is_multitenant: tenancy.enabled.unwrap_or(false),
        limits: limits(cluster, references)?,
        pod: pod(cluster)?,
        receivers: receivers::validate(spec.ingest.as_ref(), references)?,
        service_monitor: monitor.filter(|monitor| monitor.enabled.unwrap_or(false)).map(|monitor| {
            ServiceMonitor {
                interval: monitor.interval.map(|interval| interval.as_str().to_owned()),
                labels: monitor.labels,
            }
        }),
        config: spec.config.clone().unwrap_or_default(),
        rollout: Rollout::of(spec.rollout.as_ref())?,
        deletion: Deletion::of(spec.deletion_policy.as_ref())?,
        name,
    })
}

/// Repository with a digest, or with a tag, which is the version unless the spec or the operator's flags say otherwise.
fn image_reference(cluster: &TempoCluster, version: &str, operator: &OperatorDefaults) -> String {
    let image = cluster.spec.image.clone().unwrap_or_default();
    let repository = image.repository.unwrap_or_else(|| operator.image_repository.clone());
    if let Some(digest) = image.digest {
        return format!("{repository}@{digest}");
    }
    let is_default = cluster.spec.version.is_none();
    let default_tag = operator.image_tag.clone().filter(|_| is_default);
    let tag = image.tag.or(default_tag).unwrap_or_else(|| version.to_owned());
    format!("{repository}:{tag}")
}

fn limits(cluster: &TempoCluster, references: &References) -> Result<Limits, Refusal> {
    const REASON: &str = "TenantOverridesNotFound";
    let spec = cluster.spec.limits.clone().unwrap_or_default();
    let file = match (&references.tenant_overrides, spec.tenants_from) {
        (KeyState::NotReferenced, _) => None,
        (KeyState::MissingObject { kind, name }, _) => {
            let message = format!("limits.tenantsFrom: {kind} {name} does not exist");
            return Err(Refusal::waiting(ConditionType::ConfigValid, REASON, message));
        }
        (KeyState::MissingKey { kind, name, key }, _) => {
            let message = format!("limits.tenantsFrom: {kind} {name} has no key {key}");
            return Err(Refusal::waiting(ConditionType::ConfigValid, REASON, message));
        }
        (KeyState::Present { text, .. }, from) => {
            let place = from.map_or_else(String::new, |from| format!("{}, key {}", from.name, from.key));
            Some((text.clone(), place))
        }
    };
    Ok(Limits {
        defaults: spec.defaults.unwrap_or_default(),
        tenants: spec.tenants.unwrap_or_default(),
        file,
    })
}

fn pod(cluster: &TempoCluster) -> Result<Pod, Refusal> {
    let spec = cluster.spec.monolithic.clone().unwrap_or_default();
    let persistence = spec.persistence.unwrap_or_default();
    let service = spec.service.unwrap_or_default();
    extra_args(&spec.extra_args)?;
    Ok(Pod {
        volume_size: persistence.size.map_or(DEFAULT_VOLUME_SIZE.to_owned(), |size| size.as_str().to_owned()),
        storage_class: persistence.storage_class_name,
        resources: spec.resources.unwrap_or_default(),
        patch: spec.pod_template.map(|patch| Value::Object(patch.into_iter().collect())),
        service_kind: service.kind.unwrap_or_default(),
        service_annotations: service.annotations,
        grace_secs: spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECS),
        log_level: spec.log_level,
        extra_args: spec.extra_args,
    })
}

/// Arguments that would take what the operator relies on out of its hands.
fn extra_args(arguments: &[String]) -> Result<(), Refusal> {
    const OURS: [(&str, &str); 8] = [
        ("config.", "config.extra"),
        ("target", "mode"),
        ("server.http-listen-", "nothing: the operator asks pods on port 3200"),
        ("storage.trace.", "storage"),
        ("multitenancy.enabled", "tenancy.enabled"),
        ("auth.enabled", "tenancy.enabled"),
        ("log.level", "monolithic.logLevel"),
        ("http-api-prefix", "nothing: the operator asks pods without a prefix"),
    ];
    for (i, argument) in arguments.iter().enumerate() {
        let flag = argument.trim_start_matches('-');
        if let Some((_, instead)) = OURS.iter().find(|(ours, _)| flag.starts_with(ours)) {
            let message = format!("monolithic.extraArgs[{i}]: -{flag} is set by the operator; use {instead}");
            return Err(Refusal::spec(ConditionType::Stalled, "InvalidSpec", message));
        }
    }
    Ok(())
}

impl ValidatedCluster {
    /// Version of Tempo.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The image with its tag or digest.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// How changes reach pods.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// How the cluster ends.
    pub fn deletion(&self) -> &Deletion {
        &self.deletion
    }

    /// What holds where the spec leaves a choice.
    pub fn effective(&self) -> EffectiveStatus {
        EffectiveStatus {
            image: Some(self.image.clone()),
            volume_size: Some(self.pod.volume_size.clone()),
            termination_grace_period_seconds: Some(self.pod.grace_secs),
            soak: Some(lifecycle::text(self.rollout.soak)),
            progress_deadline: Some(lifecycle::text(self.rollout.progress_deadline)),
            drain: Some(self.deletion.drain.as_str().to_owned()),
        }
    }

    /// Where traces are kept.
    pub fn storage_status(&self) -> StorageStatus {
        let kind = match self.storage {
            Storage::Filesystem => "filesystem",
            Storage::S3(_) => "s3",
        };
        StorageStatus { kind: kind.to_owned(), location: self.storage.location() }
    }

    /// Where to send spans and where to ask, inside of the Kubernetes cluster.
    pub fn endpoints(&self) -> EndpointsStatus {
        let host = format!("{}.{}.svc", self.name, self.namespace);
        let port = |protocol: Protocol| self.receivers.port(protocol).map(|port| format!("{host}:{port}"));
        EndpointsStatus {
            query: Some(format!("http://{host}:{}", names::HTTP_PORT)),
            otlp_grpc: port(Protocol::OtlpGrpc),
            otlp_http: port(Protocol::OtlpHttp),
            jaeger_grpc: port(Protocol::JaegerGrpc),
            jaeger_thrift_http: port(Protocol::JaegerThriftHttp),
            jaeger_thrift_compact: port(Protocol::JaegerThriftCompact),
            jaeger_thrift_binary: port(Protocol::JaegerThriftBinary),
            zipkin: port(Protocol::Zipkin),
        }
    }
}

#[cfg(test)]
mod tests;
