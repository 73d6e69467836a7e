//! Writes OTLP bytes from the parts of Jaeger batches, whatever encoding they came in.
//!
//! The rules are those of OpenTelemetry's specification and of the collector's receiver, which Tempo embeds:
//!
//! (`tests/it/jaeger_translation.rs` tests them row by row.)
//!
//! | Jaeger | OTLP |
//! |---|---|
//! | process `serviceName` | resource attribute `service.name`; empty or `OTLPResourceNoServiceName`: none |
//! | process tags | resource attributes; `hostname` is `host.name` if that is not there, `jaeger.version` is `opencensus.exporterversion` with `Jaeger-` in front |
//! | process of a single span (gRPC) | a resource of its own for that span |
//! | trace id, high and low half | 16 bytes; ids of 64 bits have zeros in front |
//! | span id, operation name | `span_id`, `name` |
//! | `parentSpanId`, or if it is 0 the first CHILD_OF, else the first FOLLOWS_FROM reference in the same trace | `parent_span_id` |
//! | references, but a CHILD_OF to the parent | links with `opentracing.ref_type` = `child_of` or `follows_from` |
//! | start time and duration (microseconds, gRPC nanoseconds) | `start_time_unix_nano`, `end_time_unix_nano` |
//! | tag of type string, bool, long, double, binary | attribute of type string, bool, int, double, bytes; without a type: string |
//! | the same tag twice | its last value |
//! | tag `span.kind` = client, server, producer, consumer, internal | `kind` |
//! | tag `error` = true (bool) | status ERROR, message from `otel.status_description` (removed) or else `http.status_message` (kept) |
//! | tag `otel.status_code` | removed; if there is no `error` = true: status OK or ERROR, message from `otel.status_description` (removed) |
//! | tag `http.status_code`, if there is neither | kept; 400 and above (a server's 4xx excepted) and what is no status at all: status ERROR, message from `http.status_message` (kept) |
//! | tag `w3c.tracestate` | `trace_state` |
//! | tags `otel.scope.name`, `otel.scope.version`, or the older `otel.library.name`, `otel.library.version` | scope; a version without a name stays a tag |
//! | logs | events; field `event` (string) is the name, the others are attributes |
//! | flags, warnings, process ids, sequence number and client statistics of a batch | nothing |

use super::{BatchFault, attributes::Attributes};
use crate::{
    receiver::{
        NO_SERVICE_NAME,
        otlp_writer::{
            EVENT, EVENT_ATTRIBUTE, LINK, LINK_ATTRIBUTE, Open, OtlpWriter, RESOURCE, RESOURCE_ATTRIBUTE,
            RESOURCE_SPANS, SCOPE_SPANS, SPAN_ATTRIBUTE, SpanKind, StatusCode, Value,
        },
    },
    wire::put_bytes,
};

/// How many bytes of OTLP a batch may become: so many times its own, and some. A span of a real client grows by less
/// than half; one with nothing but an id by ten.
const MOST_EXPANSION: usize = 4;
const FREE_EXPANSION_BYTES: usize = 64 << 10;

/// What a tag of a type that nobody knows becomes, as in the collector.
pub(super) const UNKNOWN_TYPE: &[u8] = b"<Unknown Jaeger TagType \"<UNSET>\">";

/// Memory that is used again for every span.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The fields of the span being written.
    span: Vec<u8>,
    span_attributes: Attributes,
    /// Of an event or a process.
    other_attributes: Attributes,
    references: Vec<Reference>,
}

/// A reference of a span to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) kind: ReferenceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ReferenceKind {
    #[default]
    ChildOf,
    FollowsFrom,
}

/// What a span has once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SpanHead<'a> {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    /// 0: to be found among the references.
    pub(super) parent_span_id: u64,
    pub(super) name: &'a [u8],
    pub(super) start_unix_nanos: u64,
    pub(super) end_unix_nanos: u64,
}

/// Tags of a span that become something else than an attribute, or may.
#[derive(Debug, Clone, Copy, Default)]
struct SpecialTags<'a> {
    kind: SpanKind,
    error: Option<bool>,
    status_code: Option<&'a [u8]>,
    status_description: Option<&'a [u8]>,
    http_status_code: Option<Value<'a>>,
    http_status_message: Option<&'a [u8]>,
    trace_state: &'a [u8],
    scope_name: Option<&'a [u8]>,
    scope_version: Option<(&'static [u8], &'a [u8])>,
}

