//! Fetches a block's Parquet footer and page index.
//!
//! One read from the end brings the footer and, as every writer puts it right in front of it, mostly the page index
//! too; a second one brings what is missing of it. The footer's length is taken from the file's last eight bytes,
//! since Tempo's metas may say nothing about it.

use std::ops::Range;

use tempo_backend::keys;

use crate::{
    decode::{
        DecodeError, Section,
        footer::{Footer, MAGIC, MAX_FOOTER_BYTES, TAIL_BYTES},
        layout::Plan,
        page_index::{PageLocations, TraceIdBounds},
    },
    reader::{BlockReader, Inspected, ReadError, ranges::Wanted, sidecar::PLAN_BYTES},
};

/// Read in front of the footer, in the hope that the page index is there: 11 KB per row group at 92 leaves.
const PAGE_INDEX_GUESS_BYTES: u64 = 64 << 10;
/// Read when meta.json does not know the size of the footer.
const FOOTER_GUESS_BYTES: u64 = 64 << 10;
/// Gaps between the parts of a page index are small or nothing.
const PAGE_INDEX_MAX_GAP: u64 = 64 << 10;
const PAGE_INDEX_MAX_REQUESTS: usize = 4;

/// A block's footer with its page index, ready to find traces.
#[derive(Debug)]
pub(crate) struct CachedFooter {
    pub(crate) footer: Footer,
    pub(crate) plan: Plan,
    /// For each row group what its pages of trace ids hold, if the file says it.
    pub(crate) trace_ids: Vec<Option<TraceIdBounds>>,
}

impl CachedFooter {
    pub(crate) fn memory_bytes(&self) -> usize {
        let bounds = self.trace_ids.iter().flatten().map(TraceIdBounds::memory_bytes).sum::<usize>();
        self.footer.memory_bytes() + bounds + PLAN_BYTES
    }
}

impl BlockReader {
    pub(crate) async fn load_footer(&self, inspected: &Inspected) -> Result<CachedFooter, ReadError> {
        let size = self.meta.size;
        if size <= TAIL_BYTES {
            return Err(self.damaged(keys::META, format!("its data.parquet has {size} bytes")));
        }
        let footer_guess = match self.meta.footer_size {
            0 => FOOTER_GUESS_BYTES,
            known => u64::from(known),
        };
        let start = size.saturating_sub(TAIL_BYTES + footer_guess + PAGE_INDEX_GUESS_BYTES);
        let mut end = self.read_data(start..size, inspected).await?;
        let footer_range = footer_range(&end).map_err(|error| self.damaged_data(&error))?;
        if footer_range.start < end.offset {
            let start = footer_range.start.saturating_sub(PAGE_INDEX_GUESS_BYTES);
            end = self.read_data(start..size, inspected).await?;
        }
        let footer =
            end.part(&footer_range).ok_or_else(|| self.damaged(keys::DATA, "its footer is cut off"))?;
        let mut footer =
            Footer::parse(&footer.bytes, footer.offset).map_err(|error| self.damaged_data(&error))?;
        let plan = Plan::new(&self.meta.format, &self.meta.dedicated_columns, &footer.leaves)
            .map_err(|error| self.damaged(keys::DATA, error.to_string()))?;
        let trace_ids = self.load_page_index(&mut footer, &plan, &end, inspected).await?;
        Ok(CachedFooter { footer, plan, trace_ids })
    }

    /// Fills in the page locations of the planned leaves and returns the bounds of the trace ids.
    async fn load_page_index(
        &self,
        footer: &mut Footer,
        plan: &Plan,
        end: &Section,
        inspected: &Inspected,
    ) -> Result<Vec<Option<TraceIdBounds>>, ReadError> {
        let mut wanted = Wanted::new(PAGE_INDEX_MAX_GAP, PAGE_INDEX_MAX_REQUESTS);
        for range in index_ranges(footer, plan) {
            if end.part(&range).is_none() {
                wanted.push(range);
            }
        }
        let fetched = self.fetch(&wanted, inspected).await?;
        let part = |range: &Range<u64>| end.part(range).or_else(|| fetched.part(range));
        fill_page_index(footer, plan, part).map_err(|error| self.damaged_data(&error))
    }
}

/// Where the footer is, from the end of the file.
fn footer_range(end: &Section) -> Result<Range<u64>, DecodeError> {
    let file_end = end.range().end;
    let wrong = |problem| DecodeError::new(file_end.saturating_sub(TAIL_BYTES), problem);
    let Some((_, tail)) = end.bytes.split_last_chunk::<8>() else { return Err(wrong("file is too short")) };
    let (length, magic) = tail.split_at(4);
    if magic != MAGIC {
        return Err(wrong("file does not end with PAR1"));
    }
    let length = length.iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    let footer_end = file_end.saturating_sub(TAIL_BYTES);
    match footer_end.checked_sub(length) {
        Some(start) if length <= MAX_FOOTER_BYTES => Ok(start..footer_end),
        Some(_) | None => Err(wrong("length of the footer is out of range")),
    }
}

fn index_ranges(footer: &Footer, plan: &Plan) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    for group in &footer.row_groups {
        let chunks = plan.leaves.iter().filter_map(|planned| group.chunks.get(planned.file_index));
        ranges.extend(chunks.filter_map(|chunk| chunk.offset_index.clone()));
        let trace_ids = plan.leaves.get(plan.trace.trace_id).and_then(|p| group.chunks.get(p.file_index));
        ranges.extend(trace_ids.and_then(|chunk| chunk.column_index.clone()));
    }
    ranges
}

fn fill_page_index(
    footer: &mut Footer,
    plan: &Plan,
    part: impl Fn(&Range<u64>) -> Option<Section>,
) -> Result<Vec<Option<TraceIdBounds>>, DecodeError> {
    let missing = |range: &Range<u64>| DecodeError::new(range.start, "page index is cut off");
    let mut trace_ids = Vec::with_capacity(footer.row_groups.len());
    for group in &mut footer.row_groups {
        for planned in &plan.leaves {
            let Some(chunk) = group.chunks.get_mut(planned.file_index) else { continue };
            let Some(range) = &chunk.offset_index else { continue };
            let section = part(range).ok_or_else(|| missing(range))?;
            let pages = PageLocations::parse(&section.bytes, section.offset, &chunk.data);
            chunk.pages = Some(pages.map_err(|error| error.in_column(&planned.leaf.path))?);
        }
        let chunk = plan.leaves.get(plan.trace.trace_id).and_then(|p| group.chunks.get(p.file_index));
        let bounds = match chunk.and_then(|chunk| chunk.column_index.as_ref().zip(chunk.pages.as_ref())) {
            Some((range, pages)) => {
                let section = part(range).ok_or_else(|| missing(range))?;
                let bounds = TraceIdBounds::parse(&section.bytes, section.offset)?;
                (bounds.len() == pages.iter().len()).then_some(bounds)
            }
            None => None,
        };
        trace_ids.push(bounds);
    }
    Ok(trace_ids)
}
