//! Pages of one row group: compressed, with headers, one column chunk after the other in one buffer.
//!
//! Data pages are of version 1, whose levels are inside the compressed body: in version 2 they would be stored as they
//! are, and they are 35 of 120 bytes a span. Pages without values are compressed once for all columns that share
//! their levels. A chunk that has a dictionary uses it in every page (Tempo prunes by the dictionary alone).

use std::ops::Range;

use super::{
    levels::{Part, Stream, put_own_def},
    thrift::{Encoding, PageSizes, data_page_header, dictionary_page_header},
};
use crate::trace_index::PageCodec;

/// How many page bodies without values are remembered.
const KEPT_BODIES: usize = 8;

/// A row group, encoded.
#[derive(Debug, Default)]
pub(crate) struct EncodedRowGroup {
    pub(crate) bytes: Vec<u8>,
    /// By leaf.
    pub(crate) chunks: Vec<Chunk>,
    /// Rows of each page.
    pub(crate) page_rows: Vec<usize>,
}

/// One column chunk. Positions are in the row group's bytes.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) codec: PageCodec,
    pub(crate) dictionary: Option<Range<usize>>,
    pub(crate) pages: Vec<Page>,
    /// Headers included.
    pub(crate) uncompressed_bytes: usize,
    pub(super) encoding: Encoding,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) bytes: Range<usize>,
    pub(crate) rows: usize,
    /// Placeholders included.
    pub(crate) entries: usize,
    pub(crate) nulls: usize,
    /// Plain-encoded, byte strings cut; `None` if it has no values or none that compare.
    pub(crate) bounds: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) nans: usize,
}

/// What the values of a page are between.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    pub(super) min_max: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) nans: usize,
}

/// The levels of one leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeafLevels<'a> {
    /// `None` for columns that are not nested.
    pub(super) stream: Option<&'a Stream>,
    /// Definition levels if they are not the stream's.
    pub(super) own_def: Option<&'a [u8]>,
    pub(super) max_rep: u8,
    pub(super) max_def: u8,
}

impl<'a> LeafLevels<'a> {
    pub(super) const FLAT: LeafLevels<'static> =
        LeafLevels { stream: None, own_def: None, max_rep: 0, max_def: 0 };

    /// A column that is required in its group.
    pub(super) fn required(stream: &'a Stream) -> LeafLevels<'a> {
        LeafLevels { stream: Some(stream), own_def: None, max_rep: stream.full, max_def: stream.full }
    }
}

/// Writes chunks; one for each thread that encodes.
pub(super) struct PageWriter {
    pub(super) out: EncodedRowGroup,
    compressor: zstd::bulk::Compressor<'static>,
    body: Vec<u8>,
    compressed: Vec<u8>,
    /// Bodies without values and what they compress to.
    empty_bodies: Vec<(Vec<u8>, Vec<u8>)>,
}

impl PageWriter {
    pub(super) fn new(zstd_level: i32) -> std::io::Result<PageWriter> {
        Ok(PageWriter {
            out: EncodedRowGroup::default(),
            compressor: zstd::bulk::Compressor::new(zstd_level)?,
            body: Vec::new(),
            compressed: Vec::new(),
            empty_bodies: Vec::new(),
        })
    }

    /// Starts a row group in the buffers of one that has been written.
    pub(super) fn begin_row_group(&mut self, page_rows: Vec<usize>, mut reuse: Vec<u8>) {
        reuse.clear();
        self.out = EncodedRowGroup { bytes: reuse, chunks: Vec::new(), page_rows };
        self.empty_bodies.clear();
    }

    pub(super) fn begin_chunk(&mut self, codec: PageCodec, encoding: Encoding) {
        let (pages, uncompressed_bytes) = (Vec::new(), 0);
        self.out.chunks.push(Chunk { codec, dictionary: None, pages, uncompressed_bytes, encoding });
    }

    /// Writes the dictionary of the chunk begun last, before its data pages.
    pub(super) fn dictionary(&mut self, count: usize, put: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
        self.body.clear();
        put(&mut self.body);
        let start = self.out.bytes.len();
        let Stored { bytes, uncompressed, chunk, out } = self.store(false)?;
        dictionary_page_header(out, PageSizes { uncompressed, body: bytes }, count);
        chunk.uncompressed_bytes += out.len() - start + uncompressed;
        out.extend_from_slice(bytes);
        chunk.dictionary = Some(start..out.len());
        Ok(())
    }

    /// Writes a data page of the chunk begun last; `values` of its entries are no placeholders or nulls.
    pub(super) fn page(
        &mut self,
        levels: LeafLevels<'_>,
        part: Part,
        values: usize,
        put: impl FnOnce(&mut Vec<u8>) -> Bounds,
    ) -> std::io::Result<()> {
        let rows = match part {
            Part::Page(page) => self.out.page_rows[page],
            Part::All => self.out.page_rows.iter().sum(),
        };
        self.body.clear();
        let mut entries = rows;
        if let Some(stream) = levels.stream {
            entries = stream.entries_of(part).len();
            stream.put_rep(&mut self.body, part, levels.max_rep);
            match levels.own_def {
                Some(def) => put_own_def(&mut self.body, &def[stream.entries_of(part)], levels.max_def),
                None => stream.put_def(&mut self.body, part, levels.max_def),
            }
        }
        let bounds = put(&mut self.body);
        let start = self.out.bytes.len();
        let Stored { bytes, uncompressed, chunk, out } = self.store(values == 0)?;
        data_page_header(out, PageSizes { uncompressed, body: bytes }, entries, chunk.encoding);
        chunk.uncompressed_bytes += out.len() - start + uncompressed;
        out.extend_from_slice(bytes);
        chunk.pages.push(Page {
            bytes: start..out.len(),
            rows,
            entries,
            nulls: entries - values,
            bounds: bounds.min_max,
            nans: bounds.nans,
        });
        Ok(())
    }

    /// Compresses the body for the chunk begun last.
    fn store(&mut self, is_empty: bool) -> std::io::Result<Stored<'_>> {
        let PageWriter { out, compressor, body, compressed, empty_bodies } = self;
        let chunk = out.chunks.last_mut().expect("a chunk was begun");
        let uncompressed = body.len();
        let out = &mut out.bytes;
        if chunk.codec == PageCodec::Uncompressed {
            return Ok(Stored { bytes: body, uncompressed, chunk, out });
        }
        if is_empty && let Some(known) = empty_bodies.iter().position(|(b, _)| b == body) {
            return Ok(Stored { bytes: &empty_bodies[known].1, uncompressed, chunk, out });
        }
        compressed.clear();
        compressed.reserve(zstd::zstd_safe::compress_bound(body.len()));
        compressor.compress_to_buffer(body, compressed)?;
        if is_empty {
            if empty_bodies.len() >= KEPT_BODIES {
                empty_bodies.remove(0);
            }
            empty_bodies.push((body.clone(), compressed.clone()));
        }
        Ok(Stored { bytes: compressed, uncompressed, chunk, out })
    }
}

/// A page body ready to be written.
struct Stored<'a> {
    bytes: &'a [u8],
    uncompressed: usize,
    chunk: &'a mut Chunk,
    out: &'a mut Vec<u8>,
}
