//! Walks an OTLP export request (protobuf bytes) once: finds its resources, scopes, spans and trace ids and checks
//! everything that is kept. Nothing is decoded into structs; spans stay ranges of the request.
//!
//! Two kinds of faults. Bytes that cannot be followed (cut off, bad tag, a known field of another wire type) fail the
//! whole request. A span that is well framed but wrong (id lengths, UTF-8, nesting; its own or its resource's or
//! scope's) loses its trace: every span of that trace in this request is rejected, other traces are kept.
//!
//! Nesting is counted in protobuf messages from the attribute down and stops at 64: what is accepted then
//! also decodes with the usual limit of 100 messages (prost, C++, Java). Strings are checked where they are found;
//! attributes that are longer than allowed are cut by `truncate`, and the cut span lives behind the request's end in
//! the address space of [`SpanRange`].

use crate::{
    truncate::{self, Cut, Truncated},
    wire::{Fault, LEN, Problem, Reader, Walked, tag},
};

mod messages;

use messages::MessageCheck;

/// What the walk is to enforce.
#[derive(Debug, Clone, Copy)]
pub struct WalkOptions {
    /// Longest attribute key or string value; 0 for no limit.
    pub max_attribute_bytes: usize,
}

/// Why spans were rejected. The first two are Tempo's reasons; Tempo has no word for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    InvalidTraceId,
    InvalidSpanId,
    InvalidUtf8,
    NestedTooDeep,
}

impl SpanRange {
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl RejectReason {
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::InvalidTraceId => "invalid_trace_id",
            RejectReason::InvalidSpanId => "invalid_span_id",
            RejectReason::InvalidUtf8 => "invalid_utf8",
            RejectReason::NestedTooDeep => "nested_too_deep",
        }
    }

    fn of(fault: &Fault) -> RejectReason {
        match fault.problem {
            Problem::TraceId { .. } => RejectReason::InvalidTraceId,
            Problem::SpanId { .. } | Problem::OptionalId { .. } => RejectReason::InvalidSpanId,
            Problem::TooDeep => RejectReason::NestedTooDeep,
            Problem::InvalidUtf8 { .. }
            | Problem::TagCutOff
            | Problem::CutOff { .. }
            | Problem::BadTag
            | Problem::Group { .. }
            | Problem::WireType { .. }
            | Problem::LongNumber { .. }
            | Problem::Repeated { .. } => RejectReason::InvalidUtf8,
        }
    }
}

/// Bytes of the request, or behind its end bytes of [`RequestWalk`]'s own buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanRange {
    start: u32,
    end: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanRef {
    /// Big endian, as a number: cheap to compare and to hash.
    pub(crate) trace_id: u128,
    pub(crate) context: u32,
    pub(crate) bytes: SpanRange,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ContextRef {
    pub(crate) resource: SpanRange,
    pub(crate) scope: SpanRange,
}

/// A trace that loses its spans.
#[derive(Debug)]
struct Rejection {
    trace_id: u128,
    reason: RejectReason,
}

/// What a walk found. Reused from request to request: the vectors keep their memory.
#[derive(Debug, Default)]
pub struct RequestWalk {
    pub(crate) spans: Vec<SpanRef>,
    pub(crate) contexts: Vec<ContextRef>,
    request_len: usize,
    /// Spans, resources and scopes whose attributes were cut.
    rewritten: Vec<u8>,
    truncated: Truncated,
    /// One for each bad span whose trace is known.
    rejections: Vec<Rejection>,
    /// Bad spans whose trace id is the fault: no other span can be told to belong to them. Only counted, because
    /// two bytes are enough for one.
    without_trace: u64,
    first_fault: Option<Box<Fault>>,
    check: MessageCheck,
    /// Where the walk is, for the path of a fault: resource_spans, scope_spans.
    at: [usize; 2],
}

/// A resource or scope that the spans below it share.
struct Shared {
    bytes: SpanRange,
    fault: Option<Box<Fault>>,
}

/// The occurrences of a message that should be there once. Protobuf merges them, which is to concatenate them.
#[derive(Default)]
struct Parts<'a> {
    first: Option<Reader<'a>>,
    more: Vec<Reader<'a>>,
    /// Of the schema URL beside it.
    schema_fault: Option<Box<Fault>>,
}

/// How much was found at some point of the walk.
struct Mark {
    spans: usize,
    contexts: usize,
    rewritten: usize,
    rejections: usize,
    without_trace: u64,
    truncated: Truncated,
}

/// How often a resource or scope that should be there once may come again. None of the known senders does it at all.
const MAX_PARTS: usize = 16;

const EMPTY: SpanRange = SpanRange { start: 0, end: 0 };

