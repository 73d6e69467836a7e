//! Which segment files are still needed: per segment the blocks that have unreleased records in it.
//!
//! Segments go strictly oldest first (the crate's header says why), so the oldest block that is not released pins
//! everything behind it; [`Retention::oldest_block`] names it, for whoever can flush it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::PathBuf,
};

use tempo_model::BlockId;

#[derive(Debug)]
pub(crate) struct RetainedSegment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Unreleased blocks and the offset of their first record here.
    pub(crate) blocks: HashMap<BlockId, u64>,
    pub(crate) has_data: bool,
    /// Set aside instead of deleted.
    pub(crate) is_damaged: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// Oldest first.
    segments: VecDeque<RetainedSegment>,
}

impl Retention {
    pub(crate) fn new(segments: Vec<RetainedSegment>) -> Retention {
        Retention { segments: segments.into() }
    }

    pub(crate) fn add_segment(&mut self, number: u64, path: PathBuf, bytes: u64) {
        self.segments.push_back(RetainedSegment {
            number,
            path,
            bytes,
            blocks: HashMap::new(),
            has_data: false,
            is_damaged: false,
        });
    }

    /// A data record of this block became durable in the newest segment.
    pub(crate) fn appended(&mut self, block: BlockId, offset: u64) {
        if let Some(segment) = self.segments.back_mut() {
            segment.blocks.entry(block).or_insert(offset);
            segment.has_data = true;
        }
    }

    /// The newest segment has this many bytes now.
    pub(crate) fn set_newest_bytes(&mut self, bytes: u64) {
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = bytes;
        }
    }

    /// Forgets the newest segment, in which nothing was acknowledged.
    pub(crate) fn drop_newest(&mut self, number: u64) {
        if self.segments.back().is_some_and(|segment| segment.number == number) {
            self.segments.pop_back();
        }
    }

    pub(crate) fn release(&mut self, block: BlockId) {
        for segment in &mut self.segments {
            segment.blocks.remove(&block);
        }
    }

    /// Forgets blocks of segments up to `last` that replay could not deliver a single record of: nobody will ever
    /// release them. Their segments are damaged and will be set aside.
    pub(crate) fn forget_undelivered(&mut self, last: u64, delivered: &HashSet<BlockId>) {
        for segment in self.segments.iter_mut().filter(|segment| segment.number <= last) {
            segment.blocks.retain(|block, _| delivered.contains(block));
        }
    }

    pub(crate) fn mark_damaged(&mut self, number: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            segment.is_damaged = true;
        }
    }

    /// Whether the segment still has unreleased records of the block.
    pub(crate) fn is_live(&self, number: u64, block: BlockId) -> bool {
        self.find(number).is_some_and(|segment| segment.blocks.contains_key(&block))
    }

    pub(crate) fn has_live_blocks(&self, number: u64) -> bool {
        self.find(number).is_some_and(|segment| !segment.blocks.is_empty())
    }

    pub(crate) fn oldest_block(&self) -> Option<BlockId> {
        let segment = self.segments.iter().find(|segment| !segment.blocks.is_empty())?;
        segment.blocks.iter().min_by_key(|(_, offset)| **offset).map(|(block, _)| *block)
    }

    /// All blocks that pin the oldest segment of which anything is needed.
    pub(crate) fn oldest_blocks(&self) -> Vec<BlockId> {
        let segment = self.segments.iter().find(|segment| !segment.blocks.is_empty());
        segment.map(|segment| segment.blocks.keys().copied().collect()).unwrap_or_default()
    }

    /// Every block of which anything is needed.
    pub(crate) fn unreleased_blocks(&self) -> HashSet<BlockId> {
        self.segments.iter().flat_map(|segment| segment.blocks.keys().copied()).collect()
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether nothing that was ever appended is needed any more, and the newest segment has something to give back.
    pub(crate) fn is_all_released(&self) -> bool {
        self.segments.iter().all(|segment| segment.blocks.is_empty())
            && self.segments.back().is_some_and(|segment| segment.has_data)
    }

    /// Takes the oldest segments that nobody needs, all below `active`.
    pub(crate) fn take_released(&mut self, active: u64) -> Vec<RetainedSegment> {
        let is_released = |segment: &&RetainedSegment| segment.blocks.is_empty() && segment.number < active;
        let count = self.segments.iter().take_while(is_released).count();
        self.segments.drain(..count).collect()
    }

    /// The number of the oldest segment below `active` that would stay, or `active`, if any below would go.
    pub(crate) fn oldest_needed(&self, active: u64) -> Option<u64> {
        let first = self.segments.front()?;
        let needed = self
            .segments
            .iter()
            .find(|segment| !segment.blocks.is_empty())
            .map_or(active, |segment| segment.number);
        let needed = needed.min(active);
        (first.number < needed).then_some(needed)
    }

    fn find(&self, number: u64) -> Option<&RetainedSegment> {
        self.segments.iter().find(|segment| segment.number == number)
    }
}

#[cfg(test)]
mod tests;
