//! The batch of spans that a distributor hands to an ingester, as bytes that nobody has to decode to pass on.
//!
//! Encoded as `tempo.push.PushBatch` (`proto/tempo/push.proto`): the resource and scope pairs of one export request,
//! once each, and per trace its spans as the sender's own OTLP bytes. The builder writes these bytes in one pass, the
//! WAL stores them verbatim, the ingester's head reads them back through [`PushBatch`], which holds only offsets.
//!
//! Invariant: every offset in a [`PushBatch`] lies inside its payload; [`PushBatch::decode`] checks bytes that come
//! from a disk or a network.

use std::ops::Range;

use bytes::Bytes;

use crate::TraceId;

/// Why bytes are not a push batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("push batch is malformed at byte {offset}: {problem}")]
pub struct DecodeError {
    pub offset: usize,
    pub problem: &'static str,
}

type Span32 = (u32, u32);

/// One request's spans, regrouped by trace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PushBatch {
    payload: Bytes,
    contexts: Vec<ContextRange>,
    traces: Vec<FragmentRange>,
}

#[derive(Debug, Clone, Copy)]
struct ContextRange {
    resource: Span32,
    scope: Span32,
}

#[derive(Debug, Clone, Copy)]
struct FragmentRange {
    trace_id: TraceId,
    span_count: u32,
    /// The `TraceFragment` message, without its tag and length.
    body: Span32,
}

/// A resource and scope pair; both are encoded OTLP messages, empty for an empty message.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub resource: &'a [u8],
    pub scope: &'a [u8],
}

/// All spans of one trace in a batch.
#[derive(Debug, Clone, Copy)]
pub struct TraceFragment<'a> {
    pub trace_id: TraceId,
    pub span_count: u32,
    /// Encoded size in the batch: what limits on a trace's size count.
    pub size_bytes: usize,
    body: &'a [u8],
}

/// One span of a fragment: its encoded OTLP bytes and the index of its context.
#[derive(Debug, Clone, Copy)]
pub struct FragmentSpan<'a> {
    pub context: usize,
    pub bytes: &'a [u8],
}

impl PushBatch {
    /// Reads a batch that was stored or sent. Every length is checked; nothing is copied.
    pub fn decode(payload: Bytes) -> Result<PushBatch, DecodeError> {
        let mut contexts = Vec::new();
        let mut traces = Vec::new();
        if u32::try_from(payload.len()).is_err() {
            return Err(DecodeError { offset: 0, problem: "a batch holds at most 4 GiB" });
        }
        let mut reader = Reader::new(&payload, 0);
        while let Some((field, body)) = reader.next_message()? {
            match field {
                1 => contexts.push(decode_context(&payload, body)?),
                2 => traces.push(decode_fragment(&payload, body)?),
                _ => return Err(reader.error("unknown field")),
            }
        }
        for trace in &traces {
            check_runs(&payload, trace, contexts.len())?;
        }
        Ok(PushBatch { payload, contexts, traces })
    }

    /// The encoded batch, as [`PushBatch::decode`] takes it.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    pub fn size_bytes(&self) -> usize {
        self.payload.len()
    }

    pub fn span_count(&self) -> u64 {
        self.traces.iter().map(|t| u64::from(t.span_count)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.traces.is_empty()
    }

    pub fn context_count(&self) -> usize {
        self.contexts.len()
    }

    /// The context with this index; spans name theirs by it.
    pub fn context(&self, index: usize) -> Option<Context<'_>> {
        let range = self.contexts.get(index)?;
        Some(Context {
            resource: slice(&self.payload, range.resource),
            scope: slice(&self.payload, range.scope),
        })
    }

    pub fn trace_count(&self) -> usize {
        self.traces.len()
    }

    pub fn traces(&self) -> impl ExactSizeIterator<Item = TraceFragment<'_>> {
        self.traces.iter().map(|t| {
            let body = slice(&self.payload, t.body);
            TraceFragment { trace_id: t.trace_id, span_count: t.span_count, size_bytes: body.len(), body }
        })
    }

    /// The batch without the traces that `keep` (called once per trace, in order) turns down. Copies what is kept;
    /// contexts stay, used or not, so that spans keep their context's index.
    pub fn retain(&self, mut keep: impl FnMut(&TraceFragment<'_>) -> bool) -> PushBatch {
        let mut builder = PushBatchBuilder::with_capacity(self.payload.len());
        for index in 0..self.contexts.len() {
            if let Some(context) = self.context(index) {
                builder.push_context(context.resource, context.scope);
            }
        }
        for trace in self.traces() {
            if keep(&trace) {
                builder.begin_trace(trace.trace_id);
                for span in trace.spans() {
                    builder.push_span(span.context, span.bytes);
                }
            }
        }
        builder.finish()
    }
}

