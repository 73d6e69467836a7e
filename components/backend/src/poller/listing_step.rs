//! A tenant's blocks by listing its folder: known ids keep their meta, unknown ones cost one GET.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use display_error_chain::DisplayErrorChain;
use futures::StreamExt as _;
use jiff::Timestamp;
use tracing::warn;

use tempo_model::BlockId;

use crate::{
    backend::ReadMetaError,
    block_meta::{BlockMeta, ColumnSets, CompactedBlockMeta},
    blocklist::{ListingStart, QuarantinedBlock, TenantBlocks},
    keys,
    store::ObjectEntry,
};

use super::{TenantFailed, TenantPoll, TenantState};

/// A meta larger than this is not read. Real ones have a few hundred bytes.
const MAX_META_BYTES: u64 = 4 << 20;

/// GETs of one meta in one poll, and the pause after the first that failed; it doubles.
const META_ATTEMPTS: u32 = 3;
const META_RETRY: Duration = Duration::from_millis(200);

/// A quarantined meta is tried again after one poll interval, then two, and so on up to this.
const MAX_QUARANTINE: Duration = Duration::from_secs(3600);

/// What a listing found.
pub(super) struct Listed {
    pub(super) start: ListingStart,
    pub(super) blocks: TenantBlocks,
    /// The store failed on some metas, so the list lacks blocks that are probably good.
    pub(super) is_incomplete: bool,
    /// Which of the two index objects are there.
    pub(super) index_objects: BTreeSet<&'static str>,
}

/// Blocks whose meta could not be read, and when to try again.
#[derive(Debug, Default)]
pub(super) struct Quarantine(BTreeMap<BlockId, Quarantined>);

#[derive(Debug)]
struct Quarantined {
    block: QuarantinedBlock,
    /// The object as it was listed: another one is tried at once.
    object: ObjectEntry,
    attempts: u32,
    retry_at: Timestamp,
}

/// A block's metas in a listing.
#[derive(Default)]
struct FoundBlock {
    meta: Option<ObjectEntry>,
    compacted: Option<ObjectEntry>,
}

/// Where metas are looked up before the store is asked.
struct Known(Vec<Arc<TenantBlocks>>);

/// A meta that must be read.
struct Unknown {
    block_id: BlockId,
    object: ObjectEntry,
    is_compacted: bool,
}

/// The result as it grows, in the order of block ids.
#[derive(Default)]
struct Blocks {
    live: BTreeMap<BlockId, Arc<BlockMeta>>,
    compacted: BTreeMap<BlockId, CompactedBlockMeta>,
}

