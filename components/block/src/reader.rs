//! Reads one block from a backend: vParquet3, 4 and 5, with or without our sidecar.
//!
//! A reader holds no state of its own; what is worth keeping lives in the [`BlockCache`]. `find.rs` has the search
//! for a trace, the submodules here fetch and remember what it needs. Objects of a bucket are foreign bytes: a
//! damaged one costs an error that names it, never a panic, and never memory beyond the bounds stated here.

pub(crate) mod footer;
pub(crate) mod ranges;
pub(crate) mod sidecar;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tempo_backend::{Backend, BlockFormat, BlockMeta, StoreError, keys};
use tempo_model::{BlockId, TraceId, trace::Trace};

use crate::{
    bloom::{self, Bloom},
    cache::BlockCache,
    decode::{DecodeError, Section},
};
use ranges::{Fetched, Wanted};

/// The most bytes that one trace's pages may span. A row group of Tempo's has at most 100 MB.
const MAX_FETCH_BYTES: u64 = 1 << 30;

/// Why a block could not be read. Names the block; clones share their source.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("block {block} has format {format}, which cannot be read")]
    UnknownFormat { block: BlockId, format: String },
    #[error("read {object} of block {block}")]
    Store {
        block: BlockId,
        object: String,
        #[source]
        source: Arc<StoreError>,
    },
    #[error("{object} of block {block} is damaged: {problem}")]
    Damaged { block: BlockId, object: String, problem: String },
    /// The process is shutting down, or decoding panicked.
    #[error("reading was stopped")]
    Stopped,
}

impl ReadError {
    /// True if the same read may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            ReadError::Store { source, .. } => source.is_retryable(),
            ReadError::UnknownFormat { .. } | ReadError::Damaged { .. } | ReadError::Stopped => false,
        }
    }
}

/// The answer of a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// `None`: the block does not have the trace.
    pub trace: Option<Trace>,
    /// Bytes read from the backend for this answer; what came from the cache is not counted.
    pub inspected_bytes: u64,
}

/// Reads one block. Cheap to open and to clone: opening does no I/O.
#[derive(Debug, Clone)]
pub struct BlockReader {
    pub(crate) backend: Backend,
    pub(crate) meta: Arc<BlockMeta>,
    pub(crate) cache: BlockCache,
}

/// Counts the bytes that one query reads.
#[derive(Debug, Default)]
pub(crate) struct Inspected(AtomicU64);

impl Inspected {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: &Bytes) {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

impl BlockReader {
    pub fn open(backend: Backend, meta: Arc<BlockMeta>, cache: BlockCache) -> Result<BlockReader, ReadError> {
        match &meta.format {
            BlockFormat::VParquet3 | BlockFormat::VParquet4 | BlockFormat::VParquet5 => {
                Ok(BlockReader { backend, meta, cache })
            }
            BlockFormat::Unknown(format) => {
                Err(ReadError::UnknownFormat { block: meta.block_id, format: format.clone() })
            }
        }
    }

    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// False if the block certainly does not have the trace.
    pub(crate) async fn bloom_has(&self, id: &TraceId, inspected: &Inspected) -> Result<bool, ReadError> {
        let shard = bloom::shard_of(id, self.meta.bloom_shards);
        let object = keys::bloom(shard);
        let load = async {
            let bytes = self.read_object(&object, inspected).await?;
            Bloom::parse(bytes).map_err(|error| self.damaged(&object, error.to_string()))
        };
        let bloom = self.cache.bloom(self.meta.block_id, shard, load).await?;
        Ok(bloom.contains(id))
    }

    pub(crate) fn damaged(&self, object: &str, problem: impl Into<String>) -> ReadError {
        ReadError::Damaged { block: self.meta.block_id, object: object.to_owned(), problem: problem.into() }
    }

    pub(crate) fn damaged_data(&self, error: &DecodeError) -> ReadError {
        self.damaged(keys::DATA, error.to_string())
    }

    pub(crate) fn store_error(&self, object: &str, source: StoreError) -> ReadError {
        ReadError::Store { block: self.meta.block_id, object: object.to_owned(), source: Arc::new(source) }
    }

    async fn read_object(&self, object: &str, inspected: &Inspected) -> Result<Bytes, ReadError> {
        let read = self.backend.read_object(&self.meta, object).await;
        let bytes = read.map_err(|source| self.store_error(object, source))?;
        inspected.add(&bytes);
        Ok(bytes)
    }

    /// A range of `data.parquet`.
    async fn read_data(
        &self,
        range: std::ops::Range<u64>,
        inspected: &Inspected,
    ) -> Result<Section, ReadError> {
        let offset = range.start;
        let read = self.backend.read_range(&self.meta, keys::DATA, range).await;
        let bytes = read.map_err(|source| self.store_error(keys::DATA, source))?;
        inspected.add(&bytes);
        Ok(Section { offset, bytes })
    }

    /// Fetches ranges of `data.parquet` in one round trip, near ones together.
    pub(crate) async fn fetch(&self, wanted: &Wanted, inspected: &Inspected) -> Result<Fetched, ReadError> {
        let ranges = wanted.merged();
        let total = ranges.iter().fold(0u64, |sum, r| sum.saturating_add(r.end - r.start));
        if total > MAX_FETCH_BYTES || ranges.last().is_some_and(|r| r.end > self.meta.size) {
            return Err(self.damaged(keys::DATA, format!("pages of {total} bytes are wanted for one trace")));
        }
        let reads = ranges.into_iter().map(|range| self.read_data(range, inspected));
        Ok(Fetched::new(futures::future::try_join_all(reads).await?))
    }
}
