//! Identifiers as newtypes: a trace id is never a string, a block id never a path component somebody typed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why an identifier was refused. The texts are Tempo's, clients match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error(
        "trace IDs can only contain hex characters: invalid character '{character}' at position {position}"
    )]
    NotHex { character: char, position: usize },
    #[error("trace IDs can't be larger than 128 bits")]
    TooLong,
    #[error("trace ID is empty")]
    Empty,
    #[error("invalid UUID length: {0}")]
    UuidLength(usize),
    #[error("invalid UUID format")]
    NotUuid,
}

/// A 128-bit trace id. Ordered by its raw bytes, the order of rows in a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TraceId([u8; 16]);

impl TraceId {
    pub const MAX: TraceId = TraceId([0xff; 16]);

    pub const fn from_bytes(bytes: [u8; 16]) -> TraceId {
        TraceId(bytes)
    }

    /// Takes exactly 16 bytes; anything else is `None`.
    pub fn from_slice(bytes: &[u8]) -> Option<TraceId> {
        bytes.try_into().ok().map(TraceId)
    }

    /// Parses 1 to 32 hex characters in either case; short ids are padded with zeros on the left, as clients
    /// send them after trimming zeros.
    pub fn parse_hex(text: &str) -> Result<TraceId, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        for (position, character) in text.chars().enumerate() {
            if !character.is_ascii_hexdigit() {
                return Err(IdError::NotHex { character, position: position + 1 });
            }
        }
        if text.len() > 32 {
            return Err(IdError::TooLong);
        }
        let value = u128::from_str_radix(text, 16).map_err(|_| IdError::TooLong)?;
        Ok(TraceId(value.to_be_bytes()))
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A 64-bit span id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SpanId([u8; 8]);

impl SpanId {
    pub const fn from_bytes(bytes: [u8; 8]) -> SpanId {
        SpanId(bytes)
    }

    /// Takes exactly 8 bytes; anything else is `None`.
    pub fn from_slice(bytes: &[u8]) -> Option<SpanId> {
        bytes.try_into().ok().map(SpanId)
    }

    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A block's UUID. Written in lower case with dashes: object listings are sharded by that text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(Uuid);

impl BlockId {
    pub const MIN: BlockId = BlockId(Uuid::nil());
    pub const MAX: BlockId = BlockId(Uuid::max());

    /// A new random (version 4) id.
    pub fn random() -> BlockId {
        BlockId(Uuid::new_v4())
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> BlockId {
        BlockId(Uuid::from_bytes(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// Accepts the forms Go's `uuid.Parse` takes: with and without dashes, in braces, as a URN, in either case.
impl FromStr for BlockId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<BlockId, IdError> {
        Uuid::try_parse(text).map(BlockId).map_err(|_| match text.len() {
            // Plain, with dashes, in braces, as a URN.
            32 | 36 | 38 | 45 => IdError::NotUuid,
            length => IdError::UuidLength(length),
        })
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_odd_trace_ids_are_padded_on_the_left() {
        let id = TraceId::parse_hex("aBc").unwrap();

        assert_eq!(id.to_string(), "00000000000000000000000000000abc");
    }

    #[test]
    fn refused_trace_ids_say_what_is_wrong() {
        let not_hex = TraceId::parse_hex("12x4").unwrap_err();
        let too_long = TraceId::parse_hex(&"1".repeat(33)).unwrap_err();

        assert_eq!(
            not_hex.to_string(),
            "trace IDs can only contain hex characters: invalid character 'x' at position 3"
        );
        assert_eq!(too_long, IdError::TooLong);
        assert_eq!(TraceId::parse_hex(""), Err(IdError::Empty));
    }

    #[test]
    fn block_ids_take_every_uuid_spelling_and_print_one() {
        let want = "b996743a-4b85-47f3-988c-4299346fdf86";

        for text in [want, "b996743a4b8547f3988c4299346fdf86", "{B996743A-4B85-47F3-988C-4299346FDF86}"] {
            assert_eq!(text.parse::<BlockId>().unwrap().to_string(), want);
        }
        assert!("../../etc".parse::<BlockId>().is_err());
    }
}
