//! The list of a tenant's blocks as one object, so that readers need not list the bucket. Two encodings:
//!
//! * `index.pb.zst`: one zstd frame of protobuf `TenantIndex { 1: Timestamp created_at; 2: repeated BlockMeta;
//!   3: repeated CompactedBlockMeta }`, `CompactedBlockMeta { 1: BlockMeta; 2: Timestamp compacted_time }`,
//!   `BlockMeta { 1: format; 2: block id, 16 bytes; 5: tenant; 6, 7: Timestamp start, end; 8: total objects;
//!   9: size; 10: compaction level; 12: index page size; 13: total records; 15: bloom shards; 16: footer size;
//!   17: dedicated columns, bytes of their JSON; 18: replication factor }`. proto3: zeros are left out, but field 17
//!   is there even when empty.
//! * `index.json.gz`: gzip (member name `index.json`) of
//!   `{"created_at": RFC3339, "meta": [meta], "compacted": [meta with "compactedTime"]}`.
//!
//! Readers take the first and fall back to the second only if the first does not exist. The bytes are foreign:
//! decompression is capped, and an entry that makes no sense costs only itself.

use std::{
    io::{self, Read, Write as _},
    sync::Arc,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Deserializer, Serialize};

use tempo_model::{BlockId, TenantId};

use crate::block_meta::{
    BlockMeta, ColumnSets, CompactedBlockMeta, ZERO_TIME, columns_from_json, columns_to_json,
};

/// Most bytes an index may decompress to: 500,000 blocks with many dedicated columns.
const MAX_DECOMPRESSED_BYTES: u64 = 512 << 20;

/// Name of the gzip member, as Tempo writes it.
const GZIP_MEMBER: &str = "index.json";

/// Every block of one tenant at one time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantIndex {
    pub created_at: Timestamp,
    #[serde(rename = "meta")]
    pub blocks: Vec<Arc<BlockMeta>>,
    pub compacted: Vec<CompactedBlockMeta>,
}

/// An index as it was read, with what was wrong in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadIndex {
    pub index: TenantIndex,
    /// Why entries were left out, one text each.
    pub refused: Vec<String>,
}

