//! The configuration of every process of tempo-rs: Tempo 2.10's keys and defaults, parsed, checked, rendered.
//!
//! Types live here, one file per section; no I/O, no environment, no `build()`. There are two ways to a
//! [`ValidConfig`]: [`Config::from_yaml`] or filling a [`Config`] in Rust, then [`Config::validate`]. Both report *all*
//! findings, each with its YAML path. A key that Tempo has and this build has not is a warning; a key that Tempo does
//! not have is an error with the nearest valid key. Our own keys live under `tempo_rs` in the section they belong to.

#![warn(missing_docs)]

mod check;
mod distributor;
mod duration;
mod env;
mod finding;
mod ingester;
mod legacy_overrides;
mod lines;
mod overrides;
mod parse;
mod querier;
mod query_frontend;
mod receivers;
mod render;
mod s3;
mod schema;
mod secret;
mod server;
mod size;
mod storage;
mod suggest;
mod target;
mod validate;

use serde::{Deserialize, Serialize};

pub use crate::{
    distributor::{
        DistributorConfig, DistributorExtras, EndpointError, OtlpGrpcConfig, OtlpHttpConfig, OtlpProtocols,
        OtlpReceiverConfig, ReceiverTlsConfig, ReceiverTlsVersion, ReceiversConfig, parse_endpoint,
    },
    duration::{DurationError, GoDuration},
    finding::{Finding, Findings},
    ingester::{IngesterConfig, IngesterExtras},
    lines::Lines,
    overrides::{
        GlobalLimits, IngestionLimits, Limits, Overrides, OverridesConfig, RateStrategy, StorageLimits,
    },
    parse::{ParseOptions, Parsed, Value, parse_overrides},
    querier::{QuerierConfig, QuerierTraceByIdConfig},
    query_frontend::{QueryFrontendConfig, TraceByIdConfig},
    receivers::{
        DatagramsConfig, JaegerGrpcConfig, JaegerProtocols, JaegerReceiverConfig, JaegerRemoteSamplingConfig,
        JaegerRemoteSamplingExtras, JaegerThriftBinaryConfig, JaegerThriftCompactConfig,
        JaegerThriftHttpConfig, ZipkinReceiverConfig,
    },
    render::Digest,
    s3::{S3Checksums, S3Config, S3Extras, S3SseConfig, S3SseExtras, S3SseKind},
    secret::Secret,
    server::{
        ClientAuthType, InternalServerConfig, LogFormat, LogLevel, ServerConfig, ServerExtras, TlsMinVersion,
        TlsServerConfig, UnknownLogLevel,
    },
    size::{ByteSize, ByteSizeError},
    storage::{
        AzureConfig, BackendKind, BlockConfig, BlockExtras, DedicatedColumn, DedicatedColumnOption,
        DedicatedColumnScope, DedicatedColumnType, GcsConfig, LocalBackendConfig, StorageConfig,
        TraceStorageConfig, TraceStorageExtras, WalConfig,
    },
    target::{Target, UnknownTarget},
    validate::ValidConfig,
};

/// The whole configuration, as written; [`Config::validate`] checks it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The components that this process runs.
    pub target: Target,
    /// Whether requests must name their tenant in `X-Scope-OrgID`. Off: everything belongs to one tenant.
    pub multitenancy_enabled: bool,
    /// Put before every path of the API, such as `/tempo`; must begin with `/`.
    pub http_api_prefix: String,
    /// Whether the HTTP port also answers gRPC (HTTP/2 without TLS included); Grafana's streaming needs it.
    pub stream_over_http_enabled: bool,
    /// How long `/ready` says no before the process begins to stop.
    pub shutdown_delay: GoDuration,
    /// Listeners and logs.
    pub server: ServerConfig,
    /// A second HTTP listener for probes.
    pub internal_server: InternalServerConfig,
    /// Taking spans in.
    pub distributor: DistributorConfig,
    /// Keeping recent traces and writing blocks.
    pub ingester: IngesterConfig,
    /// Working on jobs of queries.
    pub querier: QuerierConfig,
    /// Cutting queries into jobs.
    pub query_frontend: QueryFrontendConfig,
    /// Where blocks are kept.
    pub storage: StorageConfig,
    /// Limits of tenants.
    pub overrides: OverridesConfig,
}

impl Config {
    /// What runs without a configuration file: everything in one process, every receiver on, on localhost only, with its
    /// data under `./tempo-data`.
    pub fn embedded_default() -> Self {
        let localhost = || "localhost".to_owned();
        let mut config = Self::default();
        config.server.http_listen_address = localhost();
        config.server.grpc_listen_address = localhost();
        config.internal_server.http_listen_address = localhost();
        config.distributor.receivers = ReceiversConfig::all();
        config.storage.trace.local.path = "./tempo-data/blocks".to_owned();
        config.storage.trace.wal.path = "./tempo-data/wal".to_owned();
        config
    }

    /// Puts back the secrets that were lost by printing and reading a configuration.
    fn restore_secrets(&mut self, original: &Self) {
        let mut original = original.storage.trace.clone();
        for (secret, original) in self.storage.trace.secrets_mut().into_iter().zip(original.secrets_mut()) {
            if secret.is_redacted() {
                secret.clone_from(original);
            }
        }
    }
}
