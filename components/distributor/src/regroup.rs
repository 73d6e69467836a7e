//! Regroups the spans of a walked request by trace into a [`PushBatch`]: one copy of each span, no allocation per span.
//!
//! Traces appear in the order of their first span, spans of a trace in the sender's order. Every resource and scope
//! pair is written once, which repeats a resource for each of its scopes; a request that abuses this to become many
//! times its size is refused.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use tempo_model::{PushBatch, PushBatchBuilder, TraceId};

use crate::validate::{RequestWalk, SpanRef};

/// A request whose resources, repeated for every scope below them, take far more room than the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "resources repeated for each of their {contexts} scopes take {bytes} bytes, at most {limit} are allowed for this request"
)]
pub struct ContextsTooLarge {
    contexts: usize,
    bytes: usize,
    limit: usize,
}

/// What contexts may take at least, and per byte of the request.
const CONTEXT_BYTES: usize = 4 << 20;
const CONTEXT_BYTES_PER_BYTE: usize = 4;

const END: u32 = u32::MAX;

/// Scratch for regrouping. Reused from request to request.
#[derive(Debug, Default)]
pub struct Regroup {
    hasher: foldhash::fast::RandomState,
    index: HashTable<u32>,
    traces: Vec<Chain>,
    /// For each span the next one of its trace.
    next: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Chain {
    trace_id: u128,
    first: u32,
    last: u32,
}

impl Regroup {
    /// Writes the kept spans of `walk`, which has walked `request`.
    pub fn regroup(&mut self, walk: &RequestWalk, request: &[u8]) -> Result<PushBatch, ContextsTooLarge> {
        self.chain(&walk.spans);
        let mut builder = PushBatchBuilder::with_capacity(self.check_size(walk, request)?);
        for context in &walk.contexts {
            builder.push_context(walk.bytes(request, context.resource), walk.bytes(request, context.scope));
        }
        for chain in &self.traces {
            builder.begin_trace(TraceId::from_bytes(chain.trace_id.to_be_bytes()));
            let mut at = chain.first;
            while let Some(span) = walk.spans.get(at as usize) {
                builder.push_span(span.context as usize, walk.bytes(request, span.bytes));
                at = self.next.get(at as usize).copied().unwrap_or(END);
            }
        }
        Ok(builder.finish())
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        (self.index.capacity() + self.next.capacity()) * size_of::<u32>()
            + self.traces.capacity() * size_of::<Chain>()
    }

    /// Links the spans of each trace. Senders often send a trace's spans together: its chain is then the last one.
    fn chain(&mut self, spans: &[SpanRef]) {
        let Regroup { hasher, index, traces, next } = self;
        index.clear();
        traces.clear();
        next.clear();
        let mut last = 0;
        for (at, span) in (0u32..).zip(spans) {
            next.push(END);
            if traces.get(last).is_none_or(|chain: &Chain| chain.trace_id != span.trace_id) {
                let hash = hasher.hash_one(span.trace_id);
                let is_same = |&i: &u32| traces.get(i as usize).is_some_and(|c| c.trace_id == span.trace_id);
                if let Some(&found) = index.find(hash, is_same) {
                    last = found as usize;
                } else {
                    last = traces.len();
                    let rehash = |&i: &u32| traces.get(i as usize).map_or(0, |c| hasher.hash_one(c.trace_id));
                    index.insert_unique(hash, u32::try_from(last).unwrap_or(END), rehash);
                    traces.push(Chain { trace_id: span.trace_id, first: at, last: at });
                    continue;
                }
            }
            if let Some(chain) = traces.get_mut(last) {
                if let Some(previous) = next.get_mut(chain.last as usize) {
                    *previous = at;
                }
                chain.last = at;
            }
        }
    }

    /// Room the batch needs, give or take framing.
    fn check_size(&self, walk: &RequestWalk, request: &[u8]) -> Result<usize, ContextsTooLarge> {
        let contexts: usize = walk.contexts.iter().map(|c| c.resource.len() + c.scope.len() + 16).sum();
        let limit = CONTEXT_BYTES.max(request.len().saturating_mul(CONTEXT_BYTES_PER_BYTE));
        if contexts > limit {
            return Err(ContextsTooLarge { contexts: walk.contexts.len(), bytes: contexts, limit });
        }
        let spans: usize = walk.spans.iter().map(|s| s.bytes.len() + 6).sum();
        Ok(contexts + spans + self.traces.len() * 40)
    }
}

#[cfg(test)]
mod tests;
