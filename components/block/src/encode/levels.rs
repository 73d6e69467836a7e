//! Repetition and definition levels of one nesting level of a row group, shared by all its columns.
//!
//! A [`Stream`] lists the items of one repeated group (spans, events, a span's attributes, ...) with a placeholder for
//! each place where a list is empty. Every list adds one to both levels and nothing else does, as all groups are
//! required: an item of nesting level `n` has definition level `n`, a placeholder a smaller one. Columns that are
//! required in their group have exactly the stream's levels, so these are encoded once per page and copied.

use std::ops::Range;

use super::bits::{hybrid, put_run, width_of};

/// The items of one nesting level.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) rep: Vec<u8>,
    pub(super) def: Vec<u8>,
    /// Definition level of an item that is there; also the greatest repetition level.
    pub(super) full: u8,
    /// First entry of each page, and the number of entries.
    entries: Vec<usize>,
    /// Items before each page, and the number of items.
    items: Vec<usize>,
    /// Repetition and definition levels of each page, encoded; the last is the row group in one page.
    encoded_rep: Vec<Vec<u8>>,
    encoded_def: Vec<Vec<u8>>,
}

/// One page or the whole row group as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Page(usize),
    All,
}

impl Stream {
    /// A level of which every entry is an item: `starts` has the repetition level of each, `page_starts` the first
    /// entry of each page and their number.
    pub(super) fn dense(rep: Vec<u8>, full: u8, page_starts: Vec<usize>) -> Stream {
        let def = vec![full; rep.len()];
        Stream { items: page_starts.clone(), entries: page_starts, rep, def, full, ..Stream::default() }
            .encoded()
    }

    /// The lists in the items of `self`: `counts` has the length of each.
    pub(super) fn children(&self, counts: &[u32]) -> Stream {
        let full = self.full + 1;
        let mut child = Stream { full, ..Stream::default() };
        let total: usize = counts.iter().map(|&c| c.max(1) as usize).sum();
        child.rep.reserve(total);
        child.def.reserve(total);
        let mut counts = counts.iter();
        let mut items = 0;
        for page in 0..self.page_count() {
            child.entries.push(child.rep.len());
            child.items.push(items);
            let range = self.entries_of(Part::Page(page));
            for (&rep, &def) in self.rep[range.clone()].iter().zip(&self.def[range]) {
                child.rep.push(rep);
                if def < self.full {
                    child.def.push(def);
                    continue;
                }
                match counts.next().copied().unwrap_or(0) {
                    0 => child.def.push(def),
                    count => {
                        items += count as usize;
                        child.def.push(full);
                        for _ in 1..count {
                            child.rep.push(full);
                            child.def.push(full);
                        }
                    }
                }
            }
        }
        child.entries.push(child.rep.len());
        child.items.push(items);
        child.encoded()
    }

    fn encoded(mut self) -> Stream {
        let width = width_of(u32::from(self.full));
        for part in self.parts() {
            let range = self.entries_of(part);
            let (mut rep, mut def) = (Vec::new(), Vec::new());
            hybrid(&mut rep, &self.rep[range.clone()], width);
            hybrid(&mut def, &self.def[range], width);
            self.encoded_rep.push(rep);
            self.encoded_def.push(def);
        }
        self
    }

    pub(super) fn page_count(&self) -> usize {
        self.entries.len() - 1
    }

    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        (0..self.page_count()).map(Part::Page).chain([Part::All])
    }

    pub(super) fn entries_of(&self, part: Part) -> Range<usize> {
        match part {
            Part::Page(page) => self.entries[page]..self.entries[page + 1],
            Part::All => 0..self.rep.len(),
        }
    }

    /// First item of each page, and the number of items.
    pub(super) fn item_starts(&self) -> &[usize] {
        &self.items
    }

    /// The entries of each page.
    pub(super) fn pages(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.entries.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// Appends the repetition levels of a part, for a column whose greatest level is `max`.
    pub(super) fn put_rep(&self, out: &mut Vec<u8>, part: Part, max: u8) {
        let width = width_of(u32::from(max));
        put_sized(out, |out| {
            if width == width_of(u32::from(self.full)) {
                out.extend_from_slice(&self.encoded_rep[self.index_of(part)]);
            } else {
                hybrid(out, &self.rep[self.entries_of(part)], width);
            }
        });
    }

    /// Appends the definition levels of a part, for a column whose greatest level is `max`.
    pub(super) fn put_def(&self, out: &mut Vec<u8>, part: Part, max: u8) {
        let width = width_of(u32::from(max));
        put_sized(out, |out| {
            if width == width_of(u32::from(self.full)) {
                out.extend_from_slice(&self.encoded_def[self.index_of(part)]);
            } else {
                hybrid(out, &self.def[self.entries_of(part)], width);
            }
        });
    }

    fn index_of(&self, part: Part) -> usize {
        match part {
            Part::Page(page) => page,
            Part::All => self.page_count(),
        }
    }
}

/// Appends definition levels that are a column's own.
pub(super) fn put_own_def(out: &mut Vec<u8>, def: &[u8], max: u8) {
    put_sized(out, |out| match def.first() {
        Some(&first) if def.iter().all(|&d| d == first) => {
            put_run(out, def.len(), u32::from(first), width_of(u32::from(max)));
        }
        _ => hybrid(out, def, width_of(u32::from(max))),
    });
}

/// Levels in a page of version 1 are preceded by their size.
fn put_sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let size = u32::try_from(out.len() - start - 4).expect("levels of a page take less than 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages of a row each: the first trace has three spans, the second one.
    fn spans() -> Stream {
        Stream::dense(vec![0, 3, 2, 0], 3, vec![0, 3, 4])
    }

    #[test]
    fn empty_lists_leave_a_placeholder_with_their_parents_levels() {
        let events = spans().children(&[0, 2, 1, 0]);

        assert_eq!(events.rep, [0, 3, 4, 2, 0]);
        assert_eq!(events.def, [3, 4, 4, 4, 3]);
        assert_eq!(events.item_starts(), [0, 3, 3]);
        assert_eq!(events.entries_of(Part::Page(1)), 4..5);
    }

    #[test]
    fn lists_in_lists_keep_the_placeholders_of_both() {
        let attributes = spans().children(&[0, 2, 1, 0]).children(&[2, 0, 1]);

        assert_eq!(attributes.rep, [0, 3, 5, 4, 2, 0]);
        assert_eq!(attributes.def, [3, 5, 5, 4, 5, 3]);
        assert_eq!(attributes.item_starts(), [0, 3, 3]);
    }

    #[test]
    fn levels_are_encoded_in_the_width_of_the_columns_greatest_level() {
        let spans = spans();
        let (mut narrow, mut wide) = (Vec::new(), Vec::new());

        spans.put_def(&mut narrow, Part::All, 3);
        spans.put_def(&mut wide, Part::All, 4);

        assert_eq!(narrow, [2, 0, 0, 0, 4 << 1, 3]);
        assert_eq!(wide, [2, 0, 0, 0, 4 << 1, 3]);
    }
}
