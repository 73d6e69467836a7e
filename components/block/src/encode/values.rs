//! Whole column chunks of one type: pages of values with their bounds.
//!
//! Values come as one slice for the row group, without nulls; a [`Column`] knows how many of them each page has.

use std::io;

use super::{
    bits::{hybrid, width_of},
    delta,
    levels::Part,
    page::{Bounds, LeafLevels, PageWriter},
    thrift::Encoding,
};
use crate::{
    columns::{Dictionary, Full, SpanColumns},
    trace_index::PageCodec,
};

/// Byte strings in page bounds are cut to this length, as Tempo does.
const BOUND_BYTES: usize = 16;
/// A dictionary must be at most this share of the values: 1 / 2.
const MIN_REPEATS: usize = 2;

/// Where the values of a chunk lie in its pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    pub(super) levels: LeafLevels<'a>,
    /// First value of each page, and the number of values.
    pub(super) starts: &'a [usize],
}

impl Column<'_> {
    /// A chunk that holds nothing is one page.
    fn parts(&self) -> impl Iterator<Item = (Part, std::ops::Range<usize>)> + '_ {
        let count = self.starts.last().copied().unwrap_or(0);
        let is_empty = count == 0;
        let pages = self.starts.windows(2).zip(0..).map(|(pair, page)| (Part::Page(page), pair[0]..pair[1]));
        pages.take(if is_empty { 0 } else { usize::MAX }).chain(is_empty.then_some((Part::All, 0..0)))
    }

    pub(super) fn put<T>(
        &self,
        writer: &mut PageWriter,
        (codec, encoding): (PageCodec, Encoding),
        values: &[T],
        mut put: impl FnMut(&mut Vec<u8>, &[T]) -> Bounds,
    ) -> io::Result<()> {
        debug_assert_eq!(Some(&values.len()), self.starts.last(), "values and pages fit");
        writer.begin_chunk(codec, encoding);
        for (part, range) in self.parts() {
            let values = &values[range];
            writer.page(self.levels, part, values.len(), |out| put(out, values))?;
        }
        Ok(())
    }
}

/// Unsigned 64-bit numbers, delta-encoded.
pub(super) fn put_u64(
    writer: &mut PageWriter,
    column: Column<'_>,
    codec: PageCodec,
    values: &[u64],
) -> io::Result<()> {
    column.put(writer, (codec, Encoding::DeltaBinaryPacked), values, |out, page| {
        delta::binary_packed_64(out, page);
        bounds(page.iter().copied(), u64::to_le_bytes)
    })
}

/// Signed 64-bit numbers, delta-encoded.
pub(super) fn put_i64_delta(writer: &mut PageWriter, column: Column<'_>, values: &[u64]) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, Encoding::DeltaBinaryPacked), values, |out, page| {
        delta::binary_packed_64(out, page);
        bounds(page.iter().map(|v| v.cast_signed()), i64::to_le_bytes)
    })
}

/// Signed 64-bit numbers, plain.
pub(super) fn put_i64_plain(writer: &mut PageWriter, column: Column<'_>, values: &[i64]) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, Encoding::Plain), values, |out, page| {
        page.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        bounds(page.iter().copied(), i64::to_le_bytes)
    })
}

/// Signed 32-bit numbers, given as their bits; delta-encoded or plain.
pub(super) fn put_i32(
    writer: &mut PageWriter,
    column: Column<'_>,
    encoding: Encoding,
    values: &[u32],
) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, encoding), values, |out, page| {
        put_32(out, encoding, page);
        bounds(page.iter().map(|v| v.cast_signed()), i32::to_le_bytes)
    })
}

/// Unsigned 32-bit numbers, delta-encoded.
pub(super) fn put_u32(writer: &mut PageWriter, column: Column<'_>, values: &[u32]) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, Encoding::DeltaBinaryPacked), values, |out, page| {
        delta::binary_packed_32(out, page);
        bounds(page.iter().copied(), u32::to_le_bytes)
    })
}

fn put_32(out: &mut Vec<u8>, encoding: Encoding, page: &[u32]) {
    if encoding == Encoding::Plain {
        page.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
    } else {
        delta::binary_packed_32(out, page);
    }
}

pub(super) fn put_f64(writer: &mut PageWriter, column: Column<'_>, values: &[f64]) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, Encoding::Plain), values, |out, page| {
        page.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        let numbers = page.iter().copied().filter(|v| !v.is_nan());
        let min_max = numbers.fold(None, |b: Option<(f64, f64)>, v| {
            Some(b.map_or((v, v), |(min, max)| (min.min(v), max.max(v))))
        });
        // The specification's rule for the two zeros.
        let min_max = min_max.map(|(min, max)| {
            (if min == 0.0 { -0.0 } else { min }.to_le_bytes().to_vec(), (max + 0.0).to_le_bytes().to_vec())
        });
        Bounds { min_max, nans: page.iter().filter(|v| v.is_nan()).count() }
    })
}

