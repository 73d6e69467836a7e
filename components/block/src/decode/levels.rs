//! Reads Parquet's RLE / bit-packed hybrid: repetition levels, definition levels, dictionary codes, RLE booleans.
//!
//! Nothing is unpacked to be counted: a run-length run is one addition, and in a bit-packed run a machine word's
//! worth of levels is tested at once. That is what makes finding one row in a page of thousands cheap.

use std::ops::Range;

use super::DecodeError;

/// A hybrid-encoded sequence of `len` values of `width` bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hybrid<'a> {
    bytes: &'a [u8],
    width: u8,
    len: usize,
    /// Offset of `bytes` in the object, for errors. Of the page's body where that is compressed.
    offset: u64,
}

#[derive(Debug, Clone, Copy)]
enum Run<'a> {
    Repeated { value: u32, len: usize },
    Packed { bytes: &'a [u8], len: usize },
}

/// Where a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Entries(Range<usize>),
    /// The sequence has only so many rows.
    Behind {
        rows: usize,
    },
}

/// Levels of some entries, and how many entries with a value there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) levels: Vec<u8>,
    /// In front of the entries.
    pub(crate) before: usize,
    /// Everywhere.
    pub(crate) all: usize,
}

impl Run<'_> {
    fn len(&self) -> usize {
        match self {
            Run::Repeated { len, .. } | Run::Packed { len, .. } => *len,
        }
    }

    /// Position of the zero with the number `nth` (counted from 0), or how many zeros there are.
    fn nth_zero(&self, width: u8, nth: usize) -> Result<usize, usize> {
        match *self {
            Run::Repeated { value: 0, len } => {
                if nth < len {
                    Ok(nth)
                } else {
                    Err(len)
                }
            }
            Run::Repeated { .. } => Err(0),
            Run::Packed { bytes, len } => {
                let packed = Packed { bytes, width };
                let mut step = Equal::new(packed, len, 0);
                let mut seen = 0;
                while let Some((count, values)) = step.next_word() {
                    if seen + count > nth {
                        let first = step.at - values;
                        let mut zeros = (first..step.at).filter(|i| packed.get(*i) == 0);
                        return zeros.nth(nth - seen).ok_or(seen + count);
                    }
                    seen += count;
                }
                Err(seen)
            }
        }
    }

    /// How many of the first `end` values equal `value`.
    fn count_equal(&self, width: u8, value: u32, end: usize) -> usize {
        match *self {
            Run::Repeated { value: of_run, len } if of_run == value => end.min(len),
            Run::Repeated { .. } => 0,
            Run::Packed { bytes, len } => {
                let mut step = Equal::new(Packed { bytes, width }, end.min(len), value);
                let mut count = 0;
                while let Some((equal, _)) = step.next_word() {
                    count += equal;
                }
                count
            }
        }
    }
}

/// Bits needed for levels up to `max`.
pub(crate) fn level_width(max: u8) -> u8 {
    8 - u8::try_from(max.leading_zeros()).unwrap_or(8)
}

impl<'a> Hybrid<'a> {
    /// `len` is the number of values the page claims; fewer in the bytes is an error once they are reached.
    pub(crate) fn new(
        bytes: &'a [u8],
        width: u8,
        len: usize,
        offset: u64,
    ) -> Result<Hybrid<'a>, DecodeError> {
        if width > 32 {
            return Err(DecodeError::new(offset, "bit width is above 32"));
        }
        Ok(Hybrid { bytes, width, len, offset })
    }

    fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError::new(self.offset, problem)
    }

    /// Runs from the start; together they have exactly `len` values.
    fn runs(&self) -> Runs<'a> {
        Runs { bytes: self.bytes, width: self.width, left: self.len, offset: self.offset }
    }

    /// The entries of the row with the number `nth` (counted from 0), in repetition levels: from its zero to the next.
    pub(crate) fn row(&self, nth: usize) -> Result<Row, DecodeError> {
        let (mut seen, mut at) = (0, 0);
        let mut start = None;
        for run in self.runs() {
            let run = run?;
            if start.is_none() {
                match run.nth_zero(self.width, nth - seen) {
                    Ok(position) => start = Some(at + position),
                    Err(zeros) => seen += zeros,
                }
            }
            // A second look at the run with the first zero, but no other is looked at twice.
            if let Some(start) = start {
                match run.nth_zero(self.width, nth + 1 - seen) {
                    Ok(position) => return Ok(Row::Entries(start..at + position)),
                    Err(zeros) => seen += zeros,
                }
            }
            at += run.len();
        }
        Ok(match start {
            Some(start) => Row::Entries(start..at),
            None => Row::Behind { rows: seen },
        })
    }

    /// Whether the first value is zero; true if there is none.
    pub(crate) fn starts_with_zero(&self) -> Result<bool, DecodeError> {
        match self.runs().find(|run| run.as_ref().map_or(true, |run| run.len() > 0)) {
            Some(run) => Ok(run?.nth_zero(self.width, 0) == Ok(0)),
            None => Ok(true),
        }
    }

    /// The definition levels of `range`, which must be at most `max`, and how many of the whole page's are `max`.
    pub(crate) fn slice(&self, range: &Range<usize>, max: u8) -> Result<Slice, DecodeError> {
        let mut slice = Slice { levels: self.levels(range.start, range.end, max)?, before: 0, all: 0 };
        let mut at = 0;
        for run in self.runs() {
            let run = run?;
            let all = run.count_equal(self.width, u32::from(max), run.len());
            slice.all += all;
            slice.before += match range.start.saturating_sub(at) {
                in_front if in_front >= run.len() => all,
                in_front => run.count_equal(self.width, u32::from(max), in_front),
            };
            at += run.len();
        }
        Ok(slice)
    }

    /// Hands `take` the values from `start` to `end`, in order.
    pub(crate) fn for_each(
        &self,
        start: usize,
        end: usize,
        mut take: impl FnMut(u32),
    ) -> Result<(), DecodeError> {
        let mut at = 0;
        for run in self.runs() {
            if at >= end {
                break;
            }
            let run = run?;
            let from = start.clamp(at, at + run.len()) - at;
            let to = end.clamp(at, at + run.len()) - at;
            match run {
                Run::Repeated { value, .. } => (from..to).for_each(|_| take(value)),
                Run::Packed { bytes, .. } => {
                    let packed = Packed { bytes, width: self.width };
                    (from..to).for_each(|i| take(packed.get(i)));
                }
            }
            at += run.len();
        }
        if end > at { Err(self.error("levels or codes end early")) } else { Ok(()) }
    }

    /// The levels from `start` to `end`; all must be at most `max`.
    pub(crate) fn levels(&self, start: usize, end: usize, max: u8) -> Result<Vec<u8>, DecodeError> {
        let mut levels = Vec::with_capacity(end.saturating_sub(start).min(self.len));
        let mut greatest = 0;
        self.for_each(start, end, |level| {
            greatest = greatest.max(level);
            levels.push(u8::try_from(level).unwrap_or(u8::MAX));
        })?;
        if greatest > u32::from(max) {
            Err(self.error("level above the schema's greatest"))
        } else {
            Ok(levels)
        }
    }
}

