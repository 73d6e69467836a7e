//! What readers remember of blocks: bloom shards, sidecars, footers, dictionaries. Bounded in bytes, handed in, shared by clones.
//!
//! Blocks never change once their meta is visible, so nothing expires; the least used goes when the cache is full.
//! When many queries miss the same entry, one of them loads it and the others wait (single flight).

use std::{future::Future, sync::Arc};

use moka::future::Cache;
use tempo_model::BlockId;

use crate::{
    bloom::Bloom,
    decode::values::Dictionary,
    reader::{ReadError, footer::CachedFooter, sidecar::Sidecar},
};

/// What an entry takes besides its own bytes: key, pointers, the cache's bookkeeping.
const ENTRY_BYTES: usize = 256;
/// A dictionary larger than this is not kept: it would drive out too much else.
const MAX_DICTIONARY_BYTES: usize = 8 << 20;

#[derive(Debug, Clone)]
pub struct BlockCache {
    entries: Cache<Key, Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    block: BlockId,
    object: Object,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Object {
    Bloom(u32),
    Sidecar,
    Footer,
    Dictionary(ChunkId),
}

/// A column chunk of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ChunkId {
    pub(crate) row_group: u32,
    /// The leaf's index in the file.
    pub(crate) leaf: usize,
}

#[derive(Debug, Clone)]
enum Entry {
    Bloom(Arc<Bloom>),
    /// `None`: the block has no sidecar that can be used.
    Sidecar(Option<Arc<Sidecar>>),
    Footer(Arc<CachedFooter>),
    Dictionary(Arc<Dictionary>),
}

impl Entry {
    fn weight(&self) -> u32 {
        let bytes = match self {
            Entry::Bloom(bloom) => bloom.memory_bytes(),
            Entry::Sidecar(sidecar) => sidecar.as_ref().map_or(0, |s| s.memory_bytes()),
            Entry::Footer(footer) => footer.memory_bytes(),
            Entry::Dictionary(dictionary) => dictionary.memory_bytes(),
        };
        u32::try_from(bytes + ENTRY_BYTES).unwrap_or(u32::MAX)
    }
}

impl BlockCache {
    pub fn new(max_bytes: u64) -> BlockCache {
        let entries =
            Cache::builder().max_capacity(max_bytes).weigher(|_, entry: &Entry| entry.weight()).build();
        BlockCache { entries }
    }

    /// Bytes held, as of the cache's last housekeeping.
    pub fn weight_bytes(&self) -> u64 {
        self.entries.weighted_size()
    }

    pub(crate) async fn bloom(
        &self,
        block: BlockId,
        shard: u32,
        load: impl Future<Output = Result<Bloom, ReadError>>,
    ) -> Result<Arc<Bloom>, ReadError> {
        let load = async { Ok(Entry::Bloom(Arc::new(load.await?))) };
        match self.entry(Key { block, object: Object::Bloom(shard) }, load).await? {
            Entry::Bloom(bloom) => Ok(bloom),
            Entry::Sidecar(_) | Entry::Footer(_) | Entry::Dictionary(_) => Err(ReadError::Stopped),
        }
    }

    /// The sidecar if it is known already, be it known not to exist.
    pub(crate) async fn known_sidecar(&self, block: BlockId) -> Option<Option<Arc<Sidecar>>> {
        match self.entries.get(&Key { block, object: Object::Sidecar }).await? {
            Entry::Sidecar(sidecar) => Some(sidecar),
            Entry::Bloom(_) | Entry::Footer(_) | Entry::Dictionary(_) => None,
        }
    }

    pub(crate) async fn sidecar(
        &self,
        block: BlockId,
        load: impl Future<Output = Result<Option<Sidecar>, ReadError>>,
    ) -> Result<Option<Arc<Sidecar>>, ReadError> {
        let load = async { Ok(Entry::Sidecar(load.await?.map(Arc::new))) };
        match self.entry(Key { block, object: Object::Sidecar }, load).await? {
            Entry::Sidecar(sidecar) => Ok(sidecar),
            Entry::Bloom(_) | Entry::Footer(_) | Entry::Dictionary(_) => Err(ReadError::Stopped),
        }
    }

    pub(crate) async fn footer(
        &self,
        block: BlockId,
        load: impl Future<Output = Result<CachedFooter, ReadError>>,
    ) -> Result<Arc<CachedFooter>, ReadError> {
        let load = async { Ok(Entry::Footer(Arc::new(load.await?))) };
        match self.entry(Key { block, object: Object::Footer }, load).await? {
            Entry::Footer(footer) => Ok(footer),
            Entry::Bloom(_) | Entry::Sidecar(_) | Entry::Dictionary(_) => Err(ReadError::Stopped),
        }
    }

    /// The decompressed dictionary of a column chunk, if a row before this one needed it.
    pub(crate) async fn known_dictionary(&self, block: BlockId, chunk: ChunkId) -> Option<Arc<Dictionary>> {
        match self.entries.get(&Key { block, object: Object::Dictionary(chunk) }).await? {
            Entry::Dictionary(dictionary) => Some(dictionary),
            Entry::Bloom(_) | Entry::Sidecar(_) | Entry::Footer(_) => None,
        }
    }

    pub(crate) async fn remember_dictionary(
        &self,
        block: BlockId,
        chunk: ChunkId,
        dictionary: Arc<Dictionary>,
    ) {
        if dictionary.memory_bytes() <= MAX_DICTIONARY_BYTES {
            let key = Key { block, object: Object::Dictionary(chunk) };
            self.entries.insert(key, Entry::Dictionary(dictionary)).await;
        }
    }

    async fn entry(
        &self,
        key: Key,
        load: impl Future<Output = Result<Entry, ReadError>>,
    ) -> Result<Entry, ReadError> {
        // Boxed: the future is large, and every reader's own would contain it.
        Box::pin(self.entries.try_get_with(key, load)).await.map_err(|shared| ReadError::clone(&shared))
    }
}
