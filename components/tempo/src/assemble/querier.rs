//! The querier: recent traces from the ingester of this process, the rest from the backend.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use tempo_ingester::Ingester;
use tempo_model::{TenantId, TraceId, trace::Trace};
use tempo_querier::{Dependencies, Querier, RecentError, RecentTraces};

use super::{Module, Shared};
use crate::server::status::Endpoint;

/// Blocks read at once by all jobs of this process: reads of a bucket wait more than they work.
const CONCURRENT_BLOCKS: usize = 50;

pub(super) fn assemble(shared: &Shared, ingester: Ingester) -> anyhow::Result<(Querier, Module)> {
    let dependencies = Dependencies {
        recent: Arc::new(LocalIngester(ingester)),
        backend: shared.backend.clone(),
        blocklist: shared.blocklist.clone(),
        cache: shared.cache.clone(),
        concurrent_blocks: CONCURRENT_BLOCKS,
        overrides: shared.overrides.clone(),
        waits: shared.waits.clone(),
        registry: &shared.registry,
    };
    let querier =
        Querier::new(&shared.config.querier, dependencies).context("register metrics of the querier")?;
    let mut module = Module::new("querier");
    let prefix = shared.config.http_api_prefix.trim_end_matches('/');
    module.querier_api = querier.http_routes(prefix);
    module.endpoints = vec![
        Endpoint { name: "querier_api_traces", path: format!("/querier{prefix}/api/traces/{{traceID}}") },
        Endpoint {
            name: "querier_api_v2_traces",
            path: format!("/querier{prefix}/api/v2/traces/{{traceID}}"),
        },
    ];
    Ok((querier, module))
}

/// The ingester in this process, as the querier sees it.
struct LocalIngester(Ingester);

#[async_trait]
impl RecentTraces for LocalIngester {
    async fn find_trace(&self, tenant: &TenantId, id: &TraceId) -> Result<Option<Trace>, RecentError> {
        self.0.find_trace(tenant, id).await.map_err(|error| RecentError { source: Box::new(error) })
    }
}
