//! Byte sizes: a plain number of bytes as Tempo writes them, or a number with a unit (`500MB`, `64MiB`).
//!
//! Printed as the plain number, which every version of Tempo reads. Numbers may come as Go and Helm print them:
//! `1_000_000`, `5e+06`.

use std::{fmt, ops::Deref, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Unit names and their length in bytes. `K`, `M`, … without `B` are binary, as in Kubernetes quantities `Ki`, `Mi`.
const UNITS: [(&str, u64); 13] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
];

/// A number of bytes of the configuration; dereferences to `u64`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

impl ByteSize {
    /// Nothing; most keys read it as "no limit".
    pub const ZERO: Self = Self(0);

    /// A size of `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size of `kib` times 1024 bytes.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A size of `mib` times 1024² bytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// A size of `gib` times 1024³ bytes.
    pub const fn from_gib(gib: u64) -> Self {
        Self(gib << 30)
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes for use as a length in memory; saturates where `usize` is smaller.
    pub fn to_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Deref for ByteSize {
    type Target = u64;

    fn deref(&self) -> &u64 {
        &self.0
    }
}

/// Why a text is no byte size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ByteSizeError {
    /// The text does not follow the grammar.
    #[error("`{0}` is not a size: write a number of bytes, or a number with a unit such as 500MB or 64MiB")]
    Malformed(String),
    /// No key takes a negative size.
    #[error("`{0}` is negative")]
    Negative(String),
    /// More than 2^64 bytes.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let compact = text.trim().to_ascii_lowercase().replace('_', "");
        if compact.starts_with('-') {
            return Err(ByteSizeError::Negative(text.to_owned()));
        }
        let malformed = || ByteSizeError::Malformed(text.to_owned());
        let digits_end = compact.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(compact.len());
        let (number, unit) = compact.split_at_checked(digits_end).ok_or_else(malformed)?;
        let unit = unit.trim();
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            // `5e+06` is how Helm prints large numbers.
            let bytes = compact.parse::<f64>().map_err(|_| malformed())?;
            return from_float(bytes).ok_or_else(malformed);
        };
        if let Ok(whole) = number.parse::<u64>() {
            let bytes = whole.checked_mul(*factor).ok_or_else(|| ByteSizeError::TooLarge(text.to_owned()))?;
            return Ok(Self(bytes));
        }
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ByteSizeError::TooLarge(text.to_owned()));
        }
        let fraction = number.parse::<f64>().map_err(|_| malformed())?;
        if *factor == 1 && fraction.fract() != 0.0 {
            return Err(malformed());
        }
        #[expect(clippy::cast_precision_loss, reason = "units are powers of 2 or 10 far below 2^53")]
        let bytes = fraction * *factor as f64;
        from_float(bytes.round()).ok_or_else(malformed)
    }
}

/// A size from a float that is a whole number small enough to be exact.
fn from_float(bytes: f64) -> Option<ByteSize> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !(0.0..=EXACT).contains(&bytes) || bytes.fract() != 0.0 {
        return None;
    }
    // The shortest decimal of a whole float is its integer, which avoids a lossy cast.
    format!("{bytes:.0}").parse().ok().map(ByteSize)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size in bytes, such as 1000000, 500MB or 64MiB")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ByteSize, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<ByteSize, E> {
                from_float(number).ok_or_else(|| E::custom(ByteSizeError::Malformed(number.to_string())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
