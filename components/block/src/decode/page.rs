//! Reads one page: its header, its checksum, its level sections, and its decompressed values.
//!
//! A page is decompressed only when asked for, so that a page whose levels say "nothing here for this row" costs its
//! header and its levels (version 2 pages keep levels outside of the compression).

use bytes::Bytes;

use super::{
    DecodeError, Section,
    footer::Codec,
    levels::{Hybrid, level_width},
    thrift::{Fields, Reader},
    values::{Encoding, PageValues},
};

/// The most that one page may claim to decompress to. A row never spans pages, so a trace of millions of attributes
/// is one page per column; 100,000 spans with thirty attributes each make about 100 MB.
const MAX_PAGE_BYTES: u32 = 512 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageType {
    Data,
    DataV2,
    Dictionary,
    /// Skipped, as the format demands of unknown pages.
    Other,
}

#[derive(Debug, Clone)]
struct Header {
    kind: PageType,
    uncompressed: u32,
    compressed: u32,
    crc: Option<u32>,
    values: u32,
    rows: u32,
    encoding: Encoding,
    def_bytes: u32,
    rep_bytes: u32,
    is_compressed: bool,
}

/// A page in bytes that were fetched.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    header: Header,
    /// Behind the header.
    body: Section,
    codec: Codec,
    /// The header's own offset, for errors.
    offset: u64,
}

/// A data page with its levels in reach.
#[derive(Debug)]
pub(crate) struct DataPage {
    page: Page,
    rep: Bytes,
    def: Bytes,
    /// Compressed in version 2, decompressed already in version 1.
    values: Bytes,
    values_are_compressed: bool,
}

/// Decompressors, kept for many pages: setting up one of zstd costs as much as a small page.
#[derive(Default)]
pub(crate) struct Inflater {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    snappy: snap::raw::Decoder,
}

impl Inflater {
    fn zstd(&mut self, bytes: &[u8], size: usize) -> std::io::Result<Vec<u8>> {
        let decompressor = match &mut self.zstd {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(bytes, size)
    }
}

impl Page {
    /// Reads the page at the start of `section` and returns it with what follows it.
    pub(crate) fn read(section: &Section, codec: Codec) -> Result<(Page, Section), DecodeError> {
        let mut reader = Reader::new(&section.bytes, section.offset);
        let header = Header::read(&mut reader)?;
        let start = reader.position();
        let end = usize::try_from(header.compressed).ok().and_then(|size| start.checked_add(size));
        let end = end.filter(|end| *end <= section.bytes.len());
        let end = end.ok_or_else(|| DecodeError::new(section.offset, "page reaches past its place"))?;
        let body = Section { offset: section.offset + start as u64, bytes: section.bytes.slice(start..end) };
        let rest = Section { offset: section.offset + end as u64, bytes: section.bytes.slice(end..) };
        Ok((Page { header, body, codec, offset: section.offset }, rest))
    }

    fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError::new(self.offset, problem)
    }

    pub(crate) fn is_dictionary(&self) -> bool {
        self.header.kind == PageType::Dictionary
    }

    pub(crate) fn is_data(&self) -> bool {
        matches!(self.header.kind, PageType::Data | PageType::DataV2)
    }

    /// Rows of a version 2 page, which alone tells without its levels.
    pub(crate) fn rows(&self) -> Option<u64> {
        (self.header.kind == PageType::DataV2).then_some(u64::from(self.header.rows))
    }

