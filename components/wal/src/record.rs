//! Records as bytes: encoding into the batch buffer and checked decoding. The layout is in the crate's header.

use bytes::{Buf, BufMut, Bytes};
use tempo_model::BlockId;

use crate::wal::Record;

pub(crate) const RECORD_HEADER_BYTES: usize = 40;
pub(crate) const MARKER: [u8; 4] = [0xf5, b'W', b'R', 0xf6];

/// The largest payload that is taken, and that a reader allocates for.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 28;
const MAX_STORED_BYTES: usize = MAX_PAYLOAD_BYTES + (1 << 21);

/// Below this lz4 finds nothing worth its call.
const MIN_COMPRESSED_BYTES: usize = 64;

const CHECKED_HEADER_BYTES: usize = RECORD_HEADER_BYTES - 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data { block: BlockId },
    Release { block: BlockId },
    Trim { oldest_needed: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: Kind,
    pub(crate) tenant_bytes: u8,
    pub(crate) is_compressed: bool,
    pub(crate) stored_bytes: u32,
    pub(crate) payload_bytes: u32,
    pub(crate) body_crc: u32,
}

impl RecordHeader {
    fn bare(kind: Kind) -> RecordHeader {
        RecordHeader {
            kind,
            tenant_bytes: 0,
            is_compressed: false,
            stored_bytes: 0,
            payload_bytes: 0,
            body_crc: 0,
        }
    }

    /// Bytes behind the header.
    pub(crate) fn body_bytes(&self) -> usize {
        usize::from(self.tenant_bytes) + self.stored_bytes as usize
    }

    pub(crate) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.body_bytes()) as u64
    }

    fn encode(&self, salt: u64, offset: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let mut out = &mut bytes[..];
        let (kind, id) = match self.kind {
            Kind::Data { block } => (1, *block.as_bytes()),
            Kind::Release { block } => (2, *block.as_bytes()),
            Kind::Trim { oldest_needed } => (3, u128::from(oldest_needed).to_le_bytes()),
        };
        out.put_slice(&MARKER);
        out.put_u8(kind);
        out.put_u8(self.tenant_bytes);
        out.put_u8(u8::from(self.is_compressed));
        out.put_u8(0);
        out.put_u32_le(self.stored_bytes);
        out.put_u32_le(self.payload_bytes);
        out.put_slice(&id);
        out.put_u32_le(self.body_crc);
        let (checked, mut crc) = bytes.split_at_mut(CHECKED_HEADER_BYTES);
        crc.put_u32_le(header_crc(salt, offset, checked));
        bytes
    }

    /// Reads a header at its offset in a segment with this salt. `None` for anything that was not written there.
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER_BYTES], salt: u64, offset: u64) -> Option<RecordHeader> {
        let (checked, mut crc) = bytes.split_at(CHECKED_HEADER_BYTES);
        if !checked.starts_with(&MARKER) || crc.get_u32_le() != header_crc(salt, offset, checked) {
            return None;
        }
        let mut rest = checked;
        rest.advance(MARKER.len());
        let kind = rest.get_u8();
        let tenant_bytes = rest.get_u8();
        let is_compressed = rest.get_u8() == 1;
        rest.advance(1);
        let stored_bytes = rest.get_u32_le();
        let payload_bytes = rest.get_u32_le();
        let mut id = [0; 16];
        rest.copy_to_slice(&mut id);
        let body_crc = rest.get_u32_le();
        let kind = match kind {
            1 => Kind::Data { block: BlockId::from_bytes(id) },
            2 => Kind::Release { block: BlockId::from_bytes(id) },
            3 => Kind::Trim { oldest_needed: u64::try_from(u128::from_le_bytes(id)).ok()? },
            _ => return None,
        };
        let fits = stored_bytes as usize <= MAX_STORED_BYTES && payload_bytes as usize <= MAX_PAYLOAD_BYTES;
        fits.then_some(RecordHeader {
            kind,
            tenant_bytes,
            is_compressed,
            stored_bytes,
            payload_bytes,
            body_crc,
        })
    }

    /// Splits a body whose checksum is right into tenant and payload; `None` if it does not fit its header.
    pub(crate) fn decode_body<'a>(&self, body: &'a [u8]) -> Option<(&'a str, Bytes)> {
        let (tenant, stored) = body.split_at_checked(usize::from(self.tenant_bytes))?;
        let tenant = std::str::from_utf8(tenant).ok()?;
        let payload_bytes = self.payload_bytes as usize;
        if !self.is_compressed {
            return (stored.len() == payload_bytes).then(|| (tenant, Bytes::copy_from_slice(stored)));
        }
        let mut payload = vec![0; payload_bytes];
        let written = lz4_flex::block::decompress_into(stored, &mut payload).ok()?;
        (written == payload_bytes).then(|| (tenant, payload.into()))
    }
}

