//! Walks protobuf in place: fields, lengths and numbers of a borrowed slice, every read checked.
//!
//! Leaves to `validate` what the fields mean. Invariant: a [`Reader`] never reads outside of the message it was made
//! for, and every fault names the byte offset in the whole request. Groups are refused; a varint has at most ten
//! bytes and 64 bits; a tag has at most 32 bits and a field number other than 0.

use std::fmt;

pub(crate) const VARINT: u32 = 0;
pub(crate) const FIXED64: u32 = 1;
pub(crate) const LEN: u32 = 2;
pub(crate) const FIXED32: u32 = 5;

/// The tag of a field as it stands on the wire.
pub(crate) const fn tag(field: u32, wire_type: u32) -> u32 {
    field << 3 | wire_type
}

/// Where and why a request is wrong, in words a sender can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) problem: Problem,
    offset: usize,
    /// Innermost message first: filled while the fault travels up.
    path: Vec<(&'static str, Option<usize>)>,
}

/// What can be wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    TagCutOff,
    CutOff {
        field: u32,
    },
    BadTag,
    Group {
        field: u32,
    },
    WireType {
        field: u32,
        found: u32,
    },
    LongNumber {
        field: u32,
    },
    /// Far more often than a field that should be there once can be.
    Repeated {
        field: u32,
    },
    InvalidUtf8 {
        field: &'static str,
    },
    TooDeep,
    TraceId {
        bits: usize,
    },
    SpanId {
        bits: usize,
    },
    /// An id that may be absent: a parent's or a link's.
    OptionalId {
        field: &'static str,
        want: usize,
        bits: usize,
    },
}

pub(crate) type Walked<T> = Result<T, Box<Fault>>;

impl Fault {
    #[cold]
    pub(crate) fn new(problem: Problem, offset: usize) -> Box<Fault> {
        Box::new(Fault { problem, offset, path: Vec::new() })
    }

