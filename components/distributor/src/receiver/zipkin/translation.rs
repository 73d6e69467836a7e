//! Zipkin spans, read field by field, to one OTLP export request in bytes. The readers of the four formats call this.
//!
//! What a field becomes is OpenTelemetry's translation to Zipkin the other way round, as the collector does it; where
//! the collector would lose something, it is kept.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | `traceId` of 64 or 128 bits, `id`, `parentId` | ids; 64 bits are the low half; a parent that is 0 or the span itself is none |
//! | `shared`, `debug` | nothing: a shared span has the id of its client's span |
//! | `name` | name |
//! | `kind` | kind; without one the tag `span.kind` is looked at, which else is an attribute |
//! | `timestamp`, `duration` (microseconds) | start, end = start + duration |
//! | no `timestamp` | start 0, end = duration, attribute `otel.zipkin.absentField.startTime` = true |
//! | `localEndpoint.serviceName` | resource `service.name`, or the key in the tag `otlp.service.name.source`; `OTLPResourceNoServiceName`: none |
//! | `localEndpoint` address, port | attributes `net.host.ip` (IPv6 if there are both), `net.host.port` |
//! | `remoteEndpoint` | attributes `peer.service`, `net.peer.ip` (as above), `net.peer.port` |
//! | tags whose key belongs to a resource (`tags`) | attributes of the resource; spans with the same ones share it |
//! | tags `otel.scope.name`, `otel.library.name`, `.version` | scope |
//! | tag `w3c.tracestate` | trace state |
//! | tag `otel.status_code` (`OK`, `Error`, `STATUS_CODE_ERROR`, …), `otel.status_description` | status |
//! | tag `error` | status ERROR, its message if there is no description; stays an attribute unless `true`. `false` is no error |
//! | tags `otlp.link.<n>` | links (`attributes`) |
//! | other tags | attributes of text; with `parse_string_tags` numbers and booleans get their type |
//! | `annotations` | events (`attributes`) |
//!
//! Version 1 has no kind, no endpoints of a span and no tags: `v1` tells what stands for them.

use super::{
    attributes::{put_attribute, put_event, put_link},
    contexts::Contexts,
    endpoint::Endpoint,
    tags::{Key, Value},
};
use crate::{
    receiver::{
        NO_SERVICE_NAME,
        otlp_writer::{OtlpWriter, RESOURCE_ATTRIBUTE, SPAN_ATTRIBUTE, SpanKind, StatusCode},
    },
    wire::put_bytes,
};

const START_TIME_ABSENT: &str = "otel.zipkin.absentField.startTime";

/// A kind in Zipkin's spelling, in either case.
pub(super) fn parse_kind(text: &str) -> Option<SpanKind> {
    let kinds = [
        ("INTERNAL", SpanKind::Internal),
        ("SERVER", SpanKind::Server),
        ("CLIENT", SpanKind::Client),
        ("PRODUCER", SpanKind::Producer),
        ("CONSUMER", SpanKind::Consumer),
    ];
    kinds.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, kind)| kind)
}

fn parse_status(text: &str) -> Option<StatusCode> {
    let name = text.strip_prefix("STATUS_CODE_").unwrap_or(text);
    let names = [
        ("OK", StatusCode::Ok),
        ("ERROR", StatusCode::Error),
        ("UNSET", StatusCode::Unset),
        ("0", StatusCode::Unset),
        ("1", StatusCode::Ok),
        ("2", StatusCode::Error),
    ];
    names.into_iter().find(|(code, _)| code.eq_ignore_ascii_case(name)).map(|(_, code)| code)
}

/// Why a span is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpanFault {
    #[error("span has no trace id, or one of zeros")]
    TraceId,
    #[error("span has no id, or one of zeros")]
    Id,
    #[error("spans are larger than their room")]
    Room,
}

/// Facts of the span that is being read.
#[derive(Debug, Default)]
struct Facts {
    /// Where the span's message starts in `Translation::spans`.
    start: usize,
    trace_id: u128,
    id: u64,
    parent_id: u64,
    kind: Option<SpanKind>,
    start_nanos: u64,
    /// Known in version 1 only, from annotations.
    end_nanos: u64,
    duration_nanos: u64,
    has_service_tag: bool,
    code: Option<StatusCode>,
    is_error: bool,
}

/// Texts of the span that is being read; their memory is kept from span to span.
#[derive(Debug, Default)]
struct Texts {
    local: Endpoint,
    remote: Endpoint,
    kind_tag: String,
    service_source: String,
    /// Attributes of the resource besides its service's name.
    resource_tags: Vec<u8>,
    scope_name: String,
    scope_version: String,
    message: String,
    error: String,
}

impl Texts {
    fn clear(&mut self) {
        let Texts {
            local,
            remote,
            kind_tag,
            service_source,
            resource_tags,
            scope_name,
            scope_version,
            message,
            error,
        } = self;
        local.clear();
        remote.clear();
        resource_tags.clear();
        for text in [kind_tag, service_source, scope_name, scope_version, message, error] {
            text.clear();
        }
    }
}

