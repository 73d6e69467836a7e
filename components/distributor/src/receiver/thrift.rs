//! Reads Thrift in place: fields, lists and numbers of a borrowed slice, in the binary and the compact encoding.
//!
//! Leaves to its callers what the fields mean. Nothing is allocated; what is read is part of the slice. Hostile input is
//! refused with the offset of what is wrong: lengths beyond the slice, more elements than bytes are left (so a loop over
//! a list ends with the slice), structs without end, nesting deeper than [`MAX_DEPTH`]. Readers are `Copy`: a caller that
//! has to read something twice keeps a copy of the reader from before.
//!
//! Why not the `thrift` crate: it works on generated structs, so every span would be some thirty allocations, and its
//! container limits are off by default. It is the oracle of the fuzz targets' corpus instead.
//!
//! ```text
//!             binary (big endian)             compact (varints are LEB128, zz is zigzag)
//! message     80 01 00 type name seq:i32      82 (type << 5 | 1) seq:varint name
//!             or, not strict: name type seq
//! field       type:u8 id:i16                  (id delta << 4 | type), or type:u8 id:zz16 when the delta is 0
//! struct end  00                              00
//! bool        u8, 1 is true                   in the field's type: 1 true, 2 false; in a list u8, 1 is true
//! i16 i32 i64 fixed                           zz varint
//! double      8 bytes, big endian             8 bytes, little endian
//! binary      len:i32 bytes                   len:varint bytes
//! list, set   type:u8 len:i32                 (len << 4 | type), or (f0 | type) len:varint from 15 on
//! map         key:u8 value:u8 len:i32         len:varint, and if it is not 0 (key << 4 | value)
//! ```

mod binary;
mod compact;

use std::fmt;

pub(crate) use binary::BinaryReader;
pub(crate) use compact::CompactReader;

/// Most structs and containers nested in what is skipped.
const MAX_DEPTH: u32 = 32;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    Struct,
    Map,
    Set,
    List,
    Uuid,
}

/// The head of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) id: i16,
    pub(crate) kind: Kind,
    /// The value of a bool, where the encoding has it in the head.
    bool_value: Option<bool>,
}

/// The head of a list or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) kind: Kind,
    /// Not more than there are bytes left.
    pub(crate) len: usize,
}

/// The head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) name: &'a [u8],
}

/// Where and why bytes are not Thrift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThriftFault {
    pub(crate) problem: ThriftProblem,
    pub(crate) offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThriftProblem {
    CutOff,
    Length(i64),
    TooManyElements(u64),
    UnknownType(u8),
    FieldId,
    LongNumber,
    TooDeep,
    NotAMessage,
    /// A field or list of another type than it can have.
    Expected(&'static str),
}

pub(crate) type Read<T> = Result<T, ThriftFault>;

impl fmt::Display for ThriftFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            ThriftProblem::CutOff => f.write_str("thrift is cut off")?,
            ThriftProblem::Length(length) => write!(f, "thrift length {length} is not possible")?,
            ThriftProblem::TooManyElements(count) => {
                write!(f, "thrift list of {count} elements is longer than what holds it")?;
            }
            ThriftProblem::UnknownType(kind) => write!(f, "thrift type {kind} is not known")?,
            ThriftProblem::FieldId => f.write_str("thrift field id is out of range")?,
            ThriftProblem::LongNumber => f.write_str("thrift number is too long")?,
            ThriftProblem::TooDeep => write!(f, "thrift is nested deeper than {MAX_DEPTH}")?,
            ThriftProblem::NotAMessage => f.write_str("this is no thrift message")?,
            ThriftProblem::Expected(what) => write!(f, "thrift has no {what} where one was expected")?,
        }
        write!(f, " at byte {}", self.offset)
    }
}

impl std::error::Error for ThriftFault {}

