//! Reads Parquet's RLE / bit-packed hybrid: repetition levels, definition levels, dictionary codes, RLE booleans.
//!
//! Nothing is unpacked to be counted: a run-length run is one addition, and in a bit-packed run a machine word's
//! worth of levels is tested at once. That is what makes finding one row in a page of thousands cheap.

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

impl Run<'_> {
    fn len(&self) -> usize {
        match self {
            Run::Repeated { len, .. } | Run::Packed { len, .. } => *len,
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

    /// Position of the zero with the number `nth` (counted from 0); `None` if there are not as many.
    pub(crate) fn nth_zero(&self, nth: usize) -> Result<Option<usize>, DecodeError> {
        let (mut seen, mut at) = (0, 0);
        for run in self.runs() {
            let run = run?;
            match run {
                Run::Repeated { value: 0, len } if nth - seen < len => return Ok(Some(at + nth - seen)),
                Run::Repeated { value: 0, len } => seen += len,
                Run::Repeated { .. } => {}
                Run::Packed { bytes, len } => {
                    let mut step = Equal::new(bytes, self.width, len, 0);
                    while let Some((count, values)) = step.next_word() {
                        if seen + count > nth {
                            let first = step.at - values;
                            let packed = Packed { bytes, width: self.width };
                            let zeros = (first..step.at).filter(|i| packed.get(*i) == 0);
                            return Ok(zeros.skip(nth - seen).map(|i| at + i).next());
                        }
                        seen += count;
                    }
                }
            }
            at += run.len();
        }
        Ok(None)
    }

    /// How many of the values in front of `end` equal `value`.
    pub(crate) fn count_equal(&self, value: u32, end: usize) -> Result<usize, DecodeError> {
        let (mut count, mut at) = (0, 0);
        for run in self.runs() {
            if at >= end {
                break;
            }
            let run = run?;
            let wanted = run.len().min(end - at);
            match run {
                Run::Repeated { value: of_run, .. } if of_run == value => count += wanted,
                Run::Repeated { .. } => {}
                Run::Packed { bytes, .. } => {
                    let mut step = Equal::new(bytes, self.width, wanted, value);
                    while let Some((equal, _)) = step.next_word() {
                        count += equal;
                    }
                }
            }
            at += run.len();
        }
        Ok(count)
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
    /// Values in one step: as many groups of eight as fit a word.
    step: usize,
    /// The lowest bit of each value.
    lanes: u64,
    pattern: u64,
}

impl<'a> Equal<'a> {
    fn new(bytes: &'a [u8], width: u8, len: usize, value: u32) -> Equal<'a> {
        let packed = Packed { bytes, width };
        let bits = usize::from(width);
        // Widths above 8 (dictionary codes) are never counted this way; one value a step keeps them right.
        let step = if (1..=8).contains(&width) { 64 / (8 * bits) * 8 } else { 1 };
        let mut lanes = 0u64;
        if width > 0 {
            for lane in 0..step {
                lanes |= 1 << (lane * bits);
            }
        }
        let pattern = lanes.wrapping_mul(u64::from(value));
        Equal { packed, len, value, at: 0, step, lanes, pattern }
    }

    /// The next step's number of equal values and of values.
    #[inline]
    fn next_word(&mut self) -> Option<(usize, usize)> {
        let left = self.len - self.at;
        if left == 0 {
            return None;
        }
        let width = self.packed.width;
        if left < self.step || width == 0 || width > 8 || u64::from(self.value) >> width != 0 {
            let values = left.min(self.step);
            let equal = (self.at..self.at + values).filter(|i| self.packed.get(*i) == self.value).count();
            self.at += values;
            return Some((equal, values));
        }
        // A step is whole groups of eight, so it starts at a byte.
        let differing = load_u64(self.packed.bytes, self.at / 8 * usize::from(width)) ^ self.pattern;
        let mut any = differing;
        for shift in 1..width {
            any |= differing >> shift;
        }
        let different = (any & self.lanes).count_ones() as usize;
        self.at += self.step;
        Some((self.step - different, self.step))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
