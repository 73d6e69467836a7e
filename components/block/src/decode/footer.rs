//! Reads what a block's reader needs of a Parquet footer: the leaf columns and where their chunks lie.
//!
//! The parsed form is cached for as long as a block is asked, so it is kept small: no statistics but those of the
//! trace ids. Offsets are checked against the object's size here, once; whoever fetches may trust them.

use std::ops::Range;

use super::{
    DecodeError,
    page_index::PageLocations,
    thrift::{Fields, Kind, Reader},
};

/// Footers are some kilobytes per row group; Tempo's largest seen is below 1 MiB.
pub(crate) const MAX_FOOTER_BYTES: u64 = 64 << 20;
pub(crate) const MAGIC: &[u8; 4] = b"PAR1";
/// Length and magic at the very end.
pub(crate) const TAIL_BYTES: u64 = 8;
/// Groups inside of groups: vParquet4 has 19 at the deepest. Keeps levels far below what a byte holds.
const MAX_SCHEMA_DEPTH: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    Boolean,
    Int32,
    Int64,
    Double,
    ByteArray,
    /// Int96, Float and fixed-length arrays: not in any block.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Uncompressed,
    Snappy,
    Zstd,
    Other(i32),
}

impl Codec {
    pub(crate) fn from_parquet(number: i32) -> Codec {
        match number {
            0 => Codec::Uncompressed,
            1 => Codec::Snappy,
            6 => Codec::Zstd,
            other => Codec::Other(other),
        }
    }
}

/// One leaf column of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) physical: Physical,
    pub(crate) max_def: u8,
    pub(crate) max_rep: u8,
}

#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) codec: Codec,
    /// The dictionary page, if there is one.
    pub(crate) dictionary: Option<Range<u64>>,
    /// All data pages.
    pub(crate) data: Range<u64>,
    pub(crate) column_index: Option<Range<u64>>,
    pub(crate) offset_index: Option<Range<u64>>,
    /// Filled in from the offset index once that is read.
    pub(crate) pages: Option<PageLocations>,
}

#[derive(Debug, Clone)]
pub(crate) struct RowGroup {
    pub(crate) rows: u64,
    /// As many as the footer has leaves, in the same order.
    pub(crate) chunks: Vec<Chunk>,
}

#[derive(Debug, Clone)]
pub(crate) struct Footer {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) row_groups: Vec<RowGroup>,
}

impl Footer {
    /// Parses the Thrift part of the footer, which starts at `offset` of an object.
    pub(crate) fn parse(bytes: &[u8], offset: u64) -> Result<Footer, DecodeError> {
        let mut reader = Reader::new(bytes, offset);
        let mut fields = Fields::default();
        let mut leaves = Vec::new();
        let mut row_groups = Vec::new();
        while let Some(field) = fields.next(&mut reader)? {
            match field.id {
                2 => {
                    let len = reader.list(field, Kind::Struct)?;
                    leaves = schema(&mut reader, len)?;
                }
                4 => {
                    let len = reader.list(field, Kind::Struct)?;
                    for _ in 0..len {
                        row_groups.push(row_group(&mut reader, offset)?);
                    }
                }
                _ => reader.skip(field)?,
            }
        }
        for group in &row_groups {
            if group.chunks.len() != leaves.len() {
                return Err(DecodeError::new(
                    offset,
                    "a row group has another number of columns than the schema",
                ));
            }
        }
        Ok(Footer { leaves, row_groups })
    }

    /// Roughly what the parsed footer takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let leaves: usize = self.leaves.iter().map(|l| size_of::<Leaf>() + l.path.len()).sum();
        let chunks = self.row_groups.iter().flat_map(|g| &g.chunks);
        leaves
            + chunks
                .map(|c| size_of::<Chunk>() + c.pages.as_ref().map_or(0, PageLocations::memory_bytes))
                .sum::<usize>()
    }
}

struct SchemaElement {
    name: String,
    physical: Option<Physical>,
    repetition: i32,
    children: usize,
}

/// Turns the depth-first list of schema elements into leaves with their levels.
fn schema(reader: &mut Reader<'_>, len: usize) -> Result<Vec<Leaf>, DecodeError> {
    let mut leaves = Vec::new();
    // Per open group: how many children are still to come, its path, its levels.
    let mut open: Vec<(usize, String, u8, u8)> = Vec::new();
    for index in 0..len {
        let element = schema_element(reader)?;
        if index == 0 {
            open.push((element.children, String::new(), 0, 0));
            continue;
        }
        while open.last().is_some_and(|(left, ..)| *left == 0) {
            open.pop();
        }
        let (left, parent, def, rep) =
            open.last_mut().ok_or_else(|| reader.error("schema has more than one root"))?;
        *left -= 1;
        let (def, rep) = match element.repetition {
            0 => (*def, *rep),
            1 => (*def + 1, *rep),
            2 => (*def + 1, *rep + 1),
            _ => return Err(reader.error("unknown repetition in the schema")),
        };
        let path = if parent.is_empty() { element.name } else { format!("{parent}.{}", element.name) };
        match element.physical {
            Some(physical) if element.children == 0 => {
                leaves.push(Leaf { path, physical, max_def: def, max_rep: rep })
            }
            Some(_) => return Err(reader.error("schema group has a physical type")),
            None if open.len() > MAX_SCHEMA_DEPTH => return Err(reader.error("schema nests too deep")),
            None => open.push((element.children, path, def, rep)),
        }
    }
    Ok(leaves)
}

