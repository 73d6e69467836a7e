//! One trace assembled from several partial ones, by Tempo's rules.
//!
//! Every place that knows a part of a trace (a head, a block, an ingester, a shard of a query) gives it as a [`Trace`];
//! the [`Combiner`] keeps every span once. A span's identity is its id and kind: Zipkin gives the client's and the
//! server's half of one call the same id, and both must survive. [`dedupe_zipkin`] then separates these halves and
//! [`sort`] makes the order independent of which part arrived first; both run once, on the whole trace, just before
//! it is answered.
//!
//! Invariant: parts never merge into each other's `ResourceSpans`; clients compare them one by one.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use prost::Message;
use tempo_proto::trace::{ResourceSpans, ScopeSpans, Span, span::SpanKind};

pub use tempo_proto::tempopb::Trace;

/// A trace outgrew the tenant's `max_bytes_per_trace`. The text is Tempo's, clients see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trace exceeds max size (max bytes: {max_bytes})")]
pub struct TraceTooLarge {
    pub max_bytes: usize,
}

/// Collects parts of one trace and keeps every span once.
#[derive(Debug, Default)]
pub struct Combiner {
    /// 0 = unlimited.
    max_bytes: usize,
    bytes: usize,
    is_too_large: bool,
    seen: HashSet<(u64, i32), RandomState>,
    parts: Vec<ResourceSpans>,
}

impl Combiner {
    /// `max_bytes` limits the encoded size of the result; 0 is no limit.
    pub fn new(max_bytes: usize) -> Combiner {
        Combiner { max_bytes, ..Combiner::default() }
    }

    /// Adds what is new in `part`. When that does not fit, as many of its spans as do are kept, and this and every
    /// later call fails: [`Combiner::finish`] then gives the partial trace to callers that may answer with one.
    pub fn add(&mut self, part: Trace) -> Result<(), TraceTooLarge> {
        let too_large = TraceTooLarge { max_bytes: self.max_bytes };
        if self.is_too_large {
            return Err(too_large);
        }
        let mut fresh = Trace { resource_spans: part.resource_spans };
        self.drop_seen(&mut fresh.resource_spans);
        let fresh_bytes = if self.max_bytes == 0 { 0 } else { fresh.encoded_len() };
        if self.bytes.saturating_add(fresh_bytes) > self.max_bytes && self.max_bytes > 0 {
            self.is_too_large = true;
            truncate(&mut fresh.resource_spans, self.max_bytes.saturating_sub(self.bytes));
        }
        self.bytes = self.bytes.saturating_add(fresh_bytes);
        if self.parts.is_empty() {
            self.parts = fresh.resource_spans;
        } else {
            self.parts.append(&mut fresh.resource_spans);
        }
        if self.is_too_large { Err(too_large) } else { Ok(()) }
    }

    /// Nothing was found so far.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Some spans were left out because the trace is too large.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    /// The trace so far; `None` if no part had a span in it.
    pub fn finish(self) -> Option<Trace> {
        (!self.parts.is_empty()).then_some(Trace { resource_spans: self.parts })
    }

    /// Leaves spans not seen before, and the scopes and resources that still have one.
    fn drop_seen(&mut self, parts: &mut Vec<ResourceSpans>) {
        self.seen
            .reserve(parts.iter().flat_map(|part| &part.scope_spans).map(|scope| scope.spans.len()).sum());
        parts.retain_mut(|part| {
            part.scope_spans.retain_mut(|scope| {
                scope.spans.retain(|span| self.seen.insert((id_number(&span.span_id), span.kind)));
                !scope.spans.is_empty()
            });
            !part.scope_spans.is_empty()
        });
    }
}

/// The first eight bytes of a span id as a number: what Tempo compares, and cheaper to hash than a vector.
fn id_number(id: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(id) {
        *to = *from;
    }
    u64::from_be_bytes(bytes)
}

