//! `storage.trace`: where blocks are kept, how they are written, and how other processes' blocks are found.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, GoDuration, S3Config, Secret};

/// The `storage` section.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Storage of traces, the only kind there is.
    pub trace: TraceStorageConfig,
}

/// The `storage.trace` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceStorageConfig {
    /// Where blocks are kept.
    pub backend: BackendKind,
    /// A directory on local disk.
    pub local: LocalBackendConfig,
    /// Amazon S3 and what speaks its protocol.
    pub s3: S3Config,
    /// Google Cloud Storage.
    pub gcs: GcsConfig,
    /// Azure Blob Storage.
    pub azure: AzureConfig,
    /// The write-ahead log.
    pub wal: WalConfig,
    /// How blocks are written.
    pub block: BlockConfig,
    /// How often the backend is asked for new blocks.
    pub blocklist_poll: GoDuration,
    /// Block metas read at once for one tenant.
    pub blocklist_poll_concurrency: usize,
    /// Tenants polled at once.
    pub blocklist_poll_tenant_concurrency: usize,
    /// Whether a tenant's blocks are listed when its index cannot be read.
    pub blocklist_poll_fallback: bool,
    /// An index older than this is not used; 0 uses any.
    pub blocklist_poll_stale_tenant_index: GoDuration,
    /// Random pause before each tenant's poll, at most this many milliseconds.
    pub blocklist_poll_jitter_ms: u64,
    /// Failed polls of one tenant in a row that are tolerated.
    pub blocklist_poll_tolerate_consecutive_errors: u32,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: TraceStorageExtras,
}

impl Default for TraceStorageConfig {
    fn default() -> Self {
        Self {
            backend: BackendKind::default(),
            local: LocalBackendConfig::default(),
            s3: S3Config::default(),
            gcs: GcsConfig::default(),
            azure: AzureConfig::default(),
            wal: WalConfig::default(),
            block: BlockConfig::default(),
            blocklist_poll: GoDuration::from_mins(5),
            blocklist_poll_concurrency: 50,
            blocklist_poll_tenant_concurrency: 1,
            blocklist_poll_fallback: true,
            blocklist_poll_stale_tenant_index: GoDuration::ZERO,
            blocklist_poll_jitter_ms: 0,
            blocklist_poll_tolerate_consecutive_errors: 1,
            tempo_rs: TraceStorageExtras::default(),
        }
    }
}

/// `storage.trace.tempo_rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceStorageExtras {
    /// Memory for parts of blocks that were read: blooms, indexes, footers.
    pub cache_bytes: ByteSize,
}

impl Default for TraceStorageExtras {
    fn default() -> Self {
        Self { cache_bytes: ByteSize::from_mib(64) }
    }
}

impl TraceStorageConfig {
    /// Every secret there is, always in the same order.
    pub(crate) fn secrets_mut(&mut self) -> [&mut Secret; 4] {
        let S3Config { secret_key, session_token, sse, .. } = &mut self.s3;
        [secret_key, session_token, &mut sse.tempo_rs.encryption_key, &mut self.azure.storage_account_key]
    }
}

/// Where blocks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A directory on local disk.
    #[default]
    Local,
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl BackendKind {
    /// The name in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// `storage.trace.local`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalBackendConfig {
    /// The directory; it is created if it is not there.
    pub path: String,
}

impl Default for LocalBackendConfig {
    fn default() -> Self {
        Self { path: "/var/tempo/traces".to_owned() }
    }
}

/// `storage.trace.gcs`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GcsConfig {
    /// Name of the bucket.
    pub bucket_name: String,
    /// Folder in the bucket under which everything is kept.
    pub prefix: String,
    /// Another address of the service, for tests.
    pub endpoint: String,
    /// Whether the service is spoken to without TLS and credentials, for tests.
    pub insecure: bool,
}

/// `storage.trace.azure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureConfig {
    /// Name of the container.
    pub container_name: String,
    /// Folder in the container under which everything is kept.
    pub prefix: String,
    /// Name of the storage account.
    pub storage_account_name: String,
    /// Key of the storage account.
    pub storage_account_key: Secret,
    /// Domain of the service.
    pub endpoint_suffix: String,
}

impl Default for AzureConfig {
    fn default() -> Self {
        Self {
            container_name: String::new(),
            prefix: String::new(),
            storage_account_name: String::new(),
            storage_account_key: Secret::default(),
            endpoint_suffix: "blob.core.windows.net".to_owned(),
        }
    }
}

/// `storage.trace.wal`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalConfig {
    /// The directory of the write-ahead log and of blocks that are being written.
    pub path: String,
}

impl Default for WalConfig {
    fn default() -> Self {
        Self { path: "/var/tempo/wal".to_owned() }
    }
}

/// `storage.trace.block`: how blocks are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockConfig {
    /// Format of new blocks.
    pub version: String,
    /// Share of lookups of absent traces that the bloom filters may let through.
    pub bloom_filter_false_positive: f64,
    /// Size of one bloom filter object.
    pub bloom_filter_shard_size_bytes: ByteSize,
    /// Attributes that get a column of their own.
    pub parquet_dedicated_columns: Vec<DedicatedColumn>,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: BlockExtras,
}

impl BlockConfig {
    /// The one format that this build writes.
    pub const VERSION: &'static str = "vParquet4";
}

impl Default for BlockConfig {
    fn default() -> Self {
        Self {
            version: Self::VERSION.to_owned(),
            bloom_filter_false_positive: 0.01,
            bloom_filter_shard_size_bytes: ByteSize::from_kib(100),
            parquet_dedicated_columns: Vec::new(),
            tempo_rs: BlockExtras::default(),
        }
    }
}

/// `storage.trace.block.tempo_rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockExtras {
    /// Spans in one row group.
    pub spans_per_row_group: usize,
    /// Spans in one page of a column.
    pub spans_per_page: usize,
    /// Whether a trace index is written next to the block, which makes lookups by id cheaper. Tempo ignores it.
    pub sidecar: bool,
    /// Compression level of pages, 1 to 22.
    pub zstd_level: i32,
    /// Whether attributes that many spans carry get a column of their own without being configured.
    pub choose_dedicated_columns: bool,
    /// Threads that encode one block.
    pub encode_threads: usize,
}

impl Default for BlockExtras {
    fn default() -> Self {
        Self {
            spans_per_row_group: 32_768,
            spans_per_page: 4_096,
            sidecar: true,
            zstd_level: 1,
            choose_dedicated_columns: true,
            encode_threads: 1,
        }
    }
}

/// An attribute that gets a column of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DedicatedColumn {
    /// Where the attribute is found.
    pub scope: DedicatedColumnScope,
    /// Its key.
    pub name: String,
    /// The type of values that go into the column; others stay in the list of attributes.
    #[serde(rename = "type")]
    pub kind: DedicatedColumnType,
    /// How the column is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<DedicatedColumnOption>,
}

/// Where an attribute with a column of its own is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedColumnScope {
    /// On spans.
    Span,
    /// On resources.
    Resource,
    /// On events of spans.
    Event,
}

/// The type of values in a column of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedColumnType {
    /// Text.
    String,
    /// 64-bit integers.
    Int,
}

/// How the column of an attribute is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DedicatedColumnOption {
    /// Values are lists.
    Array,
    /// Values are large and hardly repeat.
    Blob,
}
