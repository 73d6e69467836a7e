//! Decodes the values of a page, from the first wanted one to the last: PLAIN, dictionary codes, delta integers,
//! delta lengths, RLE booleans. What lies in front is stepped over, what lies behind is not looked at.

use std::ops::Range;

use bytes::Bytes;

use super::{
    DecodeError,
    footer::Physical,
    levels::{Hybrid, load_u64},
    thrift::unzigzag,
};

/// The values of one leaf, nulls left out.
#[derive(Debug, Clone)]
pub(crate) enum Values {
    /// No value at all: the type does not matter.
    None,
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Doubles(Vec<f64>),
    /// Ranges of `buffer`, which is the page's or its dictionary's decompressed body.
    Strings {
        buffer: Bytes,
        ranges: Vec<Range<u32>>,
    },
}

impl Values {
    pub(crate) fn len(&self) -> usize {
        match self {
            Values::None => 0,
            Values::Bools(values) => values.len(),
            Values::Ints(values) => values.len(),
            Values::Doubles(values) => values.len(),
            Values::Strings { ranges, .. } => ranges.len(),
        }
    }
}

/// Parquet's encodings, as far as blocks use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Rle,
    DeltaBinaryPacked,
    DeltaLengthByteArray,
    Dictionary,
    Other(i32),
}

impl Encoding {
    pub(crate) fn from_parquet(number: i32) -> Encoding {
        match number {
            0 => Encoding::Plain,
            2 | 8 => Encoding::Dictionary,
            3 => Encoding::Rle,
            5 => Encoding::DeltaBinaryPacked,
            6 => Encoding::DeltaLengthByteArray,
            other => Encoding::Other(other),
        }
    }
}

/// Decompressed values of a page.
#[derive(Debug, Clone)]
pub(crate) struct PageValues {
    pub(crate) bytes: Bytes,
    pub(crate) encoding: Encoding,
    /// All values of the page, nulls left out.
    pub(crate) count: usize,
    /// Where the page is in the object: errors inside decompressed bytes can name no better place.
    pub(crate) offset: u64,
}

impl PageValues {
    fn error(&self, problem: impl Into<std::borrow::Cow<'static, str>>) -> DecodeError {
        DecodeError::new(self.offset, problem)
    }

    /// Decodes the values with the numbers in `wanted`.
    pub(crate) fn decode(
        &self,
        physical: Physical,
        wanted: Range<usize>,
        dictionary: Option<&Dictionary>,
    ) -> Result<Values, DecodeError> {
        if wanted.is_empty() {
            return Ok(Values::None);
        }
        if wanted.end > self.count {
            return Err(self.error("page has fewer values than its levels say"));
        }
        match (self.encoding, physical) {
            (Encoding::Dictionary, _) => {
                let dictionary =
                    dictionary.ok_or_else(|| self.error("page needs a dictionary that is missing"))?;
                self.decode_codes(physical, wanted, dictionary)
            }
            (Encoding::Plain, _) => self.decode_plain(physical, &wanted),
            (Encoding::Rle, Physical::Boolean) => self.decode_rle_bools(wanted),
            (Encoding::DeltaBinaryPacked, Physical::Int32 | Physical::Int64) => {
                let mut values = Vec::with_capacity(wanted.len());
                let mut delta =
                    Delta::open(&self.bytes, self.count).map_err(|problem| self.error(problem))?;
                let narrow = physical == Physical::Int32;
                delta
                    .decode(wanted, |v| values.push(if narrow { sign_extend(v) } else { v }))
                    .map_err(|p| self.error(p))?;
                Ok(Values::Ints(values))
            }
            (Encoding::DeltaLengthByteArray, Physical::ByteArray) => self.decode_delta_lengths(wanted),
            (encoding, physical) => {
                Err(self.error(format!("encoding {encoding:?} of {physical:?} is not supported")))
            }
        }
    }

