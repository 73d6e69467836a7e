//! From a block on local disk to the backend, and only then out of the WAL; and the loop that drives all of it.
//!
//! The order is the durability argument: (1) data, sidecar, blooms, index and `meta.json` last are written and read back
//! by `Backend::write_block`; (2) the blocklist shows the block; (3) the WAL releases it; (4) later, when queries find the
//! block in the blocklist, the local copy goes. A failure before (3) leaves the spans in the WAL and is tried again for
//! ever, with back-off. A head that cannot be encoded is quarantined: reported, its WAL records kept, never deleted.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use display_error_chain::DisplayErrorChain;
use futures::future::join_all;
use rand::Rng;
use tempo_backend::{BlockFiles, WriteBlockError};
use tempo_model::{BlockId, TenantId, WaitKind};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    complete::list_block_files,
    cut::CutReason,
    head::{Durability, Head},
    instance::{Append, Instance, LocalBlock},
    open::{Ingester, Shared},
};

/// Tries to make a block of a head that fails for a reason that may pass (a full disk) before it is reported again.
const COMPLETE_RETRY: Duration = Duration::from_secs(5);

/// How long an upload may go on after the stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What `/flush` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// Blocks that were pending at the call and are in the backend now; empty unless the caller waited.
    pub flushed: Vec<BlockId>,
    /// Blocks that could not be made, with the reason. Their spans are safe in the WAL.
    pub quarantined: Vec<(BlockId, String)>,
}

/// Why a flush could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    #[error("tenant {0} has no data in this ingester")]
    UnknownTenant(TenantId),
    #[error("the ingester stopped before everything was flushed")]
    Stopped,
}

impl Ingester {
    /// Seals every head (of one tenant, or of all) and starts writing it out; with `wait`, returns when everything that
    /// was present at the call is in the backend or quarantined.
    pub async fn flush(&self, tenant: Option<&TenantId>, wait: bool) -> Result<FlushReport, FlushError> {
        let instances = match tenant {
            Some(tenant) => {
                let known = self.shared.instances.read().get(tenant).cloned();
                vec![known.ok_or_else(|| FlushError::UnknownTenant(tenant.clone()))?]
            }
            None => self.shared.all_instances(),
        };
        let mut pending = Vec::new();
        for instance in instances {
            let mut append = self.shared.order(&instance).await;
            self.shared.seal(&instance, &mut append, None, CutReason::Asked);
            drop(append);
            pending.extend(instance.pending());
        }
        self.shared.wake.notify_one();
        if !wait {
            return Ok(FlushReport::default());
        }
        let settled = join_all(pending.into_iter().map(|(block, state)| settle(block, state)));
        let settled = tokio::select! {
            settled = settled => settled,
            () = self.shared.stopped.cancelled() => return Err(FlushError::Stopped),
        };
        let mut report = FlushReport::default();
        for (block, state) in settled {
            match state {
                Some(Durability::Backend) => report.flushed.push(block),
                Some(Durability::Quarantined(reason)) => report.quarantined.push((block, reason)),
                Some(Durability::Wal) | None => return Err(FlushError::Stopped),
            }
        }
        Ok(report)
    }

