//! Protobuf JSON as Tempo prints it, written by hand for the messages of a trace.
//!
//! The rules are those of Go's jsonpb with default settings: lowerCamelCase names in the order of the `.proto` file;
//! bytes, ids included, as padded base64; 64-bit integers as strings; enums by name; NaN and infinities as strings;
//! zero values, empty lists and absent messages left out, but a present message is printed even if empty, and so is
//! a set member of a oneof; no whitespace. Numbers and strings inside are those of Go's `encoding/json`: floats are
//! written with an exponent below 1e-6 and from 1e21 on, and `<`, `>`, `&`, U+2028, U+2029 are escaped like control
//! characters. `Resource.entity_refs` and the string-table members of OTLP profiles are not part of Tempo's messages,
//! and its clients refuse unknown fields, so they are not printed.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use tempo_proto::{
    common::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::Resource,
    tempopb::{PartialStatus, Trace, TraceByIdMetrics, TraceByIdResponse},
    trace::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link, SpanKind},
        status::StatusCode,
    },
};

mod parse;

pub use parse::parse_any_value;

/// Writes a trace; `resource_spans_key` is `batches` on the v1 endpoint and `resourceSpans` elsewhere.
pub fn write_trace(out: &mut String, trace: &Trace, resource_spans_key: &str) {
    let mut object = Object::open(out);
    object.list(resource_spans_key, &trace.resource_spans, write_resource_spans);
    object.close();
}

/// Writes the body of `/api/v2/traces/{id}`.
pub fn write_trace_by_id_response(out: &mut String, response: &TraceByIdResponse) {
    let TraceByIdResponse { trace, metrics, status, message } = response;
    let mut object = Object::open(out);
    object.message("trace", trace.as_ref(), |out, trace| write_trace(out, trace, "resourceSpans"));
    object.message("metrics", metrics.as_ref(), |out, metrics| {
        let TraceByIdMetrics { inspected_bytes } = metrics;
        let mut object = Object::open(out);
        object.u64("inspectedBytes", *inspected_bytes);
        object.close();
    });
    object.enumeration("status", *status, |number| {
        PartialStatus::try_from(number).ok().map(|s| s.as_str_name())
    });
    object.string("message", message);
    object.close();
}

/// Writes one attribute value; an unset one is `{}`.
pub fn write_any_value(out: &mut String, value: &AnyValue) {
    let mut object = Object::open(out);
    match &value.value {
        Some(Value::StringValue(text)) => write_string(object.key("stringValue"), text),
        Some(Value::BoolValue(flag)) => {
            object.key("boolValue").push_str(if *flag { "true" } else { "false" })
        }
        Some(Value::IntValue(number)) => write_quoted_i64(object.key("intValue"), *number),
        Some(Value::DoubleValue(number)) => write_f64(object.key("doubleValue"), *number),
        Some(Value::ArrayValue(array)) => {
            let mut inner = Object::open(object.key("arrayValue"));
            inner.list("values", &array.values, write_any_value);
            inner.close();
        }
        Some(Value::KvlistValue(list)) => {
            let mut inner = Object::open(object.key("kvlistValue"));
            inner.list("values", &list.values, write_key_value);
            inner.close();
        }
        Some(Value::BytesValue(bytes)) => write_base64(object.key("bytesValue"), bytes),
        Some(Value::StringValueStrindex(_)) | None => {}
    }
    object.close();
}

fn write_resource_spans(out: &mut String, part: &ResourceSpans) {
    let ResourceSpans { resource, scope_spans, schema_url } = part;
    let mut object = Object::open(out);
    object.message("resource", resource.as_ref(), write_resource);
    object.list("scopeSpans", scope_spans, write_scope_spans);
    object.string("schemaUrl", schema_url);
    object.close();
}

fn write_resource(out: &mut String, resource: &Resource) {
    let Resource { attributes, dropped_attributes_count, entity_refs: _ } = resource;
    let mut object = Object::open(out);
    object.list("attributes", attributes, write_key_value);
    object.u32("droppedAttributesCount", *dropped_attributes_count);
    object.close();
}

fn write_scope_spans(out: &mut String, scope_spans: &ScopeSpans) {
    let ScopeSpans { scope, spans, schema_url } = scope_spans;
    let mut object = Object::open(out);
    object.message("scope", scope.as_ref(), write_scope);
    object.list("spans", spans, write_span);
    object.string("schemaUrl", schema_url);
    object.close();
}

fn write_scope(out: &mut String, scope: &InstrumentationScope) {
    let InstrumentationScope { name, version, attributes, dropped_attributes_count } = scope;
    let mut object = Object::open(out);
    object.string("name", name);
    object.string("version", version);
    object.list("attributes", attributes, write_key_value);
    object.u32("droppedAttributesCount", *dropped_attributes_count);
    object.close();
}

fn write_span(out: &mut String, span: &Span) {
    let Span {
        trace_id,
        span_id,
        trace_state,
        parent_span_id,
        flags,
        name,
        kind,
        start_time_unix_nano,
        end_time_unix_nano,
        attributes,
        dropped_attributes_count,
        events,
        dropped_events_count,
        links,
        dropped_links_count,
        status,
    } = span;
    let mut object = Object::open(out);
    object.bytes("traceId", trace_id);
    object.bytes("spanId", span_id);
    object.string("traceState", trace_state);
    object.bytes("parentSpanId", parent_span_id);
    object.u32("flags", *flags);
    object.string("name", name);
    object
        .enumeration("kind", *kind, |number| SpanKind::try_from(number).ok().map(|kind| kind.as_str_name()));
    object.u64("startTimeUnixNano", *start_time_unix_nano);
    object.u64("endTimeUnixNano", *end_time_unix_nano);
    object.list("attributes", attributes, write_key_value);
    object.u32("droppedAttributesCount", *dropped_attributes_count);
    object.list("events", events, write_event);
    object.u32("droppedEventsCount", *dropped_events_count);
    object.list("links", links, write_link);
    object.u32("droppedLinksCount", *dropped_links_count);
    object.message("status", status.as_ref(), write_status);
    object.close();
}

