//! The component: what it is made of and what it offers.

use std::{fmt, sync::Arc};

use axum::Router;
use prometheus::Registry;
use tempo_backend::Blocklist;
use tempo_config::{Overrides, QueryFrontendConfig};
use tempo_model::Waits;
use tokio::sync::watch;

use crate::{api, metrics::Metrics, queriers::Queriers, queue::Queue, retry::Retry};

/// What a query-frontend needs from the process around it.
pub struct Dependencies<'a> {
    pub queriers: Arc<dyn Queriers>,
    /// Jobs that the queriers execute at once; the others wait in the queue.
    pub concurrent_jobs: usize,
    /// Only to know how many blocks a tenant has; the queriers have their own view.
    pub blocklist: Blocklist,
    pub overrides: watch::Receiver<Arc<Overrides>>,
    /// Off: a request without a tenant belongs to the single tenant.
    pub multitenancy: bool,
    /// Told how long jobs wait for a querier.
    pub waits: Waits,
    pub registry: &'a Registry,
}

impl fmt::Debug for Dependencies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependencies").field("concurrent_jobs", &self.concurrent_jobs).finish_non_exhaustive()
    }
}

/// The query-frontend of one process. Cheap to clone.
#[derive(Clone)]
pub struct QueryFrontend {
    inner: Arc<Inner>,
}

/// Shared by all requests.
pub(crate) struct Inner {
    pub(crate) config: QueryFrontendConfig,
    pub(crate) queriers: Arc<dyn Queriers>,
    pub(crate) blocklist: Blocklist,
    pub(crate) overrides: watch::Receiver<Arc<Overrides>>,
    pub(crate) multitenancy: bool,
    pub(crate) queue: Queue,
    pub(crate) retry: Retry,
    pub(crate) metrics: Metrics,
}

impl QueryFrontend {
    pub fn new(
        config: &QueryFrontendConfig,
        deps: Dependencies<'_>,
    ) -> Result<QueryFrontend, prometheus::Error> {
        let Dependencies { queriers, concurrent_jobs, blocklist, overrides, multitenancy, waits, registry } =
            deps;
        let metrics = Metrics::register(registry)?;
        let queue = Queue::new(concurrent_jobs, config.max_outstanding_per_tenant, metrics.clone(), waits);
        let retry = Retry::new(config.max_retries);
        let config = config.clone();
        let inner = Inner { config, queriers, blocklist, overrides, multitenancy, queue, retry, metrics };
        Ok(QueryFrontend { inner: Arc::new(inner) })
    }

    /// `/api/traces/{id}`, `/api/v2/traces/{id}` and `/api/echo`, without the configured prefix.
    pub fn http_routes(&self) -> Router {
        api::routes(Arc::clone(&self.inner))
    }
}

impl fmt::Debug for QueryFrontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryFrontend").finish_non_exhaustive()
    }
}
