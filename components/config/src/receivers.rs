//! `distributor.receivers.jaeger` and `distributor.receivers.zipkin`, in the OpenTelemetry collector's keys.
//!
//! As with OTLP, a protocol is on when its key is there. Defaults listen on localhost, as Tempo's since 2.7.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, ReceiverTlsConfig};

/// `distributor.receivers.jaeger`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerReceiverConfig {
    /// The transports; at least one must be there.
    pub protocols: JaegerProtocols,
    /// What clients that ask how much to sample are told; `None`: they are not answered and sample as they are
    /// configured themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_sampling: Option<JaegerRemoteSamplingConfig>,
}

impl JaegerReceiverConfig {
    /// Everything that a Jaeger agent and collector listen to.
    pub fn all() -> Self {
        Self {
            protocols: JaegerProtocols {
                grpc: Some(JaegerGrpcConfig::default()),
                thrift_http: Some(JaegerThriftHttpConfig::default()),
                thrift_compact: Some(JaegerThriftCompactConfig::default()),
                thrift_binary: Some(JaegerThriftBinaryConfig::default()),
            },
            remote_sampling: Some(JaegerRemoteSamplingConfig::default()),
        }
    }
}

/// `distributor.receivers.jaeger.protocols`: the transports of Jaeger.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerProtocols {
    /// Protobuf over gRPC, as agents and collectors speak it; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<JaegerGrpcConfig>,
    /// Thrift in the binary encoding over HTTP; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_http: Option<JaegerThriftHttpConfig>,
    /// Thrift in the compact encoding over UDP, what most client libraries send; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_compact: Option<JaegerThriftCompactConfig>,
    /// Thrift in the binary encoding over UDP; `None` is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thrift_binary: Option<JaegerThriftBinaryConfig>,
}

/// `distributor.receivers.jaeger.protocols.grpc`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerGrpcConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// TLS; off unless both files are set.
    pub tls: ReceiverTlsConfig,
    /// Largest message, in MiB; 0 is the default of 4.
    pub max_recv_msg_size_mib: u32,
    /// Streams on one connection at once; 0 is no limit.
    pub max_concurrent_streams: u32,
}

impl JaegerGrpcConfig {
    /// Largest message accepted.
    pub fn max_message(&self) -> ByteSize {
        ByteSize::from_mib(match self.max_recv_msg_size_mib {
            0 => 4,
            mib => u64::from(mib),
        })
    }
}

impl Default for JaegerGrpcConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:14250".to_owned(),
            tls: ReceiverTlsConfig::default(),
            max_recv_msg_size_mib: 0,
            max_concurrent_streams: 0,
        }
    }
}

/// `distributor.receivers.jaeger.protocols.thrift_http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerThriftHttpConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// TLS; off unless both files are set.
    pub tls: ReceiverTlsConfig,
    /// Largest body, after decompression; 0 is the default of 20 MiB.
    pub max_request_body_size: ByteSize,
}

impl JaegerThriftHttpConfig {
    /// Largest body accepted, after decompression.
    pub fn max_body(&self) -> ByteSize {
        or_20_mib(self.max_request_body_size)
    }
}

impl Default for JaegerThriftHttpConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:14268".to_owned(),
            tls: ReceiverTlsConfig::default(),
            max_request_body_size: ByteSize::ZERO,
        }
    }
}

/// `distributor.receivers.jaeger.protocols.thrift_compact`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerThriftCompactConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// Datagrams that may wait for a worker; more are dropped and counted.
    pub queue_size: usize,
    /// Largest datagram; larger ones are dropped and counted.
    pub max_packet_size: ByteSize,
    /// Batches of datagrams that are on their way to the ingesters at once.
    pub workers: usize,
    /// Size of the socket's receive buffer. 0 asks for 8 MiB; the system grants `net.core.rmem_max` at most.
    pub socket_buffer_size: ByteSize,
}

impl JaegerThriftCompactConfig {
    /// What it has in common with the other receiver of datagrams.
    pub fn datagrams(&self) -> DatagramsConfig<'_> {
        let Self { endpoint, queue_size, max_packet_size, workers, socket_buffer_size } = self;
        DatagramsConfig {
            endpoint,
            queue_size: *queue_size,
            max_packet_size: *max_packet_size,
            workers: *workers,
            socket_buffer_size: *socket_buffer_size,
        }
    }
}

