//! Reads Jaeger's Thrift structs (`jaeger.thrift`, `agent.thrift`) and hands their parts to the translation.
//!
//! ```text
//! emitBatch args { 1: Batch }
//! Batch   { 1: Process  2: list<Span>  3: seqNo i64  4: stats }
//! Process { 1: serviceName string  2: list<Tag> }
//! Span    { 1: traceIdLow i64  2: traceIdHigh i64  3: spanId i64  4: parentSpanId i64  5: operationName string
//!           6: list<SpanRef>  7: flags i32  8: startTime i64 (µs)  9: duration i64 (µs)  10: list<Tag>  11: list<Log> }
//! SpanRef { 1: refType i32 (0 CHILD_OF, 1 FOLLOWS_FROM)  2: traceIdLow i64  3: traceIdHigh i64  4: spanId i64 }
//! Tag     { 1: key string  2: vType i32 (0 string, 1 double, 2 bool, 3 long, 4 binary)
//!           3: vStr string  4: vDouble double  5: vBool bool  6: vLong i64  7: vBinary binary }
//! Log     { 1: timestamp i64 (µs)  2: list<Tag> }
//! ```
//!
//! Fields may come in any order and may be missing; unknown ones are skipped. Spans may stand before their process.

use super::{
    BatchFault,
    translation::{Reference, ReferenceKind, SpanHead, Translation, UNKNOWN_TYPE},
};
use crate::receiver::{
    otlp_writer::Value,
    thrift::{Field, Kind, Read, ThriftReader},
};

const EMIT_BATCH: &[u8] = b"emitBatch";
const MAX_METHOD_BYTES: usize = 64;

/// Reads an `emitBatch` message. What follows it is not looked at.
pub(super) fn read_message<'a, R: ThriftReader<'a>>(
    mut reader: R,
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    let message = reader.message()?;
    if message.name != EMIT_BATCH {
        let name = message.name.get(..MAX_METHOD_BYTES).unwrap_or(message.name);
        return Err(BatchFault::Method(String::from_utf8_lossy(name).into_owned()));
    }
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::Struct, "batch")?;
                read_batch(&mut reader, translation)?;
            }
            _ => reader.skip(field)?,
        }
    }
    Ok(())
}

/// Reads a `Batch`.
pub(super) fn read_batch<'a, R: ThriftReader<'a>>(
    reader: &mut R,
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    let mut process = Process { reader: None, is_written: false };
    let mut early_spans = None;
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::Struct, "process")?;
                process = Process { reader: Some(*reader), is_written: false };
                reader.skip_struct()?;
            }
            2 if process.reader.is_some() => read_spans(reader, field, &mut process, translation)?,
            // No writer has been seen that puts spans first.
            2 => {
                early_spans = Some((*reader, field));
                reader.skip(field)?;
            }
            _ => reader.skip(field)?,
        }
    }
    if let Some((mut reader, field)) = early_spans {
        read_spans(&mut reader, field, &mut process, translation)?;
    }
    Ok(())
}

/// The process of a batch: once its spans have begun it is not read again, however many lists they come in.
struct Process<R> {
    reader: Option<R>,
    is_written: bool,
}

fn read_spans<'a, R: ThriftReader<'a>>(
    reader: &mut R,
    field: Field,
    process: &mut Process<R>,
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    for _ in 0..reader.structs(field)? {
        read_span(reader, translation)?;
        if !process.is_written {
            translation.start_process(b"")?;
            if let Some(mut reader) = process.reader {
                read_process(&mut reader, translation)?;
            }
            translation.end_process();
            process.is_written = true;
        }
        translation.append_span();
    }
    Ok(())
}

fn read_process<'a, R: ThriftReader<'a>>(reader: &mut R, translation: &mut Translation<'a, '_>) -> Read<()> {
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::Binary, "service name")?;
                translation.service_name(reader.binary()?);
            }
            2 => {
                for _ in 0..reader.structs(field)? {
                    let (key, value) = read_tag(reader)?;
                    translation.process_tag(key, value);
                }
            }
            _ => reader.skip(field)?,
        }
    }
    Ok(())
}

