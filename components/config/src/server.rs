//! `server` and `internal_server`: the listeners for the HTTP API and for gRPC between processes, and logging.

use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The `server` section: HTTP and gRPC listeners, and logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of the HTTP API. Empty: all interfaces.
    pub http_listen_address: String,
    /// Port of the HTTP API. 0 takes a free one.
    pub http_listen_port: u16,
    /// Connections to the HTTP API at once; 0 is no limit.
    pub http_listen_conn_limit: usize,
    /// Address of the gRPC server between processes. Empty: all interfaces.
    pub grpc_listen_address: String,
    /// Port of the gRPC server. 0 takes a free one.
    pub grpc_listen_port: u16,
    /// Connections to the gRPC server at once; 0 is no limit.
    pub grpc_listen_conn_limit: usize,
    /// Lowest TLS version that listeners accept.
    pub tls_min_version: TlsMinVersion,
    /// TLS of the HTTP API; off unless both files are set.
    pub http_tls_config: TlsServerConfig,
    /// TLS of the gRPC server; off unless both files are set.
    pub grpc_tls_config: TlsServerConfig,
    /// How long listeners wait for running requests when stopping.
    pub graceful_shutdown_timeout: GoDuration,
    /// Time in which a request must have been read, body included.
    pub http_server_read_timeout: GoDuration,
    /// Time in which the headers of a request must have been read; 0 takes `http_server_read_timeout`.
    pub http_server_read_header_timeout: GoDuration,
    /// Time in which an answer must have been written, counted from the end of the request's headers.
    pub http_server_write_timeout: GoDuration,
    /// Streams on one gRPC connection at once; 0 is no limit.
    pub grpc_server_max_concurrent_streams: u32,
    /// Idle time after which the gRPC server pings a client.
    pub grpc_server_keepalive_time: GoDuration,
    /// Time in which a pinged client must answer before the connection is closed.
    pub grpc_server_keepalive_timeout: GoDuration,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// Lowest level that is logged.
    pub log_level: LogLevel,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: ServerExtras,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            http_listen_address: String::new(),
            http_listen_port: 3200,
            http_listen_conn_limit: 0,
            grpc_listen_address: String::new(),
            grpc_listen_port: 9095,
            grpc_listen_conn_limit: 0,
            tls_min_version: TlsMinVersion::default(),
            http_tls_config: TlsServerConfig::default(),
            grpc_tls_config: TlsServerConfig::default(),
            graceful_shutdown_timeout: GoDuration::from_secs(30),
            http_server_read_timeout: GoDuration::from_secs(30),
            http_server_read_header_timeout: GoDuration::ZERO,
            http_server_write_timeout: GoDuration::from_secs(30),
            grpc_server_max_concurrent_streams: 100,
            grpc_server_keepalive_time: GoDuration::from_hours(2),
            grpc_server_keepalive_timeout: GoDuration::from_secs(20),
            log_format: LogFormat::default(),
            log_level: LogLevel::default(),
            tempo_rs: ServerExtras::default(),
        }
    }
}

/// `server.tempo_rs`: what Tempo's server section has no key for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerExtras {
    /// Time from the first stop signal until the process ends, even if something could not be flushed.
    pub shutdown_deadline: GoDuration,
    /// Whether `/debug/pprof/*` is served on the HTTP API.
    pub debug_endpoints: bool,
}

impl Default for ServerExtras {
    fn default() -> Self {
        Self { shutdown_deadline: GoDuration::from_secs(30), debug_endpoints: true }
    }
}

/// The `internal_server` section: a second HTTP listener for probes, used when the main one demands client certificates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InternalServerConfig {
    /// Whether the listener is opened.
    pub enable: bool,
    /// Its address. Empty: all interfaces.
    pub http_listen_address: String,
    /// Its port. 0 takes a free one.
    pub http_listen_port: u16,
    /// Connections at once; 0 is no limit.
    pub http_listen_conn_limit: usize,
    /// Its TLS; off unless both files are set.
    pub http_tls_config: TlsServerConfig,
    /// Time in which a request must have been read, body included.
    pub http_server_read_timeout: GoDuration,
    /// Time in which an answer must have been written.
    pub http_server_write_timeout: GoDuration,
}

impl Default for InternalServerConfig {
    fn default() -> Self {
        Self {
            enable: false,
            http_listen_address: String::new(),
            http_listen_port: 3101,
            http_listen_conn_limit: 0,
            http_tls_config: TlsServerConfig::default(),
            http_server_read_timeout: GoDuration::from_secs(30),
            http_server_write_timeout: GoDuration::from_secs(30),
        }
    }
}

/// TLS of a listener, by files that are read again when they change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsServerConfig {
    /// PEM file with the certificate chain. Empty: no TLS.
    pub cert_file: String,
    /// PEM file with the private key.
    pub key_file: String,
    /// Whether clients must show a certificate.
    pub client_auth_type: ClientAuthType,
    /// PEM file with the authorities that client certificates are checked against.
    pub client_ca_file: String,
}

impl TlsServerConfig {
    /// Whether the listener speaks TLS.
    pub fn is_enabled(&self) -> bool {
        !self.cert_file.is_empty() && !self.key_file.is_empty()
    }
}

/// What a TLS listener asks of its clients, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ClientAuthType {
    /// No certificate is asked for.
    #[default]
    #[serde(alias = "")]
    NoClientCert,
    /// A certificate is checked if the client shows one.
    VerifyClientCertIfGiven,
    /// Every client must show a valid certificate.
    RequireAndVerifyClientCert,
}

/// Lowest TLS version that is accepted, in Go's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TlsMinVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "VersionTLS12", alias = "")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "VersionTLS13")]
    Tls13,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Lowest level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// One request's story.
    Debug,
    /// Changes of state that an operator wants to see.
    #[default]
    Info,
    /// Unexpected, but coped with.
    #[serde(alias = "warning")]
    Warn,
    /// A human must act, or data was lost.
    Error,
}

impl LogLevel {
    /// The name in YAML and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The text names no log level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no log level; levels are debug, info, warn, error")]
pub struct UnknownLogLevel(String);

impl std::str::FromStr for LogLevel {
    type Err = UnknownLogLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLogLevel> {
        match name {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err(UnknownLogLevel(name.to_owned())),
        }
    }
}
