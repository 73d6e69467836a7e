//! Takes one row out of one column chunk: finds its page, its entries in the page, and their values.

use std::ops::Range;

use bytes::Bytes;

use super::{
    DecodeError, Section,
    footer::{Codec, Leaf},
    page::{DataPage, Inflater, Page},
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

/// What the columns of a row share while they are decoded.
#[derive(Default)]
pub(crate) struct Scratch {
    inflater: Inflater,
    known: Vec<KnownSlots>,
    known_defs: Vec<KnownDefs>,
}

/// Where a row is among the entries of a page. Most columns of a group have the same repetition levels, byte for
/// byte, and comparing them is much cheaper than searching them.
struct KnownSlots {
    encoded: Bytes,
    max: u8,
    row: u64,
    /// Entries of the page.
    all: usize,
    slots: RowSlots,
}

/// The entries of a row in a page, and their repetition levels.
#[derive(Debug, Clone)]
struct RowSlots {
    range: Range<usize>,
    reps: Vec<u8>,
}

/// The same for definition levels: all columns of a group that are empty have the same ones, for example.
struct KnownDefs {
    encoded: Bytes,
    max: u8,
    all: usize,
    range: Range<usize>,
    defs: RowDefs,
}

/// The definition levels of a row's entries, and how many values lie in front of the row and in the whole page.
#[derive(Debug, Clone)]
struct RowDefs {
    defs: Vec<u8>,
    values_before: usize,
    values_in_page: usize,
}

impl ChunkRow {
    pub(crate) fn decode(&self, leaf: &Leaf, scratch: &mut Scratch) -> Result<LeafRow, DecodeError> {
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
            let page = page.data(leaf.max_rep, leaf.max_def, &mut scratch.inflater)?;
            match slots_of(&page, leaf, row, &mut scratch.known)? {
                Found::Slots(slots) => {
                    return read_slots((&page, dictionary_page.as_ref()), leaf, slots, scratch);
                }
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
        let inflater = &mut Inflater::default();
        let mut dictionary = match &self.dictionary {
            Some(section) => Some(Page::read(section, self.codec)?.0.dictionary(inflater)?),
            None => None,
        };
        let mut rest = self.pages.clone();
        let mut row = 0;
        while !rest.bytes.is_empty() {
            let (page, after) = Page::read(&rest, self.codec)?;
            rest = after;
            if page.is_dictionary() {
                dictionary = Some(page.dictionary(inflater)?);
                continue;
            }
            if !page.is_data() {
                continue;
            }
            let page = page.data(0, 0, inflater)?;
            let slots = page.slots();
            let values =
                page.values(slots, inflater)?.decode(leaf.physical, 0..slots, dictionary.as_ref())?;
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
    Slots(RowSlots),
    /// The row is behind this page, which has as many rows.
    PageHasOnly(u64),
}

/// The entries of a row in a page.
fn slots_of(
    page: &DataPage,
    leaf: &Leaf,
    row: u64,
    known: &mut Vec<KnownSlots>,
) -> Result<Found, DecodeError> {
    let slots = page.slots();
    if leaf.max_rep == 0 {
        return Ok(match usize::try_from(row) {
            Ok(row) if row < slots => Found::Slots(RowSlots { range: row..row + 1, reps: vec![0] }),
            Ok(_) | Err(_) => Found::PageHasOnly(slots as u64),
        });
    }
    let encoded = page.rep_bytes();
    let is_same =
        |k: &&KnownSlots| k.row == row && k.all == slots && k.max == leaf.max_rep && k.encoded == *encoded;
    if let Some(known) = known.iter().rev().find(is_same) {
        return Ok(Found::Slots(known.slots.clone()));
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
    if end - start > MAX_ROW_SLOTS {
        return Err(DecodeError::new(page.offset(), "row has more entries than this program reads"));
    }
    let found = RowSlots { range: start..end, reps: reps.levels(start, end, leaf.max_rep)? };
    let encoded = encoded.clone();
    known.push(KnownSlots { encoded, max: leaf.max_rep, row, all: slots, slots: found.clone() });
    Ok(Found::Slots(found))
}

/// The definition levels of a row's entries.
fn defs_of(
    page: &DataPage,
    leaf: &Leaf,
    range: &Range<usize>,
    known: &mut Vec<KnownDefs>,
) -> Result<RowDefs, DecodeError> {
    let (max, all) = (leaf.max_def, page.slots());
    if max == 0 {
        let defs = vec![0; range.len()];
        return Ok(RowDefs { defs, values_before: range.start, values_in_page: all });
    }
    let encoded = page.def_bytes();
    let is_same = |k: &&KnownDefs| k.range == *range && k.all == all && k.max == max && k.encoded == *encoded;
    if let Some(known) = known.iter().rev().find(is_same) {
        return Ok(known.defs.clone());
    }
    let levels = page.def(max)?;
    let defs = RowDefs {
        defs: levels.levels(range.start, range.end, max)?,
        values_before: levels.count_equal(u32::from(max), range.start)?,
        values_in_page: levels.count_equal(u32::from(max), all)?,
    };
    known.push(KnownDefs { encoded: encoded.clone(), max, all, range: range.clone(), defs: defs.clone() });
    Ok(defs)
}

fn read_slots(
    (page, dictionary): (&DataPage, Option<&Page>),
    leaf: &Leaf,
    slots: RowSlots,
    scratch: &mut Scratch,
) -> Result<LeafRow, DecodeError> {
    let RowSlots { range, reps } = slots;
    let RowDefs { defs, values_before, values_in_page } =
        defs_of(page, leaf, &range, &mut scratch.known_defs)?;
    let count = defs.iter().filter(|def| **def == leaf.max_def).count();
    if count == 0 {
        return Ok(LeafRow { reps, defs, values: Values::None });
    }
    let inflater = &mut scratch.inflater;
    let values = page.values(values_in_page, inflater)?;
    let dictionary = match dictionary {
        Some(page) if values.encoding == super::values::Encoding::Dictionary => {
            Some(page.dictionary(inflater)?)
        }
        Some(_) | None => None,
    };
    let values = decode_values(&values, leaf, values_before..values_before + count, dictionary.as_ref())?;
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
