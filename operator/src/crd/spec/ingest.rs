//! `ingest`: the protocols in which spans are taken in.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyReference, LocalReference};

/// `ingest`: OTLP is on and the rest is off unless it says otherwise.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IngestSpec {
    /// OTLP over gRPC. Default: on, port 4317.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_grpc: Option<ReceiverSpec>,
    /// OTLP over HTTP. Default: on, port 4318.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp_http: Option<ReceiverSpec>,
    /// Jaeger over gRPC. Default: off, port 14250.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_grpc: Option<ReceiverSpec>,
    /// Jaeger's Thrift over HTTP. Default: off, port 14268.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_http: Option<ReceiverSpec>,
    /// Jaeger's compact Thrift over UDP. Default: off, port 6831.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_compact: Option<ReceiverSpec>,
    /// Jaeger's binary Thrift over UDP. Default: off, port 6832.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger_thrift_binary: Option<ReceiverSpec>,
    /// Zipkin over HTTP. Default: off, port 9411.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ReceiverSpec>,
    /// TLS of all receivers but those over UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngestTlsSpec>,
}

/// One protocol of `ingest`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverSpec {
    /// Whether it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Port of the pod and of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65_535))]
    pub port: Option<i32>,
}

/// `ingest.tls`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("self.mode == 'Disabled' || has(self.secretRef)")
        .message("TLS needs a certificate: set secretRef")
        .field_path(".secretRef"),
    validation = Rule::new("self.mode != 'Mutual' || has(self.clientCaRef)")
        .message("mode Mutual needs the authority of clients: set clientCaRef")
        .field_path(".clientCaRef"),
    validation = Rule::new("self.mode == 'Mutual' || !has(self.clientCaRef)")
        .message("clientCaRef is only used in mode Mutual")
        .field_path(".clientCaRef"),
)]
#[serde(rename_all = "camelCase")]
pub struct IngestTlsSpec {
    /// Disabled, Server (clients check us) or Mutual (and we check clients).
    pub mode: IngestTlsMode,
    /// A Secret of kind kubernetes.io/tls: tls.crt and tls.key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Certificate authorities (PEM) of clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_ref: Option<KeyReference>,
}

/// Who shows a certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestTlsMode {
    Disabled,
    Server,
    Mutual,
}
