//! Reads protobuf fields from foreign bytes, never past the end, without copying.
//!
//! The tag numbers of OTLP are at the call sites. Unknown fields are skipped by the callers; groups are refused, as
//! every proto3 reader does.

/// What is wrong, and the address of the byte where it was noticed (turned into an offset by the caller, who knows
/// where the span begins).
#[derive(Debug, Clone, Copy)]
pub(super) struct WireError {
    pub(super) problem: &'static str,
    address: usize,
}

impl WireError {
    pub(super) fn at(bytes: &[u8], problem: &'static str) -> WireError {
        WireError { problem, address: bytes.as_ptr().addr() }
    }

    /// Distance from the first byte of `start`, if the error lies in it.
    pub(super) fn offset_in(&self, start: &[u8]) -> usize {
        self.address.checked_sub(start.as_ptr().addr()).filter(|&o| o <= start.len()).unwrap_or(0)
    }
}

/// One field's value, by wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    /// No 32-bit number is kept.
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self, problem: &'static str) -> Result<&'a [u8], WireError> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32 => Err(WireError::at(&[], problem)),
        }
    }
}

/// The rest of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { rest: bytes }
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        let Some((&first, rest)) = self.rest.split_first() else { return Ok(None) };
        let tag = if first < 0x80 {
            self.rest = rest;
            u32::from(first)
        } else {
            let tag = take_varint(&mut self.rest)?;
            u32::try_from(tag).map_err(|_| WireError::at(rest, "a field number is out of range"))?
        };
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(self.take_chunk()?)),
            2 => Value::Bytes(take_bytes(&mut self.rest)?),
            5 => {
                let _: [u8; 4] = self.take_chunk()?;
                Value::Fixed32
            }
            _ => return Err(WireError::at(self.rest, "unknown wire type")),
        };
        if tag < 8 {
            return Err(WireError::at(self.rest, "field number 0"));
        }
        Ok(Some((tag >> 3, value)))
    }

    fn take_chunk<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (chunk, rest) =
            self.rest.split_first_chunk().ok_or_else(|| WireError::at(self.rest, "a number is cut off"))?;
        self.rest = rest;
        Ok(*chunk)
    }
}

/// Takes a length and as many bytes.
#[inline]
pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    let len = take_varint(rest)?;
    let split = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
    let (bytes, after) = split.ok_or_else(|| WireError::at(rest, "a field is longer than its message"))?;
    *rest = after;
    Ok(bytes)
}

#[inline]
pub(super) fn take_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    match rest.split_first() {
        Some((&byte, after)) if byte < 0x80 => {
            *rest = after;
            Ok(u64::from(byte))
        }
        _ => take_long_varint(rest),
    }
}

fn take_long_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0u64;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = rest.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(WireError::at(rest, "a number is cut off or too long"))
}
