//! Rules that no single type can keep: across keys, and what this build can do. All findings at once.
//!
//! Paths and ports are only compared as texts here; whether a file can be read is found out by who opens it.

mod receivers;

use std::{
    ops::{Deref, RangeInclusive},
    path::{Component, PathBuf},
};

use crate::{
    BackendKind, BlockConfig, ByteSize, ClientAuthType, Config, DedicatedColumn, DedicatedColumnScope,
    DedicatedColumnType, Finding, Findings, GoDuration, IngesterConfig, Limits, Target, TlsServerConfig,
    TraceStorageConfig,
};

mod s3;

/// Columns for attributes of one scope in a vParquet4 block.
const MAX_DEDICATED_COLUMNS: usize = 10;

/// A configuration that was checked; dereferences to [`Config`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValidConfig(Config);

impl Deref for ValidConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

impl Config {
    /// Checks all rules. Findings have no lines; [`crate::Lines::locate`] adds them.
    pub fn validate(self) -> Result<ValidConfig, Findings> {
        let mut rules = Rules::default();
        root(&self, &mut rules);
        listeners(&self, &mut rules);
        ingester(&self.ingester, &mut rules);
        queries(&self, &mut rules);
        storage(&self.storage.trace, &mut rules);
        block(&self.storage.trace.block, &mut rules);
        overrides(&self, &mut rules);
        Findings::check(rules.findings, ValidConfig(self))
    }
}

/// The rules for one tenant's limits; paths begin below the tenant.
pub(crate) fn limits(limits: &Limits) -> Vec<Finding> {
    let mut rules = Rules::default();
    dedicated_columns(
        &limits.storage.parquet_dedicated_columns,
        "storage.parquet_dedicated_columns",
        &mut rules,
    );
    rules.findings
}

/// Collects what breaks a rule.
#[derive(Default)]
struct Rules {
    findings: Vec<Finding>,
}

impl Rules {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::new(path, message));
    }

    fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.refuse(path, message);
        }
    }

    fn positive(&mut self, path: &str, duration: GoDuration) {
        self.require(!duration.is_zero(), path, "must be longer than 0");
    }

    fn range(&mut self, path: &str, value: u64, range: RangeInclusive<u64>) {
        if !range.contains(&value) {
            self.refuse(path, format!("is {value}, must be from {} to {}", range.start(), range.end()));
        }
    }
}

fn root(config: &Config, rules: &mut Rules) {
    match config.target {
        Target::All => {}
        Target::ScalableSingleBinary
        | Target::Distributor
        | Target::Ingester
        | Target::Querier
        | Target::QueryFrontend
        | Target::Compactor
        | Target::MetricsGenerator => rules.refuse(
            "target",
            format!("this build cannot run `{}` as a process of its own yet; use `all`", config.target),
        ),
    }
    let prefix = &config.http_api_prefix;
    rules.require(
        prefix.is_empty() || prefix.starts_with('/') && !prefix.ends_with('/'),
        "http_api_prefix",
        "must begin with `/` and not end with it",
    );
    rules.positive("server.tempo_rs.shutdown_deadline", config.server.tempo_rs.shutdown_deadline);
}

/// An address that will be listened on, and the key that sets it.
struct Listener<'a> {
    key: &'a str,
    host: &'a str,
    port: u16,
    /// UDP and TCP have ports of their own.
    is_udp: bool,
}

impl Listener<'_> {
    fn collides(&self, other: &Self) -> bool {
        let is_wildcard = |host: &str| matches!(host, "" | "0.0.0.0" | "::");
        let hosts = self.host == other.host || is_wildcard(self.host) || is_wildcard(other.host);
        self.is_udp == other.is_udp && self.port != 0 && self.port == other.port && hosts
    }
}

fn listeners(config: &Config, rules: &mut Rules) {
    let (server, internal) = (&config.server, &config.internal_server);
    let mut listeners = vec![
        Listener {
            key: "server.http_listen_port",
            host: &server.http_listen_address,
            port: server.http_listen_port,
            is_udp: false,
        },
        Listener {
            key: "server.grpc_listen_port",
            host: &server.grpc_listen_address,
            port: server.grpc_listen_port,
            is_udp: false,
        },
    ];
    server_tls("server.http_tls_config", &server.http_tls_config, rules);
    server_tls("server.grpc_tls_config", &server.grpc_tls_config, rules);
    if internal.enable {
        let host = &internal.http_listen_address;
        listeners.push(Listener {
            key: "internal_server.http_listen_port",
            host,
            port: internal.http_listen_port,
            is_udp: false,
        });
        server_tls("internal_server.http_tls_config", &internal.http_tls_config, rules);
    }
    listeners.extend(receivers::check(&config.distributor.receivers, rules));
    for (i, listener) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(i).find(|earlier| listener.collides(earlier));
        if let Some(earlier) = earlier {
            let message = format!("port {} is taken by `{}`", listener.port, earlier.key);
            rules.refuse(listener.key, message);
        }
    }
}