impl TenantPoll<'_> {
    pub(super) async fn list_blocks(&self, state: &mut TenantState) -> Result<Listed, TenantFailed> {
        let (start, entries) = self.list_objects().await?;
        let (found, index_objects) = self.by_block(entries);
        let known = self.known(state.is_known).await;
        let (mut blocks, unknown) = self.look_up(found, &known);
        let unknown = state.quarantine.let_pass(unknown, self.now);
        let is_incomplete = self.read_unknown(unknown, &mut blocks, &mut state.quarantine).await;

        let compacted: Vec<CompactedBlockMeta> = blocks.compacted.into_values().collect();
        let blocks = TenantBlocks {
            live: blocks.live.into_values().collect(),
            recently_compacted: self.recent_of(&compacted),
            compacted: compacted.into(),
            quarantined: state.quarantine.0.values().map(|entry| entry.block.clone()).collect(),
        };
        Ok(Listed { start, blocks, is_incomplete, index_objects })
    }

    pub(super) fn recent_of(&self, compacted: &[CompactedBlockMeta]) -> Arc<[Arc<BlockMeta>]> {
        let recent = compacted.iter().filter(|block| self.is_recent(block.compacted_time));
        recent.map(|block| Arc::clone(&block.meta)).collect()
    }

    async fn list_objects(&self) -> Result<(ListingStart, Vec<ObjectEntry>), TenantFailed> {
        let mut retries = self.options.listing_retries;
        loop {
            let start = self.blocklist.listing_starts();
            let error = match self.backend.store().list(keys::tenant_folder(self.tenant)).await {
                Ok(entries) => return Ok((start, entries)),
                Err(error) => error,
            };
            if retries == 0 {
                warn!(tenant = %self.tenant, error = %DisplayErrorChain::new(&error), "failed to list blocks");
                return Err(TenantFailed);
            }
            retries -= 1;
        }
    }

    /// Groups a listing by block, and tells which of the two index objects are there.
    fn by_block(&self, entries: Vec<ObjectEntry>) -> (BTreeMap<BlockId, FoundBlock>, BTreeSet<&'static str>) {
        let index_keys = keys::TENANT_INDEXES.map(|name| (name, keys::tenant_index(self.tenant, name)));
        let mut found: BTreeMap<BlockId, FoundBlock> = BTreeMap::new();
        let mut index_objects = BTreeSet::new();
        for entry in entries {
            match keys::parse_block_object(self.tenant, &entry.key) {
                Some((block_id, keys::META)) => found.entry(block_id).or_default().meta = Some(entry),
                Some((block_id, keys::META_COMPACTED)) => {
                    found.entry(block_id).or_default().compacted = Some(entry);
                }
                Some(_) => {}
                None => {
                    let index = index_keys.iter().find(|(_, key)| *key == entry.key);
                    index_objects.extend(index.map(|(name, _)| *name));
                }
            }
        }
        (found, index_objects)
    }

    /// What earlier polls found; before the first, what the tenant's index says, which saves a GET for each block.
    async fn known(&self, is_known: bool) -> Known {
        let mut known = Known(self.blocklist.tenant(self.tenant).into_iter().collect());
        if !is_known && let Ok(Some(read)) = self.read_index().await {
            known.0.push(Arc::new(self.blocks_of(read)));
        }
        known
    }

    fn look_up(&self, found: BTreeMap<BlockId, FoundBlock>, known: &Known) -> (Blocks, Vec<Unknown>) {
        let mut blocks = Blocks::default();
        let mut unknown = Vec::new();
        for (block_id, FoundBlock { meta, compacted }) in found {
            // With both metas there, somebody died while marking it: after its successor was complete.
            if let Some(object) = compacted {
                let was_live = || {
                    let meta = Arc::clone(known.live(block_id)?);
                    Some(CompactedBlockMeta { meta, compacted_time: self.now })
                };
                match known.compacted(block_id).cloned().or_else(was_live) {
                    Some(block) => {
                        blocks.compacted.insert(block_id, block);
                    }
                    None => unknown.push(Unknown { block_id, object, is_compacted: true }),
                }
            } else if let Some(object) = meta {
                let was_compacted = || known.compacted(block_id).map(|block| &block.meta);
                match known.live(block_id).or_else(was_compacted) {
                    Some(meta) => {
                        blocks.live.insert(block_id, Arc::clone(meta));
                    }
                    None => unknown.push(Unknown { block_id, object, is_compacted: false }),
                }
            }
        }
        (blocks, unknown)
    }

    /// Reads metas into `blocks`; those that cannot be read go to quarantine. True if the store was to blame, and not
    /// the metas.
    async fn read_unknown(
        &self,
        unknown: Vec<Unknown>,
        blocks: &mut Blocks,
        quarantine: &mut Quarantine,
    ) -> bool {
        let mut is_incomplete = false;
        let mut columns = ColumnSets::default();
        let reads = unknown.into_iter().map(|unknown| async {
            let read = self.read_meta(&unknown).await;
            (unknown, read)
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(self.options.meta_concurrency);
        while let Some((unknown, read)) = reads.next().await {
            let block_id = unknown.block_id;
            let error = match read {
                Ok(None) => continue,
                Ok(Some(mut meta)) => {
                    columns.share(&mut meta);
                    let meta = Arc::new(meta);
                    if unknown.is_compacted {
                        let compacted_time = unknown.object.modified;
                        blocks.compacted.insert(block_id, CompactedBlockMeta { meta, compacted_time });
                    } else {
                        blocks.live.insert(block_id, meta);
                    }
                    quarantine.0.remove(&block_id);
                    continue;
                }
                Err(error) => error,
            };
            let reason = DisplayErrorChain::new(&error).to_string();
            warn!(tenant = %self.tenant, %block_id, reason, "quarantined block");
            let is_transient = matches!(&error, ReadMetaError::Store(error) if error.is_retryable());
            is_incomplete |= is_transient;
            // The store's own trouble is no reason to wait with the next try.
            let unit = if is_transient { Duration::ZERO } else { self.options.interval / 2 };
            quarantine.put(unknown, reason, self.now, unit);
        }
        is_incomplete
    }

    /// One meta, `None` if it is gone meanwhile.
    async fn read_meta(&self, unknown: &Unknown) -> Result<Option<BlockMeta>, ReadMetaError> {
        let Unknown { block_id, object, is_compacted } = unknown;
        if object.size > MAX_META_BYTES {
            let problem = format!("it has {} bytes", object.size);
            return Err(ReadMetaError::Broken { key: object.key.clone(), problem });
        }
        let name = if *is_compacted { keys::META_COMPACTED } else { keys::META };
        let mut pause = META_RETRY;
        for _ in 1..META_ATTEMPTS {
            match self.backend.read_meta_object(self.tenant, *block_id, name).await {
                Err(ReadMetaError::Store(error)) if error.is_retryable() => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
        self.backend.read_meta_object(self.tenant, *block_id, name).await
    }
}

impl Known {
    fn live(&self, block_id: BlockId) -> Option<&Arc<BlockMeta>> {
        self.0.iter().find_map(|blocks| blocks.get_live(block_id))
    }

    fn compacted(&self, block_id: BlockId) -> Option<&CompactedBlockMeta> {
        self.0.iter().find_map(|blocks| blocks.get_compacted(block_id))
    }
}

impl Quarantine {
    /// Forgets blocks that are not unknown any more, and keeps back those that are not to be tried again yet.
    fn let_pass(&mut self, mut unknown: Vec<Unknown>, now: Timestamp) -> Vec<Unknown> {
        let ids: BTreeSet<BlockId> = unknown.iter().map(|unknown| unknown.block_id).collect();
        self.0.retain(|block_id, _| ids.contains(block_id));
        unknown.retain(|unknown| match self.0.get(&unknown.block_id) {
            Some(entry) => now >= entry.retry_at || entry.object != unknown.object,
            None => true,
        });
        unknown
    }

    /// The pause until the next try is `unit` after the first failure, and doubles.
    fn put(&mut self, unknown: Unknown, reason: String, now: Timestamp, unit: Duration) {
        let Unknown { block_id, object, .. } = unknown;
        let (attempts, since) = match self.0.get(&block_id) {
            Some(entry) => (entry.attempts.saturating_add(1), entry.block.since),
            None => (1, now),
        };
        let pause = unit.saturating_mul(1 << (attempts - 1).min(16)).min(MAX_QUARANTINE);
        let block = QuarantinedBlock { block_id, reason, since };
        self.0.insert(block_id, Quarantined { block, object, attempts, retry_at: now + pause });
    }
}
