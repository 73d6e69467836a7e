//! The sidecar `traces.idx`: from a trace id to the pages of `data.parquet` that hold it, without footer or page index.
//!
//! An object of ours beside the Parquet file; Tempo ignores it and removes it with the block. A block without it is
//! read through its footer. All numbers are little-endian; "CRC" is CRC-32 (IEEE, as in zlib); "varint" is LEB128.
//!
//! ```text
//! header, 64 bytes
//!    0  8  magic "TRACEIDX"
//!    8  4  version, 1
//!   12  4  fan-out bits b, 0 to 16
//!   16  8  size of the data.parquet that this index describes
//!   24  8  traces n (= rows of the file), at most 2^32 - 1
//!   32  4  row groups g
//!   36  4  leaf columns l
//!   40  8  bytes of the layout section
//!   48  4  CRC of fan-out and layout
//!   52  4  CRC of the ids
//!   56  4  zero
//!   60  4  CRC of bytes 0 to 59
//! fan-out, 4 * (2^b + 1) bytes: entry i = number of ids whose first b bits are, as a number, below i; the last is n.
//!   With it a reader may fetch the 16 * (fan-out[i+1] - fan-out[i]) bytes of one bucket of ids and nothing else.
//! layout, g times
//!   varint  rows
//!   varint  bytes between the end of the previous row group (0 for the first) and the start of this one
//!   varint  pages p, then p varints: rows of each page. Pages of all leaves break at the same rows.
//!   l times, in the order of the leaves, which lie in the file without gaps:
//!     byte    bits 0-2 Parquet's number of the codec, bit 3 a dictionary page comes first,
//!             bit 4 the leaf has no value in the row group: one data page has all its nulls (unset if p is 1)
//!     varint  bytes of the dictionary page with its header, if bit 3
//!     1 or p varints: bytes of each data page with its header
//! ids, 16 * n bytes: the trace ids, ascending. The position of an id is its row in the file.
//! ```
//! A reader must refuse an unknown version. Readers check every length, so that a damaged index costs an error at most.

mod layout;

use std::ops::Range;

use bytes::Bytes;
use tempo_model::TraceId;

pub use layout::{LeafLayout, PageCodec, PageLocation, RowGroupLayout};

const MAGIC: &[u8; 8] = b"TRACEIDX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ID_BYTES: usize = 16;
const MAX_FAN_OUT_BITS: u32 = 16;
/// A bucket of about this many ids (4 KiB) is what one ranged read should bring.
const IDS_PER_BUCKET: u64 = 256;

/// Why bytes are not a trace index that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TraceIndexError {
    #[error("trace index has version {found}, this program reads version {VERSION}")]
    UnknownVersion { found: u32 },
    #[error("trace index is damaged: {problem}")]
    Damaged { problem: &'static str },
    #[error("trace index of {traces} traces cannot be written")]
    TooManyTraces { traces: usize },
}

/// Where a trace lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pub row_group: u32,
    /// Counted in the row group.
    pub row: u64,
    /// The page of a leaf that has one page per page boundary; a leaf with a single page has it at index 0.
    pub page: u32,
}

/// A parsed sidecar. Cheap to clone; holds the bytes it was parsed from.
#[derive(Debug, Clone)]
pub struct TraceIndex {
    data_size: u64,
    fan_out_bits: u32,
    fan_out: Bytes,
    layout: Bytes,
    ids: Bytes,
    leaves: usize,
    row_groups: Vec<RowGroupEntry>,
}

#[derive(Debug, Clone)]
struct RowGroupEntry {
    first_row: u64,
    rows: u64,
    bytes: Range<u64>,
    /// First row of each page, counted in the row group.
    page_first_rows: Vec<u64>,
    /// Of its entry in the layout section.
    layout: Range<usize>,
}

