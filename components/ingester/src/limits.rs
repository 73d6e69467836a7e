//! Live traces and trace sizes of one tenant, counted as Tempo counts them.
//!
//! A trace is *live* from its first span until it was idle for `trace_idle_period` or is older than `trace_live_period`;
//! that count is limited by `max_traces_per_user` and shown as `tempo_ingester_live_traces`. Its size is the sum of all
//! its pushes, also past that, until it was idle and a head was cut since: so a trace that trickles in for hours still
//! meets `max_bytes_per_trace`.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use tempo_model::{PushBatch, TraceId};
use tokio::time::Instant;

use crate::push::{DiscardReason, Discarded};

/// The limits that apply to one push; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceLimits {
    pub(crate) max_traces: u64,
    pub(crate) max_bytes_per_trace: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    first: Instant,
    last: Instant,
    is_live: bool,
}

/// The traces of one tenant that count.
#[derive(Debug, Default)]
pub(crate) struct LiveTraces {
    traces: HashMap<TraceId, Entry, RandomState>,
    live: u64,
    live_bytes: u64,
}

/// What [`LiveTraces::admit`] decided.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pub(crate) discarded: Vec<Discarded>,
    pub(crate) created: u64,
}

impl LiveTraces {
    /// Counts the traces of a batch and says which of them must be left out.
    pub(crate) fn admit(&mut self, batch: &PushBatch, limits: TraceLimits, now: Instant) -> Admission {
        let mut admission = Admission::default();
        for fragment in batch.traces() {
            let bytes = fragment.size_bytes as u64;
            let mut refuse = |reason| {
                admission.discarded.push(Discarded {
                    trace_id: fragment.trace_id,
                    spans: fragment.span_count,
                    reason,
                });
            };
            let known = self.traces.get_mut(&fragment.trace_id);
            let size = known.as_ref().map_or(0, |entry| entry.bytes) + bytes;
            if limits.max_bytes_per_trace > 0 && size > limits.max_bytes_per_trace {
                refuse(DiscardReason::TraceTooLarge);
                continue;
            }
            let is_new = known.as_ref().is_none_or(|entry| !entry.is_live);
            if is_new && limits.max_traces > 0 && self.live >= limits.max_traces {
                refuse(DiscardReason::LiveTracesExceeded);
                continue;
            }
            if is_new {
                self.live += 1;
                admission.created += 1;
            }
            match known {
                Some(entry) => {
                    if is_new {
                        entry.first = now;
                        self.live_bytes += entry.bytes;
                    }
                    entry.bytes = size;
                    entry.last = now;
                    entry.is_live = true;
                }
                None => {
                    let entry = Entry { bytes, first: now, last: now, is_live: true };
                    self.traces.insert(fragment.trace_id, entry);
                }
            }
            self.live_bytes += bytes;
        }
        admission
    }

    /// Uncounts the bytes of an admitted batch that was not taken after all: its sender comes back with it.
    pub(crate) fn take_back(&mut self, batch: &PushBatch) {
        for fragment in batch.traces() {
            let bytes = fragment.size_bytes as u64;
            if let Some(entry) = self.traces.get_mut(&fragment.trace_id) {
                entry.bytes = entry.bytes.saturating_sub(bytes);
                self.live_bytes = self.live_bytes.saturating_sub(bytes);
            }
        }
    }

    /// Ends traces that were idle or lived long enough; forgets sizes of traces untouched since `last_cut`.
    pub(crate) fn expire(&mut self, now: Instant, idle: Duration, live: Duration, last_cut: Instant) {
        let (count, live_bytes) = (&mut self.live, &mut self.live_bytes);
        self.traces.retain(|_, entry| {
            let is_idle = now.duration_since(entry.last) >= idle;
            if entry.is_live && (is_idle || now.duration_since(entry.first) >= live) {
                entry.is_live = false;
                *count -= 1;
                *live_bytes = live_bytes.saturating_sub(entry.bytes);
            }
            entry.is_live || !is_idle || entry.last > last_cut
        });
        if self.traces.capacity() > 1024 && self.traces.len() < self.traces.capacity() / 4 {
            self.traces.shrink_to_fit();
        }
    }

    pub(crate) fn live_count(&self) -> u64 {
        self.live
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

#[cfg(test)]
mod tests {
    use tempo_model::PushBatchBuilder;

    use super::*;

    const IDLE: Duration = Duration::from_secs(5);
    const LIVE: Duration = Duration::from_secs(30);

    fn batch(ids: &[u8], span_bytes: usize) -> PushBatch {
        let mut builder = PushBatchBuilder::default();
        let context = builder.push_context(b"", b"");
        for id in ids {
            builder.begin_trace(TraceId::from_bytes([*id; 16]));
            builder.push_span(context, &vec![0; span_bytes]);
        }
        builder.finish()
    }

    fn limits(max_traces: u64, max_bytes_per_trace: u64) -> TraceLimits {
        TraceLimits { max_traces, max_bytes_per_trace }
    }

    #[tokio::test(start_paused = true)]
    async fn traces_past_the_limit_are_refused_and_known_ones_go_on() {
        let mut live = LiveTraces::default();
        let now = Instant::now();
        live.admit(&batch(&[1, 2], 10), limits(2, 0), now);

        let admission = live.admit(&batch(&[2, 3], 10), limits(2, 0), now);

        assert_eq!(admission.discarded.len(), 1);
        assert_eq!(admission.discarded[0].trace_id, TraceId::from_bytes([3; 16]));
        assert_eq!(admission.discarded[0].reason, DiscardReason::LiveTracesExceeded);
        assert_eq!(live.live_count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_trace_frees_its_place_but_keeps_its_size_until_a_cut() {
        let mut live = LiveTraces::default();
        let start = Instant::now();
        live.admit(&batch(&[1], 100), limits(1, 200), start);

        let later = start + IDLE;
        live.expire(later, IDLE, LIVE, start - Duration::from_secs(1));
        let other = live.admit(&batch(&[2], 10), limits(1, 200), later);
        let again = live.admit(&batch(&[1], 100), limits(2, 200), later);

        assert!(other.discarded.is_empty());
        assert_eq!(again.discarded[0].reason, DiscardReason::TraceTooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_was_taken_back_does_not_count_against_the_next_try() {
        let mut live = LiveTraces::default();
        let now = Instant::now();
        live.admit(&batch(&[1], 100), limits(1, 200), now);

        live.take_back(&batch(&[1], 100));
        let again = live.admit(&batch(&[1], 100), limits(1, 200), now);

        assert!(again.discarded.is_empty());
        assert_eq!(live.live_bytes(), live.traces[&TraceId::from_bytes([1; 16])].bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn sizes_are_forgotten_after_a_cut() {
        let mut live = LiveTraces::default();
        let start = Instant::now();
        live.admit(&batch(&[1], 100), limits(1, 200), start);

        let later = start + IDLE;
        live.expire(later, IDLE, LIVE, later);
        let again = live.admit(&batch(&[1], 100), limits(1, 200), later);

        assert!(again.discarded.is_empty());
        assert_eq!(live.live_bytes(), live.traces[&TraceId::from_bytes([1; 16])].bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trace_that_never_idles_stops_being_live_after_the_live_period() {
        let mut live = LiveTraces::default();
        let start = Instant::now();
        for seconds in 0..=30 {
            live.admit(&batch(&[1], 1), limits(0, 0), start + Duration::from_secs(seconds));
        }

        live.expire(start + LIVE, IDLE, LIVE, start);

        assert_eq!(live.live_count(), 0);
        assert_eq!(live.live_bytes(), 0);
    }
}