struct Runs<'a> {
    bytes: &'a [u8],
    width: u8,
    left: usize,
    offset: u64,
}

impl<'a> Runs<'a> {
    fn read(&mut self) -> Option<Run<'a>> {
        let header = take_varint(&mut self.bytes)?;
        let count = usize::try_from(header >> 1).ok()?;
        let width = usize::from(self.width);
        if header & 1 == 0 {
            let (value, rest) = self.bytes.split_at_checked(width.div_ceil(8))?;
            self.bytes = rest;
            let value = value.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            return Some(Run::Repeated { value, len: count.min(self.left) });
        }
        let len = count.checked_mul(8)?.min(self.left);
        let size = count.checked_mul(width)?;
        // Some writers leave out the padding of the last group.
        let needed = len.checked_mul(width)?.div_ceil(8);
        let (bytes, rest) = self.bytes.split_at_checked(size.min(self.bytes.len()))?;
        self.bytes = rest;
        (bytes.len() >= needed).then_some(Run::Packed { bytes, len })
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Result<Run<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let Some(run) = self.read() else {
            self.left = 0;
            return Some(Err(DecodeError::new(self.offset, "run of levels or codes is damaged")));
        };
        self.left -= run.len();
        Some(Ok(run))
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(value);
        }
    }
    None
}

/// Up to eight bytes, little-endian; zeros behind the end.
#[inline]
pub(crate) fn load_u64(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
        return u64::from_le_bytes(word);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Bit-packed values of one width.
#[derive(Debug, Clone, Copy)]
struct Packed<'a> {
    bytes: &'a [u8],
    width: u8,
}

impl Packed<'_> {
    #[inline]
    fn get(&self, index: usize) -> u32 {
        let bit = index * usize::from(self.width);
        let word = load_u64(self.bytes, bit / 8) >> (bit % 8);
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 32 bits")]
        let value = (word & ((1u64 << self.width) - 1)) as u32;
        value
    }
}

/// Counts packed values equal to one value, a machine word at a time.
struct Equal<'a> {
    packed: Packed<'a>,
    len: usize,
    value: u32,
    /// Values looked at so far.
    at: usize,
    /// Values in one step.
    step: usize,
    pattern: u64,
}

/// By width: the lowest bit of each value in a word of as many groups of eight values as fit.
const LANES: [u64; 9] = {
    let mut lanes = [0; 9];
    let mut width = 1;
    while width <= 8 {
        let mut lane = 0;
        while lane < word_values(width) {
            #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                lanes[width] |= 1 << (lane * width);
            }
            lane += 1;
        }
        width += 1;
    }
    lanes
};

const fn word_values(width: usize) -> usize {
    64 / (8 * width) * 8
}

impl<'a> Equal<'a> {
    fn new(packed: Packed<'a>, len: usize, value: u32) -> Equal<'a> {
        let width = usize::from(packed.width);
        // Widths above 8 (dictionary codes) are never counted this way; one value a step keeps them right.
        let is_narrow = (1..=8).contains(&width) && u64::from(value) >> width == 0;
        let (step, lanes) = match LANES.get(width) {
            Some(lanes) if is_narrow => (word_values(width), *lanes),
            Some(_) | None => (1, 0),
        };
        Equal { packed, len, value, at: 0, step, pattern: lanes.wrapping_mul(u64::from(value)) }
    }

    /// The next step's number of equal values and of values.
    #[inline]
    fn next_word(&mut self) -> Option<(usize, usize)> {
        let values = (self.len - self.at).min(self.step);
        if values == 0 {
            return None;
        }
        if self.step == 1 {
            let is_equal = self.packed.get(self.at) == self.value;
            self.at += 1;
            return Some((usize::from(is_equal), 1));
        }
        let width = usize::from(self.packed.width);
        // A step is whole groups of eight, so it starts at a byte.
        let differing = load_u64(self.packed.bytes, self.at / 8 * width) ^ self.pattern;
        let mut any = differing;
        for shift in 1..width {
            any |= differing >> shift;
        }
        let mut lanes = LANES.get(width).copied().unwrap_or(0);
        if values < self.step {
            // The last step: `values * width` is less than 64.
            lanes &= (1 << (values * width)) - 1;
        }
        self.at += values;
        Some((values - (any & lanes).count_ones() as usize, values))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
