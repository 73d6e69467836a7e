//! A job in checked form, and why one may have no answer.

use std::error::Error;

use tempo_block::ReadError;
use tempo_model::{BlockId, TenantError, TenantId, TraceId};
use tempo_proto::frontend::{TraceByIdJob, TraceByIdMode};

use crate::recent::RecentError;

/// Why a job has no answer.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("query job is malformed: {0}")]
    Malformed(&'static str),
    #[error("query job names no valid tenant")]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    Recent(#[from] RecentError),
    /// A block that is listed could not be read. Without it the answer might lack spans, so there is none.
    #[error(transparent)]
    Block(#[from] ReadError),
    /// The text is what Tempo's clients know.
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// The process is going down, or the work on the trace panicked.
    #[error("work on the trace was stopped")]
    Stopped,
}

impl JobError {
    /// The error and what caused it in one line, for clients.
    pub fn story(&self) -> String {
        let mut story = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            story.push_str(": ");
            story.push_str(&error.to_string());
            cause = error.source();
        }
        story
    }

    /// True if the same job may succeed a little later, or on another querier.
    pub fn is_retryable(&self) -> bool {
        match self {
            JobError::Malformed(_) | JobError::Tenant(_) => false,
            JobError::Block(error) => error.is_retryable(),
            JobError::Recent(_) | JobError::DeadlineExceeded | JobError::Stopped => true,
        }
    }
}

/// One shard of a lookup by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) tenant: TenantId,
    pub(crate) trace_id: TraceId,
    pub(crate) with_recent: bool,
    /// `None`: no blocks.
    pub(crate) blocks: Option<BlockRange>,
}

/// Which blocks to look in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockRange {
    /// Both inclusive.
    pub(crate) first: BlockId,
    pub(crate) last: BlockId,
    /// 0: no bound.
    pub(crate) start_unix_secs: u64,
    pub(crate) end_unix_secs: u64,
}

impl Job {
    pub(crate) fn parse(message: &TraceByIdJob) -> Result<Job, JobError> {
        let TraceByIdJob { tenant, trace_id, mode, block_start, block_end, start_unix_secs, end_unix_secs } =
            message;
        let mode = TraceByIdMode::try_from(*mode).map_err(|_| JobError::Malformed("unknown mode"))?;
        let block = |bytes: &[u8]| {
            let bytes: [u8; 16] =
                bytes.try_into().map_err(|_| JobError::Malformed("a block id is not 16 bytes"))?;
            Ok::<_, JobError>(BlockId::from_bytes(bytes))
        };
        let range = BlockRange {
            first: block(block_start)?,
            last: block(block_end)?,
            start_unix_secs: *start_unix_secs,
            end_unix_secs: *end_unix_secs,
        };
        Ok(Job {
            tenant: TenantId::parse(tenant)?,
            trace_id: TraceId::from_slice(trace_id)
                .ok_or(JobError::Malformed("the trace id is not 16 bytes"))?,
            with_recent: matches!(mode, TraceByIdMode::All | TraceByIdMode::Ingesters),
            blocks: matches!(mode, TraceByIdMode::All | TraceByIdMode::Blocks).then_some(range),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(mode: TraceByIdMode) -> TraceByIdJob {
        TraceByIdJob {
            tenant: "a".to_owned(),
            trace_id: vec![1; 16].into(),
            mode: mode as i32,
            block_start: vec![0; 16].into(),
            block_end: vec![0xff; 16].into(),
            start_unix_secs: 5,
            end_unix_secs: 6,
        }
    }

    #[test]
    fn the_mode_chooses_the_sources() {
        let sources = |mode| {
            let job = Job::parse(&message(mode)).unwrap();
            (job.with_recent, job.blocks.is_some())
        };

        assert_eq!(sources(TraceByIdMode::All), (true, true));
        assert_eq!(sources(TraceByIdMode::Ingesters), (true, false));
        assert_eq!(sources(TraceByIdMode::Blocks), (false, true));
    }

    #[test]
    fn what_is_not_a_job_is_refused_and_not_worth_another_try() {
        let all = message(TraceByIdMode::All);
        let bad = [
            TraceByIdJob { tenant: "a/b".to_owned(), ..all.clone() },
            TraceByIdJob { trace_id: vec![1; 15].into(), ..all.clone() },
            TraceByIdJob { mode: 9, ..all.clone() },
            TraceByIdJob { block_start: vec![].into(), ..all.clone() },
            TraceByIdJob { block_end: vec![0; 17].into(), ..all },
        ];

        for message in bad {
            assert!(!Job::parse(&message).unwrap_err().is_retryable(), "{message:?}");
        }
    }
}
