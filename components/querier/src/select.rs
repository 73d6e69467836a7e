//! Which blocks of a tenant a job looks in: those of its id range whose time overlaps the query's.
//!
//! A block's times are those of Tempo's meta: start and end may be reversed, and a time that is missing (the year 1)
//! bounds nothing. Blocks that were compacted lately are looked in as well: another process may list them, but not
//! yet the block that has their traces now.

use std::sync::Arc;

use tempo_backend::{BlockMeta, TenantBlocks};

use crate::job::BlockRange;

/// A block to look in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) meta: Arc<BlockMeta>,
    /// It may be deleted any time; its traces are in another block too.
    pub(crate) is_compacted: bool,
}

/// The blocks to look in, by block id, the live ones first.
pub(crate) fn candidates(blocks: &TenantBlocks, range: &BlockRange) -> Vec<Candidate> {
    let chosen = |metas: &[Arc<BlockMeta>], is_compacted| {
        let from = metas.partition_point(|meta| meta.block_id < range.first);
        let to = metas.partition_point(|meta| meta.block_id <= range.last);
        let in_range = metas.get(from..to).unwrap_or_default().iter();
        let overlapping = in_range.filter(|meta| overlaps(meta, range));
        overlapping.map(|meta| Candidate { meta: Arc::clone(meta), is_compacted }).collect::<Vec<_>>()
    };
    let mut all = chosen(&blocks.live, false);
    all.append(&mut chosen(&blocks.recently_compacted, true));
    all
}

fn overlaps(meta: &BlockMeta, range: &BlockRange) -> bool {
    let (start, end) = (meta.start_time.as_second(), meta.end_time.as_second());
    let (Ok(start), Ok(end)) = (u64::try_from(start), u64::try_from(end)) else { return true };
    let is_after_start = range.start_unix_secs == 0 || start.max(end) >= range.start_unix_secs;
    let is_before_end = range.end_unix_secs == 0 || start.min(end) <= range.end_unix_secs;
    is_after_start && is_before_end
}

#[cfg(test)]
mod tests;
