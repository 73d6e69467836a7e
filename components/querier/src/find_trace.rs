//! One lookup by id: recent data first, blocks then, the parts put together.
//!
//! The order matters: a head that is flushed during the lookup leaves recent data only after the blocklist shows its
//! block, so the blocklist must be looked at last. A listed block that cannot be read fails the job, because an answer
//! without it might silently lack spans; only a compacted block may be gone, since another one has its traces.

use futures::{StreamExt, TryStreamExt, stream};
use tempo_backend::StoreError;
use tempo_block::{BlockReader, Found, ReadError};
use tempo_model::{
    TraceId, WaitKind,
    trace::{Combiner, Trace},
};
use tempo_proto::tempopb::{PartialStatus, TraceByIdMetrics, TraceByIdResponse};
use tokio::time::Instant;

use crate::{
    job::{BlockRange, Job, JobError},
    metrics::BlockResult,
    querier::Inner,
    select::{Candidate, candidates},
};

/// What one job found.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) trace: Option<Trace>,
    pub(crate) inspected_bytes: u64,
    /// The tenant's limit on the size of a trace; 0: none.
    pub(crate) max_bytes: u64,
    /// The trace is larger, spans are missing.
    pub(crate) is_too_large: bool,
}

impl Answer {
    pub(crate) fn into_response(self) -> TraceByIdResponse {
        let Answer { trace, inspected_bytes, max_bytes, is_too_large } = self;
        let metrics = Some(TraceByIdMetrics { inspected_bytes });
        let mut response = TraceByIdResponse { trace, metrics, ..TraceByIdResponse::default() };
        if is_too_large {
            response.status = PartialStatus::Partial as i32;
            // The text is Tempo's.
            response.message =
                format!("Trace exceeds maximum size of {max_bytes} bytes, a partial trace is returned");
        }
        response
    }
}

/// Spans from which on merging and printing leave the runtime's workers alone: about 500 µs of work.
const LARGE_TRACE_SPANS: usize = 1000;

impl Inner {
    /// Waits for a free slot and executes the job within the configured time.
    pub(crate) async fn run(&self, job: &Job) -> Result<Answer, JobError> {
        let asked = Instant::now();
        let _slot = self.job_slots.acquire().await.map_err(|_| JobError::Stopped)?;
        let started = Instant::now();
        self.waits.observe(WaitKind::Queue, "querier: slot of a job", started - asked);
        let timeout = *self.config.trace_by_id.query_timeout;
        let find = Box::pin(self.find_trace(job));
        let answer = if timeout.is_zero() {
            find.await
        } else {
            tokio::time::timeout(timeout, find).await.unwrap_or(Err(JobError::DeadlineExceeded))
        };
        self.metrics.job_finished(answer.is_ok(), started.elapsed());
        answer
    }

    async fn find_trace(&self, job: &Job) -> Result<Answer, JobError> {
        let max_bytes = self.overrides.borrow().for_tenant(job.tenant.as_str()).global.max_bytes_per_trace;
        let mut combiner = Combiner::new(max_bytes.to_usize());
        let mut inspected_bytes = 0_u64;
        if job.with_recent
            && let Some(trace) = self.recent.find_trace(&job.tenant, &job.trace_id).await?
        {
            combiner = add(combiner, trace).await?;
        }
        let blocks = job.blocks.map_or_else(Vec::new, |range| self.candidates(job, &range));
        let searches = blocks.into_iter().map(|candidate| self.find_in_block(candidate, job.trace_id));
        // In the order of block ids, so that the same blocks give the same answer.
        let mut answers = stream::iter(searches).buffered(self.concurrent_blocks);
        while !combiner.is_too_large()
            && let Some(Found { trace, inspected_bytes: read }) = answers.try_next().await?
        {
            inspected_bytes = inspected_bytes.saturating_add(read);
            if let Some(trace) = trace {
                combiner = add(combiner, trace).await?;
            }
        }
        let is_too_large = combiner.is_too_large();
        Ok(Answer { trace: combiner.finish(), inspected_bytes, max_bytes: max_bytes.get(), is_too_large })
    }

    fn candidates(&self, job: &Job, range: &BlockRange) -> Vec<Candidate> {
        let blocks = self.blocklist.tenant(&job.tenant);
        blocks.map_or_else(Vec::new, |blocks| candidates(&blocks, range))
    }

    async fn find_in_block(&self, candidate: Candidate, trace_id: TraceId) -> Result<Found, ReadError> {
        let Candidate { meta, is_compacted } = candidate;
        let asked = Instant::now();
        let _slot = self.block_slots.acquire().await.map_err(|_| ReadError::Stopped)?;
        self.waits.observe(WaitKind::Queue, "querier: slot of a block", asked.elapsed());
        let reader = BlockReader::open(self.backend.clone(), meta, self.cache.clone())?;
        match reader.find_trace(&trace_id).await {
            Ok(found) => {
                let result = if found.trace.is_some() { BlockResult::Found } else { BlockResult::NotFound };
                self.metrics.block_searched(result, found.inspected_bytes);
                Ok(found)
            }
            Err(error) if is_compacted && is_gone(&error) => {
                self.metrics.block_searched(BlockResult::Gone, 0);
                Ok(Found { trace: None, inspected_bytes: 0 })
            }
            Err(error) => {
                self.metrics.block_searched(BlockResult::Failed, 0);
                Err(error)
            }
        }
    }
}

fn is_gone(error: &ReadError) -> bool {
    matches!(error, ReadError::Store { source, .. } if matches!(**source, StoreError::NotFound { .. }))
}

pub(crate) fn span_count(trace: &Trace) -> usize {
    trace.resource_spans.iter().flat_map(|part| &part.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// Adds a part; whether it outgrew the limit is remembered by the combiner.
async fn add(mut combiner: Combiner, part: Trace) -> Result<Combiner, JobError> {
    work_aside(span_count(&part), move || {
        // An error only repeats what `is_too_large` says.
        combiner.add(part).unwrap_or_default();
        combiner
    })
    .await
}

/// Does work on so many spans, on the blocking pool if they are many.
pub(crate) async fn work_aside<T: Send + 'static>(
    spans: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobError> {
    if spans < LARGE_TRACE_SPANS {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| JobError::Stopped)
}
