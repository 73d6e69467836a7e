//! Bit packing and Parquet's RLE / bit-packing hybrid, which holds levels and dictionary codes.
//!
//! A hybrid run is a varint header and a body: `count << 1` and one value in whole bytes, or `groups << 1 | 1` and
//! groups of eight values of `width` bits, least significant bit first.

/// Longest run of groups whose header is one byte, so that it can be filled in afterwards.
const MAX_GROUPS: u8 = 63;

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Bits that hold every number up to `max`.
pub(super) fn width_of(max: u32) -> u32 {
    32 - max.leading_zeros()
}

/// Packs values of `width` bits each; the last byte is filled with zeros.
pub(super) fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    if width > 32 {
        return pack_wide(out, values, width);
    }
    let (mut bits, mut filled) = (0u64, 0);
    for value in values {
        bits |= value << filled;
        filled += width;
        if filled >= 32 {
            let [a, b, c, d, ..] = bits.to_le_bytes();
            out.extend_from_slice(&[a, b, c, d]);
            bits >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

fn pack_wide(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    let (mut bits, mut filled) = (0u128, 0);
    for value in values {
        bits |= u128::from(value) << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&bits.to_le_bytes()[..8]);
            bits >>= 64;
            filled -= 64;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Encodes values that fit in `width` bits as a hybrid.
pub(super) fn hybrid<T: Copy + PartialEq + Into<u32>>(out: &mut Vec<u8>, values: &[T], width: u32) {
    let mut rest = values;
    // Position of the header of the bit-packed run that may still grow.
    let mut open: Option<usize> = None;
    while let Some(&first) = rest.first() {
        let is_run = rest.len() >= 8 && rest[..8].iter().all(|&v| v == first);
        if is_run || rest.iter().all(|&v| v == first) {
            let run = rest.iter().take_while(|&&v| v == first).count();
            open = None;
            put_run(out, run, first.into(), width);
            rest = &rest[run..];
            continue;
        }
        let at = match open {
            Some(at) if out[at] >> 1 < MAX_GROUPS => at,
            _ => {
                out.push(1);
                out.len() - 1
            }
        };
        open = Some(at);
        out[at] += 2;
        let (group, after) = rest.split_at(rest.len().min(8));
        pack_group(out, group, width);
        rest = after;
    }
}

/// One run of a hybrid: `count` times `value`.
pub(super) fn put_run(out: &mut Vec<u8>, count: usize, value: u32, width: u32) {
    put_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
}

fn pack_group<T: Copy + Into<u32>>(out: &mut Vec<u8>, group: &[T], width: u32) {
    if width <= 8 {
        let mut bits = 0u64;
        for (value, at) in group.iter().zip(0..) {
            bits |= u64::from((*value).into()) << (at * width);
        }
        out.extend_from_slice(&bits.to_le_bytes()[..width as usize]);
    } else if width <= 16 {
        let mut bits = 0u128;
        for (value, at) in group.iter().zip(0..) {
            bits |= u128::from((*value).into()) << (at * width);
        }
        out.extend_from_slice(&bits.to_le_bytes()[..width as usize]);
    } else {
        let start = out.len();
        pack(out, group.iter().map(|&v| u64::from(v.into())), width);
        out.resize(start + width as usize, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a hybrid as the specification says it.
    fn decode(bytes: &[u8], width: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        let mut at = 0;
        while values.len() < count {
            let (mut header, mut shift) = (0u64, 0);
            loop {
                header |= u64::from(bytes[at] & 0x7f) << shift;
                shift += 7;
                at += 1;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let value = bytes[at..at + width.div_ceil(8) as usize].iter().rev();
                let value = value.fold(0u32, |v, &b| v << 8 | u32::from(b));
                values.extend(std::iter::repeat_n(value, usize::try_from(header >> 1).unwrap()));
                at += width.div_ceil(8) as usize;
            } else {
                for index in 0..(header >> 1) * 8 {
                    let bit = |b: u64| {
                        let position = index * u64::from(width) + b;
                        u32::from(bytes[at + usize::try_from(position / 8).unwrap()] >> (position % 8) & 1)
                    };
                    values.push((0..u64::from(width)).map(|b| bit(b) << b).sum());
                }
                at += usize::try_from((header >> 1) * u64::from(width)).unwrap();
            }
        }
        assert_eq!(at, bytes.len());
        values.truncate(count);
        values
    }

    proptest! {
        #[test]
        fn a_hybrid_decodes_to_what_was_encoded(
            runs in prop::collection::vec((any::<u32>(), 1usize..40), 0..60),
            width in 1u32..=32,
        ) {
            let mask = u32::MAX >> (32 - width);
            let values: Vec<u32> =
                runs.iter().flat_map(|&(v, n)| std::iter::repeat_n(v & mask, if n > 20 { n } else { 1 })).collect();
            let mut encoded = Vec::new();

            hybrid(&mut encoded, &values, width);

            prop_assert_eq!(decode(&encoded, width, values.len()), values);
        }

        #[test]
        fn packed_values_are_where_they_belong(
            values in prop::collection::vec(any::<u64>(), 0..70),
            width in 1u32..=64,
        ) {
            let values: Vec<u64> = values.iter().map(|v| v & u64::MAX >> (64 - width)).collect();
            let mut packed = Vec::new();

            pack(&mut packed, values.iter().copied(), width);

            prop_assert_eq!(packed.len(), (values.len() * width as usize).div_ceil(8));
            for (index, &value) in values.iter().enumerate() {
                let bit = |b: usize| {
                    let position = index * width as usize + b;
                    u64::from(packed[position / 8] >> (position % 8) & 1) << b
                };
                prop_assert_eq!((0..width as usize).map(bit).sum::<u64>(), value);
            }
        }
    }

    #[test]
    fn many_equal_values_take_a_few_bytes() {
        let mut encoded = Vec::new();

        hybrid(&mut encoded, &[3u8; 30_000], 2);

        assert_eq!(encoded.len(), 4);
    }
}
