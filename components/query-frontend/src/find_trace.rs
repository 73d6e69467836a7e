//! One lookup by id: its jobs executed, their partial traces combined.
//!
//! The recent job goes first and the block jobs start when it has answered. A head that is flushed meanwhile is then
//! in one of the two: an ingester lets go of a block only after the blocklist shows it, and the block jobs look at the
//! blocklist later. In process this costs microseconds.

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use tempo_model::{
    TenantId, TraceId,
    trace::{Combiner, Trace},
};
use tempo_proto::{
    frontend::TraceByIdJob,
    tempopb::{PartialStatus, TraceByIdResponse},
};
use tokio::time::sleep;
use tracing::debug;

use crate::{
    queriers::JobError,
    query_frontend::Inner,
    queue::QueueFull,
    shard::{self, Jobs},
};

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    All,
    Ingesters,
    Blocks,
    /// Accepted since Tempo 2.10, which asks an external store then.
    External,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceQuery {
    pub(crate) trace_id: TraceId,
    pub(crate) mode: Mode,
    /// 0: no bound.
    pub(crate) start_unix_secs: u64,
    pub(crate) end_unix_secs: u64,
}

/// What was found, in no particular order.
#[derive(Debug, PartialEq)]
pub(crate) struct FoundTrace {
    pub(crate) trace: Option<Trace>,
    pub(crate) inspected_bytes: u64,
    pub(crate) max_bytes: u64,
    /// The trace is larger than `max_bytes`, spans are missing.
    pub(crate) is_too_large: bool,
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    #[error(transparent)]
    Job(#[from] JobError),
    /// The text is Tempo's.
    #[error("unable to process request in the configured timeout")]
    Timeout,
}

/// Spans from which on merging and printing leave the runtime's workers alone: about 500 µs of work.
const LARGE_TRACE_SPANS: usize = 1000;

impl Inner {
    /// Looks in the data of every tenant and combines what is there.
    pub(crate) async fn find_trace(
        &self,
        tenants: &[TenantId],
        query: &TraceQuery,
    ) -> Result<FoundTrace, QueryError> {
        let max_bytes = self.max_bytes_per_trace(tenants);
        let mut answers = stream::select_all(tenants.iter().map(|tenant| self.answers(tenant, query)));
        let mut combiner = Combiner::new(usize::try_from(max_bytes).unwrap_or(usize::MAX));
        let mut inspected_bytes = 0_u64;
        let mut is_too_large = false;
        while let Some(answer) = answers.try_next().await? {
            let TraceByIdResponse { trace, metrics, status, message: _ } = answer;
            inspected_bytes =
                inspected_bytes.saturating_add(metrics.map_or(0, |metrics| metrics.inspected_bytes));
            is_too_large |= status == PartialStatus::Partial as i32;
            if let Some(trace) = trace {
                let has_outgrown;
                (combiner, has_outgrown) = work_aside(span_count(&trace), move || {
                    let has_outgrown = combiner.add(trace).is_err();
                    (combiner, has_outgrown)
                })
                .await?;
                is_too_large |= has_outgrown;
            }
        }
        Ok(FoundTrace { trace: combiner.finish(), inspected_bytes, max_bytes, is_too_large })
    }

    /// Answers of one tenant's jobs as they come.
    fn answers<'a>(
        &'a self,
        tenant: &'a TenantId,
        query: &TraceQuery,
    ) -> BoxStream<'a, Result<TraceByIdResponse, QueryError>> {
        let block_count = self.blocklist.metas(tenant).len();
        let Jobs { recent, blocks } =
            shard::jobs(query, tenant, block_count, self.config.trace_by_id.query_shards);
        let concurrency = match self.config.trace_by_id.concurrent_shards {
            0 => blocks.len().max(1),
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let recent = stream::iter(recent).then(move |job| self.run_job(tenant, job));
        let blocks =
            stream::iter(blocks).map(move |job| self.run_job(tenant, job)).buffer_unordered(concurrency);
        recent.chain(blocks).boxed()
    }

    /// Waits for a querier and gives it the job, again after a failure.
    async fn run_job(&self, tenant: &TenantId, job: TraceByIdJob) -> Result<TraceByIdResponse, QueryError> {
        let mut retries = 0;
        loop {
            let permit = self.queue.enter(tenant).await?;
            let answer = self.queriers.trace_by_id(job.clone()).await;
            drop(permit);
            let error = match answer {
                Ok(answer) => {
                    self.metrics.job_finished(retries);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let wait = if error.is_retryable() { self.retry.wait_after(retries) } else { None };
            let Some(wait) = wait else {
                self.metrics.job_finished(retries);
                return Err(error.into());
            };
            debug!(%tenant, %error, retries, "retried job");
            retries += 1;
            sleep(wait).await;
        }
    }

    /// The limit of the tenant with the largest one; 0: none.
    fn max_bytes_per_trace(&self, tenants: &[TenantId]) -> u64 {
        let overrides = self.overrides.borrow();
        let limits = tenants
            .iter()
            .map(|tenant| overrides.for_tenant(tenant.as_str()).global.max_bytes_per_trace.get());
        limits.max_by_key(|&limit| if limit == 0 { u64::MAX } else { limit }).unwrap_or_default()
    }
}

pub(crate) fn span_count(trace: &Trace) -> usize {
    trace.resource_spans.iter().flat_map(|part| &part.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// Does work on so many spans, on the blocking pool if they are many.
pub(crate) async fn work_aside<T: Send + 'static>(
    spans: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobError> {
    if spans < LARGE_TRACE_SPANS {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| JobError::Failed(format!("work on a trace of {spans} spans: {error}")))
}
