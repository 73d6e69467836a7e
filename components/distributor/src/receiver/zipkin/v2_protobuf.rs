//! Version 2 in protobuf, walked in place.
//!
//! ```text
//! ListOfSpans: 1 spans
//! Span:        1 trace_id (8 or 16 bytes), 2 parent_id, 3 id (8 bytes), 4 kind, 5 name, 6 timestamp (fixed64),
//!              7 duration (varint), 8 local_endpoint, 9 remote_endpoint, 10 annotations, 11 tags, 12 debug, 13 shared
//! Endpoint:    1 service_name, 2 ipv4 (4 bytes, or 16), 3 ipv6 (16 bytes), 4 port
//! Annotation:  1 timestamp (fixed64), 2 value
//! Tag:         1 key, 2 value
//! ```
//!
//! Unknown fields are hopped over. Texts must be UTF-8. A fault names the byte.

use std::net::IpAddr;

use super::{
    endpoint::Endpoint,
    translation::{SpanFault, Translation},
};
use crate::{
    receiver::otlp_writer::SpanKind,
    wire::{Fault, LEN, Problem, Reader, Walked, tag},
};

const SPAN_FIELDS: u32 = 0b11_1111_1111_1110;
const ENDPOINT_FIELDS: u32 = 0b1_1110;
const PAIR_FIELDS: u32 = 0b110;

/// Protobuf that is no list of spans.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtobufFault {
    #[error(transparent)]
    Wire(#[from] Box<Fault>),
    #[error("spans[{index}]: {fault}")]
    Span { index: usize, fault: SpanFault },
}

/// Reads a request into `translation`.
pub(super) fn read_spans(body: &[u8], translation: &mut Translation) -> Result<(), ProtobufFault> {
    let mut list = Reader::new(body);
    let mut index = 0;
    while !list.is_empty() {
        let found = list.tag()?;
        if found != tag(1, LEN) {
            list.skip_unknown(found, 0b10)?;
            continue;
        }
        translation.begin();
        span(list.message(1)?, translation).map_err(|fault| fault.within("spans", Some(index)))?;
        translation.end().map_err(|fault| ProtobufFault::Span { index, fault })?;
        index += 1;
    }
    Ok(())
}

fn span(mut span: Reader<'_>, out: &mut Translation) -> Walked<()> {
    while !span.is_empty() {
        match span.tag()? {
            0x0a => out.set_trace_id(trace_id(span.message(1)?)?),
            0x12 => out.set_parent_id(span_id(span.message(2)?, "parent_id")?),
            0x1a => out.set_id(span_id(span.message(3)?, "id")?),
            0x20 => out.set_kind(kind(span.varint(4)?)),
            0x2a => out.set_name(text(span.message(5)?, "name")?),
            0x31 => out.set_timestamp(span.fixed64(6)?),
            0x38 => out.set_duration(span.varint(7)?),
            0x42 => endpoint(span.message(8)?, out.local()).map_err(|f| f.within("local_endpoint", None))?,
            0x4a => {
                endpoint(span.message(9)?, out.remote()).map_err(|f| f.within("remote_endpoint", None))?;
            }
            0x52 => annotation(span.message(10)?, out).map_err(|f| f.within("annotations", None))?,
            0x5a => {
                let (key, value) = pair(span.message(11)?).map_err(|f| f.within("tags", None))?;
                out.tag(key, value);
            }
            0x60 | 0x68 => drop(span.varint(12)?),
            found => span.skip_unknown(found, SPAN_FIELDS)?,
        }
    }
    Ok(())
}

fn kind(number: u64) -> Option<SpanKind> {
    match number {
        1 => Some(SpanKind::Client),
        2 => Some(SpanKind::Server),
        3 => Some(SpanKind::Producer),
        4 => Some(SpanKind::Consumer),
        _ => None,
    }
}

fn trace_id(value: Reader<'_>) -> Walked<u128> {
    let bytes = value.rest();
    if let Ok(id) = <[u8; 16]>::try_from(bytes) {
        return Ok(u128::from_be_bytes(id));
    }
    match <[u8; 8]>::try_from(bytes) {
        Ok(id) => Ok(u64::from_be_bytes(id).into()),
        Err(_) => Err(wrong_length(value, "trace_id", 128)),
    }
}

fn span_id(value: Reader<'_>, field: &'static str) -> Walked<u64> {
    match <[u8; 8]>::try_from(value.rest()) {
        Ok(id) => Ok(u64::from_be_bytes(id)),
        Err(_) if value.is_empty() => Ok(0),
        Err(_) => Err(wrong_length(value, field, 64)),
    }
}

#[cold]
fn wrong_length(value: Reader<'_>, field: &'static str, want: usize) -> Box<Fault> {
    Fault::new(Problem::OptionalId { field, want, bits: value.rest().len() * 8 }, value.position())
}

fn text<'a>(value: Reader<'a>, field: &'static str) -> Walked<&'a str> {
    std::str::from_utf8(value.rest())
        .map_err(|error| Fault::new(Problem::InvalidUtf8 { field }, value.position() + error.valid_up_to()))
}

fn endpoint(mut message: Reader<'_>, out: &mut Endpoint) -> Walked<()> {
    while !message.is_empty() {
        match message.tag()? {
            0x0a => out.set_service(text(message.message(1)?, "service_name")?),
            0x12 => put_address(message.message(2)?, "ipv4", 32, |address| out.set_v4(address))?,
            0x1a => put_address(message.message(3)?, "ipv6", 128, |address| out.set_v6(address))?,
            0x20 => out.port = u16::try_from(message.varint(4)?).unwrap_or(0),
            found => message.skip_unknown(found, ENDPOINT_FIELDS)?,
        }
    }
    Ok(())
}

/// zipkin-go has 16 bytes for an IPv4 address, too: those of the IPv6 address it is mapped to.
fn put_address(value: Reader<'_>, field: &'static str, want: usize, put: impl FnOnce(IpAddr)) -> Walked<()> {
    if let Ok(address) = <[u8; 4]>::try_from(value.rest()) {
        put(address.into());
    } else if let Ok(address) = <[u8; 16]>::try_from(value.rest()) {
        put(address.into());
    } else if !value.is_empty() {
        return Err(wrong_length(value, field, want));
    }
    Ok(())
}

fn annotation(mut message: Reader<'_>, out: &mut Translation) -> Walked<()> {
    let mut micros = 0;
    let mut value = "";
    while !message.is_empty() {
        match message.tag()? {
            0x09 => micros = message.fixed64(1)?,
            0x12 => value = text(message.message(2)?, "value")?,
            found => message.skip_unknown(found, PAIR_FIELDS)?,
        }
    }
    out.annotation(micros, value);
    Ok(())
}

/// An entry of the map of tags.
fn pair<'a>(mut message: Reader<'a>) -> Walked<(&'a str, &'a str)> {
    let (mut key, mut value) = ("", "");
    while !message.is_empty() {
        match message.tag()? {
            0x0a => key = text(message.message(1)?, "key")?,
            0x12 => value = text(message.message(2)?, "value")?,
            found => message.skip_unknown(found, PAIR_FIELDS)?,
        }
    }
    Ok((key, value))
}
