//! Appends an `ExportTraceServiceRequest` as protobuf bytes, straight from what another protocol's reader has in hand.
//!
//! No message structs: a nested message is opened, written into and closed. Its length is not known before, so `open`
//! leaves as many bytes for it as its size usually needs and `close` moves the body if it guessed wrong; lengths come
//! out in their shortest form. Messages close in the reverse order of opening ([`Open`] is not `Copy`, and `close`
//! asserts it). Text that may come from anywhere is made valid UTF-8, because a span with anything else is rejected
//! further down. Requests concatenate: several `resource_spans` one after the other are one request.
//!
//! ```text
//! resource_spans = 1 { resource = 1 { attributes = 1 } scope_spans = 2 { scope = 1 { name = 1 version = 2 } spans = 2 } }
//! span { trace_id = 1 span_id = 2 trace_state = 3 parent_span_id = 4 name = 5 kind = 6 start = 7 end = 8 attributes = 9
//!        events = 11 { time = 1 name = 2 attributes = 3 } links = 13 { trace_id = 1 span_id = 2 attributes = 4 }
//!        status = 15 { message = 2 code = 3 } }
//! ```

use std::borrow::Cow;

use crate::wire::{FIXED64, LEN, VARINT, put_tag, put_varint, tag};

pub(super) const RESOURCE_SPANS: Field = Field { number: 1, length_bytes: 3 };
pub(super) const RESOURCE: Field = Field { number: 1, length_bytes: 2 };
pub(super) const SCOPE_SPANS: Field = Field { number: 2, length_bytes: 3 };
pub(super) const EVENT: Field = Field { number: 11, length_bytes: 1 };
pub(super) const LINK: Field = Field { number: 13, length_bytes: 1 };

/// Numbers of the `attributes` field.
pub(super) const RESOURCE_ATTRIBUTE: u32 = 1;
pub(super) const SPAN_ATTRIBUTE: u32 = 9;
pub(super) const EVENT_ATTRIBUTE: u32 = 3;
pub(super) const LINK_ATTRIBUTE: u32 = 4;

/// A nested message: its field number, and how many bytes its length usually takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    number: u32,
    length_bytes: usize,
}

/// A message that has been opened and not closed.
#[derive(Debug)]
#[must_use = "a message has to be closed"]
pub(super) struct Open {
    /// Where its length is to stand.
    length_at: usize,
    length_bytes: usize,
}

/// The value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    /// Made valid UTF-8.
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
}

/// `SpanKind`, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SpanKind {
    #[default]
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// `Status.code`, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum StatusCode {
    #[default]
    Unset = 0,
    Ok = 1,
    Error = 2,
}

