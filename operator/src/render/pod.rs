//! The pod: one container that meets the restricted pod security standard, probes, volumes, environment.
//!
//! Startup and liveness ask `/livez`, which answers whenever HTTP is served: a long replay of the WAL or a dead bucket must
//! never get a pod killed. Readiness asks `/ready`. Credentials come as environment, not as `${VARIABLE}` in the file:
//! that is replaced before the file is read as YAML, and a key with `:`, `#` or only digits would change its meaning.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapEnvSource, ConfigMapKeySelector, ConfigMapVolumeSource, Container,
        ContainerPort, EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretEnvSource, SecretKeySelector, SecretVolumeSource,
        SecurityContext, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{config::RenderedConfig, labels, names, pod_patch, service};
use crate::{
    crd::{ConditionType, EnvFromSpec, EnvKeySpec, EnvSpec, KeyHolder, SizeText},
    references::content_hash,
    validate::{CaFile, CredentialKeys, Credentials, Refusal, Storage, ValidatedCluster},
};

/// User and group of the image.
const USER: i64 = 65_532;

/// The template of the pods, with the user's patch.
pub(super) fn template(
    cluster: &ValidatedCluster,
    config: &RenderedConfig,
) -> Result<PodTemplateSpec, Refusal> {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels::pod(cluster)),
            annotations: Some(annotations(cluster, config)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(cluster, config)?),
    };
    match &cluster.pod.patch {
        None => Ok(template),
        Some(patch) => pod_patch::apply(template, patch),
    }
}

/// What of the pod's surroundings changes it without showing in the template otherwise.
fn annotations(cluster: &ValidatedCluster, config: &RenderedConfig) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([(labels::CONFIG_DIGEST.to_owned(), config.hash.clone())]);
    if let Some(at) = &cluster.rollout.restarted_at {
        annotations.insert(labels::RESTARTED_AT.to_owned(), at.clone());
    }
    let credentials = match &cluster.storage {
        Storage::Filesystem => None,
        Storage::S3(s3) => match (&s3.credentials, &s3.ca) {
            (Credentials::Ambient, None) => None,
            (Credentials::Ambient, Some(ca)) => Some(ca.content_hash.clone()),
            (Credentials::Secret(keys), None) => Some(keys.content_hash.clone()),
            (Credentials::Secret(keys), Some(ca)) => {
                Some(content_hash([(keys.content_hash.as_str(), ca.content_hash.as_bytes())]))
            }
        },
    };
    annotations.extend(credentials.map(|hash| (labels::CREDENTIALS_DIGEST.to_owned(), hash)));
    annotations
}