impl<'a> TraceFragment<'a> {
    pub fn spans(&self) -> FragmentSpans<'a> {
        FragmentSpans { fragment: self.body, run: &[], context: 0 }
    }
}

/// Iterates the spans of a fragment in the sender's order.
#[derive(Debug, Clone)]
pub struct FragmentSpans<'a> {
    fragment: &'a [u8],
    run: &'a [u8],
    context: usize,
}

impl<'a> Iterator for FragmentSpans<'a> {
    type Item = FragmentSpan<'a>;

    fn next(&mut self) -> Option<FragmentSpan<'a>> {
        loop {
            // The bytes were checked or written by us: a read that fails can only mean the end.
            if let Some((field, value)) = take_field(&mut self.run) {
                match (field, value) {
                    (1, Value::Varint(context)) => {
                        self.context = usize::try_from(context).unwrap_or(usize::MAX)
                    }
                    (2, Value::Bytes(bytes)) => return Some(FragmentSpan { context: self.context, bytes }),
                    _ => {}
                }
                continue;
            }
            match take_field(&mut self.fragment)? {
                (3, Value::Bytes(run)) => {
                    self.run = run;
                    self.context = 0;
                }
                _ => continue,
            }
        }
    }
}

/// Writes a [`PushBatch`]: first every context, then trace after trace.
#[derive(Debug, Default)]
pub struct PushBatchBuilder {
    buffer: Vec<u8>,
    contexts: Vec<ContextRange>,
    traces: Vec<FragmentRange>,
    open: Option<OpenTrace>,
    /// Runs of the open trace; copied behind its header once its size is known.
    scratch: Vec<u8>,
    run: Vec<u8>,
    run_context: usize,
}

#[derive(Debug)]
struct OpenTrace {
    trace_id: TraceId,
    span_count: u32,
}

impl PushBatchBuilder {
    pub fn with_capacity(bytes: usize) -> PushBatchBuilder {
        PushBatchBuilder { buffer: Vec::with_capacity(bytes), ..PushBatchBuilder::default() }
    }

    /// Adds a context and returns its index.
    ///
    /// # Panics
    /// Debug builds panic once a trace has begun: contexts come first.
    pub fn push_context(&mut self, resource: &[u8], scope: &[u8]) -> usize {
        debug_assert!(self.open.is_none() && self.traces.is_empty(), "contexts come before traces");
        let body = field_len(resource) + field_len(scope);
        put_tag_and_len(&mut self.buffer, 1, body);
        let resource = put_bytes(&mut self.buffer, 1, resource);
        let scope = put_bytes(&mut self.buffer, 2, scope);
        self.contexts.push(ContextRange { resource, scope });
        self.contexts.len() - 1
    }

    /// Starts the next trace; the previous one is complete. A trace id may appear only once in a batch.
    pub fn begin_trace(&mut self, trace_id: TraceId) {
        self.end_trace();
        self.open = Some(OpenTrace { trace_id, span_count: 0 });
    }

    /// Adds a span, as encoded OTLP, to the trace begun last.
    pub fn push_span(&mut self, context: usize, span: &[u8]) {
        debug_assert!(context < self.contexts.len(), "the span's context was pushed");
        if self.run_context != context || self.run.is_empty() {
            self.end_run();
            self.run_context = context;
            put_tag(&mut self.run, 1, 0);
            put_varint(&mut self.run, context as u64);
        }
        put_tag_and_len(&mut self.run, 2, span.len());
        self.run.extend_from_slice(span);
        if let Some(open) = &mut self.open {
            open.span_count += 1;
        }
    }

    pub fn finish(mut self) -> PushBatch {
        self.end_trace();
        PushBatch { payload: self.buffer.into(), contexts: self.contexts, traces: self.traces }
    }

    fn end_run(&mut self) {
        if !self.run.is_empty() {
            put_tag_and_len(&mut self.scratch, 3, self.run.len());
            self.scratch.extend_from_slice(&self.run);
            self.run.clear();
        }
    }

    fn end_trace(&mut self) {
        let Some(OpenTrace { trace_id, span_count }) = self.open.take() else { return };
        self.end_run();
        if span_count > 0 {
            let head = 1 + 1 + 16 + 1 + varint_len(u64::from(span_count));
            put_tag_and_len(&mut self.buffer, 2, head + self.scratch.len());
            let start = self.buffer.len();
            put_bytes(&mut self.buffer, 1, trace_id.as_bytes());
            put_tag(&mut self.buffer, 2, 0);
            put_varint(&mut self.buffer, u64::from(span_count));
            self.buffer.extend_from_slice(&self.scratch);
            let body = (offset(start), offset(self.buffer.len()));
            self.traces.push(FragmentRange { trace_id, span_count, body });
        }
        self.scratch.clear();
    }
}

