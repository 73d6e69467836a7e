//! Which blocks exist, per tenant: an immutable snapshot that readers take for the price of an `Arc`, replaced by the
//! poller, extended at once by blocks that this process flushed.
//!
//! Invariant: a block that was [`Blocklist::add`]ed stays listed until a poll that could have seen it has shown it,
//! or has shown that it is gone. A listing could have seen it if it began after the call; a tenant index, which
//! another process built, if it was created a good while after it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;

use tempo_model::{BlockId, TenantId};

use crate::block_meta::{BlockMeta, CompactedBlockMeta};

/// The shared list. Clones see the same.
#[derive(Debug, Clone)]
pub struct Blocklist {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Replaced only while `added` is locked.
    snapshot: watch::Sender<Arc<Snapshot>>,
    added: Mutex<Added>,
}

/// Blocks that no poll has shown yet.
#[derive(Debug, Default)]
struct Added {
    blocks: BTreeMap<TenantId, BTreeMap<BlockId, AddedBlock>>,
    next_sequence: u64,
}

#[derive(Debug)]
struct AddedBlock {
    meta: Arc<BlockMeta>,
    sequence: u64,
    at: Timestamp,
}

/// The blocks of all tenants at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    tenants: BTreeMap<TenantId, Arc<TenantBlocks>>,
    last_poll: Option<Timestamp>,
}

/// The blocks of one tenant at one moment. All lists are sorted by block id, without duplicates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantBlocks {
    /// What every query reads.
    pub live: Arc<[Arc<BlockMeta>]>,
    /// Blocks compacted so lately that other processes may not list their successors yet; trace by id reads them too.
    pub recently_compacted: Arc<[Arc<BlockMeta>]>,
    /// Every compacted block that is not deleted yet, the recent ones included.
    pub compacted: Arc<[CompactedBlockMeta]>,
    /// Blocks that exist, but whose meta could not be read.
    pub quarantined: Arc<[QuarantinedBlock]>,
}

/// A block that is left out until its meta can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedBlock {
    pub block_id: BlockId,
    pub reason: String,
    pub since: Timestamp,
}

/// Marks when a listing of a tenant began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListingStart(u64);

/// Where a poll's knowledge comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Listing(ListingStart),
    /// `slack` is how much older than `created_at` the listing behind the index may be.
    Index {
        created_at: Timestamp,
        slack: Duration,
    },
}

