//! The layout section of the trace index: where the pages of each row group are. Its bytes are specified in the parent.

use std::ops::Range;

use super::{TraceIndexError, damaged};

const HAS_DICTIONARY: u8 = 1 << 3;
const SINGLE_PAGE: u8 = 1 << 4;

/// Codec of all pages of a column chunk, by Parquet's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PageCodec {
    Uncompressed = 0,
    Snappy = 1,
    Zstd = 6,
}

impl PageCodec {
    fn from_number(number: u8) -> Option<PageCodec> {
        match number {
            0 => Some(PageCodec::Uncompressed),
            1 => Some(PageCodec::Snappy),
            6 => Some(PageCodec::Zstd),
            _ => None,
        }
    }
}

/// One row group of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowGroupLayout {
    /// Counted in the file.
    pub first_row: u64,
    pub rows: u64,
    pub bytes: Range<u64>,
    /// Rows of each page, the same for all leaves but those with a single page.
    pub page_rows: Vec<u64>,
    /// In schema order.
    pub leaves: Vec<LeafLayout>,
}

/// One column chunk: an optional dictionary page, then its data pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafLayout {
    pub codec: PageCodec,
    /// In the file, page header included.
    pub dictionary: Option<Range<u64>>,
    /// One entry for each entry of `page_rows`, or a single one for all rows.
    pub pages: Vec<PageLocation>,
}

/// One data page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLocation {
    /// In the file, page header included.
    pub bytes: Range<u64>,
    /// Counted in the row group.
    pub first_row: u64,
}

impl RowGroupLayout {
    /// True if the leaf certainly has no value in the row group: that is what a single page instead of many stands for.
    pub fn is_without_values(&self, leaf: &LeafLayout) -> bool {
        leaf.pages.len() == 1 && self.page_rows.len() > 1
    }
}

impl LeafLayout {
    /// The page that holds a row of the row group.
    pub fn page_of(&self, row: u64) -> Option<&PageLocation> {
        let after = self.pages.partition_point(|p| p.first_row <= row);
        self.pages.get(after.checked_sub(1)?)
    }
}

/// What precedes the leaves of a row group.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) rows: u64,
    pub(super) gap: u64,
    pub(super) page_rows: Vec<u64>,
}

/// Appends a row group and returns where it ends in the file; `previous_end` is where the one before ended.
pub(super) fn write(out: &mut Vec<u8>, row_group: &RowGroupLayout, previous_end: u64) -> u64 {
    let RowGroupLayout { first_row: _, rows, bytes, page_rows, leaves } = row_group;
    put_varint(out, *rows);
    put_varint(out, bytes.start - previous_end);
    put_varint(out, page_rows.len() as u64);
    page_rows.iter().for_each(|&rows| put_varint(out, rows));
    for LeafLayout { codec, dictionary, pages } in leaves {
        debug_assert!(pages.len() == 1 || pages.len() == page_rows.len(), "pages break at common rows");
        let is_single = pages.len() == 1 && page_rows.len() != 1;
        let dictionary_flag = if dictionary.is_some() { HAS_DICTIONARY } else { 0 };
        out.push(*codec as u8 | dictionary_flag | if is_single { SINGLE_PAGE } else { 0 });
        if let Some(range) = dictionary {
            put_varint(out, range.end - range.start);
        }
        pages.iter().for_each(|page| put_varint(out, page.bytes.end - page.bytes.start));
    }
    bytes.end
}

pub(super) fn read_head(cursor: &mut Cursor<'_>) -> Result<Head, TraceIndexError> {
    let rows = cursor.varint()?;
    let gap = cursor.varint()?;
    let pages = cursor.count()?;
    let mut page_rows = Vec::with_capacity(pages);
    for _ in 0..pages {
        page_rows.push(cursor.varint()?);
    }
    Ok(Head { rows, gap, page_rows })
}

/// Walks over the leaves and returns where the row group ends in the file.
pub(super) fn skip_leaves(
    cursor: &mut Cursor<'_>,
    pages: usize,
    start: u64,
    leaves: usize,
) -> Result<u64, TraceIndexError> {
    let mut end = start;
    for _ in 0..leaves {
        let head = cursor.byte()?;
        PageCodec::from_number(head & 7).ok_or_else(|| damaged("unknown codec"))?;
        let dictionaries = usize::from(head & HAS_DICTIONARY != 0);
        let data = if head & SINGLE_PAGE != 0 { 1 } else { pages };
        for _ in 0..dictionaries + data {
            end = end.checked_add(cursor.varint()?).ok_or_else(|| damaged("bytes of a page"))?;
        }
    }
    Ok(end)
}

/// Reads the leaves behind a head that was read from the same cursor.
pub(super) fn read_leaves(
    cursor: &mut Cursor<'_>,
    head: &Head,
    (first_row, start): (u64, u64),
    leaves: usize,
) -> Result<RowGroupLayout, TraceIndexError> {
    let mut position = start;
    let mut take = |cursor: &mut Cursor<'_>| {
        let begin = position;
        position = position.checked_add(cursor.varint()?).ok_or_else(|| damaged("bytes of a page"))?;
        Ok(begin..position)
    };
    let mut read = Vec::new();
    for _ in 0..leaves {
        let flags = cursor.byte()?;
        let codec = PageCodec::from_number(flags & 7).ok_or_else(|| damaged("unknown codec"))?;
        let dictionary = if flags & HAS_DICTIONARY != 0 { Some(take(cursor)?) } else { None };
        let mut pages = Vec::new();
        if flags & SINGLE_PAGE != 0 {
            pages.push(PageLocation { bytes: take(cursor)?, first_row: 0 });
        } else {
            let mut first_row = 0;
            for rows in &head.page_rows {
                pages.push(PageLocation { bytes: take(cursor)?, first_row });
                first_row += rows;
            }
        }
        read.push(LeafLayout { codec, dictionary, pages });
    }
    let bytes = start..position;
    Ok(RowGroupLayout { first_row, rows: head.rows, bytes, page_rows: head.page_rows.clone(), leaves: read })
}

/// Reads numbers and never past the end.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn byte(&mut self) -> Result<u8, TraceIndexError> {
        let byte = *self.bytes.get(self.position).ok_or_else(|| damaged("the layout is cut off"))?;
        self.position += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, TraceIndexError> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number is too long"))
    }

    /// A number of things that take at least a byte each, so that it may be allocated for.
    fn count(&mut self) -> Result<usize, TraceIndexError> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count > self.bytes.len() - self.position { Err(damaged("too many pages")) } else { Ok(count) }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