impl TraceIndex {
    /// Checks the whole object and remembers where its parts are.
    pub fn parse(bytes: Bytes) -> Result<TraceIndex, TraceIndexError> {
        let header = Header::parse(&bytes)?;
        let fan_out_end = HEADER_BYTES + 4 * ((1 << header.fan_out_bits) + 1);
        let ids_bytes = usize::try_from(header.traces).ok().and_then(|n| n.checked_mul(ID_BYTES));
        let layout_end = usize::try_from(header.layout_bytes).ok().and_then(|n| n.checked_add(fan_out_end));
        let (Some(ids_bytes), Some(layout_end)) = (ids_bytes, layout_end) else {
            return Err(damaged("a length is out of range"));
        };
        if layout_end.checked_add(ids_bytes) != Some(bytes.len()) {
            return Err(damaged("its length does not fit its header"));
        }
        if crc32fast::hash(&bytes.slice(HEADER_BYTES..layout_end)) != header.front_crc {
            return Err(damaged("checksum of fan-out and layout"));
        }
        let ids = bytes.slice(layout_end..);
        if crc32fast::hash(&ids) != header.ids_crc {
            return Err(damaged("checksum of the ids"));
        }
        let layout = bytes.slice(fan_out_end..layout_end);
        let leaves = header.leaves as usize;
        let mut row_groups = Vec::new();
        let (mut position, mut first_row, mut file_offset) = (0, 0u64, 0);
        for _ in 0..header.row_groups {
            let entry = read_entry(&layout, (position, first_row, file_offset), leaves)?;
            position = entry.layout.end;
            first_row += entry.rows;
            file_offset = entry.bytes.end;
            row_groups.push(entry);
        }
        if position != layout.len() || first_row != header.traces || file_offset > header.data_size {
            return Err(damaged("the row groups do not add up"));
        }
        let fan_out = bytes.slice(HEADER_BYTES..fan_out_end);
        let (data_size, fan_out_bits) = (header.data_size, header.fan_out_bits);
        Ok(TraceIndex { data_size, fan_out_bits, fan_out, layout, ids, leaves, row_groups })
    }

    /// Size of the `data.parquet` this index was written for; another size means that it must not be used.
    pub fn data_size(&self) -> u64 {
        self.data_size
    }

    pub fn trace_count(&self) -> usize {
        self.ids.len() / ID_BYTES
    }

    pub fn row_group_count(&self) -> usize {
        self.row_groups.len()
    }

    pub fn leaf_count(&self) -> usize {
        self.leaves
    }

    /// Memory that is held.
    pub fn bytes(&self) -> usize {
        let pages: usize = self.row_groups.iter().map(|g| g.page_first_rows.capacity() * 8).sum();
        self.fan_out.len()
            + self.layout.len()
            + self.ids.len()
            + pages
            + self.row_groups.capacity() * size_of::<RowGroupEntry>()
    }

    /// Finds a trace; `None` means that the block does not hold it.
    pub fn lookup(&self, id: &TraceId) -> Option<Location> {
        let bucket = bucket_of(id, self.fan_out_bits);
        let (mut low, mut high) = (self.fan_out_entry(bucket)?, self.fan_out_entry(bucket + 1)?);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)?.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return self.locate(middle as u64),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The trace ids in row order.
    pub fn trace_ids(&self) -> impl Iterator<Item = TraceId> + '_ {
        self.ids.chunks_exact(ID_BYTES).filter_map(TraceId::from_slice)
    }

    /// Byte range of a row group in the file.
    pub fn row_group_bytes(&self, row_group: u32) -> Option<Range<u64>> {
        Some(self.row_groups.get(row_group as usize)?.bytes.clone())
    }

    /// Where the pages of a row group are.
    pub fn row_group(&self, row_group: u32) -> Option<RowGroupLayout> {
        let entry = self.row_groups.get(row_group as usize)?;
        let mut cursor = layout::Cursor::new(self.layout.get(entry.layout.clone())?);
        let head = layout::read_head(&mut cursor).ok()?;
        layout::read_leaves(&mut cursor, &head, (entry.first_row, entry.bytes.start), self.leaves).ok()
    }

    fn locate(&self, row: u64) -> Option<Location> {
        let after = self.row_groups.partition_point(|g| g.first_row <= row);
        let index = after.checked_sub(1)?;
        let entry = self.row_groups.get(index)?;
        let row = row - entry.first_row;
        let page = entry.page_first_rows.partition_point(|&first| first <= row).checked_sub(1)?;
        Some(Location { row_group: u32::try_from(index).ok()?, row, page: u32::try_from(page).ok()? })
    }

    fn fan_out_entry(&self, index: usize) -> Option<usize> {
        let bytes = self.fan_out.get(index * 4..index * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    }

    fn id(&self, index: usize) -> Option<TraceId> {
        TraceId::from_slice(self.ids.get(index * ID_BYTES..(index + 1) * ID_BYTES)?)
    }
}

/// Collects the layout of a file while it is written.
#[derive(Debug, Default)]
pub(crate) struct TraceIndexBuilder {
    layout: Vec<u8>,
    row_groups: u32,
    leaves: u32,
    end: u64,
}

impl TraceIndexBuilder {
    /// Adds the next row group.
    pub(crate) fn push_row_group(&mut self, row_group: &RowGroupLayout) {
        self.end = layout::write(&mut self.layout, row_group, self.end);
        self.row_groups += 1;
        self.leaves = u32::try_from(row_group.leaves.len()).unwrap_or(u32::MAX);
    }