/// Why an index could not be read as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DecodeIndexError {
    #[error("decompress tenant index")]
    Decompress(#[source] io::Error),
    #[error("tenant index is larger than {MAX_DECOMPRESSED_BYTES} bytes when decompressed")]
    TooLarge,
    #[error("decode tenant index protobuf")]
    Protobuf(#[from] prost::DecodeError),
    #[error("decode tenant index JSON")]
    Json(#[from] serde_json::Error),
}

/// Why an index could not be written. Only if memory or the compressor fails.
#[derive(Debug, thiserror::Error)]
#[error("encode tenant index")]
pub struct EncodeIndexError(#[from] io::Error);

impl TenantIndex {
    /// The object `index.pb.zst`.
    pub fn to_pb_zst(&self) -> Result<Vec<u8>, EncodeIndexError> {
        let message = PbTenantIndex {
            created_at: Some(self.created_at.into()),
            meta: self.blocks.iter().map(|meta| PbBlockMeta::from(meta.as_ref())).collect(),
            compacted: self
                .compacted
                .iter()
                .map(|block| PbCompactedBlockMeta {
                    meta: Some(PbBlockMeta::from(block.meta.as_ref())),
                    compacted_time: Some(block.compacted_time.into()),
                })
                .collect(),
        };
        Ok(zstd::encode_all(message.encode_to_vec().as_slice(), 0)?)
    }

    /// The object `index.json.gz`.
    pub fn to_json_gz(&self) -> Result<Vec<u8>, EncodeIndexError> {
        let gzip = GzBuilder::new().filename(GZIP_MEMBER).write(Vec::new(), Compression::fast());
        let mut buffered = io::BufWriter::new(gzip);
        serde_json::to_writer(&mut buffered, self).map_err(io::Error::from)?;
        buffered.flush()?;
        let gzip = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(gzip.finish()?)
    }

    pub fn from_pb_zst(data: &[u8]) -> Result<ReadIndex, DecodeIndexError> {
        let decoder = zstd::stream::read::Decoder::new(data).map_err(DecodeIndexError::Decompress)?;
        let message = PbTenantIndex::decode(decompress(decoder, MAX_DECOMPRESSED_BYTES)?.as_slice())?;
        let mut refused = Vec::new();
        let mut columns = ColumnSets::default();
        let mut accept = |meta: PbBlockMeta| match BlockMeta::try_from(meta) {
            Ok(mut meta) => {
                columns.share(&mut meta);
                Some(Arc::new(meta))
            }
            Err(problem) => {
                refused.push(problem);
                None
            }
        };
        let blocks = message.meta.into_iter().filter_map(&mut accept).collect();
        let compacted = message
            .compacted
            .into_iter()
            .filter_map(|block| {
                let meta = accept(block.meta.unwrap_or_default())?;
                Some(CompactedBlockMeta { meta, compacted_time: timestamp(block.compacted_time) })
            })
            .collect();
        let index = TenantIndex { created_at: timestamp(message.created_at), blocks, compacted };
        Ok(ReadIndex { index, refused })
    }

    pub fn from_json_gz(data: &[u8]) -> Result<ReadIndex, DecodeIndexError> {
        let text = decompress(GzDecoder::new(data), MAX_DECOMPRESSED_BYTES)?;
        let JsonTenantIndex { created_at, meta, compacted } = serde_json::from_slice(&text)?;
        let mut refused = Vec::new();
        let mut blocks: Vec<Arc<BlockMeta>> = accepted(meta, &mut refused);
        let mut compacted: Vec<CompactedBlockMeta> = accepted(compacted, &mut refused);
        let mut columns = ColumnSets::default();
        for meta in blocks.iter_mut().chain(compacted.iter_mut().map(|block| &mut block.meta)) {
            columns.share(Arc::make_mut(meta));
        }
        Ok(ReadIndex { index: TenantIndex { created_at, blocks, compacted }, refused })
    }
}

/// Reads everything, but never more than `limit` bytes.
fn decompress(from: impl Read, limit: u64) -> Result<Vec<u8>, DecodeIndexError> {
    let mut out = Vec::new();
    from.take(limit + 1).read_to_end(&mut out).map_err(DecodeIndexError::Decompress)?;
    if out.len() as u64 > limit { Err(DecodeIndexError::TooLarge) } else { Ok(out) }
}

#[derive(Deserialize)]
struct JsonTenantIndex {
    created_at: Timestamp,
    #[serde(default)]
    meta: Option<Vec<Entry<Arc<BlockMeta>>>>,
    #[serde(default)]
    compacted: Option<Vec<Entry<CompactedBlockMeta>>>,
}

/// One entry, good or refused: a bad one must not fail the list it is in.
struct Entry<T>(Result<T, String>);

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let block_id = value.get("blockID").cloned().unwrap_or_default();
        Ok(Entry(serde_json::from_value(value).map_err(|error| format!("block {block_id}: {error}"))))
    }
}

fn accepted<T>(entries: Option<Vec<Entry<T>>>, refused: &mut Vec<String>) -> Vec<T> {
    let mut out = Vec::new();
    for Entry(entry) in entries.unwrap_or_default() {
        match entry {
            Ok(entry) => out.push(entry),
            Err(problem) => refused.push(problem),
        }
    }
    out
}

#[derive(Clone, PartialEq, Message)]
struct PbTenantIndex {
    #[prost(message, optional, tag = "1")]
    created_at: Option<PbTimestamp>,
    #[prost(message, repeated, tag = "2")]
    meta: Vec<PbBlockMeta>,
    #[prost(message, repeated, tag = "3")]
    compacted: Vec<PbCompactedBlockMeta>,
}

#[derive(Clone, PartialEq, Message)]
struct PbCompactedBlockMeta {
    #[prost(message, optional, tag = "1")]
    meta: Option<PbBlockMeta>,
    #[prost(message, optional, tag = "2")]
    compacted_time: Option<PbTimestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct PbBlockMeta {
    #[prost(string, tag = "1")]
    format: String,
    #[prost(bytes = "vec", tag = "2")]
    block_id: Vec<u8>,
    #[prost(string, tag = "5")]
    tenant: String,
    #[prost(message, optional, tag = "6")]
    start_time: Option<PbTimestamp>,
    #[prost(message, optional, tag = "7")]
    end_time: Option<PbTimestamp>,
    #[prost(int64, tag = "8")]
    total_objects: i64,
    #[prost(uint64, tag = "9")]
    size: u64,
    #[prost(uint32, tag = "10")]
    compaction_level: u32,
    #[prost(uint32, tag = "12")]
    index_page_size: u32,
    #[prost(uint32, tag = "13")]
    total_records: u32,
    #[prost(uint32, tag = "15")]
    bloom_shards: u32,
    #[prost(uint32, tag = "16")]
    footer_size: u32,
    #[prost(bytes = "vec", optional, tag = "17")]
    dedicated_columns: Option<Vec<u8>>,
    #[prost(uint32, tag = "18")]
    replication_factor: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct PbTimestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Timestamp> for PbTimestamp {
    fn from(time: Timestamp) -> PbTimestamp {
        // protobuf wants the nanoseconds positive, also before 1970; jiff gives them the sign of the seconds.
        let (seconds, nanos) = (time.as_second(), time.subsec_nanosecond());
        if nanos < 0 {
            PbTimestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
        } else {
            PbTimestamp { seconds, nanos }
        }
    }
}

/// Absent and impossible times become Go's zero time, as in JSON.
fn timestamp(time: Option<PbTimestamp>) -> Timestamp {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok()).unwrap_or(ZERO_TIME)
}

impl From<&BlockMeta> for PbBlockMeta {
    fn from(meta: &BlockMeta) -> PbBlockMeta {
        let BlockMeta {
            format,
            block_id,
            tenant,
            start_time,
            end_time,
            total_objects,
            size,
            compaction_level,
            index_page_size,
            total_records,
            bloom_shards,
            footer_size,
            dedicated_columns,
            replication_factor,
        } = meta;
        PbBlockMeta {
            format: format.as_str().to_owned(),
            block_id: block_id.as_bytes().to_vec(),
            tenant: tenant.as_str().to_owned(),
            start_time: Some((*start_time).into()),
            end_time: Some((*end_time).into()),
            total_objects: i64::try_from(*total_objects).unwrap_or(i64::MAX),
            size: *size,
            compaction_level: *compaction_level,
            index_page_size: *index_page_size,
            total_records: *total_records,
            bloom_shards: *bloom_shards,
            footer_size: *footer_size,
            dedicated_columns: Some(columns_to_json(dedicated_columns)),
            replication_factor: *replication_factor,
        }
    }
}

impl TryFrom<PbBlockMeta> for BlockMeta {
    type Error = String;

    fn try_from(meta: PbBlockMeta) -> Result<BlockMeta, String> {
        let Ok(block_id) = <[u8; 16]>::try_from(meta.block_id.as_slice()).map(BlockId::from_bytes) else {
            return Err(format!("block id of {} bytes", meta.block_id.len()));
        };
        let refused = |problem: String| format!("block {block_id}: {problem}");
        Ok(BlockMeta {
            format: meta.format.into(),
            block_id,
            tenant: TenantId::parse(&meta.tenant).map_err(|error| refused(error.to_string()))?,
            start_time: timestamp(meta.start_time),
            end_time: timestamp(meta.end_time),
            total_objects: u64::try_from(meta.total_objects)
                .map_err(|_| refused(format!("{} traces", meta.total_objects)))?,
            size: meta.size,
            compaction_level: meta.compaction_level,
            index_page_size: meta.index_page_size,
            total_records: meta.total_records,
            bloom_shards: meta.bloom_shards,
            footer_size: meta.footer_size,
            dedicated_columns: columns_from_json(meta.dedicated_columns.as_deref().unwrap_or_default())
                .map_err(|error| refused(format!("dedicated columns: {error}")))?,
            replication_factor: meta.replication_factor,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decompression_stops_at_the_limit() {
        let bomb = zstd::encode_all(vec![0_u8; 1 << 20].as_slice(), 3).unwrap();
        let decoder = || zstd::stream::read::Decoder::new(bomb.as_slice()).unwrap();

        assert!(matches!(decompress(decoder(), (1 << 20) - 1), Err(DecodeIndexError::TooLarge)));
        assert_eq!(decompress(decoder(), 1 << 20).unwrap().len(), 1 << 20);
    }

    #[test]
    fn times_before_1970_have_positive_nanoseconds_in_protobuf() {
        let time: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();

        let encoded = PbTimestamp::from(time);

        assert_eq!(encoded, PbTimestamp { seconds: -1, nanos: 250_000_000 });
        assert_eq!(timestamp(Some(encoded)), time);
    }
}
