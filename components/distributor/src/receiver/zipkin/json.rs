//! What the JSON of both versions has in common: objects, texts, ids, times, endpoints, and where a fault is.
//!
//! Everything is read with serde's visitors on borrowed text; nothing is kept but what is named. Unknown names and
//! `null` are hopped over. serde_json stops at 128 nested values, and hops over deep values without recursion.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::{attributes::hex, endpoint::Endpoint, tags::Value};

/// JSON that is no list of spans.
#[derive(Debug, thiserror::Error)]
pub(super) enum JsonFault {
    #[error("text is not valid UTF-8 at byte {offset}")]
    Utf8 { offset: usize },
    /// `place` is empty, or with `: ` at its end; the error names line and column.
    #[error("{place}{error}")]
    Json { place: String, error: serde_json::Error },
}

/// Where the reader is.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) span: Cell<usize>,
    pub(super) field: Cell<&'static str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.get() {
            "" => Ok(()),
            field => write!(f, "[{}].{field}: ", self.span.get()),
        }
    }
}

/// Reads an array of spans with a visitor, and nothing after it.
pub(super) fn read<'de>(
    json: &'de [u8],
    place: &Place,
    spans: impl Visitor<'de, Value = ()>,
) -> Result<(), JsonFault> {
    // Checked once here, so that no text in it is checked again.
    let text = std::str::from_utf8(json).map_err(|error| JsonFault::Utf8 { offset: error.valid_up_to() })?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer
        .deserialize_seq(spans)
        .and_then(|()| deserializer.end())
        .map_err(|error| JsonFault::Json { place: place.to_string(), error })
}

/// The fields of an object.
pub(super) trait Fields {
    type Name;

    /// `None` for a field that is hopped over.
    fn name(text: &str) -> Option<Self::Name>;

    /// Reads the value of a field, which is the next of the map.
    fn read<'de, A: MapAccess<'de>>(&mut self, name: Self::Name, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an object; false for `null`.
pub(super) struct Object<'a, F>(pub(super) &'a mut F);

impl<'de, F: Fields> DeserializeSeed<'de> for Object<'_, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Object<'_, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(name) = map.next_key_seed(Name(F::name))? {
            match name {
                Some(name) => self.0.read(name, &mut map)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(true)
    }
}

/// Reads a name and looks it up.
struct Name<N>(fn(&str) -> Option<N>);

impl<'de, N> DeserializeSeed<'de> for Name<N> {
    type Value = Option<N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<N>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<N> Visitor<'_> for Name<N> {
    type Value = Option<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<N>, E> {
        Ok((self.0)(text))
    }
}

/// Reads text and passes it on; `null` is not passed on.
pub(super) struct Text<F>(pub(super) F);

impl<'de, F: FnOnce(&str)> DeserializeSeed<'de> for Text<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<F: FnOnce(&str)> Visitor<'_> for Text<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }
}

/// Reads text, a number or a boolean and passes it on; `null` is not passed on.
pub(super) struct Scalar<F>(pub(super) F);

impl<'de, F: FnOnce(Value<'_>)> DeserializeSeed<'de> for Scalar<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<F: FnOnce(Value<'_>)> Visitor<'_> for Scalar<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        (self.0)(Value::Text(text));
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        (self.0)(Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        (self.0)(Value::Int(number));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "what is beyond 63 bits is a double in JSON anyway")]
    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        (self.0)(i64::try_from(number).map_or(Value::Double(number as f64), Value::Int));
        Ok(())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        (self.0)(Value::Double(number));
        Ok(())
    }
}

/// Reads an id in hex; `None` for `null` and `""`.
pub(super) struct Id {
    pub(super) max_digits: usize,
}

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Option<u128>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u128>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Id {
    type Value = Option<u128>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an id of up to {} hex digits", self.max_digits)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<u128>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<u128>, E> {
        if text.is_empty() {
            return Ok(None);
        }
        match hex(text).filter(|_| text.len() <= self.max_digits) {
            Some(id) => Ok(Some(id)),
            None => Err(E::custom(format!("{} bytes of text where {self} was expected", text.len()))),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expecting(f)
    }
}

/// Reads microseconds; 0 for `null`, and for what lies before 1970.
pub(super) struct Micros;

impl<'de> DeserializeSeed<'de> for Micros {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Micros {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("microseconds")
    }

    fn visit_unit<E: Error>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_u64<E: Error>(self, micros: u64) -> Result<u64, E> {
        Ok(micros)
    }

    fn visit_i64<E: Error>(self, micros: i64) -> Result<u64, E> {
        Ok(u64::try_from(micros).unwrap_or(0))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is out of range becomes the nearest number in range"
    )]
    fn visit_f64<E: Error>(self, micros: f64) -> Result<u64, E> {
        Ok(micros.round() as u64)
    }
}

/// Reads a port; 0 for `null`.
struct Port;

impl<'de> DeserializeSeed<'de> for Port {
    type Value = u16;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u16, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Port {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a port")
    }

    fn visit_unit<E: Error>(self) -> Result<u16, E> {
        Ok(0)
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<u16, E> {
        u16::try_from(port).map_err(|_| E::custom(format!("{port} is no port")))
    }
}

pub(super) enum EndpointField {
    ServiceName,
    V4,
    V6,
    Port,
}

impl Fields for Endpoint {
    type Name = EndpointField;

    fn name(text: &str) -> Option<EndpointField> {
        match text {
            "serviceName" => Some(EndpointField::ServiceName),
            "ipv4" => Some(EndpointField::V4),
            "ipv6" => Some(EndpointField::V6),
            "port" => Some(EndpointField::Port),
            _ => None,
        }
    }

    fn read<'de, A: MapAccess<'de>>(&mut self, name: EndpointField, map: &mut A) -> Result<(), A::Error> {
        match name {
            EndpointField::ServiceName => map.next_value_seed(Text(|text: &str| self.set_service(text))),
            EndpointField::V4 => map.next_value_seed(Text(|text: &str| self.set_v4_text(text))),
            EndpointField::V6 => map.next_value_seed(Text(|text: &str| self.set_v6_text(text))),
            EndpointField::Port => {
                self.port = map.next_value_seed(Port)?;
                Ok(())
            }
        }
    }
}