/// One request.
#[derive(Default)]
pub(super) struct Translation {
    parse_string_tags: bool,
    is_v1: bool,
    /// Most bytes of spans.
    room: usize,
    is_room_used_up: bool,
    /// Messages of the spans, one behind the other.
    spans: Vec<u8>,
    contexts: Contexts,
    resource: Vec<u8>,
    scope: Vec<u8>,
    facts: Facts,
    texts: Texts,
}

impl Translation {
    /// Of the `room` for spans, `likely` bytes will be used.
    pub(super) fn new(parse_string_tags: bool, likely: usize, room: usize) -> Translation {
        Translation {
            parse_string_tags,
            room,
            spans: Vec::with_capacity(likely.min(room)),
            ..Translation::default()
        }
    }

    /// Whether reading stopped because of the room, and not because of the request.
    pub(super) fn is_room_used_up(&self) -> bool {
        self.is_room_used_up
    }

    /// Tags are read as binary annotations, which have some keys of their own.
    pub(super) fn set_v1(&mut self) {
        self.is_v1 = true;
    }

    /// The export request with all spans that were ended.
    pub(super) fn finish(self) -> Vec<u8> {
        self.contexts.write(&self.spans)
    }

    pub(super) fn begin(&mut self) {
        self.facts = Facts { start: self.spans.len(), ..Facts::default() };
        self.texts.clear();
    }

    pub(super) fn set_trace_id(&mut self, id: u128) {
        self.facts.trace_id = id;
    }

    pub(super) fn set_id(&mut self, id: u64) {
        self.facts.id = id;
    }

    pub(super) fn set_parent_id(&mut self, id: u64) {
        self.facts.parent_id = id;
    }

    pub(super) fn set_name(&mut self, name: &str) {
        put_bytes(&mut self.spans, 5, name.as_bytes());
    }

    pub(super) fn set_kind(&mut self, kind: Option<SpanKind>) {
        self.facts.kind = kind;
    }

    /// 0 is none.
    pub(super) fn set_timestamp(&mut self, micros: u64) {
        self.facts.start_nanos = nanos(micros);
    }

    pub(super) fn set_duration(&mut self, micros: u64) {
        self.facts.duration_nanos = nanos(micros);
    }

    /// For a span without a duration.
    pub(super) fn set_end(&mut self, micros: u64) {
        self.facts.end_nanos = nanos(micros);
    }

    pub(super) fn has_timestamp(&self) -> bool {
        self.facts.start_nanos != 0
    }

    pub(super) fn local(&mut self) -> &mut Endpoint {
        &mut self.texts.local
    }

    pub(super) fn remote(&mut self) -> &mut Endpoint {
        &mut self.texts.remote
    }

    pub(super) fn annotation(&mut self, micros: u64, text: &str) {
        put_event(&mut self.spans, nanos(micros), text);
    }

    /// An attribute of the resource that is no tag.
    pub(super) fn resource_attribute(&mut self, key: &str, text: &str) {
        put_attribute(&mut self.texts.resource_tags, RESOURCE_ATTRIBUTE, key, Value::Text(text));
    }

    #[inline]
    pub(super) fn tag(&mut self, key: &str, text: &str) {
        let what = Key::of(key);
        if what == Key::Plain || !self.special_tag(what, key, text) {
            let value = if self.parse_string_tags { Value::typed(text) } else { Value::Text(text) };
            put_attribute(&mut self.spans, SPAN_ATTRIBUTE, key, value);
        }
    }

    /// A tag that came with a type.
    pub(super) fn typed_tag(&mut self, key: &str, value: Value<'_>) {
        match value {
            Value::Text(text) => return self.tag(key, text),
            Value::Bool(true) if key == "error" => {
                self.facts.is_error = true;
                return;
            }
            Value::Int(number) if self.is_v1 && key == "http.status_code" => self.http_status(number),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => {}
        }
        put_attribute(&mut self.spans, SPAN_ATTRIBUTE, key, value);
    }

