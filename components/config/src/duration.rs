//! Durations as Go and Prometheus spell them: `1h30m`, `1.5s`, `250ms`, and also `1d`, `2w`, `1y`.
//!
//! Printed as Go prints them (`1h30m0s`), so that `/status/config` looks as operators expect. A bare number other than
//! 0 is refused: Tempo would read it as nanoseconds, which nobody means.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Unit names and their length in nanoseconds, longest name first so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("d", 86_400 * NANOS_PER_SECOND),
    ("w", 604_800 * NANOS_PER_SECOND),
    ("y", 31_536_000 * NANOS_PER_SECOND),
];

/// A duration of the configuration; dereferences to [`Duration`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(Duration);

impl GoDuration {
    /// No time at all; most keys read it as "off".
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A duration of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// A duration of whole minutes.
    pub const fn from_mins(mins: u64) -> Self {
        Self(Duration::from_secs(mins * 60))
    }

    /// A duration of whole hours.
    pub const fn from_hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3_600))
    }

    /// The standard library's form.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Deref for GoDuration {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text does not follow the grammar.
    #[error("`{0}` is not a duration: write numbers with units, such as 90s, 1h30m or 7d")]
    Malformed(String),
    /// Numbers without a unit are ambiguous.
    #[error("`{0}` has no unit: write it as {0}s, {0}m or {0}h")]
    NoUnit(String),
    /// No key takes a negative duration.
    #[error("`{0}` is negative")]
    Negative(String),
    /// More than 584 years.
    #[error("`{0}` is longer than any duration can be")]
    TooLong(String),
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(DurationError::Negative(text.to_owned()));
        }
        if !trimmed.is_empty() && trimmed.bytes().all(|byte| byte == b'0') {
            return Ok(Self::ZERO);
        }
        if trimmed.parse::<f64>().is_ok() {
            return Err(DurationError::NoUnit(trimmed.to_owned()));
        }
        let mut rest = trimmed.strip_prefix('+').unwrap_or(trimmed);
        if rest.is_empty() {
            return Err(DurationError::Malformed(text.to_owned()));
        }
        let mut nanos = 0_u64;
        while !rest.is_empty() {
            let (part, tail) = take_part(rest).ok_or_else(|| DurationError::Malformed(text.to_owned()))?;
            nanos = part
                .and_then(|part| nanos.checked_add(part))
                .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
            rest = tail;
        }
        Ok(Self(Duration::from_nanos(nanos)))
    }
}

/// Takes one number with its unit off the front. `None`: not the grammar; inner `None`: does not fit.
fn take_part(text: &str) -> Option<(Option<u64>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, tail) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let (tail, unit) = UNITS.iter().find_map(|(name, unit)| Some((tail.strip_prefix(name)?, *unit)))?;
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    let nanos = whole
        .and_then(|whole| whole.checked_mul(unit))
        .and_then(|nanos| nanos.checked_add(fraction_of(fraction, unit)));
    Some((nanos, tail))
}

/// `.fraction` of `unit`, cut (not rounded) to whole nanoseconds.
fn fraction_of(fraction: &str, unit: u64) -> u64 {
    let mut nanos = 0;
    let mut scale = u128::from(unit);
    for digit in fraction.bytes().take(18) {
        // A unit is at most 3.2e16 ns, so scaling by ten per digit first and dividing last would overflow u64.
        scale /= 10;
        nanos += u128::from(digit - b'0') * scale;
    }
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        let secs = self.0.as_secs();
        if secs == 0 {
            return match nanos {
                0 => f.write_str("0s"),
                1..1_000 => write!(f, "{nanos}ns"),
                1_000..1_000_000 => write_fraction(f, nanos / 1_000, nanos % 1_000, 3).and(f.write_str("µs")),
                1_000_000.. => {
                    write_fraction(f, nanos / 1_000_000, nanos % 1_000_000, 6).and(f.write_str("ms"))
                }
            };
        }
        let (hours, mins) = (secs / 3_600, secs / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || mins > 0 {
            write!(f, "{mins}m")?;
        }
        write_fraction(f, secs % 60, nanos, 9)?;
        f.write_str("s")
    }
}

/// Writes `whole.fraction` without trailing zeros; `digits` is the fraction's width.
fn write_fraction(
    f: &mut fmt::Formatter<'_>,
    whole: impl fmt::Display,
    fraction: u32,
    digits: usize,
) -> fmt::Result {
    write!(f, "{whole}")?;
    if fraction > 0 {
        let text = format!("{fraction:0digits$}");
        write!(f, ".{}", text.trim_end_matches('0'))?;
    }
    Ok(())
}

impl fmt::Debug for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 90s, 1h30m or 7d")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<GoDuration, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<GoDuration, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<GoDuration, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
