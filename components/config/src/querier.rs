//! `querier`: how many jobs of the query-frontend one process works on, and for how long.

use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The `querier` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierConfig {
    /// Jobs worked on at once.
    pub max_concurrent_queries: usize,
    /// Trace by id.
    pub trace_by_id: QuerierTraceByIdConfig,
}

impl Default for QuerierConfig {
    fn default() -> Self {
        Self { max_concurrent_queries: 20, trace_by_id: QuerierTraceByIdConfig::default() }
    }
}

/// `querier.trace_by_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerierTraceByIdConfig {
    /// Time that one job may take.
    pub query_timeout: GoDuration,
}

impl Default for QuerierTraceByIdConfig {
    fn default() -> Self {
        Self { query_timeout: GoDuration::from_secs(10) }
    }
}
