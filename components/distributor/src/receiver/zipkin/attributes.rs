//! Appends attributes, and the texts that hold attributes as JSON: events and links as other exporters write them.
//!
//! | text | from | becomes |
//! |---|---|---|
//! | `name\|{"k":v}\|dropped` | the collector's exporter | event with attributes |
//! | `"name":{"k":v}` | OpenTelemetry's SDKs in Java and .NET | event with attributes |
//! | `{"name":{"k":v}}` | OpenTelemetry's SDK in Python | event with attributes |
//! | anything else | | event with the whole text as its name |
//! | `trace\|span\|state\|{"k":v}\|dropped` in the tag `otlp.link.<n>` | the collector's exporter | link |
//!
//! JSON values keep their types; a whole number is an integer. What is nested deeper than 16 values is left as text,
//! because the walk behind would refuse it.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    contexts::{field_len, put_head},
    tags::Value,
};
use crate::{
    receiver::otlp_writer::{self, EVENT_ATTRIBUTE, LINK_ATTRIBUTE, OtlpWriter},
    wire::put_bytes,
};

const MAX_DEPTH: usize = 16;

/// Appends a `KeyValue` as field `field`.
pub(super) fn put_attribute(out: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    let value = match value {
        Value::Text(text) => otlp_writer::Value::Text(text.as_bytes()),
        Value::Int(number) => otlp_writer::Value::Int(number),
        Value::Double(number) => otlp_writer::Value::Double(number),
        Value::Bool(value) => otlp_writer::Value::Bool(value),
    };
    OtlpWriter::new(out).attribute(field, key.as_bytes(), value);
}

/// Appends the one field of an `AnyValue`.
fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    let mut out = OtlpWriter::new(out);
    match value {
        Value::Text(text) => out.bytes(1, text.as_bytes()),
        Value::Bool(value) => out.varint(2, u64::from(value)),
        Value::Int(number) => out.varint(3, number.cast_unsigned()),
        Value::Double(number) => out.fixed64(4, number.to_bits()),
    }
}

/// Appends an event as field 11 of a span.
pub(super) fn put_event(out: &mut Vec<u8>, unix_nanos: u64, text: &str) {
    let (name, attributes) = event_parts(text).unwrap_or((text, Vec::new()));
    put_head(out, 11, 9 + field_len(name.len()) + attributes.len());
    OtlpWriter::new(out).fixed64(1, unix_nanos);
    put_bytes(out, 2, name.as_bytes());
    out.extend_from_slice(&attributes);
}

/// The name of an event and the rest of its fields, if the text has one of the notations above.
fn event_parts(text: &str) -> Option<(&str, Vec<u8>)> {
    match (text.as_bytes().first()?, text.as_bytes().last()?) {
        (b'"', b'}') => {
            let (name, attributes) = text.strip_prefix('"')?.split_once("\":")?;
            Some((plain_name(name)?, json_attributes(attributes, EVENT_ATTRIBUTE)?))
        }
        (b'{', b'}') => {
            let inner = text.strip_prefix('{')?.strip_suffix('}')?.trim();
            let (name, attributes) = inner.strip_prefix('"')?.split_once("\":")?;
            Some((plain_name(name)?, json_attributes(attributes, EVENT_ATTRIBUTE)?))
        }
        (_, b'0'..=b'9') => {
            let (name, rest) = text.split_once('|')?;
            let (attributes, dropped) = rest.rsplit_once('|')?;
            let mut fields = json_attributes(attributes, EVENT_ATTRIBUTE)?;
            put_dropped(&mut fields, 4, dropped.parse().ok()?);
            Some((name, fields))
        }
        _ => None,
    }
}

/// A name in JSON that needs no unescaping.
fn plain_name(name: &str) -> Option<&str> {
    (!name.contains(['\\', '"'])).then_some(name)
}

fn put_dropped(out: &mut Vec<u8>, field: u32, dropped: u32) {
    if dropped > 0 {
        OtlpWriter::new(out).varint(field, u64::from(dropped));
    }
}

/// Appends a link as field 13 of a span; does nothing and says so if the text is none.
#[must_use]
pub(super) fn put_link(out: &mut Vec<u8>, text: &str) -> bool {
    let Some(link) = link(text) else { return false };
    put_bytes(out, 13, &link);
    true
}

fn link(text: &str) -> Option<Vec<u8>> {
    let (trace_id, rest) = text.split_once('|')?;
    let (span_id, rest) = rest.split_once('|')?;
    let (state, rest) = rest.split_once('|')?;
    let (attributes, dropped) = rest.rsplit_once('|')?;
    let trace_id = (trace_id.len() == 32).then(|| hex(trace_id))??;
    let span_id = (span_id.len() == 16).then(|| hex(span_id))??;
    let mut link = Vec::new();
    put_bytes(&mut link, 1, &trace_id.to_be_bytes());
    put_bytes(&mut link, 2, &u64::try_from(span_id).ok()?.to_be_bytes());
    if !state.is_empty() {
        put_bytes(&mut link, 3, state.as_bytes());
    }
    link.extend_from_slice(&json_attributes(attributes, LINK_ATTRIBUTE)?);
    put_dropped(&mut link, 5, dropped.parse().ok()?);
    Some(link)
}

/// Up to 32 hex digits in either case.
pub(super) fn hex(text: &str) -> Option<u128> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let mut number = 0;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some(number)
}

/// A JSON object as attributes with this field number.
fn json_attributes(json: &str, field: u32) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Attributes { out: &mut out, field, depth: 0 }).ok()?;
    deserializer.end().ok()?;
    Some(out)
}

/// Reads an object and appends its fields as `KeyValue`s.
struct Attributes<'a> {
    out: &'a mut Vec<u8>,
    field: u32,
    depth: usize,
}

impl<'de> Visitor<'de> for Attributes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let mut value = Vec::new();
            map.next_value_seed(AnyValue { out: &mut value, depth: self.depth })?;
            put_head(self.out, self.field, field_len(key.len()) + field_len(value.len()));
            put_bytes(self.out, 1, key.as_bytes());
            put_bytes(self.out, 2, &value);
        }
        Ok(())
    }
}

/// Reads any value and appends the field of an `AnyValue`; nothing for `null`.
struct AnyValue<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

impl AnyValue<'_> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth < MAX_DEPTH { Ok(self.depth + 1) } else { Err(E::custom("nested too deep")) }
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        put_value(self.out, Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        put_value(self.out, Value::Int(number));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "what is beyond 63 bits is a double in JSON anyway")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        let value = i64::try_from(number).map_or(Value::Double(number as f64), Value::Int);
        put_value(self.out, value);
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        put_value(self.out, Value::Double(number));
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        put_value(self.out, Value::Text(text));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        Attributes { out: &mut list, field: 1, depth }.visit_map(map)?;
        put_bytes(self.out, 6, &list);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut list = Vec::new();
        let mut value = Vec::new();
        while elements.next_element_seed(AnyValue { out: &mut value, depth })?.is_some() {
            put_bytes(&mut list, 1, &value);
            value.clear();
        }
        put_bytes(self.out, 5, &list);
        Ok(())
    }
}
