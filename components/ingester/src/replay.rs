//! What happens at start with what the last process left behind.
//!
//! 1. Complete blocks on local disk that the backend lacks are taken over and flushed. Copies of blocks that it has are
//!    removed, and so are incomplete ones: the WAL has their spans.
//! 2. WAL records of blocks that are in the backend, or complete on local disk, are not replayed (and released).
//! 3. All other records go into heads again, under their old block id. When these heads outgrow `replay_memory_bytes`, the
//!    largest becomes a block on the spot, under an id of its own, and the rest of its records a further piece; the WAL
//!    releases the old id when every piece is in the backend. So memory stays bounded whatever the WAL's size.
//!
//! A crash in here loses nothing: the WAL is only read. Pieces may be written twice then, which queries and compaction
//! remove as duplicates.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use display_error_chain::DisplayErrorChain;
use parking_lot::Mutex;
use tempo_backend::{Backend, BlockMeta, keys};
use tempo_model::{BlockId, PushBatch, TenantId};
use tempo_wal::{Record, Recovery};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    complete::CompleteError,
    head::Head,
    instance::LocalBlock,
    open::{OpenError, Shared},
};

/// Which blocks still have to reach the backend before the WAL may forget a replayed head. Heads that were not split
/// have no entry.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<HashMap<BlockId, HashSet<BlockId>>>);

impl Pieces {
    fn add(&self, wal_block: BlockId, piece: BlockId) {
        self.0.lock().entry(wal_block).or_default().insert(piece);
    }

    /// Notes that `piece` is durable; true when nothing else of `wal_block` is outstanding. May be asked again.
    pub(crate) fn is_last(&self, wal_block: BlockId, piece: BlockId) -> bool {
        let mut pieces = self.0.lock();
        let Some(outstanding) = pieces.get_mut(&wal_block) else { return true };
        outstanding.remove(&piece);
        outstanding.is_empty()
    }
}

/// Whether a block outlives the WAL's records of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
    /// The backend did not answer. The block may be there and in use, so its id is not used again.
    Unknown,
}

/// How long the backend may take for an answer while the whole process waits for it.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Which blocks are durable. The backend is asked once per block, and not at all once it has failed to answer: a
/// bucket that is away must not keep the process from taking spans.
#[derive(Debug, Default)]
struct DurableBlocks {
    known: HashMap<BlockId, Durable>,
    is_backend_away: bool,
}

impl DurableBlocks {
    async fn ask(&mut self, backend: &Backend, tenant: &TenantId, block: BlockId) -> Durable {
        if self.is_backend_away {
            return Durable::Unknown;
        }
        let problem = match tokio::time::timeout(ASK_LIMIT, backend.has_block(tenant, block)).await {
            Ok(Ok(true)) => return Durable::Yes,
            Ok(Ok(false)) => return Durable::No,
            Ok(Err(error)) => DisplayErrorChain::new(&error).to_string(),
            Err(_) => format!("no answer within {ASK_LIMIT:?}"),
        };
        // Better a duplicate, which queries remove, than a process that does not start.
        warn!(%block, error = problem, "could not ask the backend for a block, replaying without it");
        self.is_backend_away = true;
        Durable::Unknown
    }
}

/// What a start found.
#[derive(Debug, Default)]
struct Replayed {
    records: u64,
    skipped: u64,
    damaged: u64,
}

impl Shared {
    /// Takes over what the last process left; returns when every span of it is readable.
    pub(crate) async fn recover(&self, mut recovery: Recovery) -> Result<(), OpenError> {
        let started = Instant::now();
        let mut durable = self.adopt_local_blocks().await?;
        let mut heads: BTreeMap<(TenantId, BlockId), Arc<Head>> = BTreeMap::new();
        let mut total_bytes = 0;
        let mut split: HashSet<BlockId> = HashSet::new();
        let mut replayed = Replayed::default();
        loop {
            let next = tokio::task::block_in_place(|| recovery.next());
            let record = match next {
                None => break,
                Some(Ok(record)) => record,
                Some(Err(issue)) => {
                    replayed.damaged += 1;
                    self.metrics.replay_failed("unknown");
                    warn!(issue = %DisplayErrorChain::new(&issue), "could not replay a part of the WAL");
                    continue;
                }
            };
            if self.is_durable(&mut durable, &record).await == Durable::Yes {
                replayed.skipped += 1;
                continue;
            }
            let key = (record.tenant.clone(), record.block);
            let head = heads
                .entry(key)
                .or_insert_with(|| Arc::new(Head::new(record.block, vec![record.block], started)));
            let before = head.memory_bytes();
            self.replay_record(head, record);
            total_bytes += head.memory_bytes().saturating_sub(before);
            replayed.records += 1;
            while total_bytes > self.settings.replay_memory_bytes {
                let Some(key) = largest(&heads) else { break };
                if let Some(head) = heads.remove(&key) {
                    total_bytes = total_bytes.saturating_sub(head.memory_bytes());
                    split.insert(key.1);
                    self.write_piece(&key.0, &head).await?;
                }
            }
        }
        for ((tenant, block), head) in heads {
            if head.is_empty() {
                // Not one record could be read: the WAL keeps them for a human.
                warn!(%tenant, %block, "could not make a head of what the WAL has for a block");
                self.metrics.block_quarantined();
                continue;
            }
            let is_unknown = durable.known.get(&block).is_some_and(|durable| *durable == Durable::Unknown);
            let head = if is_unknown || split.contains(&block) { self.as_piece(block, &head) } else { head };
            self.instance(&tenant).add_replayed(head);
        }
        self.release_durable(durable).await;
        if replayed.records + replayed.skipped + replayed.damaged > 0 {
            info!(
                records = replayed.records, skipped = replayed.skipped, damaged = replayed.damaged,
                took = ?started.elapsed(), "replayed the WAL"
            );
        }
        Ok(())
    }