/// Whether a request has a span at all. Stops at the first.
pub(crate) fn has_spans(request: &[u8]) -> bool {
    // A request that cannot be followed has something in it: let the walk say what.
    count_spans_up_to(request, 1).is_none_or(|count| count > 0)
}

/// How many spans a request frames; 0 if it cannot be followed.
pub(crate) fn count_spans(request: &[u8]) -> u64 {
    count_spans_up_to(request, u64::MAX).unwrap_or(0)
}

fn count_spans_up_to(request: &[u8], limit: u64) -> Option<u64> {
    let mut count = 0;
    let mut request = Reader::new(request);
    while let Some(mut resource_spans) = next_message(&mut request, 1)? {
        while let Some(mut scope_spans) = next_message(&mut resource_spans, 2)? {
            while next_message(&mut scope_spans, 2)?.is_some() {
                count += 1;
                if count == limit {
                    return Some(count);
                }
            }
        }
    }
    Some(count)
}

/// The next message with this field number; `None` outside for bytes that cannot be followed, inside at the end.
fn next_message<'a>(reader: &mut Reader<'a>, field: u32) -> Option<Option<Reader<'a>>> {
    while !reader.is_empty() {
        let found = reader.tag().ok()?;
        if found == tag(field, LEN) {
            return reader.message(field).ok().map(Some);
        }
        reader.skip(found).ok()?;
    }
    Some(None)
}

impl RequestWalk {
    /// Walks a request of less than 4 GiB. After an error the content is meaningless until the next walk.
    pub fn walk(&mut self, request: &[u8], options: WalkOptions) -> Result<(), Fault> {
        self.clear();
        self.request_len = request.len();
        self.check = MessageCheck::new(options.max_attribute_bytes);
        let mut reader = Reader::new(request);
        let mut index = 0;
        while !reader.is_empty() {
            let found = reader.tag().map_err(|f| *f)?;
            if found == tag(1, LEN) {
                let message = reader.message(1).map_err(|f| *f)?;
                self.at[0] = index;
                self.resource_spans(message).map_err(|f| *f.within("resource_spans", Some(index)))?;
                index += 1;
            } else {
                reader.skip_unknown(found, 1 << 1).map_err(|f| *f)?;
            }
        }
        Ok(())
    }

    /// Spans that are to be kept.
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// Attributes that were cut, by where they were.
    pub fn truncated(&self) -> &Truncated {
        &self.truncated
    }

    /// The first fault that cost spans.
    pub fn first_fault(&self) -> Option<&Fault> {
        self.first_fault.as_deref()
    }

