//! Version 2 in JSON: an array of spans, read once, with nothing kept in between.
//!
//! Ids are 1 to 32 (trace) or 16 hex digits. Times may be floats. A tag should be text; a number or a boolean keeps
//! its type.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{
    json::{Fields, Id, JsonFault, Micros, Object, Place, Scalar, Text, read},
    tags::Value,
    translation::{Translation, parse_kind},
};

/// Reads a request into `translation`.
pub(super) fn read_spans(json: &[u8], translation: &mut Translation) -> Result<(), JsonFault> {
    let place = Place::default();
    let span = Span { translation, place: &place, annotation: Annotation::default() };
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut spans: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.span.place.span.set(index);
            self.span.translation.begin();
            match spans.next_element_seed(Object(&mut self.span))? {
                Some(true) => self.span.translation.end().map_err(A::Error::custom)?,
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
    annotation: Annotation,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    TraceId,
    Id,
    ParentId,
    Name,
    Kind,
    Timestamp,
    Duration,
    LocalEndpoint,
    RemoteEndpoint,
    Annotations,
    Tags,
}

impl Field {
    fn as_str(self) -> &'static str {
        match self {
            Field::TraceId => "traceId",
            Field::Id => "id",
            Field::ParentId => "parentId",
            Field::Name => "name",
            Field::Kind => "kind",
            Field::Timestamp => "timestamp",
            Field::Duration => "duration",
            Field::LocalEndpoint => "localEndpoint",
            Field::RemoteEndpoint => "remoteEndpoint",
            Field::Annotations => "annotations",
            Field::Tags => "tags",
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
            "kind" => Some(Field::Kind),
            "timestamp" => Some(Field::Timestamp),
            "duration" => Some(Field::Duration),
            "localEndpoint" => Some(Field::LocalEndpoint),
            "remoteEndpoint" => Some(Field::RemoteEndpoint),
            "annotations" => Some(Field::Annotations),
            "tags" => Some(Field::Tags),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: Field, map: &mut A) -> Result<(), A::Error> {
        self.place.field.set(name.as_str());
        let span = &mut *self.translation;
        match name {
            Field::TraceId => span.set_trace_id(map.next_value_seed(Id { max_digits: 32 })?.unwrap_or(0)),
            Field::Id => span.set_id(map.next_value_seed(SpanId)?),
            Field::ParentId => span.set_parent_id(map.next_value_seed(SpanId)?),
            Field::Name => map.next_value_seed(Text(|text: &str| span.set_name(text)))?,
            Field::Kind => map.next_value_seed(Text(|text: &str| span.set_kind(parse_kind(text))))?,
            Field::Timestamp => span.set_timestamp(map.next_value_seed(Micros)?),
            Field::Duration => span.set_duration(map.next_value_seed(Micros)?),
            Field::LocalEndpoint => drop(map.next_value_seed(Object(span.local()))?),
            Field::RemoteEndpoint => drop(map.next_value_seed(Object(span.remote()))?),
            Field::Annotations => {
                map.next_value_seed(Annotations { span, annotation: &mut self.annotation })?;
            }
            Field::Tags => map.next_value_seed(Tags(span))?,
        }
        self.place.field.set("");
        Ok(())
    }
}

/// Reads the id of a span; 0 if there is none.
pub(super) struct SpanId;

impl<'de> DeserializeSeed<'de> for SpanId {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        let id = Id { max_digits: 16 }.deserialize(deserializer)?.unwrap_or(0);
        u64::try_from(id).map_err(D::Error::custom)
    }
}

struct Tags<'a>(&'a mut Translation);

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            map.next_value_seed(Scalar(|value: Value<'_>| self.0.typed_tag(&key, value)))?;
        }
        Ok(())
    }
}

/// Reads a key, which is copied only if it has an escape in it.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// An annotation while it is read: its time may come behind its text.
#[derive(Default)]
struct Annotation {
    micros: u64,
    value: String,
}

enum AnnotationField {
    Timestamp,
    Value,
}

impl Fields for Annotation {
    type Name = AnnotationField;

    fn name(text: &str) -> Option<AnnotationField> {
        match text {
            "timestamp" => Some(AnnotationField::Timestamp),
            "value" => Some(AnnotationField::Value),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: AnnotationField, map: &mut A) -> Result<(), A::Error> {
        match name {
            AnnotationField::Timestamp => self.micros = map.next_value_seed(Micros)?,
            AnnotationField::Value => {
                map.next_value_seed(Text(|text: &str| text.clone_into(&mut self.value)))?;
            }
        }
        Ok(())
    }
}

struct Annotations<'a> {
    span: &'a mut Translation,
    annotation: &'a mut Annotation,
}

impl<'de> DeserializeSeed<'de> for Annotations<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Annotations<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of annotations")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut annotations: A) -> Result<(), A::Error> {
        loop {
            self.annotation.micros = 0;
            self.annotation.value.clear();
            match annotations.next_element_seed(Object(&mut *self.annotation))? {
                Some(true) => self.span.annotation(self.annotation.micros, &self.annotation.value),
                Some(false) => {}
                None => return Ok(()),
            }
        }
    }
}
