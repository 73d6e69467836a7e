//! Zipkin: spans of both versions in all their encodings become an OTLP export request.
//!
//! `http` takes requests; one reader per encoding (`v1_json`, `v1_thrift`, `v2_json`, `v2_protobuf`) walks the body once
//! and hands each field to `translation`, whose header has the table of what becomes what. Nothing is kept between the
//! reader and the OTLP bytes but what a span's last field may change; memory goes with the body, never with a number
//! in it.

mod attributes;
mod contexts;
mod endpoint;
mod http;
mod json;
mod tags;
mod translation;
mod v1;
mod v1_json;
mod v1_thrift;
mod v2_json;
mod v2_protobuf;

use json::JsonFault;
use translation::Translation;
use v1_thrift::V1ThriftFault;
use v2_protobuf::ProtobufFault;

pub(crate) use self::http::routes;

/// The encodings of Zipkin spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZipkinFormat {
    V1Json,
    V1Thrift,
    V2Json,
    V2Protobuf,
}

/// A body that is no list of Zipkin spans: what is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ZipkinFault(#[from] FormatFault);

#[derive(Debug, thiserror::Error)]
enum FormatFault {
    #[error(transparent)]
    Json(#[from] JsonFault),
    #[error(transparent)]
    Thrift(#[from] V1ThriftFault),
    #[error(transparent)]
    Protobuf(#[from] ProtobufFault),
}

/// Converts a request to an `ExportTraceServiceRequest`. With `parse_string_tags`, numbers and booleans in tags get
/// their type.
pub fn zipkin_to_otlp(
    format: ZipkinFormat,
    parse_string_tags: bool,
    body: &[u8],
) -> Result<Vec<u8>, ZipkinFault> {
    match convert(format, parse_string_tags, body, usize::MAX)? {
        Converted::Request(otlp) => Ok(otlp),
        Converted::NeedsRoom => Ok(Vec::new()),
    }
}

enum Converted {
    Request(Vec<u8>),
    NeedsRoom,
}

/// As [`zipkin_to_otlp`]; gives up when the spans take more than `room` bytes, which are needed twice.
fn convert(
    format: ZipkinFormat,
    parse_string_tags: bool,
    body: &[u8],
    room: usize,
) -> Result<Converted, ZipkinFault> {
    let mut translation = Translation::new(parse_string_tags, body.len() / 2, room);
    let read = match format {
        ZipkinFormat::V1Json => v1_json::read_spans(body, &mut translation).map_err(FormatFault::from),
        ZipkinFormat::V1Thrift => v1_thrift::read_spans(body, &mut translation).map_err(FormatFault::from),
        ZipkinFormat::V2Json => v2_json::read_spans(body, &mut translation).map_err(FormatFault::from),
        ZipkinFormat::V2Protobuf => {
            v2_protobuf::read_spans(body, &mut translation).map_err(FormatFault::from)
        }
    };
    if translation.is_room_used_up() {
        return Ok(Converted::NeedsRoom);
    }
    read?;
    Ok(Converted::Request(translation.finish()))
}

#[cfg(test)]
mod tests;
