//! The way in: limits per trace, then WAL and head in one order, then the wait for the sync.
//!
//! Invariant: whatever is in a head was enqueued in the WAL before, under that head's block id, and nobody is told
//! "stored" before the WAL has synced it. When memory or the WAL's queue is full the sender is told to come back;
//! nothing is dropped silently.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tempo_model::{PushBatch, TenantId, TraceId, WaitKind};
use tempo_wal::{Record, Ticket};
use tokio::{runtime::RuntimeFlavor, time::Instant};

use crate::{
    cut::CutReason,
    instance::{Append, Instance},
    limits::TraceLimits,
    open::{Ingester, Shared},
};

/// How long a push waits for a full head to find a place among the sealed ones before it is turned away.
const SEAL_PATIENCE: Duration = Duration::from_secs(2);

/// Batches up to this size are decoded on the spot; larger ones would keep a runtime worker from its other tasks.
const INLINE_BYTES: usize = 64 * 1024;

/// Why the spans of a trace were left out of an accepted push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscardReason {
    /// The trace is larger than `global.max_bytes_per_trace`.
    TraceTooLarge,
    /// The tenant has `ingestion.max_traces_per_user` live traces.
    LiveTracesExceeded,
}

/// Spans of one trace that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    pub trace_id: TraceId,
    pub spans: u32,
    pub reason: DiscardReason,
}

/// What became of an accepted push.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushOutcome {
    pub discarded: Vec<Discarded>,
}

/// Why a push was not acknowledged. None of its spans may be counted as stored.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("Ingester is shutting down")]
    ShuttingDown,
    /// Memory is full of spans that wait for their block; come back after the given time.
    #[error("ingester is busy: every head is waiting to be written, try again in {0:?}")]
    Busy(Duration),
    #[error("write spans to the WAL")]
    Wal(#[source] tempo_wal::AppendError),
    #[error("decode spans into the head")]
    Decode(#[source] tempo_block::AppendError),
}

impl Ingester {
    /// Takes a batch: logged, readable by id, and synced to disk when this returns.
    pub async fn push(&self, tenant: &TenantId, batch: PushBatch) -> Result<PushOutcome, PushError> {
        let shared = &self.shared;
        let patience = Instant::now() + SEAL_PATIENCE;
        let instance = shared.instance(tenant);
        let (ticket, discarded) = {
            let mut append = shared.order(&instance).await;
            // Under the order: a drain that has sealed this tenant's head misses nothing that comes later.
            if shared.is_read_only.load(Ordering::Acquire) || shared.drain.is_on() {
                return Err(PushError::ShuttingDown);
            }
            shared.make_room(&instance, &mut append, patience).await?;
            let now = Instant::now();
            let admission = append.live.admit(&batch, shared.trace_limits(tenant), now);
            shared.metrics.traces_created(tenant, admission.created);
            let batch = if admission.discarded.is_empty() {
                batch
            } else {
                // Both go through the traces in the batch's order, so one pass is enough however many are refused.
                let mut refused = admission.discarded.iter().map(|d| d.trace_id).peekable();
                batch.retain(|trace| refused.next_if_eq(&trace.trace_id).is_none())
            };
            let ticket =
                if batch.is_empty() { None } else { Some(shared.log(&instance, &mut append, &batch)?) };
            shared.metrics.bytes_received(tenant, batch.size_bytes());
            (ticket, admission.discarded)
        };
        if let Some(ticket) = ticket {
            let asked = Instant::now();
            let synced = ticket.synced().await;
            shared.waits.observe(WaitKind::Queue, "ingester: sync of the WAL", asked.elapsed());
            synced.map_err(push_error)?;
        }
        Ok(PushOutcome { discarded })
    }
}

impl Shared {
    /// Seals a full head; waits for a place among the sealed heads, but not for long: until `patience` ends, which
    /// began when the push came, so that pushes in a row do not wait for each other's patience.
    async fn make_room(
        &self,
        instance: &Instance,
        append: &mut Append,
        patience: Instant,
    ) -> Result<(), PushError> {
        if self.head_memory.load(Ordering::Relaxed) >= self.settings.refuse_memory_bytes {
            self.metrics.push_refused();
            return Err(PushError::Busy(SEAL_PATIENCE));
        }
        let size = instance.head_size(append, Instant::now());
        if !self.settings.cut.is_full(size) {
            return Ok(());
        }
        let asked = Instant::now();
        let slot = tokio::time::timeout_at(patience, Arc::clone(&self.sealed_slots).acquire_owned()).await;
        self.waits.observe(WaitKind::Queue, "ingester: place of a sealed head", asked.elapsed());
        let Ok(Ok(slot)) = slot else {
            self.metrics.push_refused();
            return Err(PushError::Busy(SEAL_PATIENCE));
        };
        self.seal(instance, append, Some(slot), CutReason::Full);
        Ok(())
    }

    /// WAL first, head second, both in the order that the caller holds.
    fn log(&self, instance: &Instance, append: &mut Append, batch: &PushBatch) -> Result<Ticket, PushError> {
        let head = instance.active();
        let record =
            Record { block: head.block, tenant: instance.tenant.clone(), payload: batch.payload().clone() };
        let ticket = self.wal.append(record).map_err(|error| {
            append.live.take_back(batch);
            push_error(error)
        })?;
        append.received_bytes += batch.size_bytes() as u64;
        let (appended, grown_bytes) = without_blocking_others(batch.size_bytes(), || {
            let mut columns = head.columns.write();
            let before = columns.bytes();
            (columns.append(batch), columns.bytes().saturating_sub(before))
        });
        self.head_memory.fetch_add(grown_bytes, Ordering::Relaxed);
        appended.map_err(PushError::Decode)?;
        Ok(ticket)
    }

    fn trace_limits(&self, tenant: &TenantId) -> TraceLimits {
        let overrides = self.overrides.borrow();
        let limits = overrides.for_tenant(tenant.as_str());
        TraceLimits {
            max_traces: limits.ingestion.max_traces_per_user as u64,
            max_bytes_per_trace: limits.global.max_bytes_per_trace.get(),
        }
    }
}

/// A log that is behind or closed says when the client may come back; everything else is a failure.
fn push_error(error: tempo_wal::AppendError) -> PushError {
    match error {
        tempo_wal::AppendError::Full { pending_bytes: _, limit_bytes: _ } => PushError::Busy(SEAL_PATIENCE),
        tempo_wal::AppendError::Closed => PushError::ShuttingDown,
        error @ (tempo_wal::AppendError::TooLarge { bytes: _, limit_bytes: _ }
        | tempo_wal::AppendError::Io { operation: _, path: _, source: _ }) => PushError::Wal(error),
    }
}

/// Runs a few milliseconds of work without starving the worker's other tasks, where the runtime has others to run them.
fn without_blocking_others<T>(size_bytes: usize, work: impl FnOnce() -> T) -> T {
    let can_move = tokio::runtime::Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    if can_move && size_bytes > INLINE_BYTES { tokio::task::block_in_place(work) } else { work() }
}
