//! Walks Jaeger's protobuf messages (`components/proto/proto/jaeger`) and hands their parts to the translation.
//!
//! A batch's process stands behind its spans, so a first walk over the heads of the spans looks for it. A span may have a
//! process of its own, which counts more. A process that is given in parts, which protobuf would merge, is its last part.

use super::{
    BatchFault,
    translation::{Reference, ReferenceKind, SpanHead, Translation, UNKNOWN_TYPE},
};
use crate::{
    receiver::otlp_writer::Value,
    wire::{Reader, Walked},
};

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Reads a `PostSpansRequest`.
pub(super) fn read_request<'a>(
    request: &'a [u8],
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    let mut request = Reader::new(request);
    while !request.is_empty() {
        match request.tag()? {
            // batch = 1
            0x0a => read_batch(request.message(1)?, translation)?,
            tag => request.skip_unknown(tag, 0b10)?,
        }
    }
    Ok(())
}

fn read_batch<'a>(batch: Reader<'a>, translation: &mut Translation<'a, '_>) -> Result<(), BatchFault> {
    let mut process = None;
    let mut fields = batch;
    while !fields.is_empty() {
        match fields.tag()? {
            // spans = 1, process = 2
            0x0a => drop(fields.message(1)?),
            0x12 => process = Some(fields.message(2)?),
            tag => fields.skip_unknown(tag, 0b110)?,
        }
    }
    let mut fields = batch;
    while !fields.is_empty() {
        match fields.tag()? {
            0x0a => {
                let span = fields.message(1)?;
                // As in the collector: a span with nothing is none.
                if !span.is_empty() {
                    read_span(span, process, translation)?;
                }
            }
            tag => fields.skip(tag)?,
        }
    }
    Ok(())
}

fn read_span<'a>(
    mut span: Reader<'a>,
    mut process: Option<Reader<'a>>,
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    translation.start_span();
    let mut head = SpanHead::default();
    let [mut start_nanos, mut duration_nanos] = [0i64; 2];
    while !span.is_empty() {
        match span.tag()? {
            // trace_id = 1, span_id = 2, operation_name = 3, references = 4
            0x0a => head.trace_id = id::<16>(span.message(1)?)?,
            0x12 => head.span_id = short_id(span.message(2)?)?,
            0x1a => head.name = span.message(3)?.rest(),
            0x22 => translation.reference(read_reference(span.message(4)?)?),
            // start_time = 6, duration = 7
            0x32 => start_nanos = seconds_and_nanos(span.message(6)?)?,
            0x3a => duration_nanos = seconds_and_nanos(span.message(7)?)?,
            // tags = 8, logs = 9, process = 10
            0x42 => {
                let (key, value) = read_tag(span.message(8)?)?;
                translation.tag(key, value);
            }
            0x4a => read_log(span.message(9)?, translation)?,
            0x52 => process = Some(span.message(10)?),
            // flags = 5, process_id = 11, warnings = 12 are not kept.
            tag => span.skip_unknown(tag, 0b111_1101_1110)?,
        }
    }
    head.start_unix_nanos = unix_nanos(start_nanos);
    head.end_unix_nanos = unix_nanos(start_nanos.saturating_add(duration_nanos));
    translation.end_span(&head)?;
    let process = process.unwrap_or(Reader::new(b""));
    if !translation.is_in(process.rest()) {
        translation.start_process(process.rest())?;
        read_process(process, translation)?;
        translation.end_process();
    }
    translation.append_span();
    Ok(())
}

fn read_process<'a>(mut process: Reader<'a>, translation: &mut Translation<'a, '_>) -> Walked<()> {
    while !process.is_empty() {
        match process.tag()? {
            // service_name = 1, tags = 2
            0x0a => translation.service_name(process.message(1)?.rest()),
            0x12 => {
                let (key, value) = read_tag(process.message(2)?)?;
                translation.process_tag(key, value);
            }
            tag => process.skip_unknown(tag, 0b110)?,
        }
    }
    Ok(())
}

