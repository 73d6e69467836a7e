//! `ingest` with its defaults: which protocols are on, their ports, and their TLS.

use super::Refusal;
use crate::{
    crd::{ConditionType, IngestSpec, IngestTlsMode, IngestTlsSpec, KeyHolder, ReceiverSpec},
    references::{KeyState, References, SecretState},
    render::names,
};

/// A protocol in which spans are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    OtlpGrpc,
    OtlpHttp,
    JaegerGrpc,
    JaegerThriftHttp,
    JaegerThriftCompact,
    JaegerThriftBinary,
    Zipkin,
}

impl Protocol {
    /// All protocols, in the order of ports in a Service.
    pub const ALL: [Self; 7] = [
        Self::OtlpGrpc,
        Self::OtlpHttp,
        Self::JaegerGrpc,
        Self::JaegerThriftHttp,
        Self::JaegerThriftCompact,
        Self::JaegerThriftBinary,
        Self::Zipkin,
    ];

    /// Name of the port; Kubernetes allows 15 characters.
    pub const fn port_name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttp => "otlp-http",
            Self::JaegerGrpc => "jaeger-grpc",
            Self::JaegerThriftHttp => "jaeger-http",
            Self::JaegerThriftCompact => "jaeger-compact",
            Self::JaegerThriftBinary => "jaeger-binary",
            Self::Zipkin => "zipkin",
        }
    }

    /// Its field in the spec.
    pub const fn field(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "ingest.otlpGrpc",
            Self::OtlpHttp => "ingest.otlpHttp",
            Self::JaegerGrpc => "ingest.jaegerGrpc",
            Self::JaegerThriftHttp => "ingest.jaegerThriftHttp",
            Self::JaegerThriftCompact => "ingest.jaegerThriftCompact",
            Self::JaegerThriftBinary => "ingest.jaegerThriftBinary",
            Self::Zipkin => "ingest.zipkin",
        }
    }

    /// The port that the rest of the world uses for it.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::OtlpGrpc => 4317,
            Self::OtlpHttp => 4318,
            Self::JaegerGrpc => 14250,
            Self::JaegerThriftHttp => 14268,
            Self::JaegerThriftCompact => 6831,
            Self::JaegerThriftBinary => 6832,
            Self::Zipkin => 9411,
        }
    }

    /// Whether it comes in datagrams.
    pub const fn is_udp(self) -> bool {
        matches!(self, Self::JaegerThriftCompact | Self::JaegerThriftBinary)
    }

    /// Whether it is gRPC.
    pub const fn is_grpc(self) -> bool {
        matches!(self, Self::OtlpGrpc | Self::JaegerGrpc)
    }

    const fn is_on_by_default(self) -> bool {
        matches!(self, Self::OtlpGrpc | Self::OtlpHttp)
    }

    fn of(self, spec: &IngestSpec) -> Option<&ReceiverSpec> {
        match self {
            Self::OtlpGrpc => spec.otlp_grpc.as_ref(),
            Self::OtlpHttp => spec.otlp_http.as_ref(),
            Self::JaegerGrpc => spec.jaeger_grpc.as_ref(),
            Self::JaegerThriftHttp => spec.jaeger_thrift_http.as_ref(),
            Self::JaegerThriftCompact => spec.jaeger_thrift_compact.as_ref(),
            Self::JaegerThriftBinary => spec.jaeger_thrift_binary.as_ref(),
            Self::Zipkin => spec.zipkin.as_ref(),
        }
    }
}

/// The protocols that are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receivers {
    /// In the order of [`Protocol::ALL`].
    pub(crate) on: Vec<(Protocol, u16)>,
    pub(crate) tls: Option<IngestTls>,
}

impl Receivers {
    /// The port of a protocol that is on.
    pub fn port(&self, protocol: Protocol) -> Option<u16> {
        self.on.iter().find(|(on, _)| *on == protocol).map(|(_, port)| *port)
    }
}