fn server_tls(path: &str, tls: &TlsServerConfig, rules: &mut Rules) {
    let TlsServerConfig { cert_file, key_file, client_auth_type, client_ca_file } = tls;
    tls_files(path, [cert_file, key_file, client_ca_file], rules);
    let needs_authority = match client_auth_type {
        ClientAuthType::NoClientCert => false,
        ClientAuthType::VerifyClientCertIfGiven | ClientAuthType::RequireAndVerifyClientCert => true,
    };
    if needs_authority && client_ca_file.is_empty() {
        rules.refuse(
            &format!("{path}.client_ca_file"),
            "must be set, because client_auth_type asks for certificates",
        );
    }
    if needs_authority && !tls.is_enabled() {
        rules.refuse(&format!("{path}.client_auth_type"), "has no effect without cert_file and key_file");
    }
}

fn tls_files(path: &str, [cert_file, key_file, client_ca_file]: [&String; 3], rules: &mut Rules) {
    match (cert_file.is_empty(), key_file.is_empty()) {
        (true, false) => rules.refuse(&format!("{path}.cert_file"), "must be set, because key_file is"),
        (false, true) => rules.refuse(&format!("{path}.key_file"), "must be set, because cert_file is"),
        (true, true) if !client_ca_file.is_empty() => {
            rules.refuse(&format!("{path}.client_ca_file"), "has no effect without cert_file and key_file");
        }
        (true, true) | (false, false) => {}
    }
}

fn ingester(ingester: &IngesterConfig, rules: &mut Rules) {
    let extras = &ingester.tempo_rs;
    rules.range("ingester.concurrent_flushes", as_u64(ingester.concurrent_flushes), 1..=1_024);
    rules.positive("ingester.flush_check_period", ingester.flush_check_period);
    rules.positive("ingester.flush_op_timeout", ingester.flush_op_timeout);
    rules.positive("ingester.max_block_duration", ingester.max_block_duration);
    rules.range("ingester.max_block_bytes", ingester.max_block_bytes.get(), 1..=u64::MAX);
    let segment = extras.wal_segment_bytes;
    rules.range("ingester.tempo_rs.wal_segment_bytes", segment.get(), 4_096..=ByteSize::from_gib(1).get());
    rules.require(
        extras.wal_max_bytes.get() >= segment.saturating_mul(2),
        "ingester.tempo_rs.wal_max_bytes",
        "must be at least twice wal_segment_bytes, because only whole segments are deleted",
    );
    for (path, size) in [
        ("ingester.tempo_rs.head_bytes", extras.head_bytes),
        ("ingester.tempo_rs.max_inflight_push_bytes", extras.max_inflight_push_bytes),
        ("ingester.tempo_rs.replay_memory_bytes", extras.replay_memory_bytes),
    ] {
        rules.range(path, size.get(), 1..=u64::MAX);
    }
    rules.range("ingester.tempo_rs.max_sealed_heads", as_u64(extras.max_sealed_heads), 1..=1_024);
    rules.positive("ingester.tempo_rs.flush_retry_backoff_min", extras.flush_retry_backoff_min);
    rules.require(
        extras.flush_retry_backoff_min <= extras.flush_retry_backoff_max,
        "ingester.tempo_rs.flush_retry_backoff_max",
        "must not be shorter than flush_retry_backoff_min",
    );
}

fn queries(config: &Config, rules: &mut Rules) {
    let (querier, frontend) = (&config.querier, &config.query_frontend);
    rules.range("querier.max_concurrent_queries", as_u64(querier.max_concurrent_queries), 1..=100_000);
    rules.positive("querier.trace_by_id.query_timeout", querier.trace_by_id.query_timeout);
    let outstanding = as_u64(frontend.max_outstanding_per_tenant);
    rules.range("query_frontend.max_outstanding_per_tenant", outstanding, 1..=1_000_000);
    rules.range("query_frontend.max_retries", u64::from(frontend.max_retries), 0..=100);
    let shards = u64::from(frontend.trace_by_id.query_shards);
    rules.range("query_frontend.trace_by_id.query_shards", shards, 1..=100_000);
}