    /// Drives cutting, completing and flushing until `stop`; then flushes everything if so configured, syncs and closes
    /// the WAL. What is not flushed by then is in the WAL and comes back at the next start.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RunError> {
        let shared = &self.shared;
        let mut tasks = JoinSet::new();
        let mut checks = JoinSet::new();
        let mut last_flush = JoinSet::new();
        // Ends the tasks: later than `stop`, if everything is flushed first.
        let abort = CancellationToken::new();
        let mut tick = tokio::time::interval(shared.settings.check_period);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled(), if last_flush.is_empty() => {
                    if !shared.settings.flush_on_stop {
                        break;
                    }
                    let ingester = self.clone();
                    last_flush.spawn(async move { ingester.drain().await });
                    continue;
                }
                Some(flushed) = last_flush.join_next() => {
                    if let Ok(Err(error)) = flushed {
                        warn!(%error, "could not flush everything before the stop");
                    }
                    break;
                }
                // On its own, since it waits for its turn among pushes, and they wait for what this loop drives.
                _ = tick.tick(), if checks.is_empty() => {
                    let checked = Arc::clone(shared);
                    checks.spawn(async move { checked.check().await });
                    continue;
                }
                Some(ended) = checks.join_next() => {
                    if let Err(error) = ended {
                        return Err(RunError::TaskPanicked(error));
                    }
                }
                () = shared.wake.notified() => {}
                () = shared.shutdown_asked.notified() => {
                    tasks.spawn(shared.track("ingester: shutdown", drain_and_stop(self.clone())));
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        return Err(RunError::TaskPanicked(error));
                    }
                    shared.metrics.queue_length(tasks.len());
                    continue;
                }
            }
            for instance in shared.all_instances() {
                for head in instance.take_sealed() {
                    let job = Job {
                        shared: Arc::clone(shared),
                        instance: Arc::clone(&instance),
                        stop: abort.clone(),
                    };
                    tasks.spawn(shared.track("ingester: head to block", job.write_head(head)));
                }
                for block in instance.take_unflushed() {
                    let job = Job {
                        shared: Arc::clone(shared),
                        instance: Arc::clone(&instance),
                        stop: abort.clone(),
                    };
                    tasks.spawn(shared.track("ingester: block to backend", job.write_block(block)));
                }
            }
            shared.metrics.queue_length(tasks.len());
        }
        shared.is_read_only.store(true, Ordering::Release);
        abort.cancel();
        shared.stopped.cancel();
        // Whatever it leaves undone is done at the next start.
        checks.shutdown().await;
        while tasks.join_next().await.is_some() {}
        shared.wal.clone().close().await;
        Ok(())
    }

    /// Refuses pushes from now on and flushes everything; what `/shutdown` does before it ends the process.
    pub async fn drain(&self) -> Result<FlushReport, FlushError> {
        self.shared.is_read_only.store(true, Ordering::Release);
        self.flush(None, true).await
    }
}

