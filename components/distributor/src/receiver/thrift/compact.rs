//! The compact encoding.

use super::{Field, Kind, List, Message, Read, Rest, ThriftProblem, ThriftReader};

const PROTOCOL_ID: u8 = 0x82;
const VERSION: u8 = 1;

#[derive(Debug, Clone, Copy)]
pub(crate) struct CompactReader<'a>(Rest<'a>);

impl<'a> CompactReader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> CompactReader<'a> {
        CompactReader(Rest::new(input))
    }

    #[inline]
    fn kind(&self, code: u8) -> Read<Kind> {
        Ok(match code {
            1 | 2 => Kind::Bool,
            3 => Kind::Byte,
            4 => Kind::I16,
            5 => Kind::I32,
            6 => Kind::I64,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 => Kind::List,
            10 => Kind::Set,
            11 => Kind::Map,
            12 => Kind::Struct,
            13 => Kind::Uuid,
            _ => return Err(self.0.fault(ThriftProblem::UnknownType(code))),
        })
    }

    #[inline]
    fn varint(&mut self) -> Read<u64> {
        if let [byte @ ..0x80, rest @ ..] = self.0.bytes {
            self.0.bytes = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Read<u64> {
        let start = *self;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.0.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(start.0.fault(ThriftProblem::LongNumber))
    }

    #[inline]
    fn zigzag(&mut self) -> Read<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A length, which a hostile writer may have made larger than any.
    #[inline]
    fn length(&mut self) -> Read<i64> {
        Ok(i64::try_from(self.varint()?).unwrap_or(i64::MAX))
    }
}

impl<'a> ThriftReader<'a> for CompactReader<'a> {
    #[inline]
    fn position(&self) -> usize {
        self.0.position()
    }

    fn message(&mut self) -> Read<Message<'a>> {
        let start = *self;
        let [protocol, kind_and_version] = self.0.array()?;
        if protocol != PROTOCOL_ID || kind_and_version & 0x1f != VERSION {
            return Err(start.0.fault(ThriftProblem::NotAMessage));
        }
        self.varint()?;
        Ok(Message { name: self.binary()? })
    }

    #[inline]
    fn field(&mut self, previous: i16) -> Read<Option<Field>> {
        let head = self.0.byte()?;
        let (delta, code) = (head >> 4, head & 0x0f);
        if code == 0 {
            // Whatever stands in the upper half, as other readers.
            return Ok(None);
        }
        let kind = self.kind(code)?;
        let id = match delta {
            0 => i16::try_from(self.zigzag()?).map_err(|_| self.0.fault(ThriftProblem::FieldId))?,
            delta => {
                previous.checked_add(i16::from(delta)).ok_or_else(|| self.0.fault(ThriftProblem::FieldId))?
            }
        };
        let bool_value = (kind == Kind::Bool).then_some(code == 1);
        Ok(Some(Field { id, kind, bool_value }))
    }

    #[inline]
    fn list(&mut self) -> Read<List> {
        let head = self.0.byte()?;
        let len = match head >> 4 {
            15 => self.length()?,
            len => i64::from(len),
        };
        let kind = if len == 0 { Kind::Struct } else { self.kind(head & 0x0f)? };
        Ok(List { kind, len: self.0.count(len, 1)? })
    }

    fn map(&mut self) -> Read<(Kind, Kind, usize)> {
        let len = self.length()?;
        if len == 0 {
            return Ok((Kind::Byte, Kind::Byte, 0));
        }
        let kinds = self.0.byte()?;
        Ok((self.kind(kinds >> 4)?, self.kind(kinds & 0x0f)?, self.0.count(len, 2)?))
    }

    #[inline]
    fn bool_element(&mut self) -> Read<bool> {
        Ok(self.0.byte()? == 1)
    }

    #[inline]
    fn i32(&mut self) -> Read<i32> {
        let start = *self;
        i32::try_from(self.zigzag()?).map_err(|_| start.0.fault(ThriftProblem::LongNumber))
    }

    #[inline]
    fn i64(&mut self) -> Read<i64> {
        self.zigzag()
    }

    #[inline]
    fn double(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(self.0.array()?))
    }

    #[inline]
    fn binary(&mut self) -> Read<&'a [u8]> {
        let len = self.length()?;
        self.0.take(len)
    }

    fn skip_fixed(&mut self, kind: Kind) -> Read<()> {
        match kind {
            Kind::I16 => self.varint().map(drop),
            Kind::Uuid => self.0.array::<16>().map(drop),
            Kind::Bool
            | Kind::Byte
            | Kind::I32
            | Kind::I64
            | Kind::Double
            | Kind::Binary
            | Kind::Struct
            | Kind::Map
            | Kind::Set
            | Kind::List => self.0.byte().map(drop),
        }
    }
}
