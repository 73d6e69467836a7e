//! Which byte ranges to fetch: near ones are merged, so that one round trip of few requests brings all.

use std::ops::Range;

use crate::decode::Section;

/// Ranges of an object that are wanted, and how far they may be merged.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    ranges: Vec<Range<u64>>,
    /// Gaps up to this size are fetched along.
    max_gap: u64,
    /// More requests than this are merged across the smallest gaps.
    max_requests: usize,
}

impl Wanted {
    pub(crate) fn new(max_gap: u64, max_requests: usize) -> Wanted {
        Wanted { ranges: Vec::new(), max_gap, max_requests: max_requests.max(1) }
    }

    pub(crate) fn push(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.ranges.push(range);
        }
    }

    /// The ranges to request: ascending, disjoint, covering everything that is wanted.
    pub(crate) fn merged(&self) -> Vec<Range<u64>> {
        let mut ranges = self.ranges.clone();
        ranges.sort_by_key(|r| r.start);
        let merged = merge(&ranges, self.max_gap);
        if merged.len() <= self.max_requests {
            return merged;
        }
        let mut gaps: Vec<u64> = merged.windows(2).filter_map(gap).collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        // Of n ranges, n - 1 gaps; the widest of them stay.
        let widest_merged = gaps.get(self.max_requests - 1).copied().unwrap_or(u64::MAX);
        merge(&merged, widest_merged)
    }
}

fn gap(pair: &[Range<u64>]) -> Option<u64> {
    let [a, b] = pair else { return None };
    Some(b.start.saturating_sub(a.end))
}

/// Merges sorted ranges that are at most `max_gap` apart.
fn merge(ranges: &[Range<u64>], max_gap: u64) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(max_gap) => {
                last.end = last.end.max(range.end)
            }
            Some(_) | None => merged.push(range.clone()),
        }
    }
    merged
}

/// What was fetched.
#[derive(Debug)]
pub(crate) struct Fetched(Vec<Section>);

impl Fetched {
    pub(crate) fn new(sections: Vec<Section>) -> Fetched {
        debug_assert!(sections.is_sorted_by_key(|s| s.offset), "sections are in the order of the requests");
        Fetched(sections)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|s| s.bytes.len()).sum()
    }

    /// A range that was wanted.
    pub(crate) fn part(&self, range: &Range<u64>) -> Option<Section> {
        let after = self.0.partition_point(|s| s.offset <= range.start);
        self.0.get(after.checked_sub(1)?)?.part(range)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn wanted(max_gap: u64, max_requests: usize) -> Wanted {
        let mut wanted = Wanted::new(max_gap, max_requests);
        for range in [500..600, 0..10, 12..20, 100..110, 20..30, 7..7] {
            wanted.push(range);
        }
        wanted
    }

    #[test]
    fn near_ranges_are_merged() {
        assert_eq!(wanted(2, 10).merged(), [0..30, 100..110, 500..600]);
        assert_eq!(wanted(1, 10).merged(), [0..10, 12..30, 100..110, 500..600]);
    }

    #[test]
    fn too_many_requests_are_merged_across_the_smallest_gaps() {
        assert_eq!(wanted(0, 2).merged(), [0..110, 500..600]);
        assert_eq!(wanted(0, 1).merged().first(), Some(&(0..600)));
    }

    #[test]
    fn parts_come_from_the_section_that_has_them() {
        let section = |offset, len| Section { offset, bytes: Bytes::from(vec![0; len]) };
        let fetched = Fetched::new(vec![section(10, 10), section(100, 5)]);

        assert_eq!(fetched.part(&(12..20)).unwrap().range(), 12..20);
        assert_eq!(fetched.part(&(100..105)).unwrap().range(), 100..105);
        assert!([5..12, 12..21, 100..106, 3..4].iter().all(|r| fetched.part(r).is_none()));
    }
}
