//! OTLP/JSON → OTLP protobuf bytes, as tolerant as Tempo's receiver; what comes out takes the same path as protobuf.
//!
//! A table describes the messages; one visitor walks JSON along it and appends protobuf. Accepted: names in camelCase
//! and snake_case, 64-bit and any other numbers as strings, whole floats for integers, enum values by name or number,
//! `null` for everything but ids, `"NaN"` and `"Infinity"`, base64 with or without padding, unknown names. Ids are hex
//! and have their exact length or none. An error names the field, line and column. serde_json stops at 128 nested
//! values, which is about 40 nested arrays of attributes.

use std::{cell::RefCell, fmt};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wire::{FIXED32, FIXED64, LEN, VARINT, put_bytes, put_tag, put_varint, tag};

/// JSON that is no request.
#[derive(Debug, thiserror::Error)]
#[error("{path}{error}")]
pub(super) struct JsonFault {
    /// Empty, or with `: ` at its end.
    path: String,
    error: serde_json::Error,
}

struct Field {
    name: &'static str,
    snake_name: &'static str,
    number: u32,
    kind: Kind,
}

type Schema = [Field];

enum Kind {
    Text,
    Texts,
    /// Hex, with this many bytes.
    Id(usize),
    Uint32,
    Int64,
    Fixed32,
    Fixed64,
    Double,
    Bool,
    Base64,
    Enum(&'static [&'static str]),
    Message(&'static Schema),
    Messages(&'static Schema),
}

const fn field(number: u32, name: &'static str, snake_name: &'static str, kind: Kind) -> Field {
    Field { name, snake_name, number, kind }
}

static REQUEST: [Field; 1] = [field(1, "resourceSpans", "resource_spans", Kind::Messages(&RESOURCE_SPANS))];

static RESOURCE_SPANS: [Field; 3] = [
    field(1, "resource", "resource", Kind::Message(&RESOURCE)),
    field(2, "scopeSpans", "scope_spans", Kind::Messages(&SCOPE_SPANS)),
    field(3, "schemaUrl", "schema_url", Kind::Text),
];

static RESOURCE: [Field; 3] = [
    field(1, "attributes", "attributes", Kind::Messages(&KEY_VALUE)),
    field(2, "droppedAttributesCount", "dropped_attributes_count", Kind::Uint32),
    field(3, "entityRefs", "entity_refs", Kind::Messages(&ENTITY_REF)),
];

static ENTITY_REF: [Field; 4] = [
    field(1, "schemaUrl", "schema_url", Kind::Text),
    field(2, "type", "type", Kind::Text),
    field(3, "idKeys", "id_keys", Kind::Texts),
    field(4, "descriptionKeys", "description_keys", Kind::Texts),
];

static SCOPE_SPANS: [Field; 3] = [
    field(1, "scope", "scope", Kind::Message(&SCOPE)),
    field(2, "spans", "spans", Kind::Messages(&SPAN)),
    field(3, "schemaUrl", "schema_url", Kind::Text),
];

static SCOPE: [Field; 4] = [
    field(1, "name", "name", Kind::Text),
    field(2, "version", "version", Kind::Text),
    field(3, "attributes", "attributes", Kind::Messages(&KEY_VALUE)),
    field(4, "droppedAttributesCount", "dropped_attributes_count", Kind::Uint32),
];

static SPAN: [Field; 16] = [
    field(1, "traceId", "trace_id", Kind::Id(16)),
    field(2, "spanId", "span_id", Kind::Id(8)),
    field(3, "traceState", "trace_state", Kind::Text),
    field(4, "parentSpanId", "parent_span_id", Kind::Id(8)),
    field(5, "name", "name", Kind::Text),
    field(6, "kind", "kind", Kind::Enum(&SPAN_KINDS)),
    field(7, "startTimeUnixNano", "start_time_unix_nano", Kind::Fixed64),
    field(8, "endTimeUnixNano", "end_time_unix_nano", Kind::Fixed64),
    field(9, "attributes", "attributes", Kind::Messages(&KEY_VALUE)),
    field(10, "droppedAttributesCount", "dropped_attributes_count", Kind::Uint32),
    field(11, "events", "events", Kind::Messages(&EVENT)),
    field(12, "droppedEventsCount", "dropped_events_count", Kind::Uint32),
    field(13, "links", "links", Kind::Messages(&LINK)),
    field(14, "droppedLinksCount", "dropped_links_count", Kind::Uint32),
    field(15, "status", "status", Kind::Message(&STATUS)),
    field(16, "flags", "flags", Kind::Fixed32),
];

static SPAN_KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

static EVENT: [Field; 4] = [
    field(1, "timeUnixNano", "time_unix_nano", Kind::Fixed64),
    field(2, "name", "name", Kind::Text),
    field(3, "attributes", "attributes", Kind::Messages(&KEY_VALUE)),
    field(4, "droppedAttributesCount", "dropped_attributes_count", Kind::Uint32),
];

static LINK: [Field; 6] = [
    field(1, "traceId", "trace_id", Kind::Id(16)),
    field(2, "spanId", "span_id", Kind::Id(8)),
    field(3, "traceState", "trace_state", Kind::Text),
    field(4, "attributes", "attributes", Kind::Messages(&KEY_VALUE)),
    field(5, "droppedAttributesCount", "dropped_attributes_count", Kind::Uint32),
    field(6, "flags", "flags", Kind::Fixed32),
];

static STATUS: [Field; 2] =
    [field(2, "message", "message", Kind::Text), field(3, "code", "code", Kind::Enum(&STATUS_CODES))];

static STATUS_CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

static KEY_VALUE: [Field; 2] =
    [field(1, "key", "key", Kind::Text), field(2, "value", "value", Kind::Message(&ANY_VALUE))];

static ANY_VALUE: [Field; 7] = [
    field(1, "stringValue", "string_value", Kind::Text),
    field(2, "boolValue", "bool_value", Kind::Bool),
    field(3, "intValue", "int_value", Kind::Int64),
    field(4, "doubleValue", "double_value", Kind::Double),
    field(5, "arrayValue", "array_value", Kind::Message(&ARRAY)),
    field(6, "kvlistValue", "kvlist_value", Kind::Message(&KEY_VALUE_LIST)),
    field(7, "bytesValue", "bytes_value", Kind::Base64),
];

static ARRAY: [Field; 1] = [field(1, "values", "values", Kind::Messages(&ANY_VALUE))];

static KEY_VALUE_LIST: [Field; 1] = [field(1, "values", "values", Kind::Messages(&KEY_VALUE))];

/// Both alphabets are tried; padding is optional.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Converts an `ExportTraceServiceRequest`.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Vec<u8>, JsonFault> {
    let mut out = Vec::with_capacity(json.len() / 2);
    let path = Path::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    deserializer
        .deserialize_map(Body { schema: &REQUEST, out: &mut out, path: &path })
        .and_then(|()| deserializer.end())
        .map_err(|error| JsonFault { path: path.to_string(), error })?;
    Ok(out)
}