    fn replay_record(&self, head: &Head, record: Record) {
        let decoded = PushBatch::decode(record.payload).map_err(|error| error.to_string());
        let appended = decoded.and_then(|batch| {
            tokio::task::block_in_place(|| head.columns.write().append(&batch))
                .map_err(|error| error.to_string())
        });
        match appended {
            Ok(()) => self.metrics.record_replayed(),
            Err(problem) => {
                self.metrics.replay_failed(record.tenant.as_str());
                warn!(tenant = %record.tenant, block = %record.block, problem, "could not replay a WAL record");
            }
        }
    }

    /// Whether a record's block exists already.
    async fn is_durable(&self, durable: &mut DurableBlocks, record: &Record) -> Durable {
        if let Some(known) = durable.known.get(&record.block) {
            return *known;
        }
        let exists = durable.ask(&self.backend, &record.tenant, record.block).await;
        durable.known.insert(record.block, exists);
        exists
    }

    async fn release_durable(&self, durable: DurableBlocks) {
        let in_backend = durable.known.into_iter().filter(|(_, durable)| *durable == Durable::Yes);
        for (block, _) in in_backend {
            let is_local = self
                .all_instances()
                .iter()
                .any(|i| i.snapshot().blocks.iter().any(|b| b.meta.block_id == block));
            if is_local {
                continue;
            }
            if let Err(error) = self.wal.release(block).await {
                warn!(%block, error = %DisplayErrorChain::new(&error), "could not release a flushed block from the WAL");
            }
        }
    }

    /// Makes a block of a part of a replayed head, so that memory is free for the rest.
    async fn write_piece(&self, tenant: &TenantId, head: &Arc<Head>) -> Result<(), OpenError> {
        let instance = self.instance(tenant);
        let piece = self.as_piece(head.block, head);
        let complete = async { self.complete(&instance, &piece).await };
        let meta = complete.await.map_err(|error: CompleteError| OpenError::Replay(Box::new(error)))?;
        instance.add_block(Arc::new(LocalBlock::left_to_flush(meta, &piece)));
        Ok(())
    }

    /// The same columns under a block id of their own.
    fn as_piece(&self, wal_block: BlockId, head: &Head) -> Arc<Head> {
        let piece = Head::new(BlockId::random(), vec![wal_block], head.created);
        std::mem::swap(&mut *piece.columns.write(), &mut *head.columns.write());
        self.pieces.add(wal_block, piece.block);
        Arc::new(piece)
    }

    /// Looks through `<wal>/blocks`: complete blocks are kept to be flushed, the rest is removed.
    async fn adopt_local_blocks(&self) -> Result<DurableBlocks, OpenError> {
        let root = self.local_blocks_dir().to_owned();
        let found = tokio::task::block_in_place(|| scan_local_blocks(&root))
            .map_err(|error| OpenError::LocalBlocks(root.clone(), error))?;
        let mut durable = DurableBlocks::default();
        for (tenant, meta) in found {
            durable.known.insert(meta.block_id, Durable::Yes);
            if durable.ask(&self.backend, &tenant, meta.block_id).await == Durable::Yes {
                let dir = self.local_block_dir(&tenant, meta.block_id);
                fs::remove_dir_all(&dir).map_err(|error| OpenError::LocalBlocks(dir, error))?;
                continue;
            }
            info!(%tenant, block = %meta.block_id, "found a complete block on local disk");
            self.instance(&tenant).add_block(Arc::new(LocalBlock::adopted(meta)));
        }
        Ok(durable)
    }
}

fn largest(heads: &BTreeMap<(TenantId, BlockId), Arc<Head>>) -> Option<(TenantId, BlockId)> {
    heads.iter().max_by_key(|(_, head)| head.memory_bytes()).map(|(key, _)| key.clone())
}

/// Reads the folder of local blocks; removes leftovers of blocks that were not complete.
fn scan_local_blocks(root: &Path) -> io::Result<Vec<(TenantId, BlockMeta)>> {
    let mut found = Vec::new();
    for tenant_dir in read_dir_or_nothing(root)? {
        let name = tenant_dir.file_name();
        let Some(tenant) = name.to_str().and_then(|name| TenantId::parse(name).ok()) else { continue };
        for block_dir in read_dir_or_nothing(&tenant_dir.path())? {
            match read_complete_block(&block_dir.path()) {
                Some(meta) => found.push((tenant.clone(), meta)),
                None if block_dir.file_type()?.is_dir() => fs::remove_dir_all(block_dir.path())?,
                None => {}
            }
        }
    }
    Ok(found)
}

/// The block's meta, if everything it promises is there.
fn read_complete_block(dir: &Path) -> Option<BlockMeta> {
    let text = fs::read(dir.join(keys::META)).ok()?;
    let meta = BlockMeta::from_json(&text).ok()?;
    let data = fs::metadata(dir.join(keys::DATA)).ok()?;
    let is_named_so = dir.file_name().is_some_and(|name| name.to_str() == Some(&meta.block_id.to_string()));
    let mut others = (0..meta.bloom_shards).map(keys::bloom).chain([keys::INDEX.to_owned()]);
    let is_whole = data.len() == meta.size && others.all(|name| dir.join(name).is_file());
    (is_named_so && is_whole).then_some(meta)
}

fn read_dir_or_nothing(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        // A file that somebody else put there is no reason not to start.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