fn schema_element(reader: &mut Reader<'_>) -> Result<SchemaElement, DecodeError> {
    let mut fields = Fields::default();
    let mut element = SchemaElement { name: String::new(), physical: None, repetition: 0, children: 0 };
    while let Some(field) = fields.next(reader)? {
        match field.id {
            1 => element.physical = Some(physical(reader.i32(field)?)),
            3 => element.repetition = reader.i32(field)?,
            4 => element.name = String::from_utf8_lossy(reader.binary(field)?).into_owned(),
            5 => {
                let children = reader.u32(field)?;
                element.children =
                    usize::try_from(children).map_err(|_| reader.error("schema is too large"))?;
            }
            _ => reader.skip(field)?,
        }
    }
    if element.name.is_empty() {
        return Err(reader.error("schema element has no name"));
    }
    Ok(element)
}

fn physical(number: i32) -> Physical {
    match number {
        0 => Physical::Boolean,
        1 => Physical::Int32,
        2 => Physical::Int64,
        5 => Physical::Double,
        6 => Physical::ByteArray,
        _ => Physical::Other,
    }
}

fn row_group(reader: &mut Reader<'_>, footer_offset: u64) -> Result<RowGroup, DecodeError> {
    let mut fields = Fields::default();
    let mut group = RowGroup { rows: 0, chunks: Vec::new() };
    while let Some(field) = fields.next(reader)? {
        match field.id {
            1 => {
                let len = reader.list(field, Kind::Struct)?;
                for _ in 0..len {
                    group.chunks.push(column_chunk(reader, footer_offset)?);
                }
            }
            3 => group.rows = reader.u64(field)?,
            _ => reader.skip(field)?,
        }
    }
    Ok(group)
}

#[derive(Default)]
struct ColumnMeta {
    codec: i32,
    compressed_size: u64,
    data_offset: u64,
    dictionary_offset: u64,
}

fn column_chunk(reader: &mut Reader<'_>, footer_offset: u64) -> Result<Chunk, DecodeError> {
    let mut fields = Fields::default();
    let mut meta = None;
    let (mut offset_index, mut column_index) = ((0, 0), (0, 0));
    while let Some(field) = fields.next(reader)? {
        match field.id {
            3 => {
                reader.expect_struct(field)?;
                meta = Some(column_meta(reader)?);
            }
            4 => offset_index.0 = reader.u64(field)?,
            5 => offset_index.1 = reader.u64(field)?,
            6 => column_index.0 = reader.u64(field)?,
            7 => column_index.1 = reader.u64(field)?,
            _ => reader.skip(field)?,
        }
    }
    let meta = meta.ok_or_else(|| reader.error("column chunk has no metadata"))?;
    let checked = |start: u64, len: u64| match start.checked_add(len) {
        Some(end) if end <= footer_offset => Ok(start..end),
        Some(_) | None => Err(DecodeError::new(reader.offset(), "footer points outside of the data")),
    };
    let index = |(start, len): (u64, u64)| if len == 0 { Ok(None) } else { checked(start, len).map(Some) };
    let has_dictionary = meta.dictionary_offset > 0 && meta.dictionary_offset < meta.data_offset;
    let start = if has_dictionary { meta.dictionary_offset } else { meta.data_offset };
    let chunk = checked(start, meta.compressed_size)?;
    if meta.data_offset > chunk.end {
        return Err(reader.error("data pages start behind their column chunk"));
    }
    Ok(Chunk {
        codec: Codec::from_parquet(meta.codec),
        dictionary: has_dictionary.then_some(meta.dictionary_offset..meta.data_offset),
        data: meta.data_offset..chunk.end,
        column_index: index(column_index)?,
        offset_index: index(offset_index)?,
        pages: None,
    })
}

fn column_meta(reader: &mut Reader<'_>) -> Result<ColumnMeta, DecodeError> {
    let mut fields = Fields::default();
    let mut meta = ColumnMeta::default();
    while let Some(field) = fields.next(reader)? {
        match field.id {
            4 => meta.codec = reader.i32(field)?,
            7 => meta.compressed_size = reader.u64(field)?,
            9 => meta.data_offset = reader.u64(field)?,
            11 => meta.dictionary_offset = reader.u64(field)?,
            _ => reader.skip(field)?,
        }
    }
    Ok(meta)
}
