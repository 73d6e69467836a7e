//! Where jobs wait for a free querier: first come, first served within a tenant, turn by turn among tenants.
//!
//! The queue is a fair semaphore. A tenant with thousands of waiting jobs delays another tenant's next job by one job,
//! not by thousands. Each tenant may have so many jobs waiting; further ones are refused at once.
//!
//! Invariant: while a tenant waits, no permit is free.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;
use tempo_model::{TenantId, WaitKind, Waits};
use tokio::{sync::oneshot, time::Instant};

use crate::metrics::Metrics;

/// The tenant has too many jobs waiting. The text is Tempo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("job queue full")]
pub(crate) struct QueueFull;

#[derive(Debug)]
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    max_waiting_per_tenant: usize,
    metrics: Metrics,
    waits: Waits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: HashMap<TenantId, VecDeque<oneshot::Sender<Permit>>>,
    /// Tenants that wait, each once, in the order of their turns.
    turns: VecDeque<TenantId>,
}

/// The right to occupy one querier until dropped.
pub(crate) struct Permit {
    /// `None`: given back already.
    shared: Option<Arc<Shared>>,
}

impl Queue {
    pub(crate) fn new(
        permits: usize,
        max_waiting_per_tenant: usize,
        metrics: Metrics,
        waits: Waits,
    ) -> Queue {
        let state = State { free: permits.max(1), waiting: HashMap::new(), turns: VecDeque::new() };
        Queue {
            shared: Arc::new(Shared { max_waiting_per_tenant, metrics, waits, state: Mutex::new(state) }),
        }
    }

    /// Waits for this tenant's turn. Cancel-safe.
    pub(crate) async fn enter(&self, tenant: &TenantId) -> Result<Permit, QueueFull> {
        let entered = Instant::now();
        let turn = match self.shared.take_or_wait(tenant) {
            Ok(Entry::Permit(permit)) => {
                self.shared.metrics.job_left_queue(entered.elapsed());
                return Ok(permit);
            }
            Ok(Entry::Wait(turn)) => turn,
            Err(full) => {
                self.shared.metrics.job_discarded(tenant);
                return Err(full);
            }
        };
        let permit =
            turn.await.expect("a waiting job's sender is only dropped after the job stopped waiting");
        let waited = entered.elapsed();
        self.shared.metrics.job_left_queue(waited);
        self.shared.waits.observe(WaitKind::Queue, "query-frontend: turn of a tenant's job", waited);
        Ok(permit)
    }
}

enum Entry {
    Permit(Permit),
    Wait(oneshot::Receiver<Permit>),
}

impl Shared {
    fn take_or_wait(self: &Arc<Self>, tenant: &TenantId) -> Result<Entry, QueueFull> {
        let mut state = self.state.lock();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Entry::Permit(Permit { shared: Some(Arc::clone(self)) }));
        }
        let is_new = !state.waiting.contains_key(tenant);
        let waiting = state.waiting.entry(tenant.clone()).or_default();
        if waiting.len() >= self.max_waiting_per_tenant {
            waiting.retain(|turn| !turn.is_closed());
        }
        if waiting.len() >= self.max_waiting_per_tenant {
            if is_new {
                state.waiting.remove(tenant);
            }
            return Err(QueueFull);
        }
        let (turn, receiver) = oneshot::channel();
        waiting.push_back(turn);
        self.metrics.queue_is(tenant, waiting.len());
        if is_new {
            state.turns.push_back(tenant.clone());
        }
        Ok(Entry::Wait(receiver))
    }

    /// Hands one permit to the next waiting job, or keeps it free.
    fn give_back(self: Arc<Self>) {
        loop {
            let Some(turn) = self.next_turn() else { return };
            let permit = Permit { shared: Some(Arc::clone(&self)) };
            match turn.send(permit) {
                Ok(()) => return,
                // The job was cancelled: the permit goes to the next one.
                Err(mut refused) => refused.shared = None,
            }
        }
    }

    /// The next job's turn; if nobody waits, the permit becomes free.
    fn next_turn(&self) -> Option<oneshot::Sender<Permit>> {
        let mut state = self.state.lock();
        let State { free, waiting, turns } = &mut *state;
        while let Some(tenant) = turns.pop_front() {
            let Some(jobs) = waiting.get_mut(&tenant) else { continue };
            let turn = jobs.pop_front();
            self.metrics.queue_is(&tenant, jobs.len());
            if jobs.is_empty() {
                waiting.remove(&tenant);
            } else {
                turns.push_back(tenant);
            }
            if turn.is_some() {
                return turn;
            }
        }
        *free += 1;
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