    /// Adds the message that the fault was found in.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, message: &'static str, index: Option<usize>) -> Box<Fault> {
        self.path.push((message, index));
        self
    }

    /// Whether the bytes around the faulty message can still be trusted, so that only its trace is lost.
    pub(crate) fn is_local(&self) -> bool {
        match self.problem {
            Problem::InvalidUtf8 { .. }
            | Problem::TooDeep
            | Problem::TraceId { .. }
            | Problem::SpanId { .. }
            | Problem::OptionalId { .. } => true,
            Problem::TagCutOff
            | Problem::CutOff { .. }
            | Problem::BadTag
            | Problem::Group { .. }
            | Problem::WireType { .. }
            | Problem::LongNumber { .. }
            | Problem::Repeated { .. } => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tempo's texts, clients match on them: no place in front.
        match self.problem {
            Problem::TraceId { bits } => {
                return write!(f, "trace ids must be 128 bit, received {bits} bits");
            }
            Problem::SpanId { bits } => {
                return write!(f, "span ids must be 64 bit and not all zero, received {bits} bits");
            }
            _ => {}
        }
        for (depth, (message, index)) in self.path.iter().rev().enumerate() {
            let dot = if depth == 0 { "" } else { "." };
            match index {
                Some(index) => write!(f, "{dot}{message}[{index}]")?,
                None => write!(f, "{dot}{message}")?,
            }
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        let at = self.offset;
        match self.problem {
            Problem::TagCutOff => write!(f, "a field's tag is cut off at byte {at}"),
            Problem::CutOff { field } => write!(f, "field {field} is cut off at byte {at}"),
            Problem::BadTag => write!(f, "bad field tag at byte {at}"),
            Problem::Group { field } => {
                write!(f, "field {field} is a group at byte {at}, groups are not supported")
            }
            Problem::WireType { field, found } => {
                write!(f, "field {field} has wire type {found} at byte {at}, which it cannot have")
            }
            Problem::LongNumber { field } => {
                write!(f, "field {field} is a number of more than 64 bits at byte {at}")
            }
            Problem::Repeated { field } => write!(f, "field {field} is repeated too often at byte {at}"),
            Problem::InvalidUtf8 { field } => write!(f, "{field} is not valid UTF-8 at byte {at}"),
            Problem::TooDeep => write!(f, "value is nested deeper than 64 messages at byte {at}"),
            Problem::OptionalId { field, want, bits } => {
                write!(f, "{field} must be {want} bit, received {bits} bits at byte {at}")
            }
            Problem::TraceId { .. } | Problem::SpanId { .. } => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Offset in the request of the byte behind this message.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(request: &'a [u8]) -> Reader<'a> {
        Reader { rest: request, end: request.len() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Offset of the next byte in the request.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.end - self.rest.len()
    }

    #[inline]
    pub(crate) fn tag(&mut self) -> Walked<u32> {
        // Field numbers up to 15, all but one of OTLP's.
        if let [byte @ 8..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u32::from(*byte));
        }
        self.long_tag()
    }

    fn long_tag(&mut self) -> Walked<u32> {
        let start = self.position();
        match take_varint(&mut self.rest) {
            Number::Value(value) => match u32::try_from(value) {
                Ok(tag) if tag >> 3 != 0 => Ok(tag),
                _ => Err(Fault::new(Problem::BadTag, start)),
            },
            Number::CutOff => Err(Fault::new(Problem::TagCutOff, self.end)),
            Number::TooLong => Err(Fault::new(Problem::BadTag, start)),
        }
    }

    /// Reads the value of a length-delimited field.
    #[inline]
    pub(crate) fn message(&mut self, field: u32) -> Walked<Reader<'a>> {
        let len = match self.rest {
            [byte @ ..0x80, rest @ ..] => {
                self.rest = rest;
                usize::from(*byte)
            }
            _ => usize::try_from(self.varint(field)?).unwrap_or(usize::MAX),
        };
        match self.rest.split_at_checked(len) {
            Some((value, rest)) => {
                self.rest = rest;
                Ok(Reader { rest: value, end: self.end - rest.len() })
            }
            None => Err(Fault::new(Problem::CutOff { field }, self.end)),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self, field: u32) -> Walked<u64> {
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        let start = self.position();
        match take_varint(&mut self.rest) {
            Number::Value(value) => Ok(value),
            Number::CutOff => Err(Fault::new(Problem::CutOff { field }, self.end)),
            Number::TooLong => Err(Fault::new(Problem::LongNumber { field }, start)),
        }
    }

    #[inline]
    pub(crate) fn fixed64(&mut self, field: u32) -> Walked<u64> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(Fault::new(Problem::CutOff { field }, self.end)),
        }
    }

    #[inline]
    pub(crate) fn skip_bytes(&mut self, field: u32, len: usize) -> Walked<()> {
        match self.rest.get(len..) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(Fault::new(Problem::CutOff { field }, self.end)),
        }
    }

    /// Skips a field that the caller does not know. `known` has a bit for each field number it does know: one of
    /// those here means that its wire type is wrong.
    #[cold]
    pub(crate) fn skip_unknown(&mut self, tag: u32, known: u32) -> Walked<()> {
        let field = tag >> 3;
        if field < 32 && known >> field & 1 == 1 {
            return Err(Fault::new(Problem::WireType { field, found: tag & 7 }, self.position()));
        }
        self.skip(tag)
    }

    /// Skips the value of a field, whatever it is.
    pub(crate) fn skip(&mut self, tag: u32) -> Walked<()> {
        let field = tag >> 3;
        match tag & 7 {
            VARINT => self.varint(field).map(|_| ()),
            FIXED64 => self.skip_bytes(field, 8),
            LEN => self.message(field).map(|_| ()),
            FIXED32 => self.skip_bytes(field, 4),
            3 | 4 => Err(Fault::new(Problem::Group { field }, self.position())),
            _ => Err(Fault::new(Problem::BadTag, self.position())),
        }
    }
}

enum Number {
    Value(u64),
    CutOff,
    TooLong,
}

fn take_varint(bytes: &mut &[u8]) -> Number {
    let mut value = 0u64;
    let mut rest = *bytes;
    for shift in (0..70).step_by(7) {
        let Some((&byte, after)) = rest.split_first() else { return Number::CutOff };
        rest = after;
        // The tenth byte holds the 64th bit and nothing else.
        if shift == 63 && byte > 1 {
            return Number::TooLong;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *bytes = rest;
            return Number::Value(value);
        }
    }
    Number::TooLong
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, tag: u32) {
    put_varint(out, u64::from(tag));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_tag(out, tag(field, LEN));
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
