//! From the wire into the columns: one pass over a span's bytes.
//!
//! A trace that turns out to be malformed is taken back by cutting the arrays to their former length.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use tempo_model::{
    PushBatch, TraceId,
    push_batch::{Context, TraceFragment},
};

use super::{
    AppendError, Fragment, NO_FRAGMENT, Resource, Scope, SpanColumns, TraceEntry,
    attributes::Refused,
    dictionary::Full,
    grow,
    spans::{Event, Extra, Link, NewSpan},
    wire::{Fields, Value, WireError},
};

/// What is kept between calls to save work, not data.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Encoded events and links of the span at hand: offsets in it.
    events: Vec<(usize, usize)>,
    links: Vec<(usize, usize)>,
    last_name: u32,
    last_event_name: u32,
}

impl SpanColumns {
    /// Finds the numbers of all contexts of a batch; decodes resources and scopes that no batch had before.
    pub(super) fn resolve_contexts(&mut self, batch: &PushBatch) {
        self.batch_contexts.clear();
        for index in 0..batch.context_count() {
            let resolved = match batch.context(index) {
                Some(context) => self.resolve_context(context),
                None => Err((0, "a context is missing")),
            };
            self.batch_contexts.push(resolved);
        }
    }

    pub(super) fn append_trace(&mut self, trace: &TraceFragment<'_>) -> Result<(), AppendError> {
        let (spans, attributes) = (self.spans.mark(), self.attributes.mark());
        let first_span = self.spans.len();
        let result = self.append_spans(trace).and_then(|()| {
            let first_span = u32::try_from(first_span).map_err(|_| full(trace.trace_id))?;
            let end = u32::try_from(self.spans.len()).map_err(|_| full(trace.trace_id))?;
            self.link_fragment(trace.trace_id, first_span, end - first_span)
        });
        if result.is_err() {
            self.spans.truncate(spans);
            self.attributes.truncate(attributes);
        }
        result
    }

    fn append_spans(&mut self, trace: &TraceFragment<'_>) -> Result<(), AppendError> {
        // A count that is not true only costs the reservation of what the bytes could hold.
        self.spans.reserve((trace.span_count as usize).min(trace.size_bytes));
        let trace_id = trace.trace_id;
        for span in trace.spans() {
            let context = self.batch_contexts.get(span.context).copied();
            let context = context.unwrap_or(Err((0, "a span has no context")));
            let context = context.map_err(|(offset, problem)| AppendError { trace_id, offset, problem })?;
            self.append_span(context, span.bytes).map_err(|refused| {
                let (offset, problem) = describe(refused, span.bytes);
                AppendError { trace_id, offset, problem }
            })?;
        }
        Ok(())
    }

    fn link_fragment(&mut self, id: TraceId, first_span: u32, span_count: u32) -> Result<(), AppendError> {
        if span_count == 0 {
            return Ok(());
        }
        let fragment = u32::try_from(self.fragments.len()).ok().filter(|&f| f != NO_FRAGMENT);
        let fragment = fragment.ok_or_else(|| full(id))?;
        grow(&mut self.fragments, 1);
        self.fragments.push(Fragment { first_span, span_count, next: NO_FRAGMENT });
        let entry = self.traces.entry(id).or_insert(TraceEntry {
            first_fragment: fragment,
            last_fragment: fragment,
            span_count: 0,
        });
        entry.span_count += span_count;
        if entry.last_fragment != fragment
            && let Some(last) = self.fragments.get_mut(entry.last_fragment as usize)
        {
            last.next = fragment;
            entry.last_fragment = fragment;
        }
        for span in first_span as usize..self.spans.len() {
            if let (Some(&start), Some(&end)) = (self.spans.start.get(span), self.spans.end.get(span)) {
                self.time_range.extend(start, end);
            }
        }
        Ok(())
    }