fn pod(cluster: &ValidatedCluster, config: &RenderedConfig) -> Result<PodSpec, Refusal> {
    let pull_secrets: Vec<_> =
        cluster.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    let mounted = mounted(cluster, config);
    Ok(PodSpec {
        containers: vec![container(cluster, mounted.iter().map(|(_, mount)| mount.clone()).collect())?],
        volumes: Some(mounted.into_iter().filter_map(|(volume, _)| volume).collect()),
        service_account_name: Some(cluster.service_account.name.clone()),
        automount_service_account_token: Some(false),
        // Without it every Service of the namespace becomes environment of the pod.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(cluster.pod.grace_secs),
        image_pull_secrets: Some(pull_secrets).filter(|secrets| !secrets.is_empty()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // A volume with many blocks takes minutes to be walked through at each start otherwise.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    })
}

fn container(cluster: &ValidatedCluster, mounts: Vec<VolumeMount>) -> Result<Container, Refusal> {
    let mut args = vec![
        format!("-config.file={}/{}", names::CONFIG_PATH, names::CONFIG_KEY),
        "-config.expand-env=true".to_owned(),
    ];
    args.extend(cluster.pod.extra_args.iter().cloned());
    let env = environment(cluster)?;
    let env_from: Vec<_> = cluster.config.env_from.iter().map(env_from).collect();
    Ok(Container {
        name: names::CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        image_pull_policy: cluster.pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(args),
        env: Some(env).filter(|env| !env.is_empty()),
        env_from: Some(env_from).filter(|sources| !sources.is_empty()),
        ports: Some(ports(cluster)),
        resources: resources(cluster),
        startup_probe: Some(Probe { failure_threshold: Some(300), ..probe("/livez", 1) }),
        liveness_probe: Some(Probe {
            failure_threshold: Some(6),
            timeout_seconds: Some(5),
            ..probe("/livez", 10)
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(3),
            timeout_seconds: Some(3),
            ..probe("/ready", 2)
        }),
        volume_mounts: Some(mounts),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    })
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(service::HTTP_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        ..Probe::default()
    }
}

fn ports(cluster: &ValidatedCluster) -> Vec<ContainerPort> {
    let port = |name: &str, number: u16, protocol: &str| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    };
    let mut ports = vec![port(service::HTTP_PORT_NAME, names::HTTP_PORT, "TCP")];
    ports.extend(cluster.receivers.on.iter().map(|(protocol, number)| {
        port(protocol.port_name(), *number, if protocol.is_udp() { "UDP" } else { "TCP" })
    }));
    ports
}

fn resources(cluster: &ValidatedCluster) -> Option<ResourceRequirements> {
    let quantities = |sizes: &BTreeMap<String, SizeText>| {
        let sizes: BTreeMap<_, _> =
            sizes.iter().map(|(name, size)| (name.clone(), Quantity(size.as_str().to_owned()))).collect();
        Some(sizes).filter(|sizes| !sizes.is_empty())
    };
    let resources = ResourceRequirements {
        requests: quantities(&cluster.pod.resources.requests),
        limits: quantities(&cluster.pod.resources.limits),
        ..ResourceRequirements::default()
    };
    Some(resources).filter(|resources| *resources != ResourceRequirements::default())
}

/// Volumes with where they are mounted; the volume of the claim is made by the StatefulSet.
fn mounted(cluster: &ValidatedCluster, config: &RenderedConfig) -> Vec<(Option<Volume>, VolumeMount)> {
    let mount = |name: &str, path: &str, is_read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: is_read_only.then_some(true),
        ..VolumeMount::default()
    };
    let tmp = Volume {
        name: "tmp".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let mut mounted = vec![
        (None, mount(names::DATA_VOLUME, names::DATA_PATH, false)),
        (Some(tmp), mount("tmp", "/tmp", false)),
        (
            Some(of_config_map("config", names::config_map(&cluster.name, &config.hash), None)),
            mount("config", names::CONFIG_PATH, true),
        ),
        (
            Some(of_config_map("overrides", names::overrides_config_map(&cluster.name), None)),
            mount("overrides", names::OVERRIDES_PATH, true),
        ),
    ];
    if let Storage::S3(s3) = &cluster.storage
        && let Some(ca) = &s3.ca
    {
        mounted.push((Some(of_ca("storage-ca", ca)), mount("storage-ca", names::STORAGE_CA_PATH, true)));
    }
    if let Some(tls) = &cluster.receivers.tls {
        let certificate = of_secret("ingest-tls", tls.secret.clone(), None);
        mounted.push((Some(certificate), mount("ingest-tls", names::INGEST_TLS_PATH, true)));
        if let Some(ca) = &tls.client_ca {
            let name = "ingest-client-ca";
            mounted.push((Some(of_ca(name, ca)), mount(name, names::INGEST_CLIENT_CA_PATH, true)));
        }
    }
    mounted
}

fn of_ca(volume: &str, ca: &CaFile) -> Volume {
    match ca.holder {
        KeyHolder::ConfigMap => of_config_map(volume, ca.name.clone(), Some(&ca.key)),
        KeyHolder::Secret => of_secret(volume, ca.name.clone(), Some(&ca.key)),
    }
}

fn items(key: Option<&String>) -> Option<Vec<KeyToPath>> {
    key.map(|key| vec![KeyToPath { key: key.clone(), path: key.clone(), mode: None }])
}

fn of_config_map(volume: &str, name: String, key: Option<&String>) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name,
            items: items(key),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn of_secret(volume: &str, name: String, key: Option<&String>) -> Volume {
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name),
            items: items(key),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn environment(cluster: &ValidatedCluster) -> Result<Vec<EnvVar>, Refusal> {
    let mut env = match &cluster.storage {
        Storage::Filesystem => Vec::new(),
        Storage::S3(s3) => match &s3.credentials {
            Credentials::Ambient => Vec::new(),
            Credentials::Secret(keys) => credentials(keys),
        },
    };
    for (i, variable) in cluster.config.env.iter().enumerate() {
        if env.iter().any(|ours| ours.name == variable.name) {
            let message = format!(
                "config.env[{i}]: {} is set by the operator or twice; use storage.credentials",
                variable.name
            );
            return Err(Refusal::spec(ConditionType::Stalled, "InvalidSpec", message));
        }
        env.push(env_var(variable));
    }
    Ok(env)
}

/// The SDK's own names: it looks there first when the configuration has no keys.
fn credentials(keys: &CredentialKeys) -> Vec<EnvVar> {
    let variable = |name: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: keys.secret.clone(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut env = vec![
        variable("AWS_ACCESS_KEY_ID", &keys.access_key_id),
        variable("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key),
    ];
    env.extend(keys.session_token.as_deref().map(|key| variable("AWS_SESSION_TOKEN", key)));
    env
}

fn env_var(spec: &EnvSpec) -> EnvVar {
    let source = spec.value_from.as_ref().map(|source| EnvVarSource {
        secret_key_ref: source.secret_key_ref.as_ref().map(|EnvKeySpec { name, key, optional }| {
            SecretKeySelector { name: name.clone(), key: key.clone(), optional: *optional }
        }),
        config_map_key_ref: source.config_map_key_ref.as_ref().map(|EnvKeySpec { name, key, optional }| {
            ConfigMapKeySelector { name: name.clone(), key: key.clone(), optional: *optional }
        }),
        field_ref: source.field_ref.as_ref().map(|field| ObjectFieldSelector {
            field_path: field.field_path.clone(),
            ..ObjectFieldSelector::default()
        }),
        ..EnvVarSource::default()
    });
    EnvVar { name: spec.name.clone(), value: spec.value.clone(), value_from: source }
}

fn env_from(spec: &EnvFromSpec) -> EnvFromSource {
    EnvFromSource {
        prefix: spec.prefix.clone(),
        secret_ref: spec
            .secret_ref
            .as_ref()
            .map(|object| SecretEnvSource { name: object.name.clone(), optional: object.optional }),
        config_map_ref: spec
            .config_map_ref
            .as_ref()
            .map(|object| ConfigMapEnvSource { name: object.name.clone(), optional: object.optional }),
    }
}