/// Keeps spans, in order, until the encoded parts would outgrow `budget` bytes.
fn truncate(parts: &mut Vec<ResourceSpans>, budget: usize) {
    let mut left = budget;
    parts.retain_mut(|part| {
        let resource_bytes =
            part.resource.as_ref().map_or(0, Message::encoded_len) + part.schema_url.len() + 16;
        if resource_bytes > left {
            left = 0;
            return false;
        }
        left -= resource_bytes;
        part.scope_spans.retain_mut(|scope| {
            let scope_bytes =
                scope.scope.as_ref().map_or(0, Message::encoded_len) + scope.schema_url.len() + 16;
            if scope_bytes > left {
                left = 0;
                return false;
            }
            left -= scope_bytes;
            scope.spans.retain(|span| {
                // Six bytes: the field's tag and the longest length that a span within the limits can have.
                let span_bytes = span.encoded_len() + 6;
                let is_kept = span_bytes <= left;
                left = if is_kept { left - span_bytes } else { 0 };
                is_kept
            });
            !scope.spans.is_empty()
        });
        !part.scope_spans.is_empty()
    });
}

/// Separates the halves of a Zipkin call, which share one span id: the server's span gets a new id and becomes the
/// client span's child, and the children of the shared id become the server span's.
pub fn dedupe_zipkin(trace: &mut Trace) {
    let mut clients = HashSet::with_hasher(RandomState::default());
    let mut servers = HashSet::with_hasher(RandomState::default());
    for span in spans(trace) {
        if span.kind == SpanKind::Client as i32 {
            clients.insert(id_number(&span.span_id));
        } else if span.kind == SpanKind::Server as i32 {
            servers.insert(id_number(&span.span_id));
        }
    }
    servers.retain(|id| clients.contains(id));
    if servers.is_empty() {
        return;
    }

    let mut used: HashSet<u64, RandomState> = spans(trace).map(|span| id_number(&span.span_id)).collect();
    let mut next = used.iter().copied().max().unwrap_or_default();
    let mut moved: HashSet<u64, RandomState> = HashSet::default();
    let mut server_ids: HashMap<u64, u64, RandomState> = HashMap::default();
    for span in spans_mut(trace) {
        let shared = id_number(&span.span_id);
        if span.kind != SpanKind::Server as i32 || !servers.contains(&shared) {
            continue;
        }
        // A trace has far fewer than 2^64 spans, so a free id is near; zero means "no span".
        loop {
            next = next.wrapping_add(1);
            if next != 0 && used.insert(next) {
                break;
            }
        }
        moved.insert(next);
        server_ids.entry(shared).or_insert(next);
        span.parent_span_id = std::mem::replace(&mut span.span_id, next.to_be_bytes().to_vec());
    }
    for span in spans_mut(trace) {
        if span.parent_span_id.is_empty() || moved.contains(&id_number(&span.span_id)) {
            continue;
        }
        if let Some(server) = server_ids.get(&id_number(&span.parent_span_id)) {
            span.parent_span_id = server.to_be_bytes().to_vec();
        }
    }
}

fn spans(trace: &Trace) -> impl Iterator<Item = &Span> {
    trace.resource_spans.iter().flat_map(|part| &part.scope_spans).flat_map(|scope| &scope.spans)
}

fn spans_mut(trace: &mut Trace) -> impl Iterator<Item = &mut Span> {
    trace.resource_spans.iter_mut().flat_map(|part| &mut part.scope_spans).flat_map(|scope| &mut scope.spans)
}

/// Puts spans in order of start and id, scopes and resources in order of their first span, so that an answer does not
/// depend on where its parts came from.
pub fn sort(trace: &mut Trace) {
    for part in &mut trace.resource_spans {
        for scope in &mut part.scope_spans {
            if !scope.spans.is_sorted_by_key(span_order) {
                // Cached keys, since a span is some 350 bytes: sorting moves 24-byte keys and each span once.
                scope.spans.sort_by_cached_key(span_order);
            }
        }
        part.scope_spans.sort_by_key(scope_order);
    }
    trace.resource_spans.sort_by_key(|part| part.scope_spans.first().map(scope_order));
}

fn span_order(span: &Span) -> (u64, u64, i32) {
    (span.start_time_unix_nano, id_number(&span.span_id), span.kind)
}

fn scope_order(scope: &ScopeSpans) -> Option<(u64, u64, i32)> {
    scope.spans.first().map(span_order)
}

#[cfg(test)]
mod tests;