fn write_event(out: &mut String, event: &Event) {
    let Event { time_unix_nano, name, attributes, dropped_attributes_count } = event;
    let mut object = Object::open(out);
    object.u64("timeUnixNano", *time_unix_nano);
    object.string("name", name);
    object.list("attributes", attributes, write_key_value);
    object.u32("droppedAttributesCount", *dropped_attributes_count);
    object.close();
}

fn write_link(out: &mut String, link: &Link) {
    let Link { trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags } = link;
    let mut object = Object::open(out);
    object.bytes("traceId", trace_id);
    object.bytes("spanId", span_id);
    object.string("traceState", trace_state);
    object.list("attributes", attributes, write_key_value);
    object.u32("droppedAttributesCount", *dropped_attributes_count);
    object.u32("flags", *flags);
    object.close();
}

fn write_status(out: &mut String, status: &Status) {
    let Status { message, code } = status;
    let mut object = Object::open(out);
    object.string("message", message);
    object.enumeration("code", *code, |number| {
        StatusCode::try_from(number).ok().map(|code| code.as_str_name())
    });
    object.close();
}

fn write_key_value(out: &mut String, attribute: &KeyValue) {
    let KeyValue { key, value, key_strindex: _ } = attribute;
    let mut object = Object::open(out);
    object.string("key", key);
    object.message("value", value.as_ref(), write_any_value);
    object.close();
}

/// An object being written; its methods leave zero values out.
#[derive(Debug)]
pub struct Object<'a> {
    out: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub fn open(out: &'a mut String) -> Object<'a> {
        out.push('{');
        Object { out, is_empty: true }
    }

    pub fn close(self) {
        self.out.push('}');
    }

    /// Starts a member; the caller writes its value. `key` is one of ours and needs no escapes.
    pub fn key(&mut self, key: &str) -> &mut String {
        if !self.is_empty {
            self.out.push(',');
        }
        self.is_empty = false;
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
        self.out
    }

    pub fn string(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            write_string(self.key(key), value);
        }
    }

    pub fn list<T>(&mut self, key: &str, values: &[T], mut write: impl FnMut(&mut String, &T)) {
        if values.is_empty() {
            return;
        }
        let out = self.key(key);
        let mut separator = '[';
        for value in values {
            out.push(separator);
            separator = ',';
            write(out, value);
        }
        out.push(']');
    }

    pub fn message<T>(&mut self, key: &str, value: Option<&T>, write: impl FnOnce(&mut String, &T)) {
        if let Some(value) = value {
            write(self.key(key), value);
        }
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            write_base64(self.key(key), value);
        }
    }

    fn u32(&mut self, key: &str, value: u32) {
        if value != 0 {
            write_u64(self.key(key), value.into());
        }
    }

    fn u64(&mut self, key: &str, value: u64) {
        if value != 0 {
            let out = self.key(key);
            out.push('"');
            write_u64(out, value);
            out.push('"');
        }
    }

    /// A number that has no name is printed as a number, as Go does.
    fn enumeration(&mut self, key: &str, value: i32, name: impl FnOnce(i32) -> Option<&'static str>) {
        if value == 0 {
            return;
        }
        let out = self.key(key);
        match name(value) {
            Some(name) => {
                out.push('"');
                out.push_str(name);
                out.push('"');
            }
            None => out.push_str(&value.to_string()),
        }
    }
}

/// Writes a quoted string with the escapes of Go's `encoding/json`.
pub fn write_string(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(needs_escape) {
        // Such a byte always starts a character.
        let Some((plain, tail)) = rest.split_at_checked(at) else { break };
        out.push_str(plain);
        let mut characters = tail.chars();
        let Some(character) = characters.next() else { break };
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            '<' | '>' | '&' | '\0'..='\u{1f}' => {
                let code = u32::from(character);
                out.push_str("\\u00");
                for digit in [code >> 4, code & 0xf] {
                    out.push(char::from(HEX[(digit & 0xf) as usize]));
                }
            }
            other => out.push(other),
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// True for bytes to escape, and for the first byte of U+2028 and U+2029 (and of their harmless neighbours).
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

/// Writes a number as Go does, NaN and the infinities as strings.
pub fn write_f64(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        out.push_str(&value.to_string());
    } else {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                out.push_str(digits);
                out.push_str("e+");
                out.push_str(exponent);
            }
            _ => out.push_str(&text),
        }
    }
}

fn write_quoted_i64(out: &mut String, value: i64) {
    out.push('"');
    if value < 0 {
        out.push('-');
    }
    write_u64(out, value.unsigned_abs());
    out.push('"');
}

/// Writes decimal digits without an allocation: a large trace has millions of numbers.
fn write_u64(out: &mut String, value: u64) {
    let mut digits = [0; 20];
    let mut count = 0;
    let mut rest = value;
    for digit in &mut digits {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().take(count).rev().map(|&digit| char::from(digit)));
}

fn write_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    BASE64.encode_string(bytes, out);
    out.push('"');
}

#[cfg(test)]
mod tests;