impl Default for JaegerThriftCompactConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:6831".to_owned(),
            queue_size: 1_000,
            max_packet_size: ByteSize::from_bytes(65_000),
            workers: 10,
            socket_buffer_size: ByteSize::ZERO,
        }
    }
}

/// `distributor.receivers.jaeger.protocols.thrift_binary`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerThriftBinaryConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// Datagrams that may wait for a worker; more are dropped and counted.
    pub queue_size: usize,
    /// Largest datagram; larger ones are dropped and counted.
    pub max_packet_size: ByteSize,
    /// Batches of datagrams that are on their way to the ingesters at once.
    pub workers: usize,
    /// Size of the socket's receive buffer. 0 asks for 8 MiB; the system grants `net.core.rmem_max` at most.
    pub socket_buffer_size: ByteSize,
}

impl JaegerThriftBinaryConfig {
    /// What it has in common with the other receiver of datagrams.
    pub fn datagrams(&self) -> DatagramsConfig<'_> {
        let Self { endpoint, queue_size, max_packet_size, workers, socket_buffer_size } = self;
        DatagramsConfig {
            endpoint,
            queue_size: *queue_size,
            max_packet_size: *max_packet_size,
            workers: *workers,
            socket_buffer_size: *socket_buffer_size,
        }
    }
}

impl Default for JaegerThriftBinaryConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:6832".to_owned(),
            queue_size: 1_000,
            max_packet_size: ByteSize::from_bytes(65_000),
            workers: 10,
            socket_buffer_size: ByteSize::ZERO,
        }
    }
}

/// What the receivers of datagrams have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DatagramsConfig<'a> {
    /// Address and port to listen on.
    pub endpoint: &'a str,
    /// Datagrams that may wait for a worker.
    pub queue_size: usize,
    /// Largest datagram.
    pub max_packet_size: ByteSize,
    /// Batches of datagrams that are on their way to the ingesters at once.
    pub workers: usize,
    /// As configured; [`DatagramsConfig::socket_buffer`] is what the system is asked for.
    pub socket_buffer_size: ByteSize,
}

impl DatagramsConfig<'_> {
    /// The receive buffer that the system is asked for.
    pub fn socket_buffer(&self) -> ByteSize {
        match self.socket_buffer_size {
            ByteSize::ZERO => ByteSize::from_mib(8),
            size => size,
        }
    }
}

/// `distributor.receivers.jaeger.remote_sampling`: answers to Jaeger clients that ask how much to sample.
///
/// `GET /sampling?service=` on an address of its own, as an agent; `GET /api/sampling?service=` beside thrift over
/// HTTP and `SamplingManager` beside gRPC, as a collector. Tempo accepts this key and answers none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerRemoteSamplingConfig {
    /// Address and port to listen on, as an agent.
    pub host_endpoint: String,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: JaegerRemoteSamplingExtras,
}

impl Default for JaegerRemoteSamplingConfig {
    fn default() -> Self {
        Self { host_endpoint: "localhost:5778".to_owned(), tempo_rs: JaegerRemoteSamplingExtras::default() }
    }
}

/// `distributor.receivers.jaeger.remote_sampling.tempo_rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JaegerRemoteSamplingExtras {
    /// The share of traces that every client is told to sample, from 0 to 1.
    pub sampling_rate: f64,
}

impl Default for JaegerRemoteSamplingExtras {
    fn default() -> Self {
        Self { sampling_rate: 1.0 }
    }
}

/// `distributor.receivers.zipkin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZipkinReceiverConfig {
    /// Address and port to listen on.
    pub endpoint: String,
    /// TLS; off unless both files are set.
    pub tls: ReceiverTlsConfig,
    /// Largest body, after decompression; 0 is the default of 20 MiB.
    pub max_request_body_size: ByteSize,
    /// Whether tags that look like numbers and booleans become such.
    pub parse_string_tags: bool,
}

impl ZipkinReceiverConfig {
    /// Largest body accepted, after decompression.
    pub fn max_body(&self) -> ByteSize {
        or_20_mib(self.max_request_body_size)
    }
}

impl Default for ZipkinReceiverConfig {
    fn default() -> Self {
        Self {
            endpoint: "localhost:9411".to_owned(),
            tls: ReceiverTlsConfig::default(),
            max_request_body_size: ByteSize::ZERO,
            parse_string_tags: false,
        }
    }
}

fn or_20_mib(size: ByteSize) -> ByteSize {
    match size {
        ByteSize::ZERO => ByteSize::from_mib(20),
        size => size,
    }
}
