//! A head: one tenant's newest spans as columns in memory, readable while they grow.
//!
//! The head gets its block id at birth; WAL records name it, and so does the block it becomes. After sealing nobody
//! writes to it, so the encoder and queries share it without waiting for each other.

use parking_lot::RwLock;
use tempo_block::SpanColumns;
use tempo_model::BlockId;
use tokio::{sync::watch, time::Instant};

/// Where a head's spans are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Durability {
    /// In the WAL only (and in memory or in a block on local disk).
    Wal,
    /// In a verified block in the backend; the WAL has let go of them.
    Backend,
    /// The block could not be made or is broken: the WAL keeps the spans until a human looks.
    Quarantined(String),
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) block: BlockId,
    /// The ids under which the WAL knows these spans: its own, or after a replay the ids of the heads it replaces.
    pub(crate) wal_blocks: Vec<BlockId>,
    pub(crate) created: Instant,
    pub(crate) columns: RwLock<SpanColumns>,
    pub(crate) durability: watch::Sender<Durability>,
}

impl Head {
    pub(crate) fn new(block: BlockId, wal_blocks: Vec<BlockId>, created: Instant) -> Head {
        Head {
            block,
            wal_blocks,
            created,
            columns: RwLock::new(SpanColumns::new()),
            durability: watch::Sender::new(Durability::Wal),
        }
    }

    /// A head for new spans.
    pub(crate) fn fresh(now: Instant) -> Head {
        let block = BlockId::random();
        Head::new(block, vec![block], now)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.read().span_count() == 0
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.columns.read().bytes()
    }
}
