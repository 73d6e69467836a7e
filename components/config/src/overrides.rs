//! `overrides`: limits, their defaults in the main configuration, and the per-tenant file.
//!
//! **One difference to Tempo:** a key that a tenant's entry does not set keeps its default here. In Tempo an entry
//! replaces the defaults as a whole, so that a tenant with only a `storage:` entry had an ingestion limit of 0 and all
//! its pushes were refused. The entry of the wildcard tenant `"*"` is for tenants without an entry of their own; it is
//! not mixed into other entries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, DedicatedColumn, GoDuration};

/// The `overrides` section. Tempo's flat keys of old (`overrides.ingestion_rate_limit_bytes`) are read as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OverridesConfig {
    /// Limits of tenants that the per-tenant file does not name, and of keys it does not set.
    pub defaults: Limits,
    /// File with limits per tenant; empty: none. It is read again while the process runs.
    pub per_tenant_override_config: String,
    /// How often that file is read again.
    pub per_tenant_override_period: GoDuration,
}

impl Default for OverridesConfig {
    fn default() -> Self {
        Self {
            defaults: Limits::default(),
            per_tenant_override_config: String::new(),
            per_tenant_override_period: GoDuration::from_secs(10),
        }
    }
}

/// The limits of every tenant.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Overrides {
    /// Limits of tenants that have no entry.
    pub defaults: Limits,
    /// Complete limits of the tenants that have one; `"*"` stands for all tenants without.
    #[serde(rename = "overrides")]
    pub tenants: BTreeMap<String, Limits>,
}

impl Overrides {
    /// The tenant that stands for all tenants without an entry.
    pub const WILDCARD: &'static str = "*";

    /// Only defaults.
    pub fn new(defaults: Limits) -> Self {
        Self { defaults, tenants: BTreeMap::new() }
    }

    /// The limits of one tenant: its own entry, else the wildcard's, else the defaults.
    pub fn for_tenant(&self, tenant: &str) -> &Limits {
        self.tenants.get(tenant).or_else(|| self.tenants.get(Self::WILDCARD)).unwrap_or(&self.defaults)
    }
}

/// What one tenant may do, and how its data is stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Taking spans in.
    pub ingestion: IngestionLimits,
    /// Limits that hold for reading and writing.
    pub global: GlobalLimits,
    /// How blocks of this tenant are written.
    pub storage: StorageLimits,
}

impl Limits {
    /// Limits in which every key is present once they are rendered.
    pub(crate) fn sample() -> Self {
        let mut sample = Self::default();
        sample.ingestion.max_attribute_bytes = Some(ByteSize::ZERO);
        sample.ingestion.retry_info_enabled = Some(true);
        sample
    }
}

/// `ingestion`: limits on taking spans in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestionLimits {
    /// Whether the rate is per distributor or shared by all of them.
    pub rate_strategy: RateStrategy,
    /// Bytes a second of received protobuf, uncompressed.
    pub rate_limit_bytes: ByteSize,
    /// Bytes that may come at once above the rate.
    pub burst_size_bytes: ByteSize,
    /// Live traces in one ingester; 0 is no limit.
    pub max_traces_per_user: usize,
    /// Keys and string values of attributes are cut to this many bytes; not set or 0: as the distributor says.
    pub max_attribute_bytes: Option<ByteSize>,
    /// Whether clients that are refused for their rate are told when to retry; not set: yes.
    pub retry_info_enabled: Option<bool>,
}

impl Default for IngestionLimits {
    fn default() -> Self {
        Self {
            rate_strategy: RateStrategy::default(),
            rate_limit_bytes: ByteSize::from_bytes(15_000_000),
            burst_size_bytes: ByteSize::from_bytes(20_000_000),
            max_traces_per_user: 10_000,
            max_attribute_bytes: None,
            retry_info_enabled: None,
        }
    }
}

/// Whether a rate limit holds per distributor or for all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateStrategy {
    /// Each distributor grants the whole rate.
    #[default]
    Local,
    /// Each distributor grants its share of the rate.
    Global,
}

/// `global`: limits that hold for reading and writing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalLimits {
    /// Size of one trace. Spans beyond it are discarded when they come in, and a query for the trace fails; 0 is no limit.
    pub max_bytes_per_trace: ByteSize,
}

impl Default for GlobalLimits {
    fn default() -> Self {
        Self { max_bytes_per_trace: ByteSize::from_bytes(5_000_000) }
    }
}

/// `storage`: how blocks of one tenant are written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageLimits {
    /// Attributes that get a column of their own; empty: as `storage.trace.block` says.
    pub parquet_dedicated_columns: Vec<DedicatedColumn>,
}