/// Tags of a process that become something else.
#[derive(Debug, Clone, Copy, Default)]
struct SpecialProcessTags<'a> {
    hostname: Option<Value<'a>>,
    has_host_name: bool,
    jaeger_version: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Scope<'a> {
    name: &'a [u8],
    version: &'a [u8],
}

/// The `resource_spans` that spans are being added to.
#[derive(Debug)]
struct Context<'a> {
    resource_spans: Open,
    /// The bytes that the resource was made of.
    process: &'a [u8],
    scope_spans: Option<(Open, Scope<'a>)>,
}

/// Takes one batch. Order of calls: `start_span`, its tags, events and references, `end_span`, then, unless `is_in` the
/// span's process, `start_process`, its tags and `end_process`, then `append_span`.
#[derive(Debug)]
pub(super) struct Translation<'a, 'o> {
    writer: OtlpWriter<'o>,
    scratch: &'o mut Scratch,
    context: Option<Context<'a>>,
    special: SpecialTags<'a>,
    special_process: SpecialProcessTags<'a>,
    /// The resource or event that is open, and the name of the event.
    open: Option<Open>,
    event_name: &'a [u8],
    scope: Scope<'a>,
    spans: u64,
    input_bytes: usize,
    most_bytes: usize,
    /// Bytes of processes that may still be read.
    process_bytes_left: usize,
}

impl<'a, 'o> Translation<'a, 'o> {
    pub(super) fn new(
        scratch: &'o mut Scratch,
        out: &'o mut Vec<u8>,
        input_bytes: usize,
    ) -> Translation<'a, 'o> {
        let most = input_bytes.saturating_mul(MOST_EXPANSION).saturating_add(FREE_EXPANSION_BYTES);
        let most_bytes = out.len().saturating_add(most);
        Translation {
            writer: OtlpWriter::new(out),
            scratch,
            context: None,
            special: SpecialTags::default(),
            special_process: SpecialProcessTags::default(),
            open: None,
            event_name: b"",
            scope: Scope::default(),
            spans: 0,
            input_bytes,
            most_bytes,
            process_bytes_left: most,
        }
    }

    /// Ends the batch; returns how many spans it had.
    pub(super) fn finish(mut self) -> u64 {
        self.close_context();
        self.spans
    }

    pub(super) fn start_span(&mut self) {
        self.scratch.span.clear();
        self.scratch.span_attributes.clear();
        self.scratch.references.clear();
        self.special = SpecialTags::default();
    }

    pub(super) fn tag(&mut self, key: &'a [u8], value: Value<'a>) {
        let special = &mut self.special;
        match (key, value) {
            (b"span.kind", Value::Text(text)) => match span_kind(text) {
                Some(kind) => special.kind = kind,
                None => self.attribute(key, value),
            },
            (b"error", Value::Bool(error)) => special.error = Some(error),
            (b"otel.status_code", Value::Text(text)) => special.status_code = Some(text),
            (b"otel.status_description", Value::Text(text)) => special.status_description = Some(text),
            (b"w3c.tracestate", Value::Text(text)) => special.trace_state = text,
            (b"otel.scope.name" | b"otel.library.name", Value::Text(text)) => special.scope_name = Some(text),
            (b"otel.scope.version", Value::Text(text)) => {
                special.scope_version = Some((b"otel.scope.version", text));
            }
            (b"otel.library.version", Value::Text(text)) => {
                special.scope_version = Some((b"otel.library.version", text));
            }
            (b"http.status_code", _) => {
                special.http_status_code = Some(value);
                self.attribute(key, value);
            }
            (b"http.status_message", Value::Text(text)) => {
                special.http_status_message = Some(text);
                self.attribute(key, value);
            }
            _ => self.attribute(key, value),
        }
    }

    fn attribute(&mut self, key: &[u8], value: Value<'_>) {
        let Scratch { span, span_attributes, .. } = &mut *self.scratch;
        span_attributes.put(&mut OtlpWriter::new(span), SPAN_ATTRIBUTE, key, value);
    }

