//! `distributor`: the receivers that take spans in, and what is done to them on the way to the ingesters.
//!
//! Receivers follow the OpenTelemetry collector's keys. A receiver or protocol is on when its key is there, even with
//! nothing under it; without a `receivers` section OTLP is on over gRPC and HTTP, and Jaeger over gRPC and thrift over
//! HTTP, all on localhost. Jaeger's and Zipkin's keys are in `receivers`.

use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, GoDuration, JaegerGrpcConfig, JaegerProtocols, JaegerReceiverConfig, JaegerThriftHttpConfig,
    ZipkinReceiverConfig,
};

/// The `distributor` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistributorConfig {
    /// Where and how spans are received.
    pub receivers: ReceiversConfig,
    /// After how long a client that was refused for its rate should try again. 0: clients are not told to retry, and
    /// OTLP exporters then drop the data.
    pub retry_after_on_resource_exhausted: GoDuration,
    /// Keys and string values of attributes are cut to this many bytes; 0 is off. Tenants may override it.
    pub max_attribute_bytes: ByteSize,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: DistributorExtras,
}

impl Default for DistributorConfig {
    fn default() -> Self {
        Self {
            receivers: ReceiversConfig::default(),
            retry_after_on_resource_exhausted: GoDuration::ZERO,
            max_attribute_bytes: ByteSize::from_bytes(2048),
            tempo_rs: DistributorExtras::default(),
        }
    }
}

/// `distributor.tempo_rs`: bounds of memory, and who sends datagrams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistributorExtras {
    /// Bytes of all requests together, from the first byte read until the ingester has them safe. When they are used
    /// up, clients are told to retry. 0 is the most there can be, 4 GiB.
    pub max_inflight_bytes: ByteSize,
    /// With `multitenancy_enabled`, the tenant of spans that come in datagrams, which can name none. Empty: they are
    /// dropped and counted.
    pub udp_tenant: String,
}

impl Default for DistributorExtras {
    fn default() -> Self {
        Self { max_inflight_bytes: ByteSize::from_mib(128), udp_tenant: String::new() }
    }
}

/// `distributor.receivers`: the protocols in which spans are taken in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiversConfig {
    /// OTLP; `None` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpReceiverConfig>,
    /// Jaeger; `None` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jaeger: Option<JaegerReceiverConfig>,
    /// Zipkin; `None` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<ZipkinReceiverConfig>,
}

impl ReceiversConfig {
    /// Every receiver with every protocol.
    pub fn all() -> Self {
        Self {
            otlp: Self::default().otlp,
            jaeger: Some(JaegerReceiverConfig::all()),
            zipkin: Some(ZipkinReceiverConfig::default()),
        }
    }
}

impl Default for ReceiversConfig {
    fn default() -> Self {
        let otlp =
            OtlpProtocols { grpc: Some(OtlpGrpcConfig::default()), http: Some(OtlpHttpConfig::default()) };
        let jaeger = JaegerProtocols {
            grpc: Some(JaegerGrpcConfig::default()),
            thrift_http: Some(JaegerThriftHttpConfig::default()),
            ..JaegerProtocols::default()
        };
        Self {
            otlp: Some(OtlpReceiverConfig { protocols: otlp }),
            jaeger: Some(JaegerReceiverConfig { protocols: jaeger, remote_sampling: None }),
            zipkin: None,
        }
    }
}

/// `distributor.receivers.otlp`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpReceiverConfig {
    /// The transports; at least one must be there.
    pub protocols: OtlpProtocols,
}

/// `distributor.receivers.otlp.protocols`: the transports of OTLP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpProtocols {
    /// OTLP over gRPC; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<OtlpGrpcConfig>,
    /// OTLP over HTTP; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<OtlpHttpConfig>,
}

/// `distributor.receivers.otlp.protocols.grpc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpGrpcConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// TLS; off unless both files are set.
    pub tls: ReceiverTlsConfig,
    /// Largest message, in MiB; 0 is the default of 4.
    pub max_recv_msg_size_mib: u32,
    /// Streams on one connection at once; 0 is no limit.
    pub max_concurrent_streams: u32,
}

impl OtlpGrpcConfig {
    /// Largest message accepted.
    pub fn max_message(&self) -> ByteSize {
        ByteSize::from_mib(match self.max_recv_msg_size_mib {
            0 => 4,
            mib => u64::from(mib),
        })
    }
}

impl Default for OtlpGrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4317".to_owned(),
            tls: ReceiverTlsConfig::default(),
            max_recv_msg_size_mib: 0,
            max_concurrent_streams: 0,
        }
    }
}

/// `distributor.receivers.otlp.protocols.http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpHttpConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// TLS; off unless both files are set.
    pub tls: ReceiverTlsConfig,
    /// Largest body, after decompression; 0 is the default of 20 MiB.
    pub max_request_body_size: ByteSize,
    /// Path on which traces are taken.
    pub traces_url_path: String,
}

impl OtlpHttpConfig {
    /// Largest body accepted, after decompression.
    pub fn max_body(&self) -> ByteSize {
        match self.max_request_body_size {
            ByteSize::ZERO => ByteSize::from_mib(20),
            size => size,
        }
    }
}

impl Default for OtlpHttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:4318".to_owned(),
            tls: ReceiverTlsConfig::default(),
            max_request_body_size: ByteSize::ZERO,
            traces_url_path: "/v1/traces".to_owned(),
        }
    }
}

/// TLS of a receiver, in the OpenTelemetry collector's keys. Files are read again when they change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverTlsConfig {
    /// PEM file with the certificate chain. Empty: no TLS.
    pub cert_file: String,
    /// PEM file with the private key.
    pub key_file: String,
    /// PEM file with the authorities of clients. If set, every client must show a certificate of theirs.
    pub client_ca_file: String,
    /// Lowest TLS version accepted.
    pub min_version: ReceiverTlsVersion,
}

impl ReceiverTlsConfig {
    /// Whether the receiver speaks TLS.
    pub fn is_enabled(&self) -> bool {
        !self.cert_file.is_empty() && !self.key_file.is_empty()
    }
}

/// Lowest TLS version of a receiver, in the OpenTelemetry collector's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ReceiverTlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2", alias = "")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write host:port, such as localhost:4317 or 0.0.0.0:4317")]
pub struct EndpointError(String);

/// Splits `host:port`. An empty host means all interfaces; IPv6 hosts stand in brackets and come back without.
pub fn parse_endpoint(endpoint: &str) -> Result<(&str, u16), EndpointError> {
    let error = || EndpointError(endpoint.to_owned());
    let (host, port) = endpoint.rsplit_once(':').ok_or_else(error)?;
    let port = port.parse().map_err(|_| error())?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_malformed = host.contains(['/', ' ', '[', ']']) || host.contains(':');
    match bare {
        Some(host) => Ok((host, port)),
        None if is_malformed => Err(error()),
        None => Ok((host, port)),
    }
}