    fn check_crc(&self) -> Result<(), DecodeError> {
        match self.header.crc {
            Some(crc) if crc != crc32fast::hash(&self.body.bytes) => {
                Err(self.error("checksum of the page is wrong"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The decompressed values of a dictionary page.
    pub(crate) fn dictionary(&self, inflater: &mut Inflater) -> Result<PageValues, DecodeError> {
        if self.header.kind != PageType::Dictionary
            || !matches!(self.header.encoding, Encoding::Plain | Encoding::Dictionary)
        {
            return Err(self.error("not a dictionary page"));
        }
        self.check_crc()?;
        let bytes = self.decompress(&self.body.bytes, self.header.uncompressed, inflater)?;
        let count = self.header.values as usize;
        Ok(PageValues { bytes, encoding: Encoding::Plain, count, offset: self.offset })
    }

    /// Opens a data page; `max_rep` and `max_def` are the column's.
    pub(crate) fn data(
        self,
        max_rep: u8,
        max_def: u8,
        inflater: &mut Inflater,
    ) -> Result<DataPage, DecodeError> {
        self.check_crc()?;
        match self.header.kind {
            PageType::DataV2 => self.data_v2(),
            PageType::Data => self.data_v1(max_rep, max_def, inflater),
            PageType::Dictionary | PageType::Other => Err(self.error("not a data page")),
        }
    }

    fn data_v2(self) -> Result<DataPage, DecodeError> {
        let rep_end = self.header.rep_bytes as usize;
        let values_start = rep_end.saturating_add(self.header.def_bytes as usize);
        let levels = self.header.rep_bytes.saturating_add(self.header.def_bytes);
        if values_start > self.body.bytes.len() || self.header.uncompressed < levels {
            return Err(self.error("levels are longer than their page"));
        }
        Ok(DataPage {
            rep: self.body.bytes.slice(..rep_end),
            def: self.body.bytes.slice(rep_end..values_start),
            values: self.body.bytes.slice(values_start..),
            values_are_compressed: self.header.is_compressed,
            page: self,
        })
    }

    fn data_v1(self, max_rep: u8, max_def: u8, inflater: &mut Inflater) -> Result<DataPage, DecodeError> {
        let mut rest = self.decompress(&self.body.bytes, self.header.uncompressed, inflater)?;
        let mut section = |max: u8| {
            if max == 0 {
                return Some(Bytes::new());
            }
            let len = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
            let end = usize::try_from(len).ok()?.checked_add(4).filter(|end| *end <= rest.len())?;
            let levels = rest.slice(4..end);
            rest = rest.slice(end..);
            Some(levels)
        };
        let levels = section(max_rep).zip(section(max_def));
        let (rep, def) = levels.ok_or_else(|| self.error("levels are longer than their page"))?;
        Ok(DataPage { rep, def, values: rest, values_are_compressed: false, page: self })
    }

    fn decompress(&self, bytes: &Bytes, size: u32, inflater: &mut Inflater) -> Result<Bytes, DecodeError> {
        if size > MAX_PAGE_BYTES {
            return Err(self.error("page is larger than this program decompresses"));
        }
        let size = size as usize;
        let data = match self.codec {
            Codec::Uncompressed => bytes.clone(),
            Codec::Snappy => {
                let mut out = vec![0; self.snappy_size(bytes, size)?];
                let len = inflater.snappy.decompress(bytes, &mut out);
                if len.ok() != Some(size) {
                    return Err(self.error("page does not decompress"));
                }
                out.into()
            }
            Codec::Zstd => {
                let out = inflater.zstd(bytes, size);
                out.map_err(|_| self.error("page does not decompress"))?.into()
            }
            Codec::Other(_) => return Err(self.error("page has a compression that is not supported")),
        };
        if data.len() == size {
            Ok(data)
        } else {
            Err(self.error("page has another size than its header says"))
        }
    }

    /// Snappy expands at most 22 times (three bytes can stand for 64), so a greater claim is a lie.
    fn snappy_size(&self, bytes: &[u8], size: usize) -> Result<usize, DecodeError> {
        let claimed = snap::raw::decompress_len(bytes).ok();
        if claimed == Some(size) && size / 24 <= bytes.len() {
            Ok(size)
        } else {
            Err(self.error("page does not decompress to the size in its header"))
        }
    }
}

impl DataPage {
    pub(crate) fn offset(&self) -> u64 {
        self.page.offset
    }

    /// Entries of the page, nulls included.
    pub(crate) fn slots(&self) -> usize {
        self.page.header.values as usize
    }

    /// The encoded repetition levels.
    pub(crate) fn rep_bytes(&self) -> &Bytes {
        &self.rep
    }

    /// The encoded definition levels.
    pub(crate) fn def_bytes(&self) -> &Bytes {
        &self.def
    }

    pub(crate) fn rep(&self, max: u8) -> Result<Hybrid<'_>, DecodeError> {
        Hybrid::new(&self.rep, level_width(max), self.slots(), self.page.offset)
    }

    pub(crate) fn def(&self, max: u8) -> Result<Hybrid<'_>, DecodeError> {
        Hybrid::new(&self.def, level_width(max), self.slots(), self.page.offset)
    }

    /// The page's values, of which there are `count`; decompresses them.
    pub(crate) fn values(&self, count: usize, inflater: &mut Inflater) -> Result<PageValues, DecodeError> {
        let header = &self.page.header;
        let bytes = if self.values_are_compressed {
            // Checked when the page was opened.
            let size = header.uncompressed.saturating_sub(header.rep_bytes).saturating_sub(header.def_bytes);
            self.page.decompress(&self.values, size, inflater)?
        } else {
            self.values.clone()
        };
        Ok(PageValues { bytes, encoding: header.encoding, count, offset: self.page.offset })
    }
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Header, DecodeError> {
        let mut header = Header {
            kind: PageType::Other,
            uncompressed: 0,
            compressed: 0,
            crc: None,
            values: 0,
            rows: 0,
            encoding: Encoding::Plain,
            def_bytes: 0,
            rep_bytes: 0,
            is_compressed: true,
        };
        let mut fields = Fields::default();
        while let Some(field) = fields.next(reader)? {
            match field.id {
                1 => {
                    header.kind = match reader.i32(field)? {
                        0 => PageType::Data,
                        2 => PageType::Dictionary,
                        3 => PageType::DataV2,
                        _ => PageType::Other,
                    }
                }
                2 => header.uncompressed = reader.u32(field)?,
                3 => header.compressed = reader.u32(field)?,
                4 => header.crc = Some(reader.i32(field)?.cast_unsigned()),
                5 | 7 => {
                    reader.expect_struct(field)?;
                    header.read_small(reader)?;
                }
                8 => {
                    reader.expect_struct(field)?;
                    header.read_v2(reader)?;
                }
                _ => reader.skip(field)?,
            }
        }
        Ok(header)
    }

    /// Data page header (version 1) and dictionary page header begin alike.
    fn read_small(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let mut fields = Fields::default();
        while let Some(field) = fields.next(reader)? {
            match field.id {
                1 => self.values = reader.u32(field)?,
                2 => self.encoding = Encoding::from_parquet(reader.i32(field)?),
                _ => reader.skip(field)?,
            }
        }
        Ok(())
    }

    fn read_v2(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let mut fields = Fields::default();
        while let Some(field) = fields.next(reader)? {
            match field.id {
                1 => self.values = reader.u32(field)?,
                3 => self.rows = reader.u32(field)?,
                4 => self.encoding = Encoding::from_parquet(reader.i32(field)?),
                5 => self.def_bytes = reader.u32(field)?,
                6 => self.rep_bytes = reader.u32(field)?,
                7 => self.is_compressed = reader.bool(field)?,
                _ => reader.skip(field)?,
            }
        }
        Ok(())
    }
}
