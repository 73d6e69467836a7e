//! One tenant's state in this ingester: its active head, the sealed ones, and its blocks on local disk.
//!
//! Two locks: `append` gives pushes their order (WAL position and head row must agree) and is held across the head's
//! append; `places` is held for a few lines by whoever reads or moves a head. A trace is in some place at every moment:
//! a head leaves its list only in the same step in which its block enters the next.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::RwLock;
use tempo_backend::BlockMeta;
use tempo_model::{BlockId, TenantId};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, watch},
    time::Instant,
};

use crate::{
    cut::HeadSize,
    head::{Durability, Head},
    limits::LiveTraces,
};

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) tenant: TenantId,
    pub(crate) append: Mutex<Append>,
    places: RwLock<Places>,
}

/// What only the push that holds the order may touch.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) live: LiveTraces,
    /// OTLP bytes in the active head.
    pub(crate) received_bytes: u64,
    pub(crate) last_cut: Instant,
}

#[derive(Debug)]
struct Places {
    active: Arc<Head>,
    /// Oldest first; memory is held until the block is on local disk.
    sealed: Vec<Sealed>,
    blocks: Vec<Arc<LocalBlock>>,
}

#[derive(Debug)]
struct Sealed {
    head: Arc<Head>,
    is_taken: bool,
    /// Returned when the head leaves memory; replayed heads have none.
    _slot: Option<OwnedSemaphorePermit>,
}

/// A complete block on local disk. It stays readable here until the blocklist shows it.
#[derive(Debug)]
pub(crate) struct LocalBlock {
    pub(crate) meta: Arc<BlockMeta>,
    pub(crate) wal_blocks: Vec<BlockId>,
    pub(crate) durability: watch::Sender<Durability>,
    /// When the block was verified in the backend.
    pub(crate) flushed_at: RwLock<Option<Instant>>,
    /// Queries find the block in the blocklist by now and need not look here.
    pub(crate) is_listed: AtomicBool,
    /// A task flushes it.
    is_taken: AtomicBool,
}

impl LocalBlock {
    /// A block that the task which made it goes on to flush.
    pub(crate) fn made_by_task(meta: Arc<BlockMeta>, head: &Head) -> LocalBlock {
        LocalBlock {
            meta,
            wal_blocks: head.wal_blocks.clone(),
            durability: head.durability.clone(),
            flushed_at: RwLock::new(None),
            is_listed: AtomicBool::new(false),
            is_taken: AtomicBool::new(true),
        }
    }

    /// A block made during replay; a task flushes it later.
    pub(crate) fn left_to_flush(meta: Arc<BlockMeta>, head: &Head) -> LocalBlock {
        LocalBlock { is_taken: AtomicBool::new(false), ..LocalBlock::made_by_task(meta, head) }
    }

    /// A complete block that the last process left on disk.
    pub(crate) fn adopted(meta: BlockMeta) -> LocalBlock {
        LocalBlock {
            wal_blocks: vec![meta.block_id],
            meta: Arc::new(meta),
            durability: watch::Sender::new(Durability::Wal),
            flushed_at: RwLock::new(None),
            is_listed: AtomicBool::new(false),
            is_taken: AtomicBool::new(false),
        }
    }
}

/// Everything of a tenant that a query must look at; the parts stay alive while the query holds them.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) heads: Vec<Arc<Head>>,
    pub(crate) blocks: Vec<Arc<LocalBlock>>,
}

impl Instance {
    pub(crate) fn new(tenant: TenantId, now: Instant) -> Instance {
        Instance {
            tenant,
            append: Mutex::new(Append { live: LiveTraces::default(), received_bytes: 0, last_cut: now }),
            places: RwLock::new(Places {
                active: Arc::new(Head::fresh(now)),
                sealed: Vec::new(),
                blocks: Vec::new(),
            }),
        }
    }

    pub(crate) fn active(&self) -> Arc<Head> {
        Arc::clone(&self.places.read().active)
    }

    /// The active head's size, for the cut policy.
    pub(crate) fn head_size(&self, append: &Append, now: Instant) -> HeadSize {
        let head = self.active();
        HeadSize {
            memory_bytes: head.memory_bytes(),
            received_bytes: append.received_bytes,
            age: now.duration_since(head.created),
        }
    }

