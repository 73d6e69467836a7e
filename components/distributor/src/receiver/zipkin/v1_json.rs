//! Version 1 in JSON: an array of spans with annotations and binary annotations (`v1`).
//!
//! A binary annotation's value is text, a number or a boolean; a `type` beside it (`I64`, `DOUBLE`, …) says what a
//! text stands for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    endpoint::Endpoint,
    json::{Fields, Id, JsonFault, Micros, Object, Place, Scalar, Text, read},
    tags::Value,
    translation::Translation,
    v1::Annotations,
    v2_json::SpanId,
};

/// Reads a request into `translation`.
pub(super) fn read_spans(json: &[u8], translation: &mut Translation) -> Result<(), JsonFault> {
    translation.set_v1();
    let place = Place::default();
    let span = Span {
        translation,
        place: &place,
        annotations: Annotations::default(),
        annotation: Annotation::default(),
        binary: Binary::default(),
    };
    read(json, &place, Spans { span })
}

struct Spans<'a> {
    span: Span<'a>,
}

impl<'de> Visitor<'de> for Spans<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of spans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut spans: A) -> Result<(), A::Error> {
        let mut span = self.span;
        for index in 0.. {
            span.place.span.set(index);
            span.annotations.begin(span.translation);
            match spans.next_element_seed(Object(&mut span))? {
                Some(true) => span.annotations.end(span.translation).map_err(A::Error::custom)?,
                Some(false) => {}
                None => break,
            }
        }
        Ok(())
    }
}

struct Span<'a> {
    translation: &'a mut Translation,
    place: &'a Place,
    annotations: Annotations,
    annotation: Annotation,
    binary: Binary,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    TraceId,
    Id,
    ParentId,
    Name,
    Timestamp,
    Duration,
    Annotations,
    BinaryAnnotations,
}

impl Field {
    fn as_str(self) -> &'static str {
        match self {
            Field::TraceId => "traceId",
            Field::Id => "id",
            Field::ParentId => "parentId",
            Field::Name => "name",
            Field::Timestamp => "timestamp",
            Field::Duration => "duration",
            Field::Annotations => "annotations",
            Field::BinaryAnnotations => "binaryAnnotations",
        }
    }
}

impl Fields for Span<'_> {
    type Name = Field;

    fn name(text: &str) -> Option<Field> {
        match text {
            "traceId" => Some(Field::TraceId),
            "id" => Some(Field::Id),
            "parentId" => Some(Field::ParentId),
            "name" => Some(Field::Name),
            "timestamp" => Some(Field::Timestamp),
            "duration" => Some(Field::Duration),
            "annotations" => Some(Field::Annotations),
            "binaryAnnotations" => Some(Field::BinaryAnnotations),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: Field, map: &mut A) -> Result<(), A::Error> {
        self.place.field.set(name.as_str());
        let Span { translation: span, annotations, annotation, binary, .. } = self;
        match name {
            Field::TraceId => span.set_trace_id(map.next_value_seed(Id { max_digits: 32 })?.unwrap_or(0)),
            Field::Id => span.set_id(map.next_value_seed(SpanId)?),
            Field::ParentId => span.set_parent_id(map.next_value_seed(SpanId)?),
            Field::Name => map.next_value_seed(Text(|text: &str| span.set_name(text)))?,
            Field::Timestamp => span.set_timestamp(map.next_value_seed(Micros)?),
            Field::Duration => span.set_duration(map.next_value_seed(Micros)?),
            Field::Annotations => map.next_value_seed(Array {
                element: annotation,
                done: |element: &mut Annotation| {
                    annotations.annotation(span, element.micros, &element.value, &mut element.host);
                },
            })?,
            Field::BinaryAnnotations => map.next_value_seed(Array {
                element: binary,
                done: |element: &mut Binary| {
                    let Binary { key, value, kind, host } = element;
                    annotations.binary(span, key, value.as_kind(*kind), host);
                },
            })?,
        }
        self.place.field.set("");
        Ok(())
    }
}

/// Reads an array of objects, each into the same memory.
struct Array<'a, T, F> {
    element: &'a mut T,
    done: F,
}

/// Can be read again.
trait Clear {
    fn clear(&mut self);
}

