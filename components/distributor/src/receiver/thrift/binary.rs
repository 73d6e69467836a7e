//! The binary encoding, strict and not.

use super::{Field, Kind, List, Message, Read, Rest, ThriftProblem, ThriftReader};

/// First half of a strict message's head.
const VERSION_1: u32 = 0x8001_0000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct BinaryReader<'a>(Rest<'a>);

impl<'a> BinaryReader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> BinaryReader<'a> {
        BinaryReader(Rest::new(input))
    }

    pub(crate) fn i16(&mut self) -> Read<i16> {
        Ok(i16::from_be_bytes(self.0.array()?))
    }

    #[inline]
    fn kind(&self, code: u8) -> Read<Kind> {
        Ok(match code {
            2 => Kind::Bool,
            3 => Kind::Byte,
            4 => Kind::Double,
            6 => Kind::I16,
            8 => Kind::I32,
            10 => Kind::I64,
            11 => Kind::Binary,
            12 => Kind::Struct,
            13 => Kind::Map,
            14 => Kind::Set,
            15 => Kind::List,
            16 => Kind::Uuid,
            _ => return Err(self.0.fault(ThriftProblem::UnknownType(code))),
        })
    }
}

impl<'a> ThriftReader<'a> for BinaryReader<'a> {
    #[inline]
    fn position(&self) -> usize {
        self.0.position()
    }

    fn message(&mut self) -> Read<Message<'a>> {
        let head = self.i32()?;
        let name = if head.cast_unsigned() & 0xffff_0000 == VERSION_1 {
            self.binary()?
        } else if head > 0 {
            // Not strict: this was the length of the name, the type comes behind it.
            let name = self.0.take(i64::from(head))?;
            self.0.byte()?;
            name
        } else {
            return Err(self.0.fault(ThriftProblem::NotAMessage));
        };
        self.i32()?;
        Ok(Message { name })
    }

    #[inline]
    fn field(&mut self, _: i16) -> Read<Option<Field>> {
        match self.0.byte()? {
            0 => Ok(None),
            code => {
                let kind = self.kind(code)?;
                let id = i16::from_be_bytes(self.0.array()?);
                Ok(Some(Field { id, kind, bool_value: None }))
            }
        }
    }

    #[inline]
    fn list(&mut self) -> Read<List> {
        let code = self.0.byte()?;
        let len = i64::from(self.i32()?);
        // Writers give empty lists any type.
        let kind = if len == 0 { Kind::Struct } else { self.kind(code)? };
        Ok(List { kind, len: self.0.count(len, 1)? })
    }

    fn map(&mut self) -> Read<(Kind, Kind, usize)> {
        let [key, value] = self.0.array()?;
        let len = i64::from(self.i32()?);
        if len == 0 {
            return Ok((Kind::Byte, Kind::Byte, 0));
        }
        Ok((self.kind(key)?, self.kind(value)?, self.0.count(len, 2)?))
    }

    #[inline]
    fn bool_element(&mut self) -> Read<bool> {
        Ok(self.0.byte()? != 0)
    }

    #[inline]
    fn i32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(self.0.array()?))
    }

    #[inline]
    fn i64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(self.0.array()?))
    }

    #[inline]
    fn double(&mut self) -> Read<f64> {
        Ok(f64::from_be_bytes(self.0.array()?))
    }

    #[inline]
    fn binary(&mut self) -> Read<&'a [u8]> {
        let len = self.i32()?;
        self.0.take(i64::from(len))
    }

    fn skip_fixed(&mut self, kind: Kind) -> Read<()> {
        match kind {
            Kind::I16 => self.0.array::<2>().map(drop),
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
