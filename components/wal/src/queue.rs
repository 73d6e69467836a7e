//! What waits for the writer thread: records and releases in the order of their calls, bounded in bytes.
//!
//! The bound counts everything from the call until its ticket resolves. Releases are always admitted: they are a few
//! bytes, as many as there are blocks, and they are what makes room.

use std::mem;

use parking_lot::{Condvar, Mutex};
use tempo_model::BlockId;
use tokio::sync::oneshot;

use crate::wal::{AppendError, Record};

/// What a record costs in memory besides its payload; bounds the number of tiny ones.
const ENTRY_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) enum Work {
    Append(Record),
    Release(BlockId),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) done: oneshot::Sender<Result<(), AppendError>>,
}

impl Entry {
    fn cost(&self) -> usize {
        match &self.work {
            Work::Append(record) => record.payload.len() + ENTRY_BYTES,
            Work::Release(_) => ENTRY_BYTES,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// Of `entries` and of the batch that the writer has in hand.
    pending_bytes: usize,
    is_closed: bool,
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Queue {
        Queue { state: Mutex::new(State::default()), arrived: Condvar::new(), limit_bytes }
    }

    /// Adds an entry behind all others. A record larger than the bound is taken when nothing else waits.
    pub(crate) fn push(&self, entry: Entry) -> Result<usize, AppendError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(AppendError::Closed);
        }
        let after = state.pending_bytes + entry.cost();
        let is_append = matches!(entry.work, Work::Append(_));
        if is_append && after > self.limit_bytes && state.pending_bytes > 0 {
            return Err(AppendError::Full {
                pending_bytes: state.pending_bytes,
                limit_bytes: self.limit_bytes,
            });
        }
        state.pending_bytes = after;
        state.entries.push(entry);
        self.arrived.notify_one();
        Ok(after)
    }

    /// Waits for work and moves it to `batch`, in order, until the batch has about `max_bytes`. Returns the batch's
    /// cost, to be given back by [`Queue::finish`]; `None` once the queue is closed and empty.
    pub(crate) fn take(&self, batch: &mut Vec<Entry>, max_bytes: usize) -> Option<usize> {
        let mut state = self.state.lock();
        while state.entries.is_empty() {
            if state.is_closed {
                return None;
            }
            self.arrived.wait(&mut state);
        }
        let mut cost = 0;
        let mut count = 0;
        for entry in &state.entries {
            if count > 0 && cost + entry.cost() > max_bytes {
                break;
            }
            cost += entry.cost();
            count += 1;
        }
        if count == state.entries.len() {
            mem::swap(batch, &mut state.entries);
        } else {
            batch.extend(state.entries.drain(..count));
        }
        Some(cost)
    }

    /// The batch's tickets are resolved: its bytes no longer count.
    pub(crate) fn finish(&self, cost: usize) -> usize {
        let mut state = self.state.lock();
        state.pending_bytes = state.pending_bytes.saturating_sub(cost);
        state.pending_bytes
    }

    /// Refuses new work; what is queued is still done.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.arrived.notify_all();
    }

    /// Refuses new work and drops what is queued: its tickets resolve as closed.
    pub(crate) fn abort(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.entries.clear();
    }
}