impl<'de, T: Fields + Clear, F: FnMut(&mut T)> DeserializeSeed<'de> for Array<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields + Clear, F: FnMut(&mut T)> Visitor<'de> for Array<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        loop {
            self.element.clear();
            match elements.next_element_seed(Object(&mut *self.element))? {
                Some(true) => (self.done)(self.element),
                Some(false) => {}
                None => return Ok(()),
            }
        }
    }
}

#[derive(Default)]
struct Annotation {
    micros: u64,
    value: String,
    host: Endpoint,
}

impl Clear for Annotation {
    fn clear(&mut self) {
        let Annotation { micros, value, host } = self;
        *micros = 0;
        value.clear();
        host.clear();
    }
}

enum AnnotationField {
    Timestamp,
    Value,
    Endpoint,
}

impl Fields for Annotation {
    type Name = AnnotationField;

    fn name(text: &str) -> Option<AnnotationField> {
        match text {
            "timestamp" => Some(AnnotationField::Timestamp),
            "value" => Some(AnnotationField::Value),
            "endpoint" => Some(AnnotationField::Endpoint),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: AnnotationField, map: &mut A) -> Result<(), A::Error> {
        match name {
            AnnotationField::Timestamp => self.micros = map.next_value_seed(Micros)?,
            AnnotationField::Value => {
                map.next_value_seed(Text(|text: &str| text.clone_into(&mut self.value)))?;
            }
            AnnotationField::Endpoint => drop(map.next_value_seed(Object(&mut self.host))?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct Binary {
    key: String,
    value: Held,
    kind: Option<Type>,
    host: Endpoint,
}

impl Clear for Binary {
    fn clear(&mut self) {
        let Binary { key, value, kind, host } = self;
        key.clear();
        *kind = None;
        host.clear();
        value.text.clear();
        value.number = None;
    }
}

/// A value that its type may come behind.
#[derive(Default)]
struct Held {
    text: String,
    /// Not text.
    number: Option<Value<'static>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Integer,
    Double,
}

impl Held {
    fn set(&mut self, value: Value<'_>) {
        match value {
            Value::Text(text) => text.clone_into(&mut self.text),
            Value::Int(number) => self.number = Some(Value::Int(number)),
            Value::Double(number) => self.number = Some(Value::Double(number)),
            Value::Bool(value) => self.number = Some(Value::Bool(value)),
        }
    }

    /// Text that does not parse stays text.
    fn as_kind(&self, kind: Option<Type>) -> Value<'_> {
        let text = self.text.as_str();
        #[expect(clippy::cast_precision_loss, reason = "that is what a double does to large integers")]
        let value = match (self.number, kind) {
            (Some(Value::Int(number)), Some(Type::Double)) => Some(Value::Double(number as f64)),
            (Some(number), _) => Some(number),
            (None, None) => None,
            (None, Some(Type::Bool)) => text.parse().ok().map(Value::Bool),
            (None, Some(Type::Integer)) => text.parse().ok().map(Value::Int),
            (None, Some(Type::Double)) => text.parse().ok().map(Value::Double),
        };
        value.unwrap_or(Value::Text(text))
    }
}

enum BinaryField {
    Key,
    Value,
    Type,
    Endpoint,
}

impl Fields for Binary {
    type Name = BinaryField;

    fn name(text: &str) -> Option<BinaryField> {
        match text {
            "key" => Some(BinaryField::Key),
            "value" => Some(BinaryField::Value),
            "type" => Some(BinaryField::Type),
            "endpoint" => Some(BinaryField::Endpoint),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: BinaryField, map: &mut A) -> Result<(), A::Error> {
        match name {
            BinaryField::Key => map.next_value_seed(Text(|text: &str| text.clone_into(&mut self.key))),
            BinaryField::Value => map.next_value_seed(Scalar(|value: Value<'_>| self.value.set(value))),
            BinaryField::Type => map.next_value_seed(Text(|text: &str| {
                self.kind = match text {
                    "BOOL" => Some(Type::Bool),
                    "I16" | "I32" | "I64" => Some(Type::Integer),
                    "DOUBLE" => Some(Type::Double),
                    _ => None,
                };
            })),
            BinaryField::Endpoint => map.next_value_seed(Object(&mut self.host)).map(drop),
        }
    }
}