impl Blocklist {
    pub fn new() -> Blocklist {
        let (snapshot, _) = watch::channel(Arc::default());
        Blocklist { inner: Arc::new(Inner { snapshot, added: Mutex::default() }) }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.inner.snapshot.borrow())
    }

    /// Tells of every change. The receiver's value is the newest snapshot.
    pub fn changes(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.inner.snapshot.subscribe()
    }

    pub fn tenants(&self) -> Vec<TenantId> {
        self.inner.snapshot.borrow().tenants.keys().cloned().collect()
    }

    /// The live blocks of a tenant, sorted by block id.
    pub fn metas(&self, tenant: &TenantId) -> Arc<[Arc<BlockMeta>]> {
        self.tenant(tenant).map(|blocks| Arc::clone(&blocks.live)).unwrap_or_default()
    }

    /// Everything known of a tenant; `None` if it has no blocks.
    pub fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantBlocks>> {
        self.inner.snapshot.borrow().tenants.get(tenant).cloned()
    }

    /// Lists a block that this process has just written to the backend.
    pub fn add(&self, meta: Arc<BlockMeta>) {
        let mut added = self.inner.added.lock();
        let sequence = added.next_sequence;
        added.next_sequence += 1;
        let block = AddedBlock { meta: Arc::clone(&meta), sequence, at: Timestamp::now() };
        added.blocks.entry(meta.tenant.clone()).or_default().insert(meta.block_id, block);

        self.inner.snapshot.send_modify(|snapshot| {
            let blocks = Arc::make_mut(snapshot).tenants.entry(meta.tenant.clone()).or_default();
            let blocks = Arc::make_mut(blocks);
            blocks.live = with_block(&blocks.live, meta);
        });
    }

    /// To be called before a listing begins.
    pub(crate) fn listing_starts(&self) -> ListingStart {
        ListingStart(self.inner.added.lock().next_sequence)
    }

    /// Takes over what a poll found of one tenant, and returns what is listed now.
    pub(crate) fn replace(
        &self,
        tenant: &TenantId,
        mut found: TenantBlocks,
        source: Source,
    ) -> Arc<TenantBlocks> {
        let mut added = self.inner.added.lock();
        if let Some(blocks) = added.blocks.get_mut(tenant) {
            blocks.retain(|block_id, block| !found.shows(*block_id) && !source.could_have_seen(block));
            for block in blocks.values() {
                found.live = with_block(&found.live, Arc::clone(&block.meta));
            }
            if blocks.is_empty() {
                added.blocks.remove(tenant);
            }
        }
        let found = Arc::new(found);
        let is_empty = *found == TenantBlocks::default();
        self.inner.snapshot.send_if_modified(|snapshot| {
            let old = snapshot.tenants.get(tenant);
            let is_same = old.map_or(is_empty, |old| *old == found);
            if is_same {
                return false;
            }
            let tenants = &mut Arc::make_mut(snapshot).tenants;
            if is_empty {
                tenants.remove(tenant);
            } else {
                tenants.insert(tenant.clone(), Arc::clone(&found));
            }
            true
        });
        found
    }

    /// A poll went through the tenants.
    pub(crate) fn poll_ended(&self, now: Timestamp) {
        let _locked = self.inner.added.lock();
        self.inner.snapshot.send_modify(|snapshot| Arc::make_mut(snapshot).last_poll = Some(now));
    }
}

impl Default for Blocklist {
    fn default() -> Blocklist {
        Blocklist::new()
    }
}

impl Snapshot {
    /// When the last poll ended that refreshed at least one tenant, or found that there are none; `None` before the
    /// first, when an empty list says nothing.
    pub fn last_poll(&self) -> Option<Timestamp> {
        self.last_poll
    }

    /// All tenants that have blocks, sorted.
    pub fn tenants(&self) -> impl Iterator<Item = (&TenantId, &Arc<TenantBlocks>)> {
        self.tenants.iter()
    }

    pub fn tenant(&self, tenant: &TenantId) -> Option<&Arc<TenantBlocks>> {
        self.tenants.get(tenant)
    }
}

impl TenantBlocks {
    /// The live block of this id.
    pub fn get_live(&self, block_id: BlockId) -> Option<&Arc<BlockMeta>> {
        let at = self.live.binary_search_by_key(&block_id, |meta| meta.block_id).ok()?;
        self.live.get(at)
    }

    /// The compacted block of this id.
    pub fn get_compacted(&self, block_id: BlockId) -> Option<&CompactedBlockMeta> {
        let at = self.compacted.binary_search_by_key(&block_id, |block| block.meta.block_id).ok()?;
        self.compacted.get(at)
    }

    fn shows(&self, block_id: BlockId) -> bool {
        self.get_live(block_id).is_some() || self.get_compacted(block_id).is_some()
    }
}

impl Source {
    /// True if the absence of the block in this poll means that it is gone.
    fn could_have_seen(self, block: &AddedBlock) -> bool {
        match self {
            Source::Listing(ListingStart(sequence)) => block.sequence < sequence,
            Source::Index { created_at, slack } => {
                Duration::try_from(created_at.duration_since(block.at)).is_ok_and(|later| later > slack)
            }
        }
    }
}

/// The list with one more block at its place; a block that is there already is replaced.
fn with_block(live: &[Arc<BlockMeta>], meta: Arc<BlockMeta>) -> Arc<[Arc<BlockMeta>]> {
    let mut live = live.to_vec();
    match live.binary_search_by_key(&meta.block_id, |meta| meta.block_id) {
        Ok(at) => drop(live.splice(at..=at, [meta])),
        Err(at) => live.insert(at, meta),
    }
    live.into()
}

#[cfg(test)]
mod tests;