    fn decode_codes(
        &self,
        physical: Physical,
        wanted: Range<usize>,
        dictionary: &Dictionary,
    ) -> Result<Values, DecodeError> {
        let (width, codes) = self.bytes.split_first().ok_or_else(|| self.error("page of codes is empty"))?;
        let hybrid = Hybrid::new(codes, *width, self.count, self.offset)?;
        let mut codes = Vec::with_capacity(wanted.len());
        hybrid.for_each(wanted.start, wanted.end, |code| codes.push(code))?;
        dictionary.pick(physical, &codes)?.ok_or_else(|| self.error("code is not in the dictionary"))
    }

    fn decode_plain(&self, physical: Physical, wanted: &Range<usize>) -> Result<Values, DecodeError> {
        let cut_off = || self.error("page ends before its values do");
        let fixed = |size: usize| {
            let start = wanted.start.checked_mul(size)?;
            self.bytes.get(start..wanted.end.checked_mul(size)?)
        };
        Ok(match physical {
            Physical::Boolean => {
                let bytes = self.bytes.get(..wanted.end.div_ceil(8)).ok_or_else(cut_off)?;
                Values::Bools(wanted.clone().map(|i| load_u64(bytes, i / 8) >> (i % 8) & 1 == 1).collect())
            }
            Physical::Int32 => {
                let (words, _) = fixed(4).ok_or_else(cut_off)?.as_chunks::<4>();
                Values::Ints(words.iter().map(|w| i64::from(i32::from_le_bytes(*w))).collect())
            }
            Physical::Int64 => {
                let (words, _) = fixed(8).ok_or_else(cut_off)?.as_chunks::<8>();
                Values::Ints(words.iter().map(|w| i64::from_le_bytes(*w)).collect())
            }
            Physical::Double => {
                let (words, _) = fixed(8).ok_or_else(cut_off)?.as_chunks::<8>();
                Values::Doubles(words.iter().map(|w| f64::from_le_bytes(*w)).collect())
            }
            Physical::ByteArray => self.decode_plain_strings(wanted).ok_or_else(cut_off)?,
            Physical::Other => return Err(self.error("column has a type that blocks do not use")),
        })
    }

    fn decode_plain_strings(&self, wanted: &Range<usize>) -> Option<Values> {
        let mut at = 0;
        for _ in 0..wanted.start {
            at = string_at(&self.bytes, at)?.end;
        }
        // Each value takes four bytes of the page, so the page bounds what is reserved.
        let mut ranges = Vec::with_capacity(wanted.len().min(self.bytes.len() / 4));
        for _ in wanted.clone() {
            let Range { start, end } = string_at(&self.bytes, at)?;
            ranges.push(u32::try_from(start).ok()?..u32::try_from(end).ok()?);
            at = end;
        }
        Some(Values::Strings { buffer: self.bytes.clone(), ranges })
    }

    fn decode_rle_bools(&self, wanted: Range<usize>) -> Result<Values, DecodeError> {
        let len = self.bytes.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let runs = len.and_then(|len| self.bytes.get(4..4usize.checked_add(usize::try_from(len).ok()?)?));
        let runs = runs.ok_or_else(|| self.error("page ends before its values do"))?;
        let mut values = Vec::with_capacity(wanted.len());
        Hybrid::new(runs, 1, self.count, self.offset)?
            .for_each(wanted.start, wanted.end, |v| values.push(v != 0))?;
        Ok(Values::Bools(values))
    }