    /// Memory held, for whoever pools these.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<SpanRef>()
            + self.contexts.capacity() * size_of::<ContextRef>()
            + self.rejections.capacity() * size_of::<Rejection>()
            + self.rewritten.capacity()
    }

    pub(crate) fn bytes<'a>(&'a self, request: &'a [u8], range: SpanRange) -> &'a [u8] {
        let (start, end) = (range.start as usize, range.end as usize);
        match start.checked_sub(self.request_len) {
            Some(start) if end > self.request_len => self.rewritten.get(start..end - self.request_len),
            _ => request.get(start..end),
        }
        .unwrap_or_default()
    }

    /// Drops the spans of traces that have a rejected span. Returns how many spans were lost for each reason.
    pub fn take_rejected(&mut self) -> Vec<(RejectReason, u64)> {
        let mut lost: Vec<(RejectReason, u64)> = Vec::new();
        if self.without_trace > 0 {
            lost.push((RejectReason::InvalidTraceId, self.without_trace));
        }
        if self.rejections.is_empty() {
            return lost;
        }
        let mut count = |reason: RejectReason| match lost.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, spans)) => *spans += 1,
            None => lost.push((reason, 1)),
        };
        let mut traces = hashbrown::HashMap::with_capacity_and_hasher(
            self.rejections.len(),
            foldhash::fast::RandomState::default(),
        );
        for rejection in &self.rejections {
            count(rejection.reason);
            traces.entry(rejection.trace_id).or_insert(rejection.reason);
        }
        self.spans.retain(|span| match traces.get(&span.trace_id) {
            Some(reason) => {
                count(*reason);
                false
            }
            None => true,
        });
        lost
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.contexts.clear();
        self.rewritten.clear();
        self.truncated = Truncated::default();
        self.rejections.clear();
        self.without_trace = 0;
        self.first_fault = None;
    }

    fn resource_spans(&mut self, message: Reader<'_>) -> Walked<()> {
        let mark = self.mark();
        let parts = shared_parts(message, Extent::UpToFirstChild)?;
        if !self.resource_spans_with(message, parts)? {
            self.roll_back(mark);
            let parts = shared_parts(message, Extent::Whole)?;
            self.resource_spans_with(message, parts)?;
        }
        Ok(())
    }

    /// Walks everything below a resource. `false`: some of the resource came behind the first of its spans, and `parts`
    /// does not have it.
    fn resource_spans_with(&mut self, message: Reader<'_>, mut parts: Parts<'_>) -> Walked<bool> {
        let mut resource =
            self.check_shared(&parts, SharedKind::Resource).map_err(|f| f.within("resource", None))?;
        resource.fault = resource.fault.map(|f| f.within("resource", None)).or(parts.schema_fault.take());
        resource.fault = resource.fault.map(|f| f.within("resource_spans", Some(self.at[0])));

        let mut index = 0;
        let mut seen = 0;
        let mut fields = message;
        while !fields.is_empty() {
            let found = fields.tag()?;
            if found == tag(2, LEN) {
                let scope_spans = fields.message(2)?;
                self.at[1] = index;
                self.scope_spans(scope_spans, &resource).map_err(|f| f.within("scope_spans", Some(index)))?;
                index += 1;
            } else if parts.is_missing(found, &mut fields, &mut seen)? && resource.fault.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn scope_spans(&mut self, message: Reader<'_>, resource: &Shared) -> Walked<()> {
        let mark = self.mark();
        let parts = shared_parts(message, Extent::UpToFirstChild)?;
        if !self.scope_spans_with(message, parts, resource)? {
            self.roll_back(mark);
            let parts = shared_parts(message, Extent::Whole)?;
            self.scope_spans_with(message, parts, resource)?;
        }
        Ok(())
    }

    /// As `resource_spans_with`, for a scope.
    fn scope_spans_with(
        &mut self,
        message: Reader<'_>,
        mut parts: Parts<'_>,
        resource: &Shared,
    ) -> Walked<bool> {
        let mut scope = self.check_shared(&parts, SharedKind::Scope).map_err(|f| f.within("scope", None))?;
        scope.fault = scope.fault.map(|f| f.within("scope", None)).or(parts.schema_fault.take());
        scope.fault = scope.fault.map(|f| self.within_scope_spans(f)).or_else(|| resource.fault.clone());
        let pair = ContextRef { resource: resource.bytes, scope: scope.bytes };

        let mut context = None;
        let mut index = 0;
        let mut seen = 0;
        let mut fields = message;
        while !fields.is_empty() {
            let found = fields.tag()?;
            if found == tag(2, LEN) {
                let span = fields.message(2)?;
                match self.check.span(span) {
                    Ok(trace_id) if scope.fault.is_none() => {
                        self.keep_span(span, trace_id, &mut context, pair)
                    }
                    Ok(trace_id) => self.reject(Some(trace_id), scope.fault.clone()),
                    Err(fault) if fault.is_local() => {
                        let trace_id =
                            messages::trace_id_of(span).map_err(|f| f.within("spans", Some(index)))?;
                        let fault = match self.first_fault {
                            None => self.within_scope_spans(fault.within("spans", Some(index))),
                            // Nobody will see where it is.
                            Some(_) => fault,
                        };
                        self.reject(trace_id, Some(fault));
                    }
                    Err(fault) => return Err(fault.within("spans", Some(index))),
                }
                index += 1;
            } else if parts.is_missing(found, &mut fields, &mut seen)? && scope.fault.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn mark(&self) -> Mark {
        Mark {
            spans: self.spans.len(),
            contexts: self.contexts.len(),
            rewritten: self.rewritten.len(),
            rejections: self.rejections.len(),
            without_trace: self.without_trace,
            truncated: self.truncated,
        }
    }

    /// Forgets what was found since the mark.
    #[cold]
    fn roll_back(&mut self, mark: Mark) {
        let Mark { spans, contexts, rewritten, rejections, without_trace, truncated } = mark;
        self.spans.truncate(spans);
        self.contexts.truncate(contexts);
        self.rewritten.truncate(rewritten);
        self.rejections.truncate(rejections);
        self.without_trace = without_trace;
        self.truncated = truncated;
        if rejections == 0 && without_trace == 0 {
            self.first_fault = None;
        }
    }

    fn keep_span(&mut self, span: Reader<'_>, trace_id: u128, context: &mut Option<u32>, pair: ContextRef) {
        let bytes = if self.check.take_has_long_attribute() {
            self.rewrite(span.rest(), truncate::span)
        } else {
            range_of(span)
        };
        let context = *context.get_or_insert_with(|| {
            self.contexts.push(pair);
            to_u32(self.contexts.len() - 1)
        });
        self.spans.push(SpanRef { trace_id, context, bytes });
    }

    #[cold]
    fn reject(&mut self, trace_id: Option<u128>, fault: Option<Box<Fault>>) {
        self.check.take_has_long_attribute();
        let Some(fault) = fault else { return };
        let reason = RejectReason::of(&fault);
        match trace_id.filter(|_| reason != RejectReason::InvalidTraceId) {
            Some(trace_id) => self.rejections.push(Rejection { trace_id, reason }),
            None => self.without_trace += 1,
        }
        self.first_fault.get_or_insert(fault);
    }

    fn within_scope_spans(&self, fault: Box<Fault>) -> Box<Fault> {
        fault.within("scope_spans", Some(self.at[1])).within("resource_spans", Some(self.at[0]))
    }

    fn check_shared(&mut self, parts: &Parts<'_>, kind: SharedKind) -> Walked<Shared> {
        let Some(first) = parts.first else { return Ok(Shared { bytes: EMPTY, fault: None }) };
        let mut fault = None;
        for part in std::iter::once(&first).chain(&parts.more) {
            let checked = match kind {
                SharedKind::Resource => self.check.resource(*part),
                SharedKind::Scope => self.check.scope(*part),
            };
            keep_local(&mut fault, checked)?;
        }
        let is_long = self.check.take_has_long_attribute();
        let merged: Vec<u8>;
        let whole = if parts.more.is_empty() {
            first.rest()
        } else {
            merged = std::iter::once(&first).chain(&parts.more).flat_map(|p| p.rest()).copied().collect();
            &merged
        };
        let bytes = match kind {
            _ if fault.is_some() => EMPTY,
            SharedKind::Resource if is_long => self.rewrite(whole, truncate::resource),
            SharedKind::Scope if is_long => self.rewrite(whole, truncate::scope),
            _ if !parts.more.is_empty() => self.rewrite(whole, |bytes, cut| cut.out.extend_from_slice(bytes)),
            SharedKind::Resource | SharedKind::Scope => range_of(first),
        };
        Ok(Shared { bytes, fault })
    }

    /// Runs a function of `truncate` over a message that was checked; its output lands behind the request's end.
    #[cold]
    fn rewrite(&mut self, message: &[u8], cut: impl FnOnce(&[u8], &mut Cut<'_>)) -> SpanRange {
        let start = self.request_len + self.rewritten.len();
        let max_bytes = self.check.max_attribute_bytes();
        cut(message, &mut Cut { out: &mut self.rewritten, max_bytes, counts: &mut self.truncated });
        SpanRange { start: to_u32(start), end: to_u32(self.request_len + self.rewritten.len()) }
    }
}

#[derive(Clone, Copy)]
enum SharedKind {
    Resource,
    Scope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Where senders put a resource or scope; costs nothing.
    UpToFirstChild,
    /// Protobuf fields have no order. Hops over all children, which is slow: each is a cache miss.
    Whole,
}

/// Finds the resource of a `ResourceSpans`, or the scope of a `ScopeSpans`: the fields have the same numbers.
fn shared_parts(message: Reader<'_>, extent: Extent) -> Walked<Parts<'_>> {
    let mut parts = Parts::default();
    let mut fields = message;
    while !fields.is_empty() {
        let found = fields.tag()?;
        if found == tag(1, LEN) {
            let part = fields.message(1)?;
            match parts.first {
                None => parts.first = Some(part),
                Some(_) if parts.more.len() < MAX_PARTS => parts.more.push(part),
                Some(_) => return Err(Fault::new(Problem::Repeated { field: 1 }, part.position())),
            }
        } else if found == tag(3, LEN) {
            keep_local(&mut parts.schema_fault, messages::string(fields.message(3)?, "schema_url"))?;
        } else if found == tag(2, LEN) && extent == Extent::UpToFirstChild {
            break;
        } else {
            fields.skip(found)?;
        }
    }
    Ok(parts)
}

impl Parts<'_> {
    /// Takes a field that is no child, and says if it is one that should be in the parts and is not.
    fn is_missing(&self, found: u32, fields: &mut Reader<'_>, seen: &mut usize) -> Walked<bool> {
        const KNOWN: u32 = 0b1110;
        if found == tag(1, LEN) {
            fields.message(1)?;
            *seen += 1;
            Ok(*seen > usize::from(self.first.is_some()) + self.more.len())
        } else if found == tag(3, LEN) {
            let mut fault = None;
            keep_local(&mut fault, messages::string(fields.message(3)?, "schema_url"))?;
            Ok(fault.is_some())
        } else {
            fields.skip_unknown(found, KNOWN)?;
            Ok(false)
        }
    }
}

/// Keeps the first local fault and passes on any other.
fn keep_local(kept: &mut Option<Box<Fault>>, checked: Walked<()>) -> Walked<()> {
    match checked {
        Err(fault) if fault.is_local() => {
            kept.get_or_insert(fault);
            Ok(())
        }
        other => other,
    }
}

fn range_of(message: Reader<'_>) -> SpanRange {
    let start = message.position();
    SpanRange { start: to_u32(start), end: to_u32(start + message.rest().len()) }
}

/// Requests are shorter than 4 GiB, [`RequestWalk::walk`]'s callers see to that.
fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
