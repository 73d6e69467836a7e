//! Takes one row out of one column chunk: finds its page, its entries in the page, and their values.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    DecodeError, Section,
    footer::{Codec, Leaf},
    levels::{Row, Slice, level_width},
    page::{DataPage, Inflater, Page},
    values::{Dictionary, Encoding, PageValues, Values},
};

/// Entries (values and nulls) one row may have in one column. A trace of 100,000 spans has a few millions.
const MAX_ROW_SLOTS: usize = 64 << 20;

/// Where a row of a column is: fetched bytes, and which row of them.
#[derive(Debug, Clone)]
pub(crate) struct ChunkRow {
    pub(crate) codec: Codec,
    pub(crate) dictionary: Option<DictionaryPage>,
    /// One or more data pages; the row is in one of them.
    pub(crate) pages: Section,
    /// Counted from the first of those pages.
    pub(crate) row: u64,
}

/// The dictionary of a column chunk.
#[derive(Debug, Clone)]
pub(crate) enum DictionaryPage {
    Fetched(Section),
    /// Decompressed for a row before this one.
    Known(Arc<Dictionary>),
}

/// One row of one column: a level pair for each entry, and the values of those that are not null.
#[derive(Debug, Clone)]
pub(crate) struct LeafRow {
    pub(crate) reps: Arc<[u8]>,
    pub(crate) defs: Arc<[u8]>,
    pub(crate) values: Values,
}

impl LeafRow {
    /// The row of a column without any value, given the row of the driver of its group: each entry of the driver is a
    /// null of the column, and where the driver has no entry of its own, the column has none either.
    pub(crate) fn without_values(driver: &LeafRow) -> LeafRow {
        let LeafRow { reps, defs, values: _ } = driver;
        LeafRow { reps: Arc::clone(reps), defs: Arc::clone(defs), values: Values::None }
    }
}

/// What the columns of a row share while they are decoded.
#[derive(Default)]
pub(crate) struct Scratch {
    inflater: Inflater,
    known: Vec<KnownSlots>,
    known_defs: Vec<KnownDefs>,
    /// The dictionary that the last column needed, if it was not known before.
    opened: Option<Arc<Dictionary>>,
}

impl Scratch {
    pub(crate) fn take_opened(&mut self) -> Option<Arc<Dictionary>> {
        self.opened.take()
    }
}

/// Where a row is among the entries of a page. Most columns of a group have the same repetition levels, byte for
/// byte, and comparing them is much cheaper than searching them.
struct KnownSlots {
    encoded: Bytes,
    width: u8,
    row: usize,
    /// Entries of the page.
    all: usize,
    slots: RowSlots,
}

/// The entries of a row in a page, and their repetition levels.
#[derive(Debug, Clone)]
struct RowSlots {
    range: Range<usize>,
    reps: Arc<[u8]>,
    greatest: u8,
}

/// The same for definition levels.
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
    defs: Arc<[u8]>,
    values_before: usize,
    values_in_page: usize,
}