    /// Whether the tag is dealt with, so that it is no attribute.
    fn special_tag(&mut self, what: Key, key: &str, text: &str) -> bool {
        let Translation { facts, texts, spans, is_v1, .. } = self;
        match what {
            Key::Plain => return false,
            Key::Resource => {
                facts.has_service_tag |= key == "service.name";
                put_attribute(&mut texts.resource_tags, RESOURCE_ATTRIBUTE, key, Value::Text(text));
            }
            Key::ServiceNameSource => text.clone_into(&mut texts.service_source),
            Key::ScopeName => text.clone_into(&mut texts.scope_name),
            Key::ScopeVersion => text.clone_into(&mut texts.scope_version),
            Key::StatusCode => {
                let code = parse_status(text);
                facts.code = code.or(facts.code);
                return code.is_some();
            }
            Key::StatusMessage => text.clone_into(&mut texts.message),
            Key::Error if text == "false" => return false,
            Key::Error => {
                facts.is_error = true;
                if text == "true" {
                    return true;
                }
                text.clone_into(&mut texts.error);
                return false;
            }
            Key::SpanKind => text.clone_into(&mut texts.kind_tag),
            Key::TraceState => put_bytes(spans, 3, text.as_bytes()),
            Key::Link => return put_link(spans, text),
            Key::CensusCode | Key::CensusMessage | Key::HttpStatusCode | Key::LocalComponent if !*is_v1 => {
                return false;
            }
            Key::CensusCode => {
                let Ok(code) = text.parse::<i32>() else { return false };
                facts.code = Some(if code == 0 { StatusCode::Ok } else { StatusCode::Error });
            }
            Key::CensusMessage => text.clone_into(&mut texts.message),
            Key::HttpStatusCode => {
                if let Ok(number) = text.parse() {
                    self.http_status(number);
                }
                return false;
            }
            // A mark of a local span, and nothing more.
            Key::LocalComponent if text.is_empty() => {}
            Key::LocalComponent => {
                put_attribute(spans, SPAN_ATTRIBUTE, "component", Value::Text(text));
            }
        }
        true
    }

    /// In version 1 an HTTP status tells of an error when nothing else does.
    fn http_status(&mut self, number: i64) {
        if !(100..400).contains(&number) {
            self.facts.code = self.facts.code.or(Some(StatusCode::Error));
        }
    }

    pub(super) fn end(&mut self) -> Result<(), SpanFault> {
        let Facts { start, trace_id, id, parent_id, start_nanos, end_nanos, duration_nanos, .. } = self.facts;
        if trace_id == 0 {
            return Err(SpanFault::TraceId);
        }
        if id == 0 {
            return Err(SpanFault::Id);
        }
        self.end_attributes();
        let kind = self.facts.kind.unwrap_or_default();
        let status = self.status();
        let end = match duration_nanos {
            0 => end_nanos.max(start_nanos),
            duration => start_nanos.saturating_add(duration),
        };
        let mut out = OtlpWriter::new(&mut self.spans);
        out.trace_id(trace_id);
        out.span_id(id);
        if parent_id != id {
            out.parent_span_id(parent_id);
        }
        out.kind(kind);
        out.times(start_nanos, end);
        out.status(status, self.texts.message.as_bytes());
        if self.spans.len() > self.room {
            self.is_room_used_up = true;
            return Err(SpanFault::Room);
        }
        self.end_context();
        self.contexts.add(&self.resource, &self.scope, start, self.spans.len());
        Ok(())
    }

    /// What only the whole span tells: which of its texts are attributes.
    fn end_attributes(&mut self) {
        let Translation { facts, texts, spans: out, .. } = self;
        if !texts.kind_tag.is_empty() {
            match (facts.kind, parse_kind(&texts.kind_tag)) {
                (None, Some(kind)) => facts.kind = Some(kind),
                (Some(_), _) | (None, None) => {
                    put_attribute(out, SPAN_ATTRIBUTE, "span.kind", Value::Text(&texts.kind_tag));
                }
            }
        }
        if facts.start_nanos == 0 {
            put_attribute(out, SPAN_ATTRIBUTE, START_TIME_ABSENT, Value::Bool(true));
        }
        if !texts.remote.service.is_empty() {
            put_attribute(out, SPAN_ATTRIBUTE, "peer.service", Value::Text(&texts.remote.service));
        }
        let keys = [("net.host.ip", "net.host.port"), ("net.peer.ip", "net.peer.port")];
        for (endpoint, (ip, port)) in [&texts.local, &texts.remote].into_iter().zip(keys) {
            if !endpoint.address().is_empty() {
                put_attribute(out, SPAN_ATTRIBUTE, ip, Value::Text(endpoint.address()));
            }
            if endpoint.port != 0 {
                put_attribute(out, SPAN_ATTRIBUTE, port, Value::Int(endpoint.port.into()));
            }
        }
    }

    fn status(&mut self) -> StatusCode {
        let Texts { message, error, .. } = &mut self.texts;
        if message.is_empty() {
            std::mem::swap(message, error);
        }
        if self.facts.is_error { StatusCode::Error } else { self.facts.code.unwrap_or_default() }
    }

    /// Writes the resource and the scope of the span.
    fn end_context(&mut self) {
        let Texts { local, service_source, resource_tags, scope_name, scope_version, .. } = &self.texts;
        self.resource.clear();
        let is_named = !local.service.is_empty() && local.service != NO_SERVICE_NAME;
        if is_named && !self.facts.has_service_tag {
            let key = if service_source.is_empty() { "service.name" } else { service_source };
            put_attribute(&mut self.resource, RESOURCE_ATTRIBUTE, key, Value::Text(&local.service));
        }
        self.resource.extend_from_slice(resource_tags);
        self.scope.clear();
        for (field, text) in [(1, scope_name), (2, scope_version)] {
            if !text.is_empty() {
                put_bytes(&mut self.scope, field, text.as_bytes());
            }
        }
    }
}

/// A time beyond what nanoseconds can tell is the last one they can.
fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}
