//! `query_frontend`: how queries are cut into jobs, queued, retried and answered.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, GoDuration};

/// The `query_frontend` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryFrontendConfig {
    /// Jobs of one tenant that may wait; more are refused with 429.
    pub max_outstanding_per_tenant: usize,
    /// How often a failed job is tried again.
    pub max_retries: u32,
    /// Whether a request may name several tenants, joined by `|`.
    pub multi_tenant_queries_enabled: bool,
    /// Time that a request to the API may take; 0 is no limit.
    pub api_timeout: GoDuration,
    /// Trace by id.
    pub trace_by_id: TraceByIdConfig,
}

impl Default for QueryFrontendConfig {
    fn default() -> Self {
        Self {
            max_outstanding_per_tenant: 2000,
            max_retries: 2,
            multi_tenant_queries_enabled: true,
            api_timeout: GoDuration::ZERO,
            trace_by_id: TraceByIdConfig::default(),
        }
    }
}

/// `query_frontend.trace_by_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceByIdConfig {
    /// Into how many jobs the space of block ids is cut.
    pub query_shards: u32,
    /// Jobs of one query that run at once; 0 is all of them.
    pub concurrent_shards: u32,
    /// Queries answered faster than this count as within the objective; 0 counts all.
    pub duration_slo: GoDuration,
    /// Queries that read more than this many bytes a second count as within the objective; 0 is off.
    pub throughput_bytes_slo: ByteSize,
}

impl Default for TraceByIdConfig {
    fn default() -> Self {
        Self {
            query_shards: 50,
            concurrent_shards: 0,
            duration_slo: GoDuration::ZERO,
            throughput_bytes_slo: ByteSize::ZERO,
        }
    }
}