    fn decode_delta_lengths(&self, wanted: Range<usize>) -> Result<Values, DecodeError> {
        let mut delta = Delta::open(&self.bytes, self.count).map_err(|problem| self.error(problem))?;
        let (mut start, mut lengths) = (0i64, Vec::with_capacity(wanted.len()));
        let mut index = 0;
        let mut broken = false;
        delta
            .decode(0..wanted.end, |length| {
                broken |= i32::try_from(length).map_or(true, |l| l < 0);
                if index < wanted.start {
                    start = start.wrapping_add(length);
                } else {
                    lengths.push(length);
                }
                index += 1;
            })
            .map_err(|problem| self.error(problem))?;
        let data = delta.end().map_err(|problem| self.error(problem))?;
        if broken {
            return Err(self.error("length of a string is out of range"));
        }
        let mut at = usize::try_from(start).ok().and_then(|start| start.checked_add(data));
        let mut ranges = Vec::with_capacity(lengths.len());
        for length in lengths {
            let range = at.and_then(|at| Some(at..at.checked_add(usize::try_from(length).ok()?)?));
            let range = range.filter(|r| r.end <= self.bytes.len());
            let range = range.ok_or_else(|| self.error("page ends before its strings do"))?;
            at = Some(range.end);
            match (u32::try_from(range.start), u32::try_from(range.end)) {
                (Ok(start), Ok(end)) => ranges.push(start..end),
                _ => return Err(self.error("page is larger than 4 GiB")),
            }
        }
        Ok(Values::Strings { buffer: self.bytes.clone(), ranges })
    }
}

/// A decompressed dictionary page, in which a byte string is found by its code without a walk over those before it.
#[derive(Debug)]
pub(crate) struct Dictionary {
    page: PageValues,
    /// Of byte strings: where each one begins. Fewer than the page claims if it is cut off.
    starts: Vec<u32>,
}

impl Dictionary {
    /// `page` is of PLAIN values.
    pub(crate) fn new(page: PageValues, physical: Physical) -> Dictionary {
        let mut starts = Vec::new();
        if physical == Physical::ByteArray {
            // Each string takes four bytes of the page, so the page bounds what is reserved.
            starts.reserve_exact(page.count.min(page.bytes.len() / 4));
            let mut at = 0;
            while starts.len() < page.count
                && let Some(range) = string_at(&page.bytes, at)
                && let Ok(start) = u32::try_from(range.start)
            {
                starts.push(start);
                at = range.end;
            }
        }
        Dictionary { page, starts }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.page.bytes.len() + self.starts.capacity() * size_of::<u32>()
    }

    /// The entries with these codes; `None` if one does not exist.
    fn pick(&self, physical: Physical, codes: &[u32]) -> Result<Option<Values>, DecodeError> {
        if physical == Physical::ByteArray {
            let buffer = &self.page.bytes;
            let range = |code: &u32| {
                let start = *self.starts.get(*code as usize)?;
                let range = string_at(buffer, usize::try_from(start).ok()?.checked_sub(4)?)?;
                Some(start..u32::try_from(range.end).ok()?)
            };
            let ranges = codes.iter().map(range).collect::<Option<_>>();
            return Ok(ranges.map(|ranges| Values::Strings { buffer: buffer.clone(), ranges }));
        }
        let greatest = codes.iter().copied().max().unwrap_or(0) as usize;
        if greatest >= self.page.count {
            return Ok(None);
        }
        // Entries behind the greatest code are not looked at.
        Ok(match self.page.decode_plain(physical, &(0..greatest + 1))? {
            Values::Bools(entries) => pick(&entries, codes).map(Values::Bools),
            Values::Ints(entries) => pick(&entries, codes).map(Values::Ints),
            Values::Doubles(entries) => pick(&entries, codes).map(Values::Doubles),
            Values::None | Values::Strings { .. } => None,
        })
    }
}

/// Where the PLAIN byte string at `at` has its text; `None` if it reaches past the end.
fn string_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at.checked_add(4)?;
    let length = u32::from_le_bytes(bytes.get(at..start)?.try_into().ok()?);
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some(start..end)
}

fn pick<T: Clone>(entries: &[T], codes: &[u32]) -> Option<Vec<T>> {
    codes.iter().map(|code| entries.get(*code as usize).cloned()).collect()
}

/// INT32 deltas wrap at 32 bits.
fn sign_extend(value: i64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the value")]
    let low = value as i32;
    i64::from(low)
}

/// A DELTA_BINARY_PACKED sequence: header `block size, miniblocks per block, count, first value`, then blocks of
/// `least delta, bit width of each miniblock, miniblocks`.
struct Delta<'a> {
    bytes: &'a [u8],
    at: usize,
    miniblocks: usize,
    per_miniblock: usize,
    count: usize,
    first: i64,
    /// Values produced so far.
    done: usize,
    last: i64,
}

