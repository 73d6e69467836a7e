//! The head's columns: pushed spans, decoded once from the wire, in arrays and dictionaries.
//!
//! [`SpanColumns`] is append-only. One writer appends, any number of readers find traces, between appends; the owner
//! holds the lock. The block writer (`encode`) reads the same arrays. Here is what is kept of a span:
//! `spans.rs` the arrays, `attributes.rs` keys and values, `dictionary.rs` strings, `order.rs` the order of a
//! trace's spans in answers and blocks.
//!
//! Not kept, as vParquet4 has no place for them: unknown fields, flags of spans and links, schema URLs, entity
//! references. Invariant: every string is UTF-8 and every encoded value decodes, checked when it first comes.

mod append;
mod attributes;
mod dictionary;
mod find;
pub(crate) mod order;
mod spans;
mod wire;

use hashbrown::{HashMap, HashTable};
use tempo_model::{PushBatch, TimeRange, TraceId};

pub(crate) use self::{
    attributes::{AttributeList, Attributes, EMPTY, Kind},
    dictionary::{Dictionary, Full},
    spans::{Event, Extra, Link, Spans},
};

/// Why a trace of a batch was not taken; nothing of that trace was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("append spans of trace {trace_id}: {problem} at byte {offset} of a span")]
pub struct AppendError {
    pub trace_id: TraceId,
    /// In the span (or resource, or scope) that is malformed.
    pub offset: usize,
    pub problem: &'static str,
}

/// The spans of one head. Memory is about 180 bytes a span for spans with 15 attributes (660 bytes of OTLP).
#[derive(Debug)]
pub struct SpanColumns {
    pub(crate) attributes: Attributes,
    pub(crate) spans: Spans,
    pub(crate) resources: Vec<Resource>,
    pub(crate) scopes: Vec<Scope>,
    /// Resource and scope, by context number.
    pub(crate) contexts: Vec<(u32, u32)>,
    context_table: HashTable<u32>,
    /// Encoded resources and scopes, so that equal ones are decoded once.
    resource_bytes: Dictionary,
    scope_bytes: Dictionary,
    traces: HashMap<TraceId, TraceEntry, foldhash::fast::RandomState>,
    fragments: Vec<Fragment>,
    hasher: foldhash::fast::RandomState,
    time_range: TimeRange,
    /// Of the batch that is being appended: the number of each of its contexts, or what is wrong with it.
    batch_contexts: Vec<Result<u32, append::Problem>>,
    append: append::Scratch,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Resource {
    pub(crate) attributes: AttributeList,
    pub(crate) dropped_attributes: u32,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope {
    pub(crate) name: u32,
    pub(crate) version: u32,
    pub(crate) attributes: AttributeList,
    pub(crate) dropped_attributes: u32,
}

/// Spans of one trace that came in one batch: neighbours in the arrays.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    first_span: u32,
    span_count: u32,
    /// The next fragment of the trace; `u32::MAX` for none.
    next: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceEntry {
    first_fragment: u32,
    last_fragment: u32,
    pub(crate) span_count: u32,
}

const NO_FRAGMENT: u32 = u32::MAX;

impl SpanColumns {
    pub fn new() -> SpanColumns {
        SpanColumns {
            attributes: Attributes::new(),
            spans: Spans::default(),
            resources: Vec::new(),
            scopes: Vec::new(),
            contexts: Vec::new(),
            context_table: HashTable::new(),
            resource_bytes: Dictionary::default(),
            scope_bytes: Dictionary::default(),
            traces: HashMap::default(),
            fragments: Vec::new(),
            hasher: foldhash::fast::RandomState::default(),
            time_range: TimeRange::EMPTY,
            batch_contexts: Vec::new(),
            append: append::Scratch::default(),
        }
    }

    /// Decodes a batch into the columns. Each trace is taken as a whole or not at all; a refused trace does not keep
    /// the others out. The error is that of the first refused trace.
    pub fn append(&mut self, batch: &PushBatch) -> Result<(), AppendError> {
        self.resolve_contexts(batch);
        let mut result = Ok(());
        for trace in batch.traces() {
            if let Err(error) = self.append_trace(&trace)
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        result
    }

    pub fn contains(&self, id: &TraceId) -> bool {
        self.traces.contains_key(id)
    }

    pub fn trace_count(&self) -> usize {
        self.traces.len()
    }

    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.len() == 0
    }

    /// Covers every span; [`TimeRange::EMPTY`] without spans.
    pub fn time_range(&self) -> TimeRange {
        self.time_range
    }

    /// In no order.
    pub fn trace_ids(&self) -> impl Iterator<Item = TraceId> + '_ {
        self.traces.keys().copied()
    }

    /// Memory that is held, counting reserved capacity.
    pub fn bytes(&self) -> usize {
        self.attributes.heap_bytes()
            + self.spans.heap_bytes()
            + self.resources.capacity() * size_of::<Resource>()
            + self.scopes.capacity() * size_of::<Scope>()
            + self.contexts.capacity() * size_of::<(u32, u32)>()
            + self.context_table.allocation_size()
            + self.resource_bytes.heap_bytes()
            + self.scope_bytes.heap_bytes()
            + self.traces.allocation_size()
            + self.fragments.capacity() * size_of::<Fragment>()
    }

    /// The traces with their entries, in no order.
    pub(crate) fn traces(&self) -> impl Iterator<Item = (TraceId, TraceEntry)> + '_ {
        self.traces.iter().map(|(id, entry)| (*id, *entry))
    }

    pub(crate) fn trace(&self, id: &TraceId) -> Option<TraceEntry> {
        self.traces.get(id).copied()
    }

    /// The spans of a trace in the order in which they came.
    pub(crate) fn trace_spans(&self, entry: TraceEntry) -> impl Iterator<Item = u32> + '_ {
        let mut next = entry.first_fragment;
        std::iter::from_fn(move || {
            let fragment = self.fragments.get(next as usize)?;
            next = fragment.next;
            Some(fragment.first_span..fragment.first_span + fragment.span_count)
        })
        .flatten()
    }

    /// Bytes of an attribute key's name.
    pub(crate) fn key_name(&self, key: u32) -> &[u8] {
        self.attributes.keys.get(key as usize).map_or(&[], |k| self.attributes.strings.get(k.name))
    }
}

impl Default for SpanColumns {
    fn default() -> SpanColumns {
        SpanColumns::new()
    }
}

/// Makes room by a quarter at a time: a head is budgeted by what it reserves, and doubling would waste half of that.
#[inline]
fn grow<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact(more.max(vec.capacity() / 4).max(256));
    }
}