pub(super) fn put_bool(writer: &mut PageWriter, column: Column<'_>, values: &[bool]) -> io::Result<()> {
    column.put(writer, (PageCodec::Zstd, Encoding::Plain), values, |out, page| {
        for byte in page.chunks(8) {
            out.push(byte.iter().zip(0..).fold(0, |b, (&bit, at)| b | u8::from(bit) << at));
        }
        bounds(page.iter().copied(), |b| [u8::from(b)])
    })
}

/// Ids of eight bytes, given as big-endian numbers; 0 is an empty string.
pub(super) fn put_span_ids(writer: &mut PageWriter, column: Column<'_>, ids: &[u64]) -> io::Result<()> {
    let mut lengths = Vec::new();
    column.put(writer, (PageCodec::Zstd, Encoding::DeltaLengthByteArray), ids, |out, page| {
        lengths.clear();
        lengths.extend(page.iter().map(|&id| if id == 0 { 0 } else { 8 }));
        delta::lengths(out, &lengths);
        page.iter().filter(|&&id| id != 0).for_each(|id| out.extend_from_slice(&id.to_be_bytes()));
        let bytes = |id: u64| if id == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
        let min_max = page.iter().min().zip(page.iter().max());
        Bounds { min_max: min_max.map(|(&min, &max)| (bytes(min), bytes(max))), nans: 0 }
    })
}

/// Byte strings that are not worth a dictionary.
pub(super) fn put_bytes<'a>(
    writer: &mut PageWriter,
    column: Column<'_>,
    codec: PageCodec,
    values: &[impl AsRef<[u8]> + 'a],
) -> io::Result<()> {
    let mut lengths = Vec::new();
    column.put(writer, (codec, Encoding::DeltaLengthByteArray), values, |out, page| {
        lengths.clear();
        lengths.extend(page.iter().map(|v| length(v.as_ref())));
        delta::lengths(out, &lengths);
        page.iter().for_each(|v| out.extend_from_slice(v.as_ref()));
        text_bounds(page.iter().map(AsRef::as_ref))
    })
}

fn bounds<T: Ord + Copy, const N: usize>(
    values: impl Iterator<Item = T> + Clone,
    bytes: impl Fn(T) -> [u8; N],
) -> Bounds {
    let min_max = values.clone().min().zip(values.max());
    Bounds { min_max: min_max.map(|(min, max)| (bytes(min).to_vec(), bytes(max).to_vec())), nans: 0 }
}

fn text_bounds<'a>(values: impl Iterator<Item = &'a [u8]>) -> Bounds {
    let min_max = values.fold(None, |b: Option<(&[u8], &[u8])>, v| {
        Some(b.map_or((v, v), |(min, max)| (min.min(v), max.max(v))))
    });
    Bounds { min_max: min_max.map(|(min, max)| (lower_bound(min), upper_bound(max))), nans: 0 }
}

/// A prefix is never greater.
fn lower_bound(value: &[u8]) -> Vec<u8> {
    value[..cut(value)].to_vec()
}

/// A short string that is not less than `value`, or `value` itself if there is none.
fn upper_bound(value: &[u8]) -> Vec<u8> {
    if value.len() <= BOUND_BYTES {
        return value.to_vec();
    }
    let prefix = &value[..BOUND_BYTES];
    // Adding one to an ASCII character keeps UTF-8 intact.
    match prefix.iter().rposition(|&b| b < 0x7f) {
        Some(at) => {
            let mut bound = prefix[..=at].to_vec();
            bound[at] += 1;
            bound
        }
        None => value.to_vec(),
    }
}

/// Where to cut without splitting a character.
fn cut(value: &[u8]) -> usize {
    if value.len() <= BOUND_BYTES {
        return value.len();
    }
    let is_boundary = |&at: &usize| value[at] & 0xc0 != 0x80;
    (1..=BOUND_BYTES).rev().find(is_boundary).unwrap_or(BOUND_BYTES)
}

fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).expect("values of the head have less than 4 GiB")
}

/// The head's strings, and those that are only in lists, which the head keeps encoded.
struct Texts<'a> {
    head: &'a Dictionary,
    own: Dictionary,
}

impl Texts<'_> {
    fn get(&self, number: u32) -> &[u8] {
        match number.checked_sub(length_of(self.head)) {
            None => self.head.get(number),
            Some(own) => self.own.get(own),
        }
    }
}

fn length_of(dictionary: &Dictionary) -> u32 {
    u32::try_from(dictionary.len()).expect("strings have 32-bit numbers")
}

/// Encodes strings of the head by their numbers; maps these to codes of a chunk's dictionary without hashing.
pub(super) struct StringEncoder<'a> {
    texts: Texts<'a>,
    /// Code + 1 of each string in the chunk at hand; 0 for none.
    codes_of: Vec<u32>,
    /// Strings of the chunk at hand, by code.
    dictionary: Vec<u32>,
    codes: Vec<u32>,
    /// The last page in which a code was seen.
    seen: Vec<u32>,
    lengths: Vec<u32>,
}

