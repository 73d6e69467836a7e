//! The one translation from the spec to Tempo's configuration file.
//!
//! A [`Config`] is filled in Rust, `config.extra` is put over it, and the result is checked by the code that the binary runs
//! at its start. The file holds only what differs from Tempo's defaults: so an older image reads it, and a new operator
//! with new keys restarts nothing. No secret stands in it: credentials reach the pod as environment.

use std::collections::BTreeMap;

use serde_yaml::Value;
use tempo_config::{
    BackendKind, Config, Findings, GoDuration, JaegerGrpcConfig, JaegerProtocols, JaegerReceiverConfig,
    JaegerThriftBinaryConfig, JaegerThriftCompactConfig, JaegerThriftHttpConfig, LogLevel, OtlpGrpcConfig,
    OtlpHttpConfig, OtlpProtocols, OtlpReceiverConfig, ParseOptions, ReceiverTlsConfig, ReceiversConfig,
    S3Config, ValidConfig, ZipkinReceiverConfig,
};

use super::names;
use crate::{
    crd,
    references::content_hash,
    validate::{IngestTls, Protocol, Receivers, Refusal, S3, Storage, ValidatedCluster},
};

/// Between the process's own deadline and the kubelet's SIGKILL.
const KILL_MARGIN_SECS: u64 = 10;
const HASH_DIGITS: usize = 10;
const REDACTED: &str = "<redacted>";

/// Keys that `config.extra` must leave alone, because the operator or the objects around the pod rely on them.
const OURS: [(&str, &str); 13] = [
    ("target", "mode"),
    ("multitenancy_enabled", "tenancy.enabled"),
    ("http_api_prefix", "an Ingress or HTTPRoute in front of the Service"),
    ("server.http_listen_address", "nothing: the operator asks pods over HTTP on port 3200"),
    ("server.http_listen_port", "nothing: the operator asks pods over HTTP on port 3200"),
    ("server.http_tls_config", "nothing: the operator asks pods over HTTP on port 3200"),
    ("server.grpc_listen_port", "nothing"),
    ("storage.trace.backend", "storage"),
    ("storage.trace.s3.bucket", "storage.s3.bucket"),
    ("storage.trace.s3.prefix", "storage.prefix"),
    ("storage.trace.local.path", "nothing: the volume is mounted at /var/tempo"),
    ("storage.trace.wal.path", "nothing: the volume is mounted at /var/tempo"),
    ("overrides.per_tenant_override_config", "limits"),
];

/// The file, and what else is made of it.
#[derive(Debug)]
pub(super) struct RenderedConfig {
    pub(super) valid: ValidConfig,
    pub(super) text: String,
    /// Of the text: name of the ConfigMap and digest on pods.
    pub(super) hash: String,
    pub(super) warnings: Vec<String>,
}

pub(super) fn render(cluster: &ValidatedCluster) -> Result<RenderedConfig, Refusal> {
    let ours = filled(cluster);
    let mut warnings = Vec::new();
    let config = match &cluster.config.extra {
        None => ours,
        Some(extra) => {
            let extra = serde_yaml::to_value(extra).map_err(|error| invalid(error.to_string()))?;
            let parsed = ours.clone().overlay(&extra).map_err(|findings| refused(cluster, &findings))?;
            warnings.extend(parsed.warnings.iter().map(|finding| format!("config.extra: {finding}")));
            keeps_ours(&ours, &parsed.config)?;
            parsed.config
        }
    };
    let valid = config.validate().map_err(|findings| refused(cluster, &findings))?;
    let text = text(&valid)?;
    let hash = content_hash([(names::CONFIG_KEY, text.as_bytes())]).chars().take(HASH_DIGITS).collect();
    Ok(RenderedConfig { valid, text, hash, warnings })
}

fn invalid(message: String) -> Refusal {
    Refusal::spec(crd::ConditionType::ConfigValid, "InvalidConfig", message)
}