    fn resolve_context(&mut self, context: Context<'_>) -> Result<u32, Problem> {
        let mark = self.attributes.mark();
        let resource = self.resource(context.resource).map_err(|refused| {
            self.attributes.truncate(mark);
            describe(refused, context.resource)
        })?;
        let mark = self.attributes.mark();
        let scope = self.scope(context.scope).map_err(|refused| {
            self.attributes.truncate(mark);
            describe(refused, context.scope)
        })?;
        let (contexts, hasher) = (&mut self.contexts, &self.hasher);
        match self.context_table.entry(
            hasher.hash_one((resource, scope)),
            |&c| contexts.get(c as usize) == Some(&(resource, scope)),
            |&c| hasher.hash_one(contexts.get(c as usize).copied().unwrap_or_default()),
        ) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                let number = u32::try_from(contexts.len()).map_err(|_| (0, FULL))?;
                entry.insert(number);
                contexts.push((resource, scope));
                Ok(number)
            }
        }
    }

    fn resource(&mut self, bytes: &[u8]) -> Result<u32, Refused> {
        if let Some(known) = self.resource_bytes.find(bytes) {
            return Ok(known);
        }
        let mut resource = Resource { attributes: self.attributes.begin()?, dropped_attributes: 0 };
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(attribute)) => self.attributes.push(&mut resource.attributes, attribute)?,
                (2, Value::Varint(count)) => resource.dropped_attributes = low_bits(count),
                _ => {}
            }
        }
        let (number, _) = self.resource_bytes.intern(bytes, |_| Ok::<(), Refused>(()))?;
        self.resources.push(resource);
        Ok(number)
    }

    fn scope(&mut self, bytes: &[u8]) -> Result<u32, Refused> {
        if let Some(known) = self.scope_bytes.find(bytes) {
            return Ok(known);
        }
        let (mut name, mut version): (&[u8], &[u8]) = (&[], &[]);
        let (mut attributes, mut dropped_attributes) = (self.attributes.begin()?, 0);
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(text)) => name = text,
                (2, Value::Bytes(text)) => version = text,
                (3, Value::Bytes(attribute)) => self.attributes.push(&mut attributes, attribute)?,
                (4, Value::Varint(count)) => dropped_attributes = low_bits(count),
                _ => {}
            }
        }
        let name = self.attributes.intern_string(name)?;
        let version = self.attributes.intern_string(version)?;
        let (number, _) = self.scope_bytes.intern(bytes, |_| Ok::<(), Refused>(()))?;
        self.scopes.push(Scope { name, version, attributes, dropped_attributes });
        Ok(number)
    }

    fn append_span(&mut self, context: u32, bytes: &[u8]) -> Result<(), Refused> {
        let mut span = NewSpan { context, attributes: self.attributes.begin()?, ..NewSpan::default() };
        let mut name: &[u8] = &[];
        self.append.events.clear();
        self.append.links.clear();
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (2, Value::Bytes(id)) => span.id = span_id(id)?,
                (3, Value::Bytes(text)) => span.extra.trace_state = self.optional_string(text)?,
                (4, Value::Bytes(id)) => span.parent_id = span_id(id)?,
                (5, Value::Bytes(text)) => name = text,
                (6, Value::Varint(kind)) => span.extra.kind = low_bits(kind).cast_signed(),
                (7, Value::Fixed64(nanos)) => span.start = nanos,
                (8, Value::Fixed64(nanos)) => span.end = nanos,
                (9, Value::Bytes(attribute)) => self.attributes.push(&mut span.attributes, attribute)?,
                (10, Value::Varint(count)) => span.extra.dropped_attributes = low_bits(count),
                (11, Value::Bytes(event)) => self.append.events.push(range_in(bytes, event)),
                (12, Value::Varint(count)) => span.extra.dropped_events = low_bits(count),
                (13, Value::Bytes(link)) => self.append.links.push(range_in(bytes, link)),
                (14, Value::Varint(count)) => span.extra.dropped_links = low_bits(count),
                (15, Value::Bytes(status)) => self.status(status, &mut span.extra)?,
                _ => {}
            }
        }
        let mut last_name = self.append.last_name;
        span.name = self.attributes.intern_repeated(name, &mut last_name)?;
        self.append.last_name = last_name;
        if !self.append.events.is_empty() {
            self.append_events(bytes, &mut span.extra)?;
        }
        if !self.append.links.is_empty() {
            self.append_links(bytes, &mut span.extra)?;
        }
        self.spans.push(&span);
        Ok(())
    }

    fn status(&mut self, bytes: &[u8], extra: &mut Extra) -> Result<(), Refused> {
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (2, Value::Bytes(text)) => extra.status_message = self.optional_string(text)?,
                (3, Value::Varint(code)) => extra.status = low_bits(code).cast_signed(),
                _ => {}
            }
        }
        Ok(())
    }

    fn append_events(&mut self, span: &[u8], extra: &mut Extra) -> Result<(), Refused> {
        extra.first_event = u32::try_from(self.spans.events.len()).map_err(|_| Full)?;
        let ranges = std::mem::take(&mut self.append.events);
        let result = ranges.iter().try_for_each(|&(start, end)| {
            let event = self.event(span.get(start..end).unwrap_or_default())?;
            extra.event_count += 1;
            grow(&mut self.spans.events, 1);
            self.spans.events.push(event);
            Ok(())
        });
        self.append.events = ranges;
        result
    }

    fn event(&mut self, bytes: &[u8]) -> Result<Event, Refused> {
        let mut name: &[u8] = &[];
        let mut event =
            Event { time: 0, name: 0, attributes: self.attributes.begin()?, dropped_attributes: 0 };
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Fixed64(nanos)) => event.time = nanos,
                (2, Value::Bytes(text)) => name = text,
                (3, Value::Bytes(attribute)) => self.attributes.push(&mut event.attributes, attribute)?,
                (4, Value::Varint(count)) => event.dropped_attributes = low_bits(count),
                _ => {}
            }
        }
        event.name = self.attributes.intern_repeated(name, &mut self.append.last_event_name)?;
        Ok(event)
    }

    fn append_links(&mut self, span: &[u8], extra: &mut Extra) -> Result<(), Refused> {
        extra.first_link = u32::try_from(self.spans.links.len()).map_err(|_| Full)?;
        let ranges = std::mem::take(&mut self.append.links);
        let result = ranges.iter().try_for_each(|&(start, end)| {
            let link = self.link(span.get(start..end).unwrap_or_default())?;
            extra.link_count += 1;
            grow(&mut self.spans.links, 1);
            self.spans.links.push(link);
            Ok(())
        });
        self.append.links = ranges;
        result
    }

    fn link(&mut self, bytes: &[u8]) -> Result<Link, Refused> {
        let mut link = Link {
            trace_id: None,
            span_id: 0,
            trace_state: None,
            attributes: self.attributes.begin()?,
            dropped_attributes: 0,
        };
        let mut fields = Fields::new(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes([])) => link.trace_id = None,
                (1, Value::Bytes(id)) => {
                    let id =
                        id.try_into().map_err(|_| WireError::at(id, "a link's trace id has not 16 bytes"))?;
                    link.trace_id = Some(id);
                }
                (2, Value::Bytes(id)) => link.span_id = span_id(id)?,
                (3, Value::Bytes(text)) => link.trace_state = self.optional_string(text)?,
                (4, Value::Bytes(attribute)) => self.attributes.push(&mut link.attributes, attribute)?,
                (5, Value::Varint(count)) => link.dropped_attributes = low_bits(count),
                _ => {}
            }
        }
        Ok(link)
    }

    fn optional_string(&mut self, text: &[u8]) -> Result<Option<u32>, Refused> {
        if text.is_empty() { Ok(None) } else { self.attributes.intern_string(text).map(Some) }
    }
}

const FULL: &str = "the head holds as much as 32 bits can number";

/// Offset and problem.
pub(super) type Problem = (usize, &'static str);

fn describe(refused: Refused, start: &[u8]) -> Problem {
    match refused {
        Refused::Malformed(error) => (error.offset_in(start), error.problem),
        Refused::Full => (0, FULL),
    }
}

fn full(trace_id: TraceId) -> AppendError {
    AppendError { trace_id, offset: 0, problem: FULL }
}

/// Eight bytes, or none (0). All zeros also mean none, as everywhere in OpenTelemetry.
fn span_id(bytes: &[u8]) -> Result<u64, Refused> {
    match bytes.first_chunk() {
        Some(id) if bytes.len() == 8 => Ok(u64::from_be_bytes(*id)),
        _ if bytes.is_empty() => Ok(0),
        _ => Err(WireError::at(bytes, "a span id has not 8 bytes").into()),
    }
}

/// Protobuf's rule for 32-bit fields: higher bits are dropped.
#[expect(clippy::cast_possible_truncation, reason = "as protobuf decodes 32-bit numbers")]
fn low_bits(number: u64) -> u32 {
    number as u32
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &[u8], part: &[u8]) -> (usize, usize) {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    (start, start + part.len())
}
