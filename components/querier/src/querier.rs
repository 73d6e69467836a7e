//! The component: what it is made of and what it offers.

use std::{fmt, sync::Arc};

use axum::Router;
use prometheus::Registry;
use tempo_backend::{Backend, Blocklist};
use tempo_block::BlockCache;
use tempo_config::{Overrides, QuerierConfig};
use tempo_model::Waits;
use tempo_proto::{frontend::TraceByIdJob, tempopb::TraceByIdResponse};
use tokio::sync::{Semaphore, watch};

use crate::{
    http,
    job::{Job, JobError},
    metrics::Metrics,
    recent::RecentTraces,
};

/// What a querier needs from the process around it.
pub struct Dependencies<'a> {
    pub recent: Arc<dyn RecentTraces>,
    pub backend: Backend,
    pub blocklist: Blocklist,
    pub cache: BlockCache,
    /// Blocks read at once, by all jobs together.
    pub concurrent_blocks: usize,
    pub overrides: watch::Receiver<Arc<Overrides>>,
    /// Told how long jobs wait for their slots.
    pub waits: Waits,
    pub registry: &'a Registry,
}

impl fmt::Debug for Dependencies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependencies")
            .field("concurrent_blocks", &self.concurrent_blocks)
            .finish_non_exhaustive()
    }
}

/// The querier of one process. Cheap to clone.
#[derive(Clone)]
pub struct Querier {
    pub(crate) inner: Arc<Inner>,
}

/// Shared by all jobs.
pub(crate) struct Inner {
    pub(crate) config: QuerierConfig,
    pub(crate) recent: Arc<dyn RecentTraces>,
    pub(crate) backend: Backend,
    pub(crate) blocklist: Blocklist,
    pub(crate) cache: BlockCache,
    pub(crate) concurrent_blocks: usize,
    pub(crate) block_slots: Semaphore,
    pub(crate) job_slots: Semaphore,
    pub(crate) overrides: watch::Receiver<Arc<Overrides>>,
    pub(crate) waits: Waits,
    pub(crate) metrics: Metrics,
}

impl Querier {
    pub fn new(config: &QuerierConfig, deps: Dependencies<'_>) -> Result<Querier, prometheus::Error> {
        let Dependencies { recent, backend, blocklist, cache, concurrent_blocks, overrides, waits, registry } =
            deps;
        let concurrent_blocks = concurrent_blocks.clamp(1, Semaphore::MAX_PERMITS);
        let inner = Inner {
            recent,
            backend,
            blocklist,
            cache,
            concurrent_blocks,
            block_slots: Semaphore::new(concurrent_blocks),
            job_slots: Semaphore::new(config.max_concurrent_queries.clamp(1, Semaphore::MAX_PERMITS)),
            overrides,
            waits,
            metrics: Metrics::register(registry)?,
            config: config.clone(),
        };
        Ok(Querier { inner: Arc::new(inner) })
    }

    /// Executes one job: waits for its turn, then answers within the configured time. Dropping the future cancels it.
    ///
    /// A trace over the tenant's limit is an answer too: what fits, with `status = PARTIAL`.
    pub async fn trace_by_id(&self, job: TraceByIdJob) -> Result<TraceByIdResponse, JobError> {
        let job = Job::parse(&job)?;
        Ok(self.inner.run(&job).await?.into_response())
    }

    /// `/querier<api_prefix>/api/traces/{id}` and `/querier<api_prefix>/api/v2/traces/{id}`.
    pub fn http_routes(&self, api_prefix: &str) -> Router {
        http::routes(Arc::clone(&self.inner), api_prefix)
    }
}

impl fmt::Debug for Querier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Querier").finish_non_exhaustive()
    }
}