/// All findings in one message. What the spec's own fields make is nearly always valid, so they speak of `config.extra`.
fn refused(cluster: &ValidatedCluster, findings: &Findings) -> Refusal {
    let place = if cluster.config.extra.is_some() { "config.extra" } else { "configuration" };
    let findings: Vec<String> = findings.iter().map(|finding| format!("{place}: {finding}")).collect();
    invalid(findings.join("; "))
}

fn filled(cluster: &ValidatedCluster) -> Config {
    let mut config = Config { multitenancy_enabled: cluster.is_multitenant, ..Config::default() };
    if let Some(level) = cluster.pod.log_level {
        config.server.log_level = match level {
            crd::LogLevel::Debug => LogLevel::Debug,
            crd::LogLevel::Info => LogLevel::Info,
            crd::LogLevel::Warn => LogLevel::Warn,
            crd::LogLevel::Error => LogLevel::Error,
        };
    }
    let grace = u64::try_from(cluster.pod.grace_secs).unwrap_or_default();
    config.server.tempo_rs.shutdown_deadline =
        GoDuration::from_secs(grace.saturating_sub(KILL_MARGIN_SECS).max(5));
    config.distributor.receivers = receivers(&cluster.receivers);
    match &cluster.storage {
        Storage::Filesystem => {}
        Storage::S3(bucket) => {
            config.storage.trace.backend = BackendKind::S3;
            config.storage.trace.s3 = s3(bucket);
        }
    }
    config.overrides.per_tenant_override_config =
        format!("{}/{}", names::OVERRIDES_PATH, names::OVERRIDES_KEY);
    config
}

fn s3(bucket: &S3) -> S3Config {
    let ca = bucket.ca.as_ref().map(|ca| format!("{}/{}", names::STORAGE_CA_PATH, ca.key));
    S3Config {
        bucket: bucket.bucket.clone(),
        prefix: bucket.prefix.clone(),
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        insecure: bucket.insecure,
        forcepathstyle: bucket.force_path_style,
        tls_ca_path: ca.unwrap_or_default(),
        tls_insecure_skip_verify: bucket.insecure_skip_verify,
        ..S3Config::default()
    }
}

fn receivers(receivers: &Receivers) -> ReceiversConfig {
    // An empty host is all addresses of the pod, of both families.
    let endpoint = |protocol| receivers.port(protocol).map(|port| format!(":{port}"));
    let tls = tls(receivers.tls.as_ref());
    let otlp = OtlpProtocols {
        grpc: endpoint(Protocol::OtlpGrpc).map(|endpoint| OtlpGrpcConfig {
            endpoint,
            tls: tls.clone(),
            ..OtlpGrpcConfig::default()
        }),
        http: endpoint(Protocol::OtlpHttp).map(|endpoint| OtlpHttpConfig {
            endpoint,
            tls: tls.clone(),
            ..OtlpHttpConfig::default()
        }),
    };
    let jaeger = JaegerProtocols {
        grpc: endpoint(Protocol::JaegerGrpc).map(|endpoint| JaegerGrpcConfig {
            endpoint,
            tls: tls.clone(),
            ..JaegerGrpcConfig::default()
        }),
        thrift_http: endpoint(Protocol::JaegerThriftHttp).map(|endpoint| JaegerThriftHttpConfig {
            endpoint,
            tls: tls.clone(),
            ..JaegerThriftHttpConfig::default()
        }),
        thrift_compact: endpoint(Protocol::JaegerThriftCompact)
            .map(|endpoint| JaegerThriftCompactConfig { endpoint, ..JaegerThriftCompactConfig::default() }),
        thrift_binary: endpoint(Protocol::JaegerThriftBinary)
            .map(|endpoint| JaegerThriftBinaryConfig { endpoint, ..JaegerThriftBinaryConfig::default() }),
    };
    let has_otlp = otlp != OtlpProtocols::default();
    let has_jaeger = jaeger != JaegerProtocols::default();
    ReceiversConfig {
        otlp: has_otlp.then_some(OtlpReceiverConfig { protocols: otlp }),
        jaeger: has_jaeger
            .then_some(JaegerReceiverConfig { protocols: jaeger, ..JaegerReceiverConfig::default() }),
        zipkin: endpoint(Protocol::Zipkin).map(|endpoint| ZipkinReceiverConfig {
            endpoint,
            tls,
            ..ZipkinReceiverConfig::default()
        }),
    }
}

