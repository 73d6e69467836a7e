//! The query-frontend: the public API, and the querier of this process behind its queue.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use display_error_chain::DisplayErrorChain;
use tempo_proto::{frontend::TraceByIdJob, tempopb::TraceByIdResponse};
use tempo_querier::Querier;
use tempo_query_frontend::{Dependencies, JobError, Queriers, QueryFrontend};

use super::{Module, Shared};
use crate::server::status::Endpoint;

pub(super) fn assemble(shared: &Shared, querier: Querier) -> anyhow::Result<Module> {
    let dependencies = Dependencies {
        queriers: Arc::new(LocalQuerier(querier)),
        concurrent_jobs: shared.config.querier.max_concurrent_queries,
        blocklist: shared.blocklist.clone(),
        overrides: shared.overrides.clone(),
        multitenancy: shared.config.multitenancy_enabled,
        waits: shared.waits.clone(),
        registry: &shared.registry,
    };
    let frontend = QueryFrontend::new(&shared.config.query_frontend, dependencies)
        .context("register metrics of the query-frontend")?;
    let mut module = Module::new("query-frontend");
    module.api = frontend.http_routes();
    let prefix = shared.config.http_api_prefix.trim_end_matches('/');
    module.endpoints = vec![
        Endpoint { name: "api_traces", path: format!("{prefix}/api/traces/{{traceID}}") },
        Endpoint { name: "api_v2_traces", path: format!("{prefix}/api/v2/traces/{{traceID}}") },
        Endpoint { name: "api_echo", path: format!("{prefix}/api/echo") },
    ];
    Ok(module)
}

/// The querier in this process, as the query-frontend sees it.
struct LocalQuerier(Querier);

#[async_trait]
impl Queriers for LocalQuerier {
    async fn trace_by_id(&self, job: TraceByIdJob) -> Result<TraceByIdResponse, JobError> {
        let answer = self.0.trace_by_id(job).await;
        answer.map_err(|error| match error {
            tempo_querier::JobError::DeadlineExceeded => JobError::DeadlineExceeded,
            error if error.is_retryable() => JobError::Failed(DisplayErrorChain::new(&error).to_string()),
            error => JobError::Refused(DisplayErrorChain::new(&error).to_string()),
        })
    }
}