/// Why a block did not reach the backend.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    #[error("list the block's files on local disk")]
    List(#[source] std::io::Error),
    #[error("write the block to the backend")]
    Write(#[from] WriteBlockError),
    #[error("write the block to the backend: no end after {0:?}")]
    TimedOut(Duration),
    #[error("release the block from the WAL")]
    Release(#[from] tempo_wal::AppendError),
}

impl UploadError {
    /// The files on local disk are broken: no further try can help.
    fn is_local(&self) -> bool {
        match self {
            UploadError::Write(WriteBlockError::LocalFile { path: _, problem: _ }) => true,
            UploadError::List(error) => error.kind() == std::io::ErrorKind::NotFound,
            UploadError::Write(
                WriteBlockError::Store(_) | WriteBlockError::NotAsWritten { key: _, problem: _ },
            )
            | UploadError::TimedOut(_)
            | UploadError::Release(_) => false,
        }
    }
}

/// Why the ingester's loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("a flush task panicked")]
    TaskPanicked(#[source] tokio::task::JoinError),
}

impl Shared {
    /// Seals the active head under the order that the caller holds.
    pub(crate) fn seal(
        &self,
        instance: &Instance,
        append: &mut Append,
        slot: Option<tokio::sync::OwnedSemaphorePermit>,
        reason: CutReason,
    ) {
        if instance.seal(append, slot, Instant::now()) {
            self.metrics.head_cut(reason);
            self.wake.notify_one();
        }
    }

    /// One round of housekeeping: live traces end, old heads are cut, the WAL and memory are kept in bounds, local
    /// copies of flushed blocks go, idle tenants are forgotten.
    async fn check(&self) {
        let now = Instant::now();
        let mut heads = Vec::new();
        let (mut total, mut sealed, mut sealed_bytes) = (0, 0, 0);
        for instance in self.all_instances() {
            let mut append = self.order(&instance).await;
            let last_cut = append.last_cut;
            append.live.expire(now, self.settings.trace_idle, self.settings.trace_live, last_cut);
            self.metrics.live(&instance.tenant, append.live.live_count(), append.live.live_bytes());
            let size = instance.head_size(&append, now);
            match self.settings.cut.decide(size) {
                // Without a free place it stays full: that is what turns pushes away.
                Some(reason @ CutReason::Full) => {
                    if let Ok(slot) = Arc::clone(&self.sealed_slots).try_acquire_owned() {
                        self.seal(&instance, &mut append, Some(slot), reason);
                    }
                }
                Some(reason) => self.seal(&instance, &mut append, None, reason),
                None => {}
            }
            drop(append);
            self.drop_flushed_blocks(&instance, now).await;
            let snapshot = instance.snapshot();
            let active_bytes = snapshot.heads.first().map_or(0, |head| head.memory_bytes());
            let all_bytes: usize = snapshot.heads.iter().map(|head| head.memory_bytes()).sum();
            total += all_bytes;
            sealed += snapshot.heads.len() - 1;
            sealed_bytes += all_bytes.saturating_sub(active_bytes);
            heads.push((active_bytes, instance.tenant.clone()));
        }
        self.head_memory.store(total, Ordering::Relaxed);
        self.metrics.heads(total, sealed);
        // Sealed heads are on their way out of memory already.
        let excess_bytes = total.saturating_sub(self.settings.max_memory_bytes).saturating_sub(sealed_bytes);
        self.relieve_memory(heads, excess_bytes).await;
        if self.wal.disk_bytes() > self.settings.wal_max_bytes {
            self.relieve_wal().await;
        }
        self.forget_idle_tenants();
    }

    async fn seal_tenant(&self, tenant: &TenantId, reason: CutReason) {
        let instance = self.instances.read().get(tenant).cloned();
        if let Some(instance) = instance {
            let mut append = self.order(&instance).await;
            self.seal(&instance, &mut append, None, reason);
        }
    }

    /// Cuts the largest heads, as many as it takes to free this much.
    async fn relieve_memory(&self, mut heads: Vec<(usize, TenantId)>, mut excess_bytes: usize) {
        heads.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, tenant) in heads {
            if excess_bytes == 0 {
                break;
            }
            self.seal_tenant(&tenant, CutReason::MemoryShort).await;
            excess_bytes = excess_bytes.saturating_sub(bytes);
        }
    }

    /// Cuts the heads that keep the oldest segment from being deleted.
    async fn relieve_wal(&self) {
        let oldest: HashSet<BlockId> = self.wal.oldest_blocks().into_iter().collect();
        for instance in self.all_instances() {
            if oldest.contains(&instance.active().block) {
                self.seal_tenant(&instance.tenant, CutReason::WalFull).await;
            }
        }
    }

    /// Removes local copies of blocks that were flushed long enough ago.
    async fn drop_flushed_blocks(&self, instance: &Instance, now: Instant) {
        for block in instance.snapshot().blocks {
            let age = block.flushed_at.read().map(|at| now.duration_since(at));
            if age.is_some_and(|age| age >= self.settings.keep_local) {
                instance.remove_block(block.meta.block_id);
                let dir = self.local_block_dir(&instance.tenant, block.meta.block_id);
                let removed = tokio::task::spawn_blocking(move || remove_local_block(&dir)).await;
                if let Ok(Err(error)) = removed {
                    warn!(
                        tenant = %instance.tenant, block = %block.meta.block_id, %error,
                        "could not remove the local copy of a flushed block"
                    );
                }
            }
        }
    }

    fn forget_idle_tenants(&self) {
        let mut instances = self.instances.write();
        instances.retain(|tenant, instance| {
            // Nobody else holds the instance and nothing counts: a later push makes a new one.
            let is_idle = Arc::strong_count(instance) == 1
                && instance.is_idle()
                && instance
                    .append
                    .try_lock()
                    .is_ok_and(|append| append.live.is_empty() && append.received_bytes == 0);
            if is_idle {
                self.metrics.tenant_is_gone(tenant);
            }
            !is_idle
        });
    }
}

/// The work on one head or block; owned by the ingester's task set.
struct Job {
    shared: Arc<Shared>,
    instance: Arc<Instance>,
    stop: CancellationToken,
}

impl Job {
    async fn write_head(self, head: Arc<Head>) {
        if head.is_empty() {
            return self.forget_empty(&head).await;
        }
        let meta = loop {
            let asked = Instant::now();
            let Ok(slot) = self.shared.encoders.acquire().await else { return };
            self.shared.waits.observe(WaitKind::Queue, "ingester: turn to encode a block", asked.elapsed());
            if self.stop.is_cancelled() {
                return;
            }
            let completed = self.shared.complete(&self.instance, &head).await;
            // Others take their turn while this one pauses.
            drop(slot);
            match completed {
                Ok(meta) => break meta,
                Err(error) if error.is_retryable() => {
                    warn!(error = %DisplayErrorChain::new(&error), "could not complete a block, trying again");
                }
                Err(error) => {
                    error!(
                        tenant = %self.instance.tenant, block = %head.block, error = %DisplayErrorChain::new(&error),
                        "quarantined a block that could not be made, its spans stay in the WAL"
                    );
                    self.shared.metrics.block_quarantined();
                    self.leave_memory(&head);
                    self.instance.drop_sealed(&head);
                    head.durability.send_replace(Durability::Quarantined(error.to_string()));
                    return;
                }
            }
            if self.pause(COMPLETE_RETRY).await.is_none() {
                return;
            }
        };
        let block = Arc::new(LocalBlock::made_by_task(meta, &head));
        self.leave_memory(&head);
        self.instance.replace_by_block(&head, Arc::clone(&block));
        drop(head);
        self.write_block(block).await;
    }

    fn leave_memory(&self, head: &Head) {
        let bytes = head.memory_bytes();
        let subtract = |all: usize| Some(all.saturating_sub(bytes));
        self.shared.head_memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract).ok();
    }

    /// All that the WAL has for this head was refused: nothing of it was acknowledged, and no block will ever be made.
    async fn forget_empty(&self, head: &Head) {
        for id in &head.wal_blocks {
            if let Err(error) = self.shared.wal.release(*id).await {
                warn!(block = %id, error = %DisplayErrorChain::new(&error), "could not release an empty head from the WAL");
            }
        }
        self.instance.drop_sealed(head);
        head.durability.send_replace(Durability::Backend);
    }

    async fn write_block(self, block: Arc<LocalBlock>) {
        let mut backoff = self.shared.settings.retry_min;
        let mut is_retry = false;
        loop {
            let Some(uploaded) = self.until_stop(self.upload(&block)).await else { return };
            let Err(error) = uploaded else { break };
            self.shared.metrics.flush_failed(is_retry);
            if error.is_local() {
                self.quarantine(&block, &error);
                return;
            }
            is_retry = true;
            self.shared.drain.flush_failed(DisplayErrorChain::new(&error).to_string());
            warn!(
                tenant = %self.instance.tenant, block = %block.meta.block_id, retry_in = ?backoff,
                error = %DisplayErrorChain::new(&error), "could not flush a block"
            );
            if self.pause(backoff).await.is_none() {
                return;
            }
            backoff = (backoff * 2).min(self.shared.settings.retry_max);
        }
        self.shared.drain.flush_succeeded();
        *block.flushed_at.write() = Some(Instant::now());
        block.durability.send_replace(Durability::Backend);
    }

    /// Puts a block aside whose files on local disk are broken. The WAL keeps its spans: the next start makes a new
    /// block of them.
    fn quarantine(&self, block: &LocalBlock, error: &UploadError) {
        let tenant = &self.instance.tenant;
        let dir = self.shared.local_block_dir(tenant, block.meta.block_id);
        let aside = self.shared.quarantine_dir(tenant, block.meta.block_id);
        let moved = aside
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::rename(&dir, &aside));
        if let Err(error) = moved {
            warn!(dir = %dir.display(), %error, "could not put a broken block aside");
        }
        error!(
            %tenant, block = %block.meta.block_id, dir = %aside.display(), error = %DisplayErrorChain::new(error),
            "quarantined a block whose files are broken, its spans stay in the WAL"
        );
        self.shared.metrics.block_quarantined();
        self.instance.remove_block(block.meta.block_id);
        block.durability.send_replace(Durability::Quarantined(error.to_string()));
    }

    async fn upload(&self, block: &LocalBlock) -> Result<(), UploadError> {
        let asked = Instant::now();
        let Ok(_slot) = self.shared.uploads.acquire().await else { return Ok(()) };
        let started = Instant::now();
        self.shared.waits.observe(WaitKind::Queue, "ingester: turn to flush a block", started - asked);
        let meta = &block.meta;
        let dir = self.shared.local_block_dir(&self.instance.tenant, meta.block_id);
        let files = BlockFiles { objects: list_block_files(&dir).map_err(UploadError::List)?, dir };
        tokio::time::timeout(
            self.shared.settings.upload_timeout,
            self.shared.backend.write_block(meta, &files),
        )
        .await
        .map_err(|_| UploadError::TimedOut(self.shared.settings.upload_timeout))??;
        self.shared.blocklist.add(Arc::clone(meta));
        // From here on queries find the block in the blocklist, which they look at after they asked us.
        block.is_listed.store(true, Ordering::Release);
        for id in &block.wal_blocks {
            if self.shared.pieces.is_last(*id, meta.block_id) {
                self.shared.wal.release(*id).await?;
            }
        }
        self.shared.metrics.flushed(started.elapsed(), meta.size);
        info!(
            tenant = %self.instance.tenant, block = %meta.block_id, traces = meta.total_objects,
            size_bytes = meta.size, "flushed block"
        );
        Ok(())
    }

    /// Lets what was begun before a stop come to its end, but not for long: a backend may never answer, and what is not
    /// flushed now is flushed after the next start.
    async fn until_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_GRACE).await;
        };
        tokio::select! {
            done = work => Some(done),
            () = too_late => None,
        }
    }

    /// Waits with jitter; `None` when the ingester stops.
    async fn pause(&self, duration: Duration) -> Option<()> {
        let jittered = duration.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = tokio::time::sleep(jittered) => Some(()),
        }
    }
}

/// Removes a block's folder, and the tenant's if it was the last in it.
fn remove_local_block(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(dir)?;
    if let Some(tenant_dir) = dir.parent() {
        // Fails unless it is empty. A block that is begun there just now is tried again.
        std::fs::remove_dir(tenant_dir).ok();
    }
    Ok(())
}

/// What `/shutdown` promises: everything flushed, then the process ends.
async fn drain_and_stop(ingester: Ingester) {
    match ingester.drain().await {
        Ok(report) => {
            info!(blocks = report.flushed.len(), "flushed everything, stopping the process as asked")
        }
        Err(error) => warn!(%error, "could not flush everything before the stop"),
    }
    ingester.shared.stop_process.cancel();
}

/// Waits until a block is in the backend or quarantined; `None` when nobody works on it any more.
async fn settle(block: BlockId, mut state: watch::Receiver<Durability>) -> (BlockId, Option<Durability>) {
    let settled = state.wait_for(|state| *state != Durability::Wal).await.map(|state| state.clone()).ok();
    (block, settled)
}