/// TLS of all receivers that speak TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestTls {
    /// Secret with `tls.crt` and `tls.key`.
    pub(crate) secret: String,
    /// Object and key with the authorities of clients; then clients must show a certificate.
    pub(crate) client_ca: Option<CaFile>,
}

/// A file with certificate authorities, from a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaFile {
    pub(crate) holder: KeyHolder,
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) content_hash: String,
}

pub(super) fn validate(spec: Option<&IngestSpec>, references: &References) -> Result<Receivers, Refusal> {
    let spec = spec.cloned().unwrap_or_default();
    let mut on: Vec<(Protocol, u16)> = Vec::new();
    for protocol in Protocol::ALL {
        let receiver = protocol.of(&spec).cloned().unwrap_or_default();
        if !receiver.enabled.unwrap_or(protocol.is_on_by_default()) {
            continue;
        }
        let port = receiver.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(protocol.default_port());
        let taken = |other: &(Protocol, u16)| other.1 == port && other.0.is_udp() == protocol.is_udp();
        let by = if !protocol.is_udp() && (port == names::HTTP_PORT || port == names::GRPC_PORT) {
            Some("Tempo's own API")
        } else {
            on.iter().find(|other| taken(other)).map(|(other, _)| other.field())
        };
        if let Some(by) = by {
            let message = format!("{}.port: {port} is taken by {by}", protocol.field());
            return Err(Refusal::spec(ConditionType::Stalled, "InvalidSpec", message));
        }
        on.push((protocol, port));
    }
    if on.is_empty() {
        let message = "ingest: every protocol is off, so nothing could be received; enable one";
        return Err(Refusal::spec(ConditionType::Stalled, "InvalidSpec", message));
    }
    Ok(Receivers { on, tls: tls(spec.tls.as_ref(), references)? })
}

fn tls(spec: Option<&IngestTlsSpec>, references: &References) -> Result<Option<IngestTls>, Refusal> {
    const REASON: &str = "IngestCertificateNotFound";
    let waiting = |message: String| Refusal::waiting(ConditionType::ConfigValid, REASON, message);
    let Some(spec) = spec else { return Ok(None) };
    let wants_client_ca = match spec.mode {
        IngestTlsMode::Disabled => return Ok(None),
        IngestTlsMode::Server => false,
        IngestTlsMode::Mutual => true,
    };
    let secret = match &references.ingest_certificate {
        SecretState::NotReferenced => {
            return Err(waiting("ingest.tls.secretRef: must be set for TLS".to_owned()));
        }
        SecretState::Missing { name } => {
            return Err(waiting(format!("ingest.tls.secretRef: Secret {name} does not exist")));
        }
        SecretState::Present(secret) => secret,
    };
    for key in ["tls.crt", "tls.key"] {
        if !secret.has(key) {
            return Err(waiting(format!("ingest.tls.secretRef: Secret {} has no key {key}", secret.name)));
        }
    }
    let client_ca =
        ca_file("ingest.tls.clientCaRef", spec.client_ca_ref.as_ref(), &references.ingest_client_ca)
            .map_err(waiting)?
            .filter(|_| wants_client_ca);
    Ok(Some(IngestTls { secret: secret.name.clone(), client_ca }))
}

/// The file that `reference` names, or a sentence about what is missing.
pub(super) fn ca_file(
    path: &str,
    reference: Option<&crate::crd::KeyReference>,
    state: &KeyState,
) -> Result<Option<CaFile>, String> {
    match (reference, state) {
        (None, _) | (_, KeyState::NotReferenced) => Ok(None),
        (_, KeyState::MissingObject { kind, name }) => Err(format!("{path}: {kind} {name} does not exist")),
        (_, KeyState::MissingKey { kind, name, key }) => {
            Err(format!("{path}: {kind} {name} has no key {key}"))
        }
        (Some(reference), KeyState::Present { content_hash, .. }) => Ok(Some(CaFile {
            holder: reference.holder(),
            name: reference.name.clone(),
            key: reference.key.clone(),
            content_hash: content_hash.clone(),
        })),
    }
}