fn tls(tls: Option<&IngestTls>) -> ReceiverTlsConfig {
    let Some(tls) = tls else { return ReceiverTlsConfig::default() };
    let client_ca = tls.client_ca.as_ref().map(|ca| format!("{}/{}", names::INGEST_CLIENT_CA_PATH, ca.key));
    ReceiverTlsConfig {
        cert_file: format!("{}/tls.crt", names::INGEST_TLS_PATH),
        key_file: format!("{}/tls.key", names::INGEST_TLS_PATH),
        client_ca_file: client_ca.unwrap_or_default(),
        ..ReceiverTlsConfig::default()
    }
}

/// Refuses a fragment that changed what is not its to change. Receivers: which are on, and where they listen.
fn keeps_ours(ours: &Config, merged: &Config) -> Result<(), Refusal> {
    let (before, after) = (tree(ours)?, tree(merged)?);
    for (path, instead) in OURS {
        if at(&before, path) != at(&after, path) {
            return Err(invalid(format!("config.extra: {path}: is set by the operator; use {instead}")));
        }
    }
    let receivers = |tree: &Value| endpoints(at(tree, "distributor.receivers").unwrap_or(&Value::Null), "");
    let (before, after) = (receivers(&before), receivers(&after));
    let changed = before
        .iter()
        .chain(&after)
        .find(|(path, endpoint)| before.get(*path) != Some(*endpoint) || after.get(*path) != Some(*endpoint));
    match changed {
        None => Ok(()),
        Some((path, _)) => Err(invalid(format!(
            "config.extra: distributor.receivers{path}: is set by the operator, which makes the Service's ports; use ingest"
        ))),
    }
}

/// Every `endpoint` below `value`, by its path.
fn endpoints(value: &Value, path: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Value::Mapping(map) = value else { return found };
    for (key, value) in map {
        let path = format!("{path}.{}", key.as_str().unwrap_or_default());
        match value.as_str() {
            Some(endpoint) if path.ends_with(".endpoint") => {
                found.insert(path, endpoint.to_owned());
            }
            _ => found.extend(endpoints(value, &path)),
        }
    }
    found
}

fn tree(config: &Config) -> Result<Value, Refusal> {
    serde_yaml::to_value(config).map_err(|error| invalid(error.to_string()))
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// What differs from the defaults, if reading it gives the same configuration again; else every key.
fn text(valid: &ValidConfig) -> Result<String, Refusal> {
    if let Some(path) = redacted(&tree(valid)?, "") {
        return Err(invalid(format!(
            "config.extra: {path}: is a secret, which must not stand in the spec: put it into a Secret, name it in \
             config.env, and write ${{NAME}} here"
        )));
    }
    let read = |text: &str| Config::from_yaml(text, &BTreeMap::new(), ParseOptions::default());
    for text in [valid.diff_to_yaml(), valid.to_yaml()] {
        if read(&text).is_ok_and(|parsed| parsed.config == **valid) {
            return Ok(text);
        }
    }
    Err(invalid(
        "config.extra: cannot be written to a file and read again as the same configuration".to_owned(),
    ))
}

/// The first value that is printed masked.
fn redacted(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) if text == REDACTED => Some(path.to_owned()),
        Value::Mapping(map) => map.iter().find_map(|(key, value)| {
            let key = key.as_str().unwrap_or_default();
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            redacted(value, &path)
        }),
        _ => None,
    }
}