fn storage(storage: &TraceStorageConfig, rules: &mut Rules) {
    match storage.backend {
        BackendKind::Local => {
            let is_set = !storage.local.path.is_empty();
            rules.require(is_set, "storage.trace.local.path", "must be set: the directory for blocks");
        }
        BackendKind::S3 => s3::check(&storage.s3, rules),
        BackendKind::Gcs | BackendKind::Azure => rules.refuse(
            "storage.trace.backend",
            format!(
                "this build cannot keep blocks in `{}` yet; use `s3` or `local`",
                storage.backend.as_str()
            ),
        ),
    }
    let is_set = !storage.wal.path.is_empty();
    rules.require(is_set, "storage.trace.wal.path", "must be set: the directory for the write-ahead log");
    let (blocks, wal) = (plain_path(&storage.local.path), plain_path(&storage.wal.path));
    if storage.backend == BackendKind::Local && is_set && !storage.local.path.is_empty() {
        rules.require(
            !blocks.starts_with(&wal) && !wal.starts_with(&blocks),
            "storage.trace.wal.path",
            "must not be inside of storage.trace.local.path nor around it: folders there are tenants",
        );
    }
    rules.positive("storage.trace.blocklist_poll", storage.blocklist_poll);
    for (path, count) in [
        ("storage.trace.blocklist_poll_concurrency", storage.blocklist_poll_concurrency),
        ("storage.trace.blocklist_poll_tenant_concurrency", storage.blocklist_poll_tenant_concurrency),
    ] {
        rules.range(path, as_u64(count), 1..=10_000);
    }
}

/// A path without `.`, doubled and trailing slashes.
fn plain_path(path: &str) -> PathBuf {
    PathBuf::from(path).components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn block(block: &BlockConfig, rules: &mut Rules) {
    if block.version != BlockConfig::VERSION {
        let message = match block.version.as_str() {
            "vParquet3" | "vParquet5" => {
                format!("`{}` can be read but not written; the only valid value is vParquet4", block.version)
            }
            other => format!("`{other}` is no format that can be written; the only valid value is vParquet4"),
        };
        rules.refuse("storage.trace.block.version", message);
    }
    let share = block.bloom_filter_false_positive;
    rules.require(
        share > 0.0 && share < 1.0,
        "storage.trace.block.bloom_filter_false_positive",
        "must be between 0 and 1, such as 0.01",
    );
    let shard = block.bloom_filter_shard_size_bytes.get();
    let path = "storage.trace.block.bloom_filter_shard_size_bytes";
    rules.range(path, shard, 64..=ByteSize::from_mib(64).get());
    let columns = "storage.trace.block.parquet_dedicated_columns";
    dedicated_columns(&block.parquet_dedicated_columns, columns, rules);
    let extras = &block.tempo_rs;
    let per_group = as_u64(extras.spans_per_row_group);
    rules.range("storage.trace.block.tempo_rs.spans_per_row_group", per_group, 1..=1 << 24);
    let per_page = as_u64(extras.spans_per_page);
    rules.range("storage.trace.block.tempo_rs.spans_per_page", per_page, 1..=per_group.max(1));
    let level = u64::try_from(extras.zstd_level).unwrap_or_default();
    rules.range("storage.trace.block.tempo_rs.zstd_level", level, 1..=22);
    rules.range("storage.trace.block.tempo_rs.encode_threads", as_u64(extras.encode_threads), 1..=256);
}

/// What vParquet4 can hold: ten text columns for spans and ten for resources.
fn dedicated_columns(columns: &[DedicatedColumn], path: &str, rules: &mut Rules) {
    for (i, column) in columns.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let DedicatedColumn { scope, name, kind, options } = column;
        match scope {
            DedicatedColumnScope::Span | DedicatedColumnScope::Resource => {}
            DedicatedColumnScope::Event => {
                rules.refuse(
                    &path,
                    "vParquet4 has no columns for attributes of events; scope is span or resource",
                );
            }
        }
        match kind {
            DedicatedColumnType::String => {}
            DedicatedColumnType::Int => {
                rules.refuse(&path, "vParquet4 has no columns for type int; type is string")
            }
        }
        rules.require(options.is_empty(), &path, "vParquet4 has no options for columns");
        rules.require(!name.is_empty(), &path, "must have a name");
        let is_repeated = columns.iter().take(i).any(|other| other.scope == *scope && other.name == *name);
        rules.require(!is_repeated, &path, "names an attribute that has a column already");
    }
    for scope in [DedicatedColumnScope::Span, DedicatedColumnScope::Resource] {
        let count = columns.iter().filter(|column| column.scope == scope).count();
        if count > MAX_DEDICATED_COLUMNS {
            let name = if scope == DedicatedColumnScope::Span { "span" } else { "resource" };
            let message =
                format!("has {count} columns of scope {name}; vParquet4 has {MAX_DEDICATED_COLUMNS}");
            rules.refuse(path, message);
        }
    }
}

fn overrides(config: &Config, rules: &mut Rules) {
    let overrides = &config.overrides;
    if !overrides.per_tenant_override_config.is_empty() {
        rules.positive("overrides.per_tenant_override_period", overrides.per_tenant_override_period);
    }
    for finding in limits(&overrides.defaults) {
        rules.refuse(&format!("overrides.defaults.{}", finding.path), finding.message);
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
