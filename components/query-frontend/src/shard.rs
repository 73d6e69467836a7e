//! Cutting one lookup into jobs: recent data, and ranges of the block id space.
//!
//! Block ids are random, so equal ranges hold about equally many blocks. How many ranges: one per
//! [`BLOCKS_PER_SHARD`] blocks that the tenant has, so that a small installation pays for one job and a large one
//! uses all its queriers; `query_shards` is the most. There is always one range, however empty the blocklist looks:
//! the querier's view may be newer.
//!
//! Invariant: the ranges cover the whole space, and no block id is in two.

use bytes::Bytes;
use tempo_model::{TenantId, TraceId};
use tempo_proto::frontend::{TraceByIdJob, TraceByIdMode};

use crate::find_trace::{Mode, TraceQuery};

/// As in Tempo.
const BLOCKS_PER_SHARD: usize = 30;

/// The jobs of one lookup for one tenant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Jobs {
    pub(crate) recent: Option<TraceByIdJob>,
    pub(crate) blocks: Vec<TraceByIdJob>,
}

/// `block_count` is about how many blocks the tenant has, `query_shards` the most jobs to make.
pub(crate) fn jobs(query: &TraceQuery, tenant: &TenantId, block_count: usize, query_shards: u32) -> Jobs {
    let (with_recent, with_blocks) = match query.mode {
        Mode::All => (true, true),
        Mode::Ingesters => (true, false),
        Mode::Blocks => (false, true),
        // There is no external source to ask.
        Mode::External => (false, false),
    };
    let recent = with_recent.then(|| job(query, tenant, TraceByIdMode::Ingesters, (0, u128::MAX)));
    let blocks = if with_blocks {
        // One of the shards is the recent one.
        let most = usize::try_from(query_shards).unwrap_or(usize::MAX).saturating_sub(1).max(1);
        let count = block_count.div_ceil(BLOCKS_PER_SHARD).clamp(1, most);
        ranges(count).map(|range| job(query, tenant, TraceByIdMode::Blocks, range)).collect()
    } else {
        Vec::new()
    };
    Jobs { recent, blocks }
}

/// Cuts the space of 128-bit ids into `count` inclusive ranges.
fn ranges(count: usize) -> impl Iterator<Item = (u128, u128)> {
    let count = count.max(1) as u128;
    let width = u128::MAX / count;
    (0..count).map(move |shard| {
        let start = shard * width;
        let end = if shard + 1 == count { u128::MAX } else { start + width - 1 };
        (start, end)
    })
}

fn job(
    query: &TraceQuery,
    tenant: &TenantId,
    mode: TraceByIdMode,
    (start, end): (u128, u128),
) -> TraceByIdJob {
    let TraceQuery { trace_id, mode: _, start_unix_secs, end_unix_secs } = query;
    TraceByIdJob {
        tenant: tenant.to_string(),
        trace_id: id_bytes(trace_id),
        mode: mode as i32,
        block_start: Bytes::copy_from_slice(&start.to_be_bytes()),
        block_end: Bytes::copy_from_slice(&end.to_be_bytes()),
        start_unix_secs: *start_unix_secs,
        end_unix_secs: *end_unix_secs,
    }
}

fn id_bytes(id: &TraceId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(mode: Mode) -> TraceQuery {
        TraceQuery { trace_id: TraceId::from_bytes([7; 16]), mode, start_unix_secs: 10, end_unix_secs: 20 }
    }

    fn shape(mode: Mode, block_count: usize, query_shards: u32) -> (bool, usize) {
        let jobs = jobs(&query(mode), &TenantId::single(), block_count, query_shards);
        (jobs.recent.is_some(), jobs.blocks.len())
    }

    #[test]
    fn the_number_of_jobs_follows_the_number_of_blocks_up_to_the_limit() {
        assert_eq!(shape(Mode::All, 0, 50), (true, 1));
        assert_eq!(shape(Mode::All, 30, 50), (true, 1));
        assert_eq!(shape(Mode::All, 31, 50), (true, 2));
        assert_eq!(shape(Mode::All, 1_000_000, 50), (true, 49));
        assert_eq!(shape(Mode::All, 1_000_000, 0), (true, 1));
    }

    #[test]
    fn the_mode_chooses_the_sources() {
        assert_eq!(shape(Mode::Ingesters, 100, 50), (true, 0));
        assert_eq!(shape(Mode::Blocks, 100, 50), (false, 4));
        assert_eq!(shape(Mode::External, 100, 50), (false, 0));
    }

    #[test]
    fn a_job_carries_the_query() {
        let jobs = jobs(&query(Mode::Blocks), &TenantId::single(), 0, 50);

        let want = TraceByIdJob {
            tenant: "single-tenant".to_owned(),
            trace_id: Bytes::from_static(&[7; 16]),
            mode: TraceByIdMode::Blocks as i32,
            block_start: Bytes::from_static(&[0; 16]),
            block_end: Bytes::from_static(&[0xff; 16]),
            start_unix_secs: 10,
            end_unix_secs: 20,
        };
        assert_eq!(jobs, Jobs { recent: None, blocks: vec![want] });
    }

    proptest! {
        #[test]
        fn ranges_cover_everything_once(count in 1usize..300) {
            let all: Vec<(u128, u128)> = ranges(count).collect();

            prop_assert_eq!(all.len(), count);
            prop_assert_eq!(all[0].0, 0);
            prop_assert_eq!(all[count - 1].1, u128::MAX);
            for pair in all.windows(2) {
                prop_assert_eq!(pair[0].1 + 1, pair[1].0);
            }
        }
    }
}