fn read_reference(mut fields: Reader<'_>) -> Result<Reference, BatchFault> {
    let mut reference = Reference { trace_id: 0, span_id: 0, kind: ReferenceKind::ChildOf };
    while !fields.is_empty() {
        match fields.tag()? {
            // trace_id = 1, span_id = 2, ref_type = 3
            0x0a => reference.trace_id = id::<16>(fields.message(1)?)?,
            0x12 => reference.span_id = short_id(fields.message(2)?)?,
            0x18 => {
                reference.kind = match fields.varint(3)? {
                    0 => ReferenceKind::ChildOf,
                    _ => ReferenceKind::FollowsFrom,
                };
            }
            tag => fields.skip_unknown(tag, 0b1110)?,
        }
    }
    Ok(reference)
}

fn read_log<'a>(mut log: Reader<'a>, translation: &mut Translation<'a, '_>) -> Walked<()> {
    translation.start_event();
    let mut nanos = 0;
    while !log.is_empty() {
        match log.tag()? {
            // timestamp = 1, fields = 2
            0x0a => nanos = seconds_and_nanos(log.message(1)?)?,
            0x12 => {
                let (key, value) = read_tag(log.message(2)?)?;
                translation.event_field(key, value);
            }
            tag => log.skip_unknown(tag, 0b110)?,
        }
    }
    translation.end_event(unix_nanos(nanos));
    Ok(())
}

fn read_tag(mut tag: Reader<'_>) -> Walked<(&[u8], Value<'_>)> {
    let [mut key, mut text, mut binary]: [&[u8]; 3] = [b""; 3];
    let [mut kind, mut bool, mut int, mut double] = [0u64; 4];
    while !tag.is_empty() {
        match tag.tag()? {
            // key = 1, v_type = 2, v_str = 3, v_bool = 4, v_int64 = 5, v_float64 = 6, v_binary = 7
            0x0a => key = tag.message(1)?.rest(),
            0x10 => kind = tag.varint(2)?,
            0x1a => text = tag.message(3)?.rest(),
            0x20 => bool = tag.varint(4)?,
            0x28 => int = tag.varint(5)?,
            0x31 => double = tag.fixed64(6)?,
            0x3a => binary = tag.message(7)?.rest(),
            other => tag.skip_unknown(other, 0b1111_1110)?,
        }
    }
    let value = match kind {
        0 => Value::Text(text),
        1 => Value::Bool(bool != 0),
        2 => Value::Int(int.cast_signed()),
        3 => Value::Double(f64::from_bits(double)),
        4 => Value::Bytes(binary),
        _ => Value::Text(UNKNOWN_TYPE),
    };
    Ok((key, value))
}

/// A `Timestamp` or `Duration`: seconds = 1, nanos = 2.
fn seconds_and_nanos(mut fields: Reader<'_>) -> Walked<i64> {
    let [mut seconds, mut nanos] = [0i64; 2];
    while !fields.is_empty() {
        match fields.tag()? {
            0x08 => seconds = fields.varint(1)?.cast_signed(),
            0x10 => nanos = fields.varint(2)?.cast_signed(),
            tag => fields.skip_unknown(tag, 0b110)?,
        }
    }
    Ok(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos))
}

/// Times before 1970 are 1970.
fn unix_nanos(nanos: i64) -> u64 {
    u64::try_from(nanos).unwrap_or(0)
}

/// An id of up to `N` bytes; missing ones in front are zeros.
fn id<const N: usize>(bytes: Reader<'_>) -> Result<u128, BatchFault> {
    let id = bytes.rest();
    if id.len() > N {
        return Err(BatchFault::IdLength { len: id.len(), offset: bytes.position() });
    }
    Ok(id.iter().fold(0, |id, byte| id << 8 | u128::from(*byte)))
}

fn short_id(bytes: Reader<'_>) -> Result<u64, BatchFault> {
    id::<8>(bytes).map(|id| u64::try_from(id).unwrap_or_default())
}
