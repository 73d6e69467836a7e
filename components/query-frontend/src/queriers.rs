//! The seam to those who execute jobs, and what can go wrong there.

use async_trait::async_trait;
use tempo_proto::{frontend::TraceByIdJob, tempopb::TraceByIdResponse};

/// Executes one job at a time per call. Dropping the future cancels the job.
#[async_trait]
pub trait Queriers: Send + Sync {
    /// An answer with `status = PARTIAL` means: the trace is larger than the tenant's limit, and this is what fits.
    async fn trace_by_id(&self, job: TraceByIdJob) -> Result<TraceByIdResponse, JobError>;
}

/// Why a job has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// The querier, or what it reads from, failed: worth another try. Carries the whole story, clients see it.
    #[error("{0}")]
    Failed(String),
    /// The job took too long: worth another try.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// The querier does not understand the job; it will not the next time either.
    #[error("{0}")]
    Refused(String),
}

impl JobError {
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            JobError::Failed(_) | JobError::DeadlineExceeded => true,
            JobError::Refused(_) => false,
        }
    }
}
