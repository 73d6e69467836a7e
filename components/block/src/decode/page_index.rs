//! Reads Parquet's page index: where the pages of a column chunk lie (offset index) and between which values theirs
//! are (column index, used for trace ids only).

use std::ops::Range;

use tempo_model::TraceId;

use super::{
    DecodeError,
    thrift::{Fields, Kind, Reader},
};

/// A data page's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLocation {
    pub(crate) offset: u64,
    /// With its header.
    pub(crate) size: u32,
    /// Its first row, counted from the start of the row group.
    pub(crate) first_row: u64,
}

impl PageLocation {
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(u64::from(self.size))
    }
}

/// The data pages of a column chunk, in order of their rows; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageLocations(Vec<PageLocation>);

impl PageLocations {
    /// Parses an offset index; pages must lie inside `data`, the chunk's data pages, and ascend.
    pub(crate) fn parse(bytes: &[u8], offset: u64, data: &Range<u64>) -> Result<PageLocations, DecodeError> {
        let mut reader = Reader::new(bytes, offset);
        let mut fields = Fields::default();
        let mut pages = Vec::new();
        while let Some(field) = fields.next(&mut reader)? {
            match field.id {
                1 => {
                    let len = reader.list(field, Kind::Struct)?;
                    for _ in 0..len {
                        pages.push(page_location(&mut reader)?);
                    }
                }
                _ => reader.skip(field)?,
            }
        }
        let inside = pages.iter().all(|p| p.offset >= data.start && p.range().end <= data.end);
        let ascending = pages.is_sorted_by(|a, b| a.first_row < b.first_row && a.range().end <= b.offset);
        match pages.first() {
            Some(first) if first.first_row == 0 && inside && ascending => Ok(PageLocations(pages)),
            Some(_) | None => Err(DecodeError::new(offset, "offset index does not fit its column chunk")),
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &PageLocation> {
        self.0.iter()
    }

    /// The page that has this row of the row group.
    pub(crate) fn page_of(&self, row: u64) -> Option<&PageLocation> {
        let after = self.0.partition_point(|p| p.first_row <= row);
        self.0.get(after.checked_sub(1)?)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<PageLocation>()
    }
}

fn page_location(reader: &mut Reader<'_>) -> Result<PageLocation, DecodeError> {
    let mut fields = Fields::default();
    let mut page = PageLocation { offset: 0, size: 0, first_row: 0 };
    while let Some(field) = fields.next(reader)? {
        match field.id {
            1 => page.offset = reader.u64(field)?,
            2 => page.size = reader.u32(field)?,
            3 => page.first_row = reader.u64(field)?,
            _ => reader.skip(field)?,
        }
    }
    if page.size == 0 { Err(reader.error("page location without a page")) } else { Ok(page) }
}

/// Least and greatest trace id of each page of a trace id column. Bounds may have been cut to fewer bytes, which
/// makes the greatest one be rounded up.
#[derive(Debug, Clone)]
pub(crate) struct TraceIdBounds(Vec<(TraceId, TraceId)>);

impl TraceIdBounds {
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Result<TraceIdBounds, DecodeError> {
        let mut reader = Reader::new(bytes, offset);
        let mut fields = Fields::default();
        let (mut least, mut greatest) = (Vec::new(), Vec::new());
        while let Some(field) = fields.next(&mut reader)? {
            let (list, fill) = match field.id {
                2 => (&mut least, 0x00),
                3 => (&mut greatest, 0xff),
                _ => {
                    reader.skip(field)?;
                    continue;
                }
            };
            let len = reader.list(field, Kind::Binary)?;
            for _ in 0..len {
                list.push(bound(reader.binary_element()?, fill));
            }
        }
        if least.len() != greatest.len() {
            return Err(DecodeError::new(offset, "column index has unequal lists"));
        }
        Ok(TraceIdBounds(least.into_iter().zip(greatest).collect()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Numbers of the pages that may have this trace.
    pub(crate) fn pages_with(&self, id: TraceId) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .enumerate()
            .filter(move |(_, (least, greatest))| *least <= id && id <= *greatest)
            .map(|(n, _)| n)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(TraceId, TraceId)>()
    }
}

/// Pads a bound that was cut, so that it stays a bound.
fn bound(bytes: &[u8], fill: u8) -> TraceId {
    let mut id = [fill; 16];
    for (to, from) in id.iter_mut().zip(bytes) {
        *to = *from;
    }
    TraceId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages: offset 100, 50 bytes, row 0; offset 150, 30 bytes, row 7.
    const TWO_PAGES: [u8; 18] = [
        0x19, 0x2c, 0x16, 0xc8, 0x01, 0x15, 0x64, 0x16, 0x00, 0x00, 0x16, 0xac, 0x02, 0x15, 0x3c, 0x16, 0x0e,
        0x00,
    ];

    fn two_pages() -> Vec<u8> {
        let mut bytes = TWO_PAGES.to_vec();
        bytes.push(0);
        bytes
    }

    #[test]
    fn a_row_is_looked_up_in_the_page_that_starts_at_or_before_it() {
        let pages = PageLocations::parse(&two_pages(), 0, &(100..180)).unwrap();

        let of = |row| pages.page_of(row).unwrap().offset;

        assert_eq!((of(0), of(6), of(7), of(1000)), (100, 100, 150, 150));
    }

    #[test]
    fn pages_outside_of_their_chunk_are_refused() {
        for data in [100..179, 101..180] {
            assert!(PageLocations::parse(&two_pages(), 0, &data).is_err());
        }
    }

    #[test]
    fn cut_bounds_still_contain_what_they_bounded() {
        // min_values ["\x01"], max_values ["\x02"]
        let bytes = [0x29, 0x18, 0x01, 0x01, 0x19, 0x18, 0x01, 0x02, 0x00];
        let bounds = TraceIdBounds::parse(&bytes, 0).unwrap();

        let has = |first: u8| bounds.pages_with(TraceId::from_bytes([first; 16])).count() == 1;

        assert_eq!([has(0), has(1), has(2), has(3)], [false, true, true, false]);
    }
}