impl<'a> StringEncoder<'a> {
    pub(super) fn new(columns: &'a SpanColumns) -> StringEncoder<'a> {
        StringEncoder {
            texts: Texts { head: &columns.attributes.strings, own: Dictionary::default() },
            codes_of: vec![0; columns.attributes.strings.len()],
            dictionary: Vec::new(),
            codes: Vec::new(),
            seen: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// The number of a string that may not be one of the head's.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.texts.head.find(text) {
            return number;
        }
        let own = self.texts.own.intern(text, |_| Ok::<(), Full>(()));
        let (own, _) = own.expect("lists of a head hold less than 4 GiB");
        let number = length_of(self.texts.head) + own;
        if self.codes_of.len() <= number as usize {
            self.codes_of.resize(number as usize + 1, 0);
        }
        number
    }

    /// Writes a column with a dictionary, unless its values hardly repeat.
    pub(super) fn put(
        &mut self,
        writer: &mut PageWriter,
        column: Column<'_>,
        codec: PageCodec,
        strings: &[u32],
    ) -> io::Result<()> {
        self.number(strings);
        if strings.len() > 64 && self.dictionary.len() * MIN_REPEATS > strings.len() {
            return self.put_plain(writer, column, codec, strings);
        }
        writer.begin_chunk(codec, Encoding::RleDictionary);
        let texts = &self.texts;
        writer.dictionary(self.dictionary.len(), |out| {
            for &string in &self.dictionary {
                let text = texts.get(string);
                out.extend_from_slice(&length(text).to_le_bytes());
                out.extend_from_slice(text);
            }
        })?;
        let max_code = u32::try_from(self.dictionary.len().saturating_sub(1)).expect("codes have 32 bits");
        let width = width_of(max_code).max(1);
        self.seen.clear();
        self.seen.resize(self.dictionary.len(), u32::MAX);
        for ((part, range), number) in column.parts().zip(0..) {
            let codes = &self.codes[range];
            let (dictionary, seen) = (&self.dictionary, &mut self.seen);
            writer.page(column.levels, part, codes.len(), |out| {
                out.push(width.to_le_bytes()[0]);
                hybrid(out, codes, width);
                text_bounds(codes.iter().filter_map(|&code| {
                    let is_new = std::mem::replace(&mut seen[code as usize], number) != number;
                    is_new.then(|| texts.get(dictionary[code as usize]))
                }))
            })?;
        }
        Ok(())
    }

    /// Writes a column whose strings rarely repeat or are mostly empty.
    pub(super) fn put_plain(
        &mut self,
        writer: &mut PageWriter,
        column: Column<'_>,
        codec: PageCodec,
        strings: &[u32],
    ) -> io::Result<()> {
        let (texts, lengths) = (&self.texts, &mut self.lengths);
        column.put(writer, (codec, Encoding::DeltaLengthByteArray), strings, |out, page| {
            lengths.clear();
            lengths.extend(page.iter().map(|&s| length(texts.get(s))));
            delta::lengths(out, lengths);
            page.iter().for_each(|&s| out.extend_from_slice(texts.get(s)));
            text_bounds(page.iter().map(|&s| texts.get(s)))
        })
    }

    /// Finds the code of each string and the dictionary of the chunk.
    fn number(&mut self, strings: &[u32]) {
        self.dictionary.clear();
        self.codes.clear();
        self.codes.reserve(strings.len());
        for &string in strings {
            let slot = &mut self.codes_of[string as usize];
            if *slot == 0 {
                self.dictionary.push(string);
                *slot = u32::try_from(self.dictionary.len()).expect("codes have 32 bits");
            }
            self.codes.push(*slot - 1);
        }
        for &string in &self.dictionary {
            self.codes_of[string as usize] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_strings_are_their_own_bounds() {
        assert_eq!((lower_bound(b"abc"), upper_bound(b"abc")), (b"abc".to_vec(), b"abc".to_vec()));
    }

    #[test]
    fn long_strings_are_cut_between_characters_and_stay_bounds() {
        for text in [
            "0123456789abcdef+",
            "0123456789abcde\u{7f}\u{7f}",
            "0123456789abcdeä!",
            "世界世界世界",
            "ÿÿÿÿÿÿÿÿÿ",
        ] {
            let (min, max) = (lower_bound(text.as_bytes()), upper_bound(text.as_bytes()));

            assert!(*min <= *text.as_bytes() && *text.as_bytes() <= *max, "{text}");
            assert!(str::from_utf8(&min).is_ok() && str::from_utf8(&max).is_ok(), "{text}");
            assert!(min.len() <= BOUND_BYTES);
        }
    }
}