fn read_span<'a, R: ThriftReader<'a>>(
    reader: &mut R,
    translation: &mut Translation<'a, '_>,
) -> Result<(), BatchFault> {
    translation.start_span();
    let mut head = SpanHead::default();
    let mut trace_id = TraceIdHalves::default();
    let [mut start_micros, mut duration_micros] = [0; 2];
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => trace_id.low = id(reader, field)?,
            2 => trace_id.high = id(reader, field)?,
            3 => head.span_id = id(reader, field)?,
            4 => head.parent_span_id = id(reader, field)?,
            5 => {
                reader.expect(field, Kind::Binary, "operation name")?;
                head.name = reader.binary()?;
            }
            6 => {
                for _ in 0..reader.structs(field)? {
                    translation.reference(read_reference(reader)?);
                }
            }
            8 => start_micros = number(reader, field)?,
            9 => duration_micros = number(reader, field)?,
            10 => {
                for _ in 0..reader.structs(field)? {
                    let (key, value) = read_tag(reader)?;
                    translation.tag(key, value);
                }
            }
            11 => {
                for _ in 0..reader.structs(field)? {
                    read_log(reader, translation)?;
                }
            }
            _ => reader.skip(field)?,
        }
    }
    head.trace_id = trace_id.join();
    head.start_unix_nanos = unix_nanos(start_micros);
    head.end_unix_nanos = unix_nanos(start_micros.saturating_add(duration_micros));
    translation.end_span(&head)
}

fn read_reference<'a, R: ThriftReader<'a>>(reader: &mut R) -> Read<Reference> {
    let mut trace_id = TraceIdHalves::default();
    let mut span_id = 0;
    let mut kind = ReferenceKind::default();
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::I32, "type of a reference")?;
                kind = match reader.i32()? {
                    0 => ReferenceKind::ChildOf,
                    _ => ReferenceKind::FollowsFrom,
                };
            }
            2 => trace_id.low = id(reader, field)?,
            3 => trace_id.high = id(reader, field)?,
            4 => span_id = id(reader, field)?,
            _ => reader.skip(field)?,
        }
    }
    Ok(Reference { trace_id: trace_id.join(), span_id, kind })
}

fn read_log<'a, R: ThriftReader<'a>>(reader: &mut R, translation: &mut Translation<'a, '_>) -> Read<()> {
    translation.start_event();
    let mut micros = 0;
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => micros = number(reader, field)?,
            2 => {
                for _ in 0..reader.structs(field)? {
                    let (key, value) = read_tag(reader)?;
                    translation.event_field(key, value);
                }
            }
            _ => reader.skip(field)?,
        }
    }
    translation.end_event(unix_nanos(micros));
    Ok(())
}

/// The values that a tag has; its type says which of them counts.
#[derive(Default)]
struct TagValues<'a> {
    text: &'a [u8],
    double: f64,
    bool: bool,
    long: i64,
    binary: &'a [u8],
}

fn read_tag<'a, R: ThriftReader<'a>>(reader: &mut R) -> Read<(&'a [u8], Value<'a>)> {
    let mut key: &[u8] = b"";
    let mut kind = 0;
    let mut values = TagValues::default();
    let mut previous = 0;
    while let Some(field) = reader.field(previous)? {
        previous = field.id;
        match field.id {
            1 => {
                reader.expect(field, Kind::Binary, "key")?;
                key = reader.binary()?;
            }
            2 => {
                reader.expect(field, Kind::I32, "type of a tag")?;
                kind = reader.i32()?;
            }
            3 => {
                reader.expect(field, Kind::Binary, "string")?;
                values.text = reader.binary()?;
            }
            4 => {
                reader.expect(field, Kind::Double, "double")?;
                values.double = reader.double()?;
            }
            5 => {
                reader.expect(field, Kind::Bool, "bool")?;
                values.bool = reader.bool(field)?;
            }
            6 => values.long = number(reader, field)?,
            7 => {
                reader.expect(field, Kind::Binary, "binary")?;
                values.binary = reader.binary()?;
            }
            _ => reader.skip(field)?,
        }
    }
    let value = match kind {
        0 => Value::Text(values.text),
        1 => Value::Double(values.double),
        2 => Value::Bool(values.bool),
        3 => Value::Int(values.long),
        4 => Value::Bytes(values.binary),
        _ => Value::Text(UNKNOWN_TYPE),
    };
    Ok((key, value))
}

#[derive(Debug, Clone, Copy, Default)]
struct TraceIdHalves {
    high: u64,
    low: u64,
}

impl TraceIdHalves {
    fn join(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

#[inline]
fn number<'a, R: ThriftReader<'a>>(reader: &mut R, field: Field) -> Read<i64> {
    reader.expect(field, Kind::I64, "number of 64 bits")?;
    reader.i64()
}

#[inline]
fn id<'a, R: ThriftReader<'a>>(reader: &mut R, field: Field) -> Read<u64> {
    Ok(number(reader, field)?.cast_unsigned())
}

/// Times before 1970 are 1970, those that do not fit are the last.
fn unix_nanos(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0).saturating_mul(1_000)
}