    /// Replaces the active head by a fresh one, unless nothing was received for it. The caller holds the order.
    pub(crate) fn seal(&self, append: &mut Append, slot: Option<OwnedSemaphorePermit>, now: Instant) -> bool {
        let mut places = self.places.write();
        if places.active.is_empty() && append.received_bytes == 0 {
            return false;
        }
        let head = std::mem::replace(&mut places.active, Arc::new(Head::fresh(now)));
        places.sealed.push(Sealed { head, is_taken: false, _slot: slot });
        append.received_bytes = 0;
        append.last_cut = now;
        true
    }

    /// Adds a head that came from the WAL at start.
    pub(crate) fn add_replayed(&self, head: Arc<Head>) {
        self.places.write().sealed.push(Sealed { head, is_taken: false, _slot: None });
    }

    /// Adds a block that was complete on local disk at start.
    pub(crate) fn add_block(&self, block: Arc<LocalBlock>) {
        self.places.write().blocks.push(block);
    }

    /// Sealed heads that nobody works on yet; the caller now does.
    pub(crate) fn take_sealed(&self) -> Vec<Arc<Head>> {
        let mut places = self.places.write();
        let free = places.sealed.iter_mut().filter(|sealed| !sealed.is_taken);
        free.map(|sealed| {
            sealed.is_taken = true;
            Arc::clone(&sealed.head)
        })
        .collect()
    }

    /// Blocks on local disk that nobody flushes yet; the caller now does.
    pub(crate) fn take_unflushed(&self) -> Vec<Arc<LocalBlock>> {
        let blocks = self.places.read().blocks.clone();
        blocks.into_iter().filter(|block| !block.is_taken.swap(true, Ordering::Relaxed)).collect()
    }

    /// The sealed head became a block on local disk: one step, so that no query misses it.
    pub(crate) fn replace_by_block(&self, head: &Head, block: Arc<LocalBlock>) {
        let mut places = self.places.write();
        places.blocks.push(block);
        places.sealed.retain(|sealed| sealed.head.block != head.block);
    }

    /// Lets go of a sealed head of which no block is made.
    pub(crate) fn drop_sealed(&self, head: &Head) {
        self.places.write().sealed.retain(|sealed| sealed.head.block != head.block);
    }

    pub(crate) fn remove_block(&self, block: BlockId) {
        self.places.write().blocks.retain(|b| b.meta.block_id != block);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let places = self.places.read();
        let sealed = places.sealed.iter().map(|sealed| Arc::clone(&sealed.head));
        Snapshot {
            heads: std::iter::once(Arc::clone(&places.active)).chain(sealed).collect(),
            blocks: places.blocks.clone(),
        }
    }

    /// Watches on everything sealed that is not in the backend yet.
    pub(crate) fn pending(&self) -> Vec<(BlockId, watch::Receiver<Durability>)> {
        let places = self.places.read();
        let heads = places.sealed.iter().map(|s| (s.head.block, s.head.durability.subscribe()));
        let blocks = places.blocks.iter().map(|b| (b.meta.block_id, b.durability.subscribe()));
        heads.chain(blocks).filter(|(_, state)| *state.borrow() != Durability::Backend).collect()
    }

    /// The WAL's names of everything here that is not in the backend.
    pub(crate) fn unflushed_wal_blocks(&self) -> HashSet<BlockId> {
        let places = self.places.read();
        let active = Some(&places.active).filter(|head| !head.is_empty());
        let heads = active.into_iter().chain(places.sealed.iter().map(|sealed| &sealed.head));
        let heads = heads.flat_map(|head| &head.wal_blocks);
        let is_unflushed = |block: &&Arc<LocalBlock>| *block.durability.borrow() != Durability::Backend;
        let blocks = places.blocks.iter().filter(is_unflushed).flat_map(|block| &block.wal_blocks);
        heads.chain(blocks).copied().collect()
    }

    /// Nothing in memory, nothing on disk, nothing that counts: the instance may be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        let places = self.places.read();
        places.sealed.is_empty() && places.blocks.is_empty() && places.active.is_empty()
    }
}