fn header_crc(salt: u64, offset: u64, checked: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&salt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, checked)
}

/// The bytes of one write: records encoded back to back, the memory kept for the next batch.
#[derive(Debug, Default)]
pub(crate) struct BatchBuffer {
    /// Always initialised to its whole length, so that lz4 writes into it without clearing it first.
    bytes: Vec<u8>,
    used: usize,
    salt: u64,
    base: u64,
}

impl BatchBuffer {
    /// Starts a batch that will be appended at offset `base` of the segment with this salt.
    pub(crate) fn begin(&mut self, salt: u64, base: u64) {
        self.used = 0;
        self.salt = salt;
        self.base = base;
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Gives memory back that only an unusually large batch needed.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if self.bytes.len() > bytes {
            self.bytes = Vec::new();
        }
    }

    /// Returns the record's offset in the segment.
    pub(crate) fn push_data(&mut self, record: &Record) -> u64 {
        let tenant = record.tenant.as_str().as_bytes();
        let most = lz4_flex::block::get_maximum_output_size(record.payload.len());
        let needed = self.used + RECORD_HEADER_BYTES + tenant.len() + most;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        let at = self.used;
        let body = self.bytes.get_mut(at + RECORD_HEADER_BYTES..).unwrap_or_default();
        let (tenant_slot, payload_slot) = body.split_at_mut(tenant.len());
        tenant_slot.copy_from_slice(tenant);
        let (stored_bytes, is_compressed) = store(&record.payload, payload_slot);
        let body_bytes = tenant.len() + stored_bytes;
        let body_crc = crc32c::crc32c(body.get(..body_bytes).unwrap_or_default());
        self.put_header(RecordHeader {
            kind: Kind::Data { block: record.block },
            tenant_bytes: u8::try_from(tenant.len()).expect("a tenant id has at most 150 bytes"),
            is_compressed,
            stored_bytes: u32::try_from(stored_bytes).expect("payloads are capped when they are appended"),
            payload_bytes: u32::try_from(record.payload.len())
                .expect("payloads are capped when they are appended"),
            body_crc,
        })
    }

    pub(crate) fn push_release(&mut self, block: BlockId) -> u64 {
        self.put_header(RecordHeader::bare(Kind::Release { block }))
    }

    pub(crate) fn push_trim(&mut self, oldest_needed: u64) -> u64 {
        self.put_header(RecordHeader::bare(Kind::Trim { oldest_needed }))
    }

    /// Writes the header in front of the body that is already there, and moves past both.
    fn put_header(&mut self, header: RecordHeader) -> u64 {
        let offset = self.base + self.used as u64;
        let end = self.used + RECORD_HEADER_BYTES;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(slot) = self.bytes.get_mut(self.used..end) {
            slot.copy_from_slice(&header.encode(self.salt, offset));
        }
        self.used = end + header.body_bytes();
        offset
    }
}

/// Puts the payload into the slot, compressed if that saves anything.
fn store(payload: &[u8], slot: &mut [u8]) -> (usize, bool) {
    if payload.len() >= MIN_COMPRESSED_BYTES
        && let Ok(compressed) = lz4_flex::block::compress_into(payload, slot)
        && compressed < payload.len()
    {
        return (compressed, true);
    }
    if let Some(slot) = slot.get_mut(..payload.len()) {
        slot.copy_from_slice(payload);
    }
    (payload.len(), false)
}

#[cfg(test)]
mod tests;