    pub(super) fn start_event(&mut self) {
        self.scratch.other_attributes.clear();
        self.event_name = b"";
        self.open = Some(OtlpWriter::new(&mut self.scratch.span).open(EVENT));
    }

    pub(super) fn event_field(&mut self, key: &'a [u8], value: Value<'a>) {
        if let (b"event", Value::Text(name)) = (key, value) {
            self.event_name = name;
            return;
        }
        let Scratch { span, other_attributes, .. } = &mut *self.scratch;
        other_attributes.put(&mut OtlpWriter::new(span), EVENT_ATTRIBUTE, key, value);
    }

    pub(super) fn end_event(&mut self, unix_nanos: u64) {
        let Some(event) = self.open.take() else { return };
        let mut writer = OtlpWriter::new(&mut self.scratch.span);
        writer.unix_nanos(1, unix_nanos);
        writer.text(2, self.event_name);
        writer.close(event);
    }

    pub(super) fn reference(&mut self, reference: Reference) {
        self.scratch.references.push(reference);
    }

    /// Writes what follows from all of the span.
    pub(super) fn end_span(&mut self, head: &SpanHead<'a>) -> Result<(), BatchFault> {
        let (status, message) = self.status();
        let special = self.special;
        self.scope = match (special.scope_name, special.scope_version) {
            (Some(name), version) => Scope { name, version: version.map_or(b"", |(_, version)| version) },
            (None, Some((key, version))) => {
                self.attribute(key, Value::Text(version));
                Scope::default()
            }
            (None, None) => Scope::default(),
        };
        let Scratch { span, references, .. } = &mut *self.scratch;
        let parent = parent(head, references);
        let mut writer = OtlpWriter::new(span);
        writer.trace_id(head.trace_id);
        writer.span_id(head.span_id);
        writer.text(3, special.trace_state);
        writer.parent_span_id(parent);
        writer.text(5, head.name);
        writer.kind(special.kind);
        writer.times(head.start_unix_nanos, head.end_unix_nanos);
        for reference in references.iter() {
            let ref_type: &[u8] = match reference.kind {
                ReferenceKind::ChildOf if reference.span_id == parent => continue,
                ReferenceKind::ChildOf => b"child_of",
                ReferenceKind::FollowsFrom => b"follows_from",
            };
            let link = writer.open(LINK);
            writer.trace_id(reference.trace_id);
            writer.span_id(reference.span_id);
            writer.attribute(LINK_ATTRIBUTE, b"opentracing.ref_type", Value::Text(ref_type));
            writer.close(link);
        }
        writer.status(status, message);
        if self.writer.len() + self.scratch.span.len() > self.most_bytes {
            return Err(BatchFault::Expands(self.input_bytes));
        }
        Ok(())
    }

    /// Code and message; puts back the tags that turn out to be attributes.
    fn status(&mut self) -> (StatusCode, &'a [u8]) {
        let special = self.special;
        if special.error == Some(true) {
            let message = special.status_description.or(special.http_status_message);
            return (StatusCode::Error, message.unwrap_or_default());
        }
        if special.error == Some(false) {
            self.attribute(b"error", Value::Bool(false));
        }
        if let Some(code) = special.status_code {
            let message = special.status_description.unwrap_or_default();
            return match code {
                code if code.eq_ignore_ascii_case(b"OK") => (StatusCode::Ok, message),
                code if code.eq_ignore_ascii_case(b"ERROR") => (StatusCode::Error, message),
                _ => (StatusCode::Unset, message),
            };
        }
        if let Some(description) = special.status_description {
            self.attribute(b"otel.status_description", Value::Text(description));
        }
        match special.http_status_code.and_then(http_status) {
            Some(status) if is_failure(status, special.kind) => {
                (StatusCode::Error, special.http_status_message.unwrap_or_default())
            }
            Some(_) | None => (StatusCode::Unset, b""),
        }
    }

    /// Whether spans are being added to this process, given by its bytes.
    pub(super) fn is_in(&mut self, process: &'a [u8]) -> bool {
        let Some(context) = &mut self.context else { return false };
        // A batch's process is the same bytes for every span: compared each time, a large one would take hours.
        let is_in = std::ptr::eq(context.process, process) || context.process == process;
        if is_in {
            context.process = process;
        }
        is_in
    }

