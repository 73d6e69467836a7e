//! Takes one row out of one column chunk: finds its page, its entries in the page, and their values.

use std::ops::Range;

use super::{
    DecodeError, Section,
    footer::{Codec, Leaf},
    page::{DataPage, Page},
    values::{PageValues, Values},
};

/// Entries (values and nulls) one row may have in one column. A trace of 100,000 spans has a few millions.
const MAX_ROW_SLOTS: usize = 64 << 20;

/// Where a row of a column is: fetched bytes, and which row of them.
#[derive(Debug, Clone)]
pub(crate) struct ChunkRow {
    pub(crate) codec: Codec,
    pub(crate) dictionary: Option<Section>,
    /// One or more data pages; the row is in one of them.
    pub(crate) pages: Section,
    /// Counted from the first of those pages.
    pub(crate) row: u64,
}

/// One row of one column: a level pair for each entry, and the values of those that are not null.
#[derive(Debug, Clone)]
pub(crate) struct LeafRow {
    pub(crate) reps: Vec<u8>,
    pub(crate) defs: Vec<u8>,
    pub(crate) values: Values,
}

impl ChunkRow {
    pub(crate) fn decode(&self, leaf: &Leaf) -> Result<LeafRow, DecodeError> {
        let mut dictionary_page = match &self.dictionary {
            Some(section) => Some(Page::read(section, self.codec)?.0),
            None => None,
        };
        let mut rest = self.pages.clone();
        let mut row = self.row;
        while !rest.bytes.is_empty() {
            let (page, after) = Page::read(&rest, self.codec)?;
            rest = after;
            if page.is_dictionary() {
                dictionary_page = Some(page);
                continue;
            }
            if !page.is_data() {
                continue;
            }
            if let Some(rows) = page.rows()
                && row >= rows
            {
                row -= rows;
                continue;
            }
            let page = page.data(leaf.max_rep, leaf.max_def)?;
            match slots_of(&page, leaf, row)? {
                Found::Slots(slots) => return read_slots(&page, leaf, slots, dictionary_page.as_ref()),
                Found::PageHasOnly(rows) => row -= rows,
            }
        }
        Err(DecodeError::new(self.pages.offset, "row is not in the pages where it should be"))
    }

    /// The row of the first value equal to `wanted` in a column of required strings, counted from the first page.
    pub(crate) fn find_string(&self, leaf: &Leaf, wanted: &[u8]) -> Result<Option<u64>, DecodeError> {
        if leaf.max_rep != 0 || leaf.max_def != 0 {
            return Err(DecodeError::new(self.pages.offset, "trace ids are repeated or optional"));
        }
        let mut dictionary = match &self.dictionary {
            Some(section) => Some(Page::read(section, self.codec)?.0.dictionary()?),
            None => None,
        };
        let mut rest = self.pages.clone();
        let mut row = 0;
        while !rest.bytes.is_empty() {
            let (page, after) = Page::read(&rest, self.codec)?;
            rest = after;
            if page.is_dictionary() {
                dictionary = Some(page.dictionary()?);
                continue;
            }
            if !page.is_data() {
                continue;
            }
            let page = page.data(0, 0)?;
            let slots = page.slots();
            let values = page.values(slots)?.decode(leaf.physical, 0..slots, dictionary.as_ref())?;
            if let Values::Strings { buffer, ranges } = values {
                let text = |r: &Range<u32>| buffer.get(r.start as usize..r.end as usize);
                if let Some(at) = ranges.iter().position(|r| text(r) == Some(wanted)) {
                    return Ok(Some(row + at as u64));
                }
            }
            row += slots as u64;
        }
        Ok(None)
    }
}

enum Found {
    Slots(Range<usize>),
    /// The row is behind this page, which has as many rows.
    PageHasOnly(u64),
}

/// The entries of a row in a page.
fn slots_of(page: &DataPage, leaf: &Leaf, row: u64) -> Result<Found, DecodeError> {
    let slots = page.slots();
    if leaf.max_rep == 0 {
        return Ok(match usize::try_from(row) {
            Ok(row) if row < slots => Found::Slots(row..row + 1),
            Ok(_) | Err(_) => Found::PageHasOnly(slots as u64),
        });
    }
    let reps = page.rep(leaf.max_rep)?;
    if slots > 0 && reps.nth_zero(0)? != Some(0) {
        return Err(DecodeError::new(page.offset(), "page does not start with a row"));
    }
    let start = match usize::try_from(row) {
        Ok(row) => reps.nth_zero(row)?,
        Err(_) => None,
    };
    let Some(start) = start else {
        return Ok(Found::PageHasOnly(reps.count_equal(0, slots)? as u64));
    };
    // The row ends where the next one starts.
    let next = usize::try_from(row).ok().and_then(|row| row.checked_add(1));
    let end = match next {
        Some(next) => reps.nth_zero(next)?.unwrap_or(slots),
        None => slots,
    };
    Ok(Found::Slots(start..end))
}

fn read_slots(
    page: &DataPage,
    leaf: &Leaf,
    slots: Range<usize>,
    dictionary: Option<&Page>,
) -> Result<LeafRow, DecodeError> {
    if slots.len() > MAX_ROW_SLOTS {
        return Err(DecodeError::new(page.offset(), "row has more entries than this program reads"));
    }
    let reps = match leaf.max_rep {
        0 => vec![0; slots.len()],
        max => page.rep(max)?.levels(slots.start, slots.end, max)?,
    };
    let (defs, before, all) = match leaf.max_def {
        0 => (vec![0; slots.len()], slots.start, page.slots()),
        max => {
            let levels = page.def(max)?;
            let defs = levels.levels(slots.start, slots.end, max)?;
            (defs, levels.count_equal(u32::from(max), slots.start)?, usize::MAX)
        }
    };
    let count = defs.iter().filter(|def| **def == leaf.max_def).count();
    if count == 0 {
        return Ok(LeafRow { reps, defs, values: Values::None });
    }
    let all = match all {
        usize::MAX => page.def(leaf.max_def)?.count_equal(u32::from(leaf.max_def), page.slots())?,
        known => known,
    };
    let values = page.values(all)?;
    let dictionary = match dictionary {
        Some(page) if values.encoding == super::values::Encoding::Dictionary => Some(page.dictionary()?),
        Some(_) | None => None,
    };
    let values = decode_values(&values, leaf, before..before + count, dictionary.as_ref())?;
    Ok(LeafRow { reps, defs, values })
}

fn decode_values(
    values: &PageValues,
    leaf: &Leaf,
    wanted: Range<usize>,
    dictionary: Option<&PageValues>,
) -> Result<Values, DecodeError> {
    let count = wanted.len();
    let values = values.decode(leaf.physical, wanted, dictionary)?;
    debug_assert_eq!(values.len(), count, "decoders return what was wanted");
    Ok(values)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