fn decode_context(payload: &[u8], body: Range<usize>) -> Result<ContextRange, DecodeError> {
    let mut context = ContextRange { resource: (0, 0), scope: (0, 0) };
    let mut reader = Reader::new(slice_range(payload, &body), body.start);
    while let Some((field, range)) = reader.next_message()? {
        match field {
            1 => context.resource = (offset(range.start), offset(range.end)),
            2 => context.scope = (offset(range.start), offset(range.end)),
            _ => return Err(reader.error("unknown field in a context")),
        }
    }
    Ok(context)
}

fn decode_fragment(payload: &[u8], body: Range<usize>) -> Result<FragmentRange, DecodeError> {
    let error = |problem| DecodeError { offset: body.start, problem };
    let mut bytes = slice_range(payload, &body);
    let Some((1, Value::Bytes(id))) = take_field(&mut bytes) else {
        return Err(error("a trace fragment starts with its trace id"));
    };
    let trace_id = TraceId::from_slice(id).ok_or_else(|| error("a trace id has 16 bytes"))?;
    let Some((2, Value::Varint(count))) = take_field(&mut bytes) else {
        return Err(error("a trace fragment has a span count"));
    };
    let span_count = u32::try_from(count).map_err(|_| error("span count is out of range"))?;
    Ok(FragmentRange { trace_id, span_count, body: (offset(body.start), offset(body.end)) })
}

/// Checks what [`FragmentSpans`] relies on: runs and spans are whole, contexts exist, the count is right.
fn check_runs(payload: &[u8], trace: &FragmentRange, contexts: usize) -> Result<(), DecodeError> {
    let start = trace.body.0 as usize;
    let error = |problem| DecodeError { offset: start, problem };
    let mut fragment = slice(payload, trace.body);
    let mut spans = 0u32;
    while !fragment.is_empty() {
        let (field, value) = take_field(&mut fragment).ok_or_else(|| error("a field is cut off"))?;
        let (3, Value::Bytes(mut run)) = (field, value) else { continue };
        while !run.is_empty() {
            match take_field(&mut run).ok_or_else(|| error("a span is cut off"))? {
                (1, Value::Varint(context)) if context < contexts as u64 => {}
                (1, _) => return Err(error("a span names a context that is not there")),
                (2, Value::Bytes(_)) if contexts > 0 => spans += 1,
                _ => return Err(error("unknown field in a span run")),
            }
        }
    }
    if spans == trace.span_count { Ok(()) } else { Err(error("the span count is wrong")) }
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Reads one field and moves past it; `None` at the end, and for anything cut off or of another wire type.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let mut rest = *bytes;
    let tag = take_varint(&mut rest)?;
    let value = match tag & 7 {
        0 => Value::Varint(take_varint(&mut rest)?),
        2 => {
            let len = usize::try_from(take_varint(&mut rest)?).ok()?;
            let (value, after) = rest.split_at_checked(len)?;
            rest = after;
            Value::Bytes(value)
        }
        _ => return None,
    };
    *bytes = rest;
    Some((tag >> 3, value))
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for index in 0..10 {
        let byte = *bytes.get(index)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Reads length-delimited fields and keeps track of the offset in the payload.
struct Reader<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], base: usize) -> Reader<'a> {
        Reader { rest: bytes, end: base + bytes.len() }
    }

    fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError { offset: self.position(), problem }
    }

    fn next_message(&mut self) -> Result<Option<(u64, Range<usize>)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match take_field(&mut self.rest) {
            Some((field, Value::Bytes(bytes))) => {
                let end = self.position();
                Ok(Some((field, end - bytes.len()..end)))
            }
            Some((_, Value::Varint(_))) => Err(self.error("a number where a message was expected")),
            None => Err(self.error("a field is cut off")),
        }
    }
}

fn slice(payload: &[u8], (start, end): Span32) -> &[u8] {
    payload.get(start as usize..end as usize).unwrap_or_default()
}

fn slice_range<'a>(payload: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    payload.get(range.clone()).unwrap_or_default()
}

/// Offsets are 32 bits: a request is at most some megabytes, and `decode` refuses more than 4 GiB.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn field_len(value: &[u8]) -> usize {
    1 + varint_len(value.len() as u64) + value.len()
}

fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.push((value & 0x7f) as u8);
}

fn put_tag(buffer: &mut Vec<u8>, field: u8, wire_type: u8) {
    buffer.push(field << 3 | wire_type);
}

fn put_tag_and_len(buffer: &mut Vec<u8>, field: u8, len: usize) {
    put_tag(buffer, field, 2);
    put_varint(buffer, len as u64);
}

/// Writes a bytes field and returns where its value lies.
fn put_bytes(buffer: &mut Vec<u8>, field: u8, value: &[u8]) -> Span32 {
    put_tag_and_len(buffer, field, value.len());
    let start = buffer.len();
    buffer.extend_from_slice(value);
    (offset(start), offset(buffer.len()))
}

#[cfg(test)]
mod tests;
