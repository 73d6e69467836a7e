//! Version 1 in thrift's binary encoding: a list of spans with annotations and binary annotations (`v1`).
//!
//! ```text
//! Span:             1 trace_id i64, 3 name, 4 id i64, 5 parent_id i64, 6 annotations, 8 binary_annotations, 9 debug,
//!                   10 timestamp i64, 11 duration i64, 12 trace_id_high i64
//! Annotation:       1 timestamp i64, 2 value, 3 host
//! BinaryAnnotation: 1 key, 2 value, 3 annotation_type i32, 4 host
//! Endpoint:         1 ipv4 i32, 2 port i16, 3 service_name, 4 ipv6 (16 bytes)
//! ```
//!
//! Numbers in the value of a binary annotation are big endian. A value that is too short for its type, or has a type
//! that is not known, is kept as base64 like bytes. Text that is not UTF-8 is repaired.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    endpoint::Endpoint,
    tags::Value,
    translation::{SpanFault, Translation},
    v1::Annotations,
};
use crate::receiver::thrift::{BinaryReader, Field, Kind, Read, ThriftFault, ThriftProblem, ThriftReader};

/// Thrift that is no list of spans.
#[derive(Debug, thiserror::Error)]
pub(super) enum V1ThriftFault {
    #[error("[{index}]: {fault}")]
    Thrift { index: usize, fault: ThriftFault },
    #[error("[{index}]: {fault}")]
    Span { index: usize, fault: SpanFault },
}

/// Reads a request into `translation`.
pub(super) fn read_spans(body: &[u8], translation: &mut Translation) -> Result<(), V1ThriftFault> {
    translation.set_v1();
    let mut annotations = Annotations::default();
    let mut host = Endpoint::default();
    let mut reader = BinaryReader::new(body);
    let count = spans(&mut reader).map_err(|fault| V1ThriftFault::Thrift { index: 0, fault })?;
    for index in 0..count {
        annotations.begin(translation);
        let mut span = Span { out: &mut *translation, annotations: &mut annotations, host: &mut host };
        span.read(&mut reader).map_err(|fault| V1ThriftFault::Thrift { index, fault })?;
        annotations.end(translation).map_err(|fault| V1ThriftFault::Span { index, fault })?;
    }
    Ok(())
}

fn spans(reader: &mut BinaryReader<'_>) -> Read<usize> {
    let list = reader.list()?;
    if list.kind != Kind::Struct {
        return Err(reader.fault(ThriftProblem::Expected("list of structs")));
    }
    Ok(list.len)
}

struct Span<'a> {
    out: &'a mut Translation,
    annotations: &'a mut Annotations,
    host: &'a mut Endpoint,
}

impl Span<'_> {
    fn read(&mut self, reader: &mut BinaryReader<'_>) -> Read<()> {
        let (mut low, mut high) = (0, 0);
        let mut previous = 0;
        while let Some(field) = reader.field(previous)? {
            previous = field.id;
            match field.id {
                1 => low = id(reader, field)?,
                3 => self.out.set_name(&text(reader, field)?),
                4 => self.out.set_id(id(reader, field)?),
                5 => self.out.set_parent_id(id(reader, field)?),
                6 => {
                    for _ in 0..reader.structs(field)? {
                        self.annotation(reader)?;
                    }
                }
                8 => {
                    for _ in 0..reader.structs(field)? {
                        self.binary_annotation(reader)?;
                    }
                }
                10 => self.out.set_timestamp(micros(reader, field)?),
                11 => self.out.set_duration(micros(reader, field)?),
                12 => high = id(reader, field)?,
                _ => reader.skip(field)?,
            }
        }
        self.out.set_trace_id(u128::from(high) << 64 | u128::from(low));
        Ok(())
    }

    fn annotation(&mut self, reader: &mut BinaryReader<'_>) -> Read<()> {
        self.host.clear();
        let mut at = 0;
        let mut value = Cow::Borrowed("");
        let mut previous = 0;
        while let Some(field) = reader.field(previous)? {
            previous = field.id;
            match field.id {
                1 => at = micros(reader, field)?,
                2 => value = text(reader, field)?,
                3 => endpoint(reader, field, self.host)?,
                _ => reader.skip(field)?,
            }
        }
        self.annotations.annotation(self.out, at, &value, self.host);
        Ok(())
    }

    fn binary_annotation(&mut self, reader: &mut BinaryReader<'_>) -> Read<()> {
        self.host.clear();
        let mut key = Cow::Borrowed("");
        let mut bytes: &[u8] = &[];
        let mut kind = None;
        let mut previous = 0;
        while let Some(field) = reader.field(previous)? {
            previous = field.id;
            match field.id {
                1 => key = text(reader, field)?,
                2 => {
                    reader.expect(field, Kind::Binary, "binary")?;
                    bytes = reader.binary()?;
                }
                3 => {
                    reader.expect(field, Kind::I32, "i32")?;
                    kind = Some(reader.i32()?);
                }
                4 => endpoint(reader, field, self.host)?,
                _ => reader.skip(field)?,
            }
        }
        let held;
        let value = match number(bytes, kind) {
            Some(value) => value,
            None if kind == Some(6) => {
                held = String::from_utf8_lossy(bytes);
                Value::Text(&held)
            }
            None => {
                held = Cow::Owned(STANDARD.encode(bytes));
                Value::Text(&held)
            }
        };
        self.annotations.binary(self.out, &key, value, self.host);
        Ok(())
    }
}

/// A value that is neither text nor bytes.
fn number(bytes: &[u8], kind: Option<i32>) -> Option<Value<'static>> {
    match kind? {
        0 => Some(Value::Bool(bytes == [1])),
        2 => bytes.first_chunk().map(|value| Value::Int(i16::from_be_bytes(*value).into())),
        3 => bytes.first_chunk().map(|value| Value::Int(i32::from_be_bytes(*value).into())),
        4 => bytes.first_chunk().map(|value| Value::Int(i64::from_be_bytes(*value))),
        5 => bytes.first_chunk().map(|value| Value::Double(f64::from_be_bytes(*value))),
        _ => None,
    }
}

fn id(reader: &mut BinaryReader<'_>, field: Field) -> Read<u64> {
    reader.expect(field, Kind::I64, "i64")?;
    Ok(reader.i64()?.cast_unsigned())
}

/// What lies before 1970 is 0.
fn micros(reader: &mut BinaryReader<'_>, field: Field) -> Read<u64> {
    reader.expect(field, Kind::I64, "i64")?;
    Ok(u64::try_from(reader.i64()?).unwrap_or(0))
}

fn text<'a>(reader: &mut BinaryReader<'a>, field: Field) -> Read<Cow<'a, str>> {
    reader.expect(field, Kind::Binary, "string")?;
    Ok(String::from_utf8_lossy(reader.binary()?))
}

fn endpoint(reader: &mut BinaryReader<'_>, field: Field, out: &mut Endpoint) -> Read<()> {
    reader.expect(field, Kind::Struct, "struct")?;
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::I32, "i32")?;
                let address = reader.i32()?;
                if address != 0 {
                    out.set_v4(address.to_be_bytes().into());
                }
            }
            2 => {
                reader.expect(field, Kind::I16, "i16")?;
                out.port = reader.i16()?.cast_unsigned();
            }
            3 => out.set_service(&text(reader, field)?),
            4 => {
                reader.expect(field, Kind::Binary, "binary")?;
                if let Ok(address) = <[u8; 16]>::try_from(reader.binary()?) {
                    out.set_v6(address.into());
                }
            }
            _ => reader.skip(field)?,
        }
    }
    Ok(())
}