    /// The finished object; `ids` are in row order.
    pub(crate) fn finish(self, ids: &[TraceId], data_size: u64) -> Result<Vec<u8>, TraceIndexError> {
        debug_assert!(ids.is_sorted(), "rows are sorted by trace id");
        if u32::try_from(ids.len()).is_err() {
            return Err(TraceIndexError::TooManyTraces { traces: ids.len() });
        }
        let bits = fan_out_bits(ids.len() as u64);
        let mut front = Vec::with_capacity((4 << bits) + 4 + self.layout.len());
        let mut below = 0u32;
        let mut rest = ids.iter().peekable();
        for bucket in 0..=1usize << bits {
            while rest.next_if(|id| bucket_of(id, bits) < bucket).is_some() {
                below += 1;
            }
            front.extend_from_slice(&below.to_le_bytes());
        }
        front.extend_from_slice(&self.layout);
        let mut ids_crc = crc32fast::Hasher::new();
        ids.iter().for_each(|id| ids_crc.update(id.as_bytes()));

        let mut out = Vec::with_capacity(HEADER_BYTES + front.len() + ids.len() * ID_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&data_size.to_le_bytes());
        out.extend_from_slice(&(ids.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.row_groups.to_le_bytes());
        out.extend_from_slice(&self.leaves.to_le_bytes());
        out.extend_from_slice(&(self.layout.len() as u64).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&front).to_le_bytes());
        out.extend_from_slice(&ids_crc.finalize().to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let header_crc = crc32fast::hash(&out);
        out.extend_from_slice(&header_crc.to_le_bytes());
        out.extend_from_slice(&front);
        ids.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
        Ok(out)
    }
}

#[derive(Debug)]
struct Header {
    fan_out_bits: u32,
    data_size: u64,
    traces: u64,
    row_groups: u32,
    leaves: u32,
    layout_bytes: u64,
    front_crc: u32,
    ids_crc: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Header, TraceIndexError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(damaged("it is too short"));
        };
        let u32_at =
            |at: usize| header.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if !header.starts_with(MAGIC) {
            return Err(damaged("magic number"));
        }
        let version = u32_at(8);
        if version != VERSION {
            return Err(TraceIndexError::UnknownVersion { found: version });
        }
        if crc32fast::hash(header.get(..60).unwrap_or_default()) != u32_at(60) {
            return Err(damaged("checksum of the header"));
        }
        let header = Header {
            fan_out_bits: u32_at(12),
            data_size: u64_at(16),
            traces: u64_at(24),
            row_groups: u32_at(32),
            leaves: u32_at(36),
            layout_bytes: u64_at(40),
            front_crc: u32_at(48),
            ids_crc: u32_at(52),
        };
        if header.fan_out_bits > MAX_FAN_OUT_BITS {
            return Err(damaged("fan-out bits"));
        }
        Ok(header)
    }
}

fn read_entry(
    section: &[u8],
    (position, first_row, file_offset): (usize, u64, u64),
    leaves: usize,
) -> Result<RowGroupEntry, TraceIndexError> {
    let mut cursor = layout::Cursor::new(section.get(position..).unwrap_or_default());
    let head = layout::read_head(&mut cursor)?;
    let start = file_offset.checked_add(head.gap).ok_or_else(|| damaged("a row group's offset"))?;
    let end = layout::skip_leaves(&mut cursor, head.page_rows.len(), start, leaves)?;
    let mut page_first_rows = Vec::with_capacity(head.page_rows.len());
    let mut row = 0u64;
    for rows in &head.page_rows {
        page_first_rows.push(row);
        row = row.checked_add(*rows).ok_or_else(|| damaged("rows of a page"))?;
    }
    if row != head.rows || first_row.checked_add(row).is_none() {
        return Err(damaged("rows of a row group"));
    }
    let layout = position..position + cursor.position();
    Ok(RowGroupEntry { first_row, rows: row, bytes: start..end, page_first_rows, layout })
}

fn damaged(problem: &'static str) -> TraceIndexError {
    TraceIndexError::Damaged { problem }
}

fn fan_out_bits(traces: u64) -> u32 {
    let buckets = traces.div_ceil(IDS_PER_BUCKET).max(1);
    buckets.next_power_of_two().trailing_zeros().min(MAX_FAN_OUT_BITS)
}

fn bucket_of(id: &TraceId, bits: u32) -> usize {
    let [a, b, ..] = *id.as_bytes();
    (usize::from(u16::from_be_bytes([a, b]))) >> (16 - bits)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
