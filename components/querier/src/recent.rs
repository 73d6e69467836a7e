//! The seam to whoever holds traces that are not in the blocklist yet.

use async_trait::async_trait;
use tempo_model::{TenantId, TraceId, trace::Trace};

/// Finds a trace among recent data: heads, blocks not flushed, flushed blocks that the blocklist does not show yet.
///
/// Data may move from here to the blocklist at any time, never the other way, and leaves here last: who asks here
/// first and looks at the blocklist then misses nothing.
#[async_trait]
pub trait RecentTraces: Send + Sync {
    async fn find_trace(&self, tenant: &TenantId, id: &TraceId) -> Result<Option<Trace>, RecentError>;
}

/// Recent data could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("find trace in recent data")]
pub struct RecentError {
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