/// Writes at the end of a buffer.
#[derive(Debug)]
pub(super) struct OtlpWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> OtlpWriter<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> OtlpWriter<'o> {
        OtlpWriter { out }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// What was written so far, for a writer that has to look back.
    pub(super) fn written(&mut self) -> &mut Vec<u8> {
        self.out
    }

    pub(super) fn open(&mut self, field: Field) -> Open {
        put_tag(self.out, tag(field.number, LEN));
        let length_at = self.out.len();
        self.out.extend_from_slice([0u8; 4].get(..field.length_bytes).unwrap_or_default());
        Open { length_at, length_bytes: field.length_bytes }
    }

    pub(super) fn close(&mut self, open: Open) {
        let Open { length_at, length_bytes } = open;
        let body_at = length_at + length_bytes;
        debug_assert!(self.out.len() >= body_at, "a message was closed that others were closed around");
        let len = self.out.len().saturating_sub(body_at);
        let (length, used) = varint(len as u64);
        let length = length.get(..used).unwrap_or_default();
        if used == length_bytes {
            if let Some(place) = self.out.get_mut(length_at..body_at) {
                place.copy_from_slice(length);
            }
        } else {
            self.out.splice(length_at..body_at, length.iter().copied());
        }
    }

    /// Text from outside; empty text is not written.
    pub(super) fn text(&mut self, field: u32, text: &[u8]) {
        if !text.is_empty() {
            self.bytes(field, &valid_utf8(text));
        }
    }

    /// Also when empty.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        put_tag(self.out, tag(field, LEN));
        put_varint(self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    pub(super) fn varint(&mut self, field: u32, value: u64) {
        put_tag(self.out, tag(field, VARINT));
        put_varint(self.out, value);
    }

    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        put_tag(self.out, tag(field, FIXED64));
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    /// A time since 1970; 0 is none.
    pub(super) fn unix_nanos(&mut self, field: u32, unix_nanos: u64) {
        if unix_nanos != 0 {
            self.fixed64(field, unix_nanos);
        }
    }

    /// A `KeyValue`. `field` is the number of `attributes` in the message that is open.
    pub(super) fn attribute(&mut self, field: u32, key: &[u8], value: Value<'_>) {
        let key = valid_utf8(key);
        let text;
        let (value_field, value_len) = match value {
            Value::Text(bytes) => {
                text = valid_utf8(bytes);
                return self.attribute_bytes(field, &key, 1, &text);
            }
            Value::Bytes(bytes) => return self.attribute_bytes(field, &key, 7, bytes),
            Value::Bool(_) => (tag(2, VARINT), 2),
            Value::Int(number) => (tag(3, VARINT), 1 + varint_len(number.cast_unsigned())),
            Value::Double(_) => (tag(4, FIXED64), 9),
        };
        self.key(field, &key, value_len);
        put_tag(self.out, value_field);
        match value {
            Value::Bool(flag) => self.out.push(u8::from(flag)),
            Value::Int(number) => put_varint(self.out, number.cast_unsigned()),
            Value::Double(number) => self.out.extend_from_slice(&number.to_le_bytes()),
            Value::Text(_) | Value::Bytes(_) => {}
        }
    }

    fn attribute_bytes(&mut self, field: u32, key: &[u8], value_field: u32, value: &[u8]) {
        self.key(field, key, 1 + varint_len(value.len() as u64) + value.len());
        self.bytes(value_field, value);
    }

    /// The head of a `KeyValue` up to the fields of its `AnyValue`, which take `value_len` bytes.
    fn key(&mut self, field: u32, key: &[u8], value_len: usize) {
        let len = 1 + varint_len(key.len() as u64) + key.len() + 1 + varint_len(value_len as u64) + value_len;
        put_tag(self.out, tag(field, LEN));
        put_varint(self.out, len as u64);
        self.bytes(1, key);
        put_tag(self.out, tag(2, LEN));
        put_varint(self.out, value_len as u64);
    }

    /// The scope of open `scope_spans`. It is always there, as Tempo has it, even if empty.
    pub(super) fn scope(&mut self, name: &[u8], version: &[u8]) {
        let scope = self.open(Field { number: 1, length_bytes: 1 });
        self.text(1, name);
        self.text(2, version);
        self.close(scope);
    }

    /// Ids of an open span or link. A trace id or span id of zeros is an absent one.
    pub(super) fn trace_id(&mut self, trace_id: u128) {
        if trace_id != 0 {
            self.bytes(1, &trace_id.to_be_bytes());
        }
    }

    pub(super) fn span_id(&mut self, span_id: u64) {
        if span_id != 0 {
            self.bytes(2, &span_id.to_be_bytes());
        }
    }

    /// Of an open span; 0 is none.
    pub(super) fn parent_span_id(&mut self, span_id: u64) {
        if span_id != 0 {
            self.bytes(4, &span_id.to_be_bytes());
        }
    }

    /// Of an open span.
    pub(super) fn kind(&mut self, kind: SpanKind) {
        if kind != SpanKind::Unspecified {
            self.varint(6, kind as u64);
        }
    }

    /// Of an open span.
    pub(super) fn times(&mut self, start_unix_nanos: u64, end_unix_nanos: u64) {
        self.unix_nanos(7, start_unix_nanos);
        self.unix_nanos(8, end_unix_nanos);
    }

    /// Of an open span; always there, as Tempo has it.
    pub(super) fn status(&mut self, code: StatusCode, message: &[u8]) {
        let status = self.open(Field { number: 15, length_bytes: 1 });
        self.text(2, message);
        if code != StatusCode::Unset {
            self.varint(3, code as u64);
        }
        self.close(status);
    }
}

/// The text itself if it is valid, else with U+FFFD in place of what is not.
fn valid_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    // Several times as fast as looking for the place to repair.
    if std::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(String::from_utf8_lossy(text).into_owned().into_bytes())
}

/// The bytes of a varint and how many of them there are.
fn varint(mut value: u64) -> ([u8; 10], usize) {
    let mut bytes = [0; 10];
    let mut used = 0;
    for place in &mut bytes {
        used += 1;
        if value < 0x80 {
            *place = (value & 0x7f) as u8;
            break;
        }
        *place = (value & 0x7f) as u8 | 0x80;
        value >>= 7;
    }
    (bytes, used)
}