impl<'a> Delta<'a> {
    /// `count` is what the levels say; the header must say the same.
    fn open(bytes: &'a [u8], count: usize) -> Result<Delta<'a>, &'static str> {
        let mut delta =
            Delta { bytes, at: 0, miniblocks: 0, per_miniblock: 0, count, first: 0, done: 0, last: 0 };
        let block = delta.varint()?;
        let miniblocks = delta.varint()?;
        let total = delta.varint()?;
        delta.first = unzigzag(delta.varint()?);
        let block = usize::try_from(block).ok().filter(|b| (1..=1 << 20).contains(b));
        let miniblocks = usize::try_from(miniblocks).ok().filter(|m| (1..=1 << 10).contains(m));
        let (Some(block), Some(miniblocks)) = (block, miniblocks) else {
            return Err("delta header is damaged");
        };
        delta.per_miniblock = block / miniblocks;
        delta.miniblocks = miniblocks;
        if delta.per_miniblock * miniblocks != block || !delta.per_miniblock.is_multiple_of(8) {
            return Err("delta header is damaged");
        }
        if usize::try_from(total) != Ok(count) {
            return Err("delta values are not as many as the levels say");
        }
        Ok(delta)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or("delta values are cut off")?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("delta number is too long")
    }

    /// Hands `take` the values with the numbers in `wanted`. Called once.
    fn decode(&mut self, wanted: Range<usize>, mut take: impl FnMut(i64)) -> Result<(), &'static str> {
        if self.count == 0 {
            return Ok(());
        }
        self.last = self.first;
        self.done = 1;
        if wanted.start == 0 && wanted.end > 0 {
            take(self.first);
        }
        while self.done < self.count.min(wanted.end) {
            self.block(&wanted, &mut take)?;
        }
        Ok(())
    }

    fn block(&mut self, wanted: &Range<usize>, take: &mut impl FnMut(i64)) -> Result<(), &'static str> {
        let least = unzigzag(self.varint()?);
        let widths = self.bytes.get(self.at..self.at + self.miniblocks).ok_or("delta values are cut off")?;
        self.at += self.miniblocks;
        for width in widths {
            if self.done >= self.count {
                break;
            }
            let packed = self.miniblock(*width)?;
            let values = self.per_miniblock.min(self.count - self.done);
            if self.done < wanted.end {
                for index in 0..values {
                    #[expect(clippy::cast_possible_wrap, reason = "deltas wrap")]
                    let delta = unpack_u64(packed, *width, index) as i64;
                    self.last = self.last.wrapping_add(least).wrapping_add(delta);
                    if wanted.contains(&(self.done + index)) {
                        take(self.last);
                    }
                }
            }
            self.done += values;
        }
        Ok(())
    }

    fn miniblock(&mut self, width: u8) -> Result<&'a [u8], &'static str> {
        if width > 64 {
            return Err("delta bit width is above 64");
        }
        let size = self.per_miniblock / 8 * usize::from(width);
        let packed = self.bytes.get(self.at..self.at + size).ok_or("delta values are cut off")?;
        self.at += size;
        Ok(packed)
    }

    /// Steps over the blocks that are left; where the sequence ends.
    fn end(&mut self) -> Result<usize, &'static str> {
        if self.done == 0 && self.count > 0 {
            self.done = 1;
        }
        while self.done < self.count {
            // `done` is past an empty range, so nothing is unpacked.
            self.block(&(0..0), &mut |_| {})?;
        }
        Ok(self.at)
    }
}

#[inline]
fn unpack_u64(packed: &[u8], width: u8, index: usize) -> u64 {
    if width == 0 {
        return 0;
    }
    let bit = index * usize::from(width);
    let shift = bit % 8;
    let mut value = load_u64(packed, bit / 8) >> shift;
    if shift + usize::from(width) > 64 {
        value |= u64::from(packed.get(bit / 8 + 8).copied().unwrap_or(0)) << (64 - shift);
    }
    if width == 64 { value } else { value & ((1 << width) - 1) }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests;
