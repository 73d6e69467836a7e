use proptest::prelude::*;

use super::*;

/// Encodes as some writer might: repeats as runs, the rest bit-packed in groups of eight.
fn encode(values: &[u32], width: u8, group_runs: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let repeats = values[at..].iter().take_while(|v| **v == values[at]).count();
        if group_runs && repeats >= 8 {
            put_varint(&mut out, (repeats as u64) << 1);
            out.extend_from_slice(&values[at].to_le_bytes()[..usize::from(width).div_ceil(8)]);
            at += repeats;
            continue;
        }
        let rest = &values[at..];
        let groups = if group_runs { 1 } else { rest.len().div_ceil(8) };
        put_varint(&mut out, (groups as u64) << 1 | 1);
        let mut bits = vec![0u8; groups * usize::from(width)];
        for (index, value) in rest.iter().take(groups * 8).enumerate() {
            for bit in 0..usize::from(width) {
                if value >> bit & 1 == 1 {
                    let position = index * usize::from(width) + bit;
                    bits[position / 8] |= 1 << (position % 8);
                }
            }
        }
        out.extend_from_slice(&bits);
        at += groups * 8;
    }
    out
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn sequences() -> impl Strategy<Value = (u8, Vec<u32>, bool)> {
    (0u8..=12).prop_flat_map(|width| {
        let value = 0..(1u32 << width);
        let runs = prop::collection::vec((value, 1usize..40), 0..30);
        let values =
            runs.prop_map(|runs| runs.into_iter().flat_map(|(v, n)| std::iter::repeat_n(v, n)).collect());
        (Just(width), values, any::<bool>())
    })
}

proptest! {
    #[test]
    fn counting_and_finding_agree_with_unpacked_values((width, values, group_runs) in sequences(), pick in any::<prop::sample::Index>()) {
        let bytes = encode(&values, width, group_runs);
        let hybrid = Hybrid::new(&bytes, width, values.len(), 0).unwrap();
        let end = pick.index(values.len() + 1);
        let zeros: Vec<usize> = (0..values.len()).filter(|i| values[*i] == 0).collect();

        let mut all = Vec::new();
        hybrid.for_each(0, values.len(), |v| all.push(v)).unwrap();
        let mut tail = Vec::new();
        hybrid.for_each(end, values.len(), |v| tail.push(v)).unwrap();

        prop_assert_eq!(&all, &values);
        prop_assert_eq!(&tail, &values[end..]);
        for nth in [0, zeros.len() / 2, zeros.len().saturating_sub(1), zeros.len()] {
            let row = zeros.get(nth).map(|start| *start..zeros.get(nth + 1).copied().unwrap_or(values.len()));
            prop_assert_eq!(hybrid.row(nth).unwrap(), row.map_or(Row::Behind { rows: zeros.len() }, Row::Entries));
        }
        prop_assert_eq!(hybrid.starts_with_zero().unwrap(), values.first().is_none_or(|v| *v == 0));
    }

    #[test]
    fn slices_have_the_levels_and_count_the_greatest((width, values, group_runs) in sequences(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let values: Vec<u32> = values.into_iter().map(|v| v & 0xff).collect();
        let bytes = encode(&values, width, group_runs);
        let hybrid = Hybrid::new(&bytes, width, values.len(), 0).unwrap();
        let (a, b) = (a.index(values.len() + 1), b.index(values.len() + 1));
        let range = a.min(b)..a.max(b);
        let max = values.iter().copied().max().unwrap_or(0);
        let count = |values: &[u32]| values.iter().filter(|v| **v == max).count();

        let slice = hybrid.slice(&range, u8::try_from(max).unwrap()).unwrap();

        let levels: Vec<u8> = values[range.clone()].iter().map(|v| u8::try_from(*v).unwrap()).collect();
        prop_assert_eq!(slice, Slice { levels, before: count(&values[..range.start]), all: count(&values) });
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), width in 0u8..=32, len in 0usize..100_000) {
        let hybrid = Hybrid::new(&bytes, width, len, 0).unwrap();

        let found = hybrid.row(len / 2);
        let sliced = hybrid.slice(&(len / 3..len), 7);

        if let Ok(Row::Entries(range)) = found {
            prop_assert!(range.start < range.end && range.end <= len);
        }
        if let Ok(slice) = sliced {
            prop_assert!(slice.before <= slice.all && slice.all <= len && slice.levels.len() == len - len / 3);
        }
    }
}

#[test]
fn level_widths_are_those_of_the_format() {
    let widths: Vec<u8> = [0, 1, 2, 3, 4, 7, 8].into_iter().map(level_width).collect();

    assert_eq!(widths, [0, 1, 2, 2, 3, 3, 4]);
}