/// Where an error happened, innermost first: filled while the error travels up.
#[derive(Default)]
struct Path(RefCell<Vec<Step>>);

enum Step {
    Name(&'static str),
    Index(usize),
}

impl Path {
    fn leave<T, E>(&self, result: Result<T, E>, step: Step) -> Result<T, E> {
        if result.is_err() {
            self.0.borrow_mut().push(step);
        }
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.borrow();
        for (depth, step) in steps.iter().rev().enumerate() {
            match step {
                Step::Name(name) if depth == 0 => f.write_str(name)?,
                Step::Name(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        if steps.is_empty() { Ok(()) } else { f.write_str(": ") }
    }
}

/// Reads a JSON object and appends the fields of a message.
struct Body<'a> {
    schema: &'static Schema,
    out: &'a mut Vec<u8>,
    path: &'a Path,
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(found) = map.next_key_seed(Name { schema: self.schema })? {
            match found {
                Some(field) => {
                    let value = Value { field, out: &mut *self.out, path: self.path };
                    self.path.leave(map.next_value_seed(value), Step::Name(field.name))?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Looks a name up in a message.
struct Name {
    schema: &'static Schema,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.schema.iter().find(|field| field.name == name || field.snake_name == name))
    }
}

/// Reads the value of one field, or one element of a repeated field, and appends it with its tag.
struct Value<'a> {
    field: &'static Field,
    out: &'a mut Vec<u8>,
    path: &'a Path,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    fn put_varint(self, value: u64) {
        put_tag(self.out, tag(self.field.number, VARINT));
        put_varint(self.out, value);
    }

    fn put_fixed64(self, value: [u8; 8]) {
        put_tag(self.out, tag(self.field.number, FIXED64));
        self.out.extend_from_slice(&value);
    }

    /// A whole number, however it was written.
    fn put_integer<E: Error>(self, value: i128) -> Result<(), E> {
        let refused = || E::custom(format!("number {value} is out of range"));
        match self.field.kind {
            Kind::Uint32 => self.put_varint(u64::from(u32::try_from(value).map_err(|_| refused())?)),
            Kind::Int64 => self.put_varint(i64::try_from(value).map_err(|_| refused())?.cast_unsigned()),
            Kind::Enum(_) => {
                let number = i32::try_from(value).map_err(|_| refused())?;
                self.put_varint(i64::from(number).cast_unsigned());
            }
            Kind::Fixed64 => self.put_fixed64(u64::try_from(value).map_err(|_| refused())?.to_le_bytes()),
            Kind::Fixed32 => {
                let number = u32::try_from(value).map_err(|_| refused())?;
                put_tag(self.out, tag(self.field.number, FIXED32));
                self.out.extend_from_slice(&number.to_le_bytes());
            }
            #[expect(clippy::cast_precision_loss, reason = "that is what a double does to large integers")]
            Kind::Double => self.put_fixed64((value as f64).to_le_bytes()),
            Kind::Text
            | Kind::Texts
            | Kind::Id(_)
            | Kind::Bool
            | Kind::Base64
            | Kind::Message(_)
            | Kind::Messages(_) => {
                return Err(E::custom(format!("a number where {} was expected", self.expected())));
            }
        }
        Ok(())
    }

    fn put_id<E: Error>(self, text: &str, want: usize) -> Result<(), E> {
        if text.is_empty() {
            return Ok(());
        }
        let mismatch = || {
            E::custom(format!(
                "ids of this field have {} hex digits, found {} bytes of text",
                want * 2,
                text.len()
            ))
        };
        if text.len() != want * 2 {
            return Err(mismatch());
        }
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        let digits = digits.ok_or_else(mismatch)?;
        let bytes: Vec<u8> =
            digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |id, d| id << 4 | d)).collect();
        put_bytes(self.out, self.field.number, &bytes);
        Ok(())
    }

    fn put_number_text<E: Error>(self, text: &str) -> Result<(), E> {
        if let Ok(integer) = text.parse::<i128>() {
            return self.put_integer(integer);
        }
        match text.parse::<f64>() {
            Ok(number) => self.visit_f64(number),
            Err(_) => Err(E::custom(format!("{text:?} is not a number"))),
        }
    }

    fn expected(&self) -> &'static str {
        match self.field.kind {
            Kind::Text => "text",
            Kind::Id(_) => "an id in hex",
            Kind::Uint32 | Kind::Int64 | Kind::Fixed32 | Kind::Fixed64 | Kind::Double => "a number",
            Kind::Bool => "true or false",
            Kind::Base64 => "base64",
            Kind::Enum(_) => "a name or number of this enum",
            Kind::Message(_) => "an object",
            Kind::Texts | Kind::Messages(_) => "an array",
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.field.kind {
            Kind::Id(_) => Err(E::custom("null is not an id")),
            _ => Ok(()),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => {
                self.put_varint(u64::from(value));
                Ok(())
            }
            _ => Err(E::custom(format!("{value} where {} was expected", self.expected()))),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put_integer(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put_integer(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Double) {
            self.put_fixed64(value.to_le_bytes());
            return Ok(());
        }
        // Beyond this a float is no exact integer any more.
        if value.fract() != 0.0 || value.abs() >= 1e20 {
            return Err(E::custom(format!("{value} is not a whole number of 64 bits")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 1e20")]
        self.put_integer(value as i128)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.kind {
            Kind::Text | Kind::Texts => {
                put_bytes(self.out, self.field.number, text.as_bytes());
                Ok(())
            }
            Kind::Id(want) => self.put_id(text, want),
            Kind::Base64 => {
                let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).map_err(E::custom)?;
                put_bytes(self.out, self.field.number, &bytes);
                Ok(())
            }
            Kind::Enum(names) => match (0u64..).zip(names).find(|(_, name)| **name == text) {
                Some((number, _)) => {
                    self.put_varint(number);
                    Ok(())
                }
                None => self.put_number_text(text),
            },
            Kind::Uint32 | Kind::Int64 | Kind::Fixed32 | Kind::Fixed64 | Kind::Double => {
                self.put_number_text(text)
            }
            Kind::Bool | Kind::Message(_) | Kind::Messages(_) => {
                Err(E::custom(format!("text where {} was expected", self.expected())))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let (Kind::Message(schema) | Kind::Messages(schema)) = self.field.kind else {
            return Err(A::Error::custom(format!("an object where {} was expected", self.expected())));
        };
        let start = self.out.len();
        Body { schema, out: &mut *self.out, path: self.path }.visit_map(map)?;
        let mut head = Vec::with_capacity(8);
        put_tag(&mut head, tag(self.field.number, LEN));
        put_varint(&mut head, (self.out.len() - start) as u64);
        self.out.splice(start..start, head);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let (Kind::Messages(_) | Kind::Texts) = self.field.kind else {
            return Err(A::Error::custom(format!("an array where {} was expected", self.expected())));
        };
        for index in 0.. {
            let element = Value { field: self.field, out: &mut *self.out, path: self.path };
            let next = elements.next_element_seed(element);
            if self.path.leave(next, Step::Index(index))?.is_none() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