    /// Spans that take turns between processes have them read each time, which is bounded as what they become is.
    pub(super) fn start_process(&mut self, process: &'a [u8]) -> Result<(), BatchFault> {
        let left = self.process_bytes_left.checked_sub(process.len());
        self.process_bytes_left = left.ok_or(BatchFault::Expands(self.input_bytes))?;
        self.close_context();
        self.scratch.other_attributes.clear();
        self.special_process = SpecialProcessTags::default();
        let resource_spans = self.writer.open(RESOURCE_SPANS);
        self.context = Some(Context { resource_spans, process, scope_spans: None });
        self.open = Some(self.writer.open(RESOURCE));
        Ok(())
    }

    pub(super) fn service_name(&mut self, name: &[u8]) {
        if !name.is_empty() && name != NO_SERVICE_NAME.as_bytes() {
            self.resource_attribute(b"service.name", Value::Text(name));
        }
    }

    pub(super) fn process_tag(&mut self, key: &'a [u8], value: Value<'a>) {
        match (key, value) {
            (b"hostname", _) => self.special_process.hostname = Some(value),
            (b"jaeger.version", Value::Text(version)) => self.special_process.jaeger_version = Some(version),
            _ => {
                self.special_process.has_host_name |= key == b"host.name";
                self.resource_attribute(key, value);
            }
        }
    }

    fn resource_attribute(&mut self, key: &[u8], value: Value<'_>) {
        self.scratch.other_attributes.put(&mut self.writer, RESOURCE_ATTRIBUTE, key, value);
    }

    pub(super) fn end_process(&mut self) {
        let special = self.special_process;
        if let Some(hostname) = special.hostname {
            let key: &[u8] = if special.has_host_name { b"hostname" } else { b"host.name" };
            self.resource_attribute(key, hostname);
        }
        if let Some(version) = special.jaeger_version {
            let exporter = [b"Jaeger-", version].concat();
            self.resource_attribute(b"opencensus.exporterversion", Value::Text(&exporter));
        }
        if let Some(resource) = self.open.take() {
            self.writer.close(resource);
        }
    }

    /// Adds the span that was ended to the process that is open.
    pub(super) fn append_span(&mut self) {
        let Some(context) = &mut self.context else { return };
        match context.scope_spans.take() {
            Some((open, scope)) if scope == self.scope => context.scope_spans = Some((open, scope)),
            other => {
                if let Some((open, _)) = other {
                    self.writer.close(open);
                }
                let open = self.writer.open(SCOPE_SPANS);
                self.writer.scope(self.scope.name, self.scope.version);
                context.scope_spans = Some((open, self.scope));
            }
        }
        put_bytes(self.writer.written(), 2, &self.scratch.span);
        self.spans += 1;
    }

    fn close_context(&mut self) {
        let Some(Context { resource_spans, process: _, scope_spans }) = self.context.take() else { return };
        if let Some((open, _)) = scope_spans {
            self.writer.close(open);
        }
        self.writer.close(resource_spans);
    }
}

fn parent(head: &SpanHead<'_>, references: &[Reference]) -> u64 {
    if head.parent_span_id != 0 {
        return head.parent_span_id;
    }
    let within = |kind| references.iter().find(|r| r.kind == kind && r.trace_id == head.trace_id);
    within(ReferenceKind::ChildOf).or_else(|| within(ReferenceKind::FollowsFrom)).map_or(0, |r| r.span_id)
}

fn span_kind(text: &[u8]) -> Option<SpanKind> {
    match text {
        b"client" => Some(SpanKind::Client),
        b"server" => Some(SpanKind::Server),
        b"producer" => Some(SpanKind::Producer),
        b"consumer" => Some(SpanKind::Consumer),
        b"internal" => Some(SpanKind::Internal),
        _ => None,
    }
}

fn http_status(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Int(status) => Some(status),
        Value::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Bool(_) | Value::Double(_) | Value::Bytes(_) => None,
    }
}

fn is_failure(status: i64, kind: SpanKind) -> bool {
    match status {
        100..400 => false,
        400..500 => kind != SpanKind::Server,
        _ => true,
    }
}