/// Bytes of a number as a varint.
pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tempo_proto::{
        collector::ExportTraceServiceRequest,
        common::{AnyValue, InstrumentationScope, KeyValue, any_value},
        resource::Resource,
        trace::{
            ResourceSpans, ScopeSpans, Span, Status,
            span::{Event, Link},
        },
    };

    use super::*;

    fn key_value(key: &str, value: any_value::Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn write(out: &mut Vec<u8>, text: &str) {
        let mut writer = OtlpWriter::new(out);
        let resource_spans = writer.open(RESOURCE_SPANS);
        let resource = writer.open(RESOURCE);
        writer.attribute(RESOURCE_ATTRIBUTE, b"service.name", Value::Text(text.as_bytes()));
        writer.close(resource);
        let scope_spans = writer.open(SCOPE_SPANS);
        writer.scope(b"lib", b"1");
        let span = writer.open(Field { number: 2, length_bytes: 2 });
        writer.trace_id(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        writer.span_id(1);
        writer.parent_span_id(2);
        writer.text(5, b"name");
        writer.kind(SpanKind::Consumer);
        writer.times(3, u64::MAX);
        writer.attribute(SPAN_ATTRIBUTE, b"bool", Value::Bool(true));
        writer.attribute(SPAN_ATTRIBUTE, b"int", Value::Int(-1));
        writer.attribute(SPAN_ATTRIBUTE, b"double", Value::Double(0.5));
        writer.attribute(SPAN_ATTRIBUTE, b"bytes", Value::Bytes(&[0, 255]));
        writer.attribute(SPAN_ATTRIBUTE, b"broken", Value::Text(b"a\xffb"));
        let event = writer.open(EVENT);
        writer.unix_nanos(1, 9);
        writer.text(2, b"event");
        writer.attribute(EVENT_ATTRIBUTE, b"k", Value::Text(text.as_bytes()));
        writer.close(event);
        let link = writer.open(LINK);
        writer.trace_id(5);
        writer.span_id(6);
        writer.attribute(LINK_ATTRIBUTE, b"why", Value::Text(b""));
        writer.close(link);
        writer.status(StatusCode::Error, b"broken");
        writer.close(span);
        writer.close(scope_spans);
        writer.close(resource_spans);
    }

    fn expected(text: &str) -> ResourceSpans {
        let as_text = |text: &str| any_value::Value::StringValue(text.to_owned());
        let span = Span {
            trace_id: (1..=16).collect(),
            span_id: 1u64.to_be_bytes().to_vec(),
            parent_span_id: 2u64.to_be_bytes().to_vec(),
            name: "name".to_owned(),
            kind: 5,
            start_time_unix_nano: 3,
            end_time_unix_nano: u64::MAX,
            attributes: vec![
                key_value("bool", any_value::Value::BoolValue(true)),
                key_value("int", any_value::Value::IntValue(-1)),
                key_value("double", any_value::Value::DoubleValue(0.5)),
                key_value("bytes", any_value::Value::BytesValue(vec![0, 255])),
                key_value("broken", as_text("a\u{fffd}b")),
            ],
            events: vec![Event {
                time_unix_nano: 9,
                name: "event".to_owned(),
                attributes: vec![key_value("k", as_text(text))],
                ..Event::default()
            }],
            links: vec![Link {
                trace_id: 5u128.to_be_bytes().to_vec(),
                span_id: 6u64.to_be_bytes().to_vec(),
                attributes: vec![key_value("why", as_text(""))],
                ..Link::default()
            }],
            status: Some(Status { message: "broken".to_owned(), code: 2 }),
            ..Span::default()
        };
        let scope = InstrumentationScope {
            name: "lib".to_owned(),
            version: "1".to_owned(),
            ..InstrumentationScope::default()
        };
        let attributes = vec![key_value("service.name", as_text(text))];
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![span],
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    }

    #[test]
    fn what_is_written_decodes_to_the_same_and_has_the_shortest_form() {
        // Lengths of one to four bytes, whatever was guessed.
        for len in [0, 1, 100, 127, 128, 1_000, 16_300, 20_000, 3_000_000] {
            let text = "x".repeat(len);
            let mut out = Vec::new();
            write(&mut out, &text);
            write(&mut out, "second");

            let decoded = ExportTraceServiceRequest::decode(out.as_slice()).unwrap();

            assert!(decoded.resource_spans == [expected(&text), expected("second")], "{len}");
            assert_eq!(decoded.encoded_len(), out.len(), "{len}");
        }
    }

    #[test]
    fn ids_of_zeros_are_absent() {
        let mut out = Vec::new();
        let mut writer = OtlpWriter::new(&mut out);

        writer.trace_id(0);
        writer.span_id(0);
        writer.parent_span_id(0);

        assert!(out.is_empty());
    }
}