/// One encoding of Thrift.
pub(crate) trait ThriftReader<'a>: Copy + fmt::Debug {
    /// Offset of the next byte in the whole input.
    fn position(&self) -> usize;
    fn message(&mut self) -> Read<Message<'a>>;
    /// The next field of a struct, `None` at its end. `previous` is the id of the field before, 0 at first.
    fn field(&mut self, previous: i16) -> Read<Option<Field>>;
    fn list(&mut self) -> Read<List>;
    /// Kinds of keys and values and how many pairs there are; the kinds of an empty map mean nothing.
    fn map(&mut self) -> Read<(Kind, Kind, usize)>;
    /// A bool in a list.
    fn bool_element(&mut self) -> Read<bool>;
    fn i32(&mut self) -> Read<i32>;
    fn i64(&mut self) -> Read<i64>;
    fn double(&mut self) -> Read<f64>;
    /// A string, which may hold anything.
    fn binary(&mut self) -> Read<&'a [u8]>;
    /// Skips a byte, i16, bool in a list or UUID; numbers and the rest have methods of their own.
    fn skip_fixed(&mut self, kind: Kind) -> Read<()>;

    /// The value of a bool field.
    #[inline]
    fn bool(&mut self, field: Field) -> Read<bool> {
        match field.bool_value {
            Some(value) => Ok(value),
            None => self.bool_element(),
        }
    }

    /// A fault where the reader is.
    #[cold]
    fn fault(&self, problem: ThriftProblem) -> ThriftFault {
        ThriftFault { problem, offset: self.position() }
    }

    /// Refuses a field that is not what it has to be.
    #[inline]
    fn expect(&self, field: Field, kind: Kind, what: &'static str) -> Read<()> {
        if field.kind == kind { Ok(()) } else { Err(self.fault(ThriftProblem::Expected(what))) }
    }

    /// Begins a list of structs; an empty list may name any kind.
    #[inline]
    fn structs(&mut self, field: Field) -> Read<usize> {
        self.expect(field, Kind::List, "list")?;
        let list = self.list()?;
        if list.kind != Kind::Struct && list.len > 0 {
            return Err(self.fault(ThriftProblem::Expected("list of structs")));
        }
        Ok(list.len)
    }

    /// Skips the value of a field that the caller does not know.
    fn skip(&mut self, field: Field) -> Read<()> {
        match field.bool_value {
            Some(_) => Ok(()),
            None => self.skip_value(field.kind, MAX_DEPTH),
        }
    }

    /// Skips fields up to the end of a struct.
    fn skip_struct(&mut self) -> Read<()> {
        self.skip_value(Kind::Struct, MAX_DEPTH)
    }

    fn skip_value(&mut self, kind: Kind, depth: u32) -> Read<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(self.fault(ThriftProblem::TooDeep)) };
        match kind {
            Kind::Bool | Kind::Byte | Kind::I16 | Kind::Uuid => self.skip_fixed(kind),
            Kind::I32 => self.i32().map(drop),
            Kind::I64 => self.i64().map(drop),
            Kind::Double => self.double().map(drop),
            Kind::Binary => self.binary().map(drop),
            Kind::Struct => {
                let mut previous = 0;
                while let Some(field) = self.field(previous)? {
                    previous = field.id;
                    if field.bool_value.is_none() {
                        self.skip_value(field.kind, depth)?;
                    }
                }
                Ok(())
            }
            Kind::List | Kind::Set => {
                let list = self.list()?;
                for _ in 0..list.len {
                    self.skip_value(list.kind, depth)?;
                }
                Ok(())
            }
            Kind::Map => {
                let (key, value, len) = self.map()?;
                for _ in 0..len {
                    self.skip_value(key, depth)?;
                    self.skip_value(value, depth)?;
                }
                Ok(())
            }
        }
    }
}

/// The bytes that are left of an input, and where it ends.
#[derive(Debug, Clone, Copy)]
struct Rest<'a> {
    bytes: &'a [u8],
    /// Length of the whole input.
    end: usize,
}

impl<'a> Rest<'a> {
    fn new(input: &'a [u8]) -> Rest<'a> {
        Rest { bytes: input, end: input.len() }
    }

    #[inline]
    fn position(&self) -> usize {
        self.end - self.bytes.len()
    }

    #[cold]
    fn fault(&self, problem: ThriftProblem) -> ThriftFault {
        ThriftFault { problem, offset: self.position() }
    }

    #[inline]
    fn byte(&mut self) -> Read<u8> {
        let Some((&byte, rest)) = self.bytes.split_first() else {
            return Err(self.fault(ThriftProblem::CutOff));
        };
        self.bytes = rest;
        Ok(byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let Some((bytes, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.fault(ThriftProblem::CutOff));
        };
        self.bytes = rest;
        Ok(*bytes)
    }

    #[inline]
    fn take(&mut self, len: i64) -> Read<&'a [u8]> {
        let Ok(wanted) = usize::try_from(len) else { return Err(self.fault(ThriftProblem::Length(len))) };
        let Some((bytes, rest)) = self.bytes.split_at_checked(wanted) else {
            return Err(self.fault(ThriftProblem::Length(len)));
        };
        self.bytes = rest;
        Ok(bytes)
    }

    /// Refuses a container that cannot be in what is left, in which an element takes a byte at least.
    #[inline]
    fn count(&self, count: i64, bytes_each: usize) -> Read<usize> {
        let Ok(wanted) = usize::try_from(count) else { return Err(self.fault(ThriftProblem::Length(count))) };
        if wanted > self.bytes.len() / bytes_each {
            return Err(self.fault(ThriftProblem::TooManyElements(count.unsigned_abs())));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests;
