//! Reads Thrift's compact protocol, the encoding of Parquet's footers, page indexes and page headers.
//!
//! A pull reader: the caller walks the fields of a struct, takes those it knows and skips the rest. Every read is
//! checked, nesting is bounded, and a list never claims more elements than there are bytes left.

use super::DecodeError;

/// Parquet's own structs nest five deep; unknown fields are skipped to this depth.
const MAX_DEPTH: usize = 16;

/// The wire type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    True,
    False,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List,
    Set,
    Map,
    Struct,
}

impl Kind {
    fn parse(nibble: u8) -> Option<Kind> {
        Some(match nibble {
            1 => Kind::True,
            2 => Kind::False,
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
            _ => return None,
        })
    }
}

/// A field of a struct: its number and the type of the value that follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) id: i16,
    pub(crate) kind: Kind,
}

/// The fields of one struct; yields them until the struct ends.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    last: i16,
}

impl Fields {
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Field>, DecodeError> {
        let byte = reader.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        let kind = Kind::parse(byte & 0x0f).ok_or_else(|| reader.error("unknown thrift type"))?;
        let delta = i16::from(byte >> 4);
        let id = if delta == 0 {
            i16::try_from(reader.zigzag()?).map_err(|_| reader.error("thrift field number out of range"))?
        } else {
            self.last.checked_add(delta).ok_or_else(|| reader.error("thrift field number out of range"))?
        };
        self.last = id;
        Ok(Some(Field { id, kind }))
    }
}

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the object, for errors.
    base: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Reader<'a> {
        Reader { bytes, at: 0, base }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError::new(self.offset(), problem)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.error("thrift data is cut off"))?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("thrift number is too long"))
    }

    fn zigzag(&mut self) -> Result<i64, DecodeError> {
        Ok(unzigzag(self.varint()?))
    }

    pub(crate) fn i64(&mut self, field: Field) -> Result<i64, DecodeError> {
        match field.kind {
            Kind::I16 | Kind::I32 | Kind::I64 => self.zigzag(),
            Kind::True
            | Kind::False
            | Kind::Byte
            | Kind::Double
            | Kind::Binary
            | Kind::List
            | Kind::Set
            | Kind::Map
            | Kind::Struct => Err(self.error("thrift field is not a number")),
        }
    }

    pub(crate) fn i32(&mut self, field: Field) -> Result<i32, DecodeError> {
        i32::try_from(self.i64(field)?).map_err(|_| self.error("thrift number is out of range"))
    }

    /// A count, length or offset: negative ones are damage.
    pub(crate) fn u64(&mut self, field: Field) -> Result<u64, DecodeError> {
        u64::try_from(self.i64(field)?).map_err(|_| self.error("negative length or offset"))
    }

    pub(crate) fn u32(&mut self, field: Field) -> Result<u32, DecodeError> {
        u32::try_from(self.i64(field)?).map_err(|_| self.error("length is out of range"))
    }

    pub(crate) fn bool(&mut self, field: Field) -> Result<bool, DecodeError> {
        match field.kind {
            Kind::True => Ok(true),
            Kind::False => Ok(false),
            Kind::Byte
            | Kind::I16
            | Kind::I32
            | Kind::I64
            | Kind::Double
            | Kind::Binary
            | Kind::List
            | Kind::Set
            | Kind::Map
            | Kind::Struct => Err(self.error("thrift field is not a boolean")),
        }
    }

    pub(crate) fn binary(&mut self, field: Field) -> Result<&'a [u8], DecodeError> {
        if field.kind != Kind::Binary {
            return Err(self.error("thrift field is not a string"));
        }
        self.binary_element()
    }

    /// A string as an element of a list.
    pub(crate) fn binary_element(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.varint()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let value = usize::try_from(len)
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or_else(|| self.error("thrift string is cut off"))?;
        self.at += value.len();
        Ok(value)
    }

    /// Starts a list of `element` values and returns its length.
    pub(crate) fn list(&mut self, field: Field, element: Kind) -> Result<usize, DecodeError> {
        if field.kind != Kind::List {
            return Err(self.error("thrift field is not a list"));
        }
        let (kind, len) = self.list_header()?;
        if len > 0 && kind != element {
            return Err(self.error("thrift list has elements of another type"));
        }
        Ok(len)
    }

    pub(crate) fn expect_struct(&self, field: Field) -> Result<(), DecodeError> {
        if field.kind == Kind::Struct { Ok(()) } else { Err(self.error("thrift field is not a struct")) }
    }

    fn list_header(&mut self) -> Result<(Kind, usize), DecodeError> {
        let byte = self.byte()?;
        let short = u64::from(byte >> 4);
        let len = if short == 15 { self.varint()? } else { short };
        let kind = Kind::parse(byte & 0x0f).ok_or_else(|| self.error("unknown thrift type"))?;
        let left = self.bytes.len().saturating_sub(self.at);
        // Every element takes at least one byte.
        match usize::try_from(len) {
            Ok(len) if len <= left => Ok((kind, len)),
            Ok(_) | Err(_) => Err(self.error("thrift list is cut off")),
        }
    }

    pub(crate) fn skip(&mut self, field: Field) -> Result<(), DecodeError> {
        self.skip_value(field.kind, false, MAX_DEPTH)
    }

    fn skip_value(&mut self, kind: Kind, in_list: bool, depth: usize) -> Result<(), DecodeError> {
        let depth = depth.checked_sub(1).ok_or_else(|| self.error("thrift data nests too deep"))?;
        match kind {
            Kind::True | Kind::False if !in_list => {}
            Kind::True | Kind::False | Kind::Byte => {
                self.byte()?;
            }
            Kind::I16 | Kind::I32 | Kind::I64 => {
                self.varint()?;
            }
            Kind::Double => {
                for _ in 0..8 {
                    self.byte()?;
                }
            }
            Kind::Binary => {
                self.binary_element()?;
            }
            Kind::List | Kind::Set => {
                let (kind, len) = self.list_header()?;
                for _ in 0..len {
                    self.skip_value(kind, true, depth)?;
                }
            }
            Kind::Map => self.skip_map(depth)?,
            Kind::Struct => {
                let mut fields = Fields::default();
                while let Some(field) = fields.next(self)? {
                    self.skip_value(field.kind, false, depth)?;
                }
            }
        }
        Ok(())
    }

    fn skip_map(&mut self, depth: usize) -> Result<(), DecodeError> {
        let len = self.varint()?;
        if len == 0 {
            return Ok(());
        }
        let kinds = self.byte()?;
        let unknown = |reader: &Reader<'_>| reader.error("unknown thrift type");
        let key = Kind::parse(kinds >> 4).ok_or_else(|| unknown(self))?;
        let value = Kind::parse(kinds & 0x0f).ok_or_else(|| unknown(self))?;
        // Each entry reads at least one byte, so a length that lies ends at the end of the bytes.
        for _ in 0..len {
            self.skip_value(key, true, depth)?;
            self.skip_value(value, true, depth)?;
        }
        Ok(())
    }
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    #[expect(clippy::cast_possible_wrap, reason = "zigzag is defined on the bits")]
    let (half, sign) = ((value >> 1) as i64, (value & 1) as i64);
    half ^ -sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_numbered_by_differences_and_unknown_ones_are_skipped() {
        // 1: i32 = -2; 3: list<i32> [1, 2]; 20 (long form): binary "ab"; stop
        let bytes = [0x15, 0x03, 0x29, 0x25, 0x02, 0x04, 0x08, 0x28, 0x02, b'a', b'b', 0x00];
        let mut reader = Reader::new(&bytes, 100);
        let mut fields = Fields::default();

        let first = fields.next(&mut reader).unwrap().unwrap();
        let number = reader.i32(first).unwrap();
        let list = fields.next(&mut reader).unwrap().unwrap();
        reader.skip(list).unwrap();
        let text = fields.next(&mut reader).unwrap().unwrap();

        assert_eq!((first.id, number, list.id, text.id), (1, -2, 3, 20));
        assert_eq!(reader.binary(text).unwrap(), b"ab");
        assert!(fields.next(&mut reader).unwrap().is_none());
        assert_eq!(reader.offset(), 112);
    }

    #[test]
    fn lists_longer_than_the_bytes_and_endless_nesting_are_refused() {
        let long_list = [0x19, 0xf5, 0xff, 0xff, 0x7f];
        let nested = [0x1c; 64];

        let skip_first = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes, 0);
            let field = Fields::default().next(&mut reader).unwrap().unwrap();
            reader.skip(field).unwrap_err().problem.into_owned()
        };

        assert_eq!(skip_first(&long_list), "thrift list is cut off");
        assert_eq!(skip_first(&nested), "thrift data nests too deep");
    }
}