impl ChunkRow {
    pub(crate) fn decode(&self, leaf: &Leaf, scratch: &mut Scratch) -> Result<LeafRow, DecodeError> {
        scratch.opened = None;
        let mut dictionary = self.dictionary()?;
        let mut rest = self.pages.clone();
        let mut row = self.row;
        while !rest.bytes.is_empty() {
            let (page, after) = Page::read(&rest, self.codec)?;
            rest = after;
            if page.is_dictionary() {
                dictionary = Some(Source::Page(page));
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
                    return read_slots((&page, dictionary.as_ref()), leaf, slots, scratch);
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
        let mut dictionary = match self.dictionary()? {
            Some(source) => Some(source.open(leaf, inflater)?),
            None => None,
        };
        let mut rest = self.pages.clone();
        let mut row = 0;
        while !rest.bytes.is_empty() {
            let (page, after) = Page::read(&rest, self.codec)?;
            rest = after;
            if page.is_dictionary() {
                dictionary = Some(Source::Page(page).open(leaf, inflater)?);
                continue;
            }
            if !page.is_data() {
                continue;
            }
            let page = page.data(0, 0, inflater)?;
            let slots = page.slots();
            let values =
                page.values(slots, inflater)?.decode(leaf.physical, 0..slots, dictionary.as_deref())?;
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

    fn dictionary(&self) -> Result<Option<Source>, DecodeError> {
        Ok(match &self.dictionary {
            Some(DictionaryPage::Fetched(section)) => Some(Source::Page(Page::read(section, self.codec)?.0)),
            Some(DictionaryPage::Known(dictionary)) => Some(Source::Known(Arc::clone(dictionary))),
            None => None,
        })
    }
}

/// A dictionary that may have to be decompressed yet.
enum Source {
    Page(Page),
    Known(Arc<Dictionary>),
}

impl Source {
    fn open(&self, leaf: &Leaf, inflater: &mut Inflater) -> Result<Arc<Dictionary>, DecodeError> {
        match self {
            Source::Page(page) => Ok(Arc::new(Dictionary::new(page.dictionary(inflater)?, leaf.physical))),
            Source::Known(dictionary) => Ok(Arc::clone(dictionary)),
        }
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
    let all = page.slots();
    let row = usize::try_from(row).unwrap_or(usize::MAX);
    if leaf.max_rep == 0 {
        return Ok(if row < all {
            Found::Slots(RowSlots { range: row..row + 1, reps: [0].into(), greatest: 0 })
        } else {
            Found::PageHasOnly(all as u64)
        });
    }
    let (encoded, width) = (page.rep_bytes(), level_width(leaf.max_rep));
    let is_same = |k: &&KnownSlots| k.row == row && k.all == all && k.width == width && k.encoded == *encoded;
    let slots = match known.iter().rev().find(is_same) {
        Some(known) => known.slots.clone(),
        None => {
            let levels = page.rep(leaf.max_rep)?;
            if !levels.starts_with_zero()? {
                return Err(DecodeError::new(page.offset(), "page does not start with a row"));
            }
            let range = match levels.row(row)? {
                Row::Entries(range) => range,
                Row::Behind { rows } => return Ok(Found::PageHasOnly(rows as u64)),
            };
            if range.len() > MAX_ROW_SLOTS {
                return Err(DecodeError::new(page.offset(), "row has more entries than this program reads"));
            }
            let reps = levels.levels(range.start, range.end, leaf.max_rep)?;
            let greatest = reps.iter().copied().max().unwrap_or(0);
            let slots = RowSlots { range, reps: reps.into(), greatest };
            let encoded = encoded.clone();
            known.push(KnownSlots { encoded, width, row, all, slots: slots.clone() });
            slots
        }
    };
    if slots.greatest > leaf.max_rep {
        return Err(DecodeError::new(page.offset(), "level above the schema's greatest"));
    }
    Ok(Found::Slots(slots))
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
        let defs = vec![0; range.len()].into();
        return Ok(RowDefs { defs, values_before: range.start, values_in_page: all });
    }
    let encoded = page.def_bytes();
    let is_same = |k: &&KnownDefs| k.range == *range && k.all == all && k.max == max && k.encoded == *encoded;
    if let Some(known) = known.iter().rev().find(is_same) {
        return Ok(known.defs.clone());
    }
    let Slice { levels, before, all: in_page } = page.def(max)?.slice(range, max)?;
    let defs = RowDefs { defs: levels.into(), values_before: before, values_in_page: in_page };
    known.push(KnownDefs { encoded: encoded.clone(), max, all, range: range.clone(), defs: defs.clone() });
    Ok(defs)
}

fn read_slots(
    (page, dictionary): (&DataPage, Option<&Source>),
    leaf: &Leaf,
    slots: RowSlots,
    scratch: &mut Scratch,
) -> Result<LeafRow, DecodeError> {
    let RowSlots { range, reps, greatest: _ } = slots;
    let RowDefs { defs, values_before, values_in_page } =
        defs_of(page, leaf, &range, &mut scratch.known_defs)?;
    let count = defs.iter().filter(|def| **def == leaf.max_def).count();
    if count == 0 {
        return Ok(LeafRow { reps, defs, values: Values::None });
    }
    let inflater = &mut scratch.inflater;
    let values = page.values(values_in_page, inflater)?;
    let dictionary = match dictionary {
        Some(source) if values.encoding == Encoding::Dictionary => {
            let dictionary = source.open(leaf, inflater)?;
            if let Source::Page(_) = source {
                scratch.opened = Some(Arc::clone(&dictionary));
            }
            Some(dictionary)
        }
        Some(_) | None => None,
    };
    let values = decode_values(&values, leaf, values_before..values_before + count, dictionary.as_deref())?;
    Ok(LeafRow { reps, defs, values })
}

fn decode_values(
    values: &PageValues,
    leaf: &Leaf,
    wanted: Range<usize>,
    dictionary: Option<&Dictionary>,
) -> Result<Values, DecodeError> {
    let count = wanted.len();
    let values = values.decode(leaf.physical, wanted, dictionary)?;
    debug_assert_eq!(values.len(), count, "decoders return what was wanted");
    Ok(values)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
