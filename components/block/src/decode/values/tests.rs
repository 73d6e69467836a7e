use proptest::prelude::*;

use super::*;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

/// DELTA_BINARY_PACKED with blocks of 128 values in 4 miniblocks.
fn encode_delta(values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in [128, 4, values.len() as u64, zigzag(values.first().copied().unwrap_or(0))] {
        put_varint(&mut out, number);
    }
    let deltas: Vec<i64> = values.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
    for block in deltas.chunks(128) {
        let least = *block.iter().min().unwrap();
        put_varint(&mut out, zigzag(least));
        let miniblocks: Vec<Vec<u64>> = block
            .chunks(32)
            .map(|m| m.iter().map(|d| d.wrapping_sub(least).cast_unsigned()).collect())
            .collect();
        let width = |m: &Vec<u64>| 64 - m.iter().fold(0, |all, d| all | d).leading_zeros() as usize;
        let mut widths: Vec<u8> = miniblocks.iter().map(|m| u8::try_from(width(m)).unwrap()).collect();
        widths.resize(4, 0);
        out.extend_from_slice(&widths);
        for miniblock in &miniblocks {
            let width = width(miniblock);
            let mut bits = vec![0u8; 4 * width];
            for (index, delta) in miniblock.iter().enumerate() {
                for bit in (0..width).filter(|bit| delta >> bit & 1 == 1) {
                    bits[(index * width + bit) / 8] |= 1 << ((index * width + bit) % 8);
                }
            }
            out.extend_from_slice(&bits);
        }
    }
    out
}

fn page(bytes: Vec<u8>, encoding: Encoding, count: usize) -> PageValues {
    PageValues { bytes: bytes.into(), encoding, count, offset: 0 }
}

fn strings(values: &Values) -> Vec<Vec<u8>> {
    match values {
        Values::Strings { buffer, ranges } => {
            ranges.iter().map(|r| buffer[r.start as usize..r.end as usize].to_vec()).collect()
        }
        Values::None => Vec::new(),
        other => panic!("not strings: {other:?}"),
    }
}

fn any_i64() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -100i64..100, 1_700_000_000_000_000_000i64..1_700_000_001_000_000_000]
}

proptest! {
    #[test]
    fn delta_integers_decode_from_any_value_to_any_other(values in prop::collection::vec(any_i64(), 0..500), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let page = page(encode_delta(&values), Encoding::DeltaBinaryPacked, values.len());
        let (a, b) = (from.index(values.len() + 1), to.index(values.len() + 1));
        let wanted = a.min(b)..a.max(b);

        let decoded = page.decode(Physical::Int64, wanted.clone(), None).unwrap();

        match decoded {
            Values::Ints(ints) => prop_assert_eq!(&ints, &values[wanted]),
            Values::None => prop_assert!(wanted.is_empty()),
            other => prop_assert!(false, "not integers: {other:?}"),
        }
    }

    #[test]
    fn delta_lengths_and_plain_strings_decode_alike(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..300), from in any::<prop::sample::Index>()) {
        let lengths: Vec<i64> = values.iter().map(|v| v.len() as i64).collect();
        let mut delta = encode_delta(&lengths);
        values.iter().for_each(|v| delta.extend_from_slice(v));
        let mut plain = Vec::new();
        for value in &values {
            plain.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
            plain.extend_from_slice(value);
        }
        let wanted = from.index(values.len() + 1)..values.len();

        let delta = page(delta, Encoding::DeltaLengthByteArray, values.len()).decode(Physical::ByteArray, wanted.clone(), None).unwrap();
        let plain = page(plain, Encoding::Plain, values.len()).decode(Physical::ByteArray, wanted.clone(), None).unwrap();

        prop_assert_eq!(strings(&delta), &values[wanted.clone()]);
        prop_assert_eq!(strings(&plain), &values[wanted]);
    }

    #[test]
    fn arbitrary_bytes_are_values_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), encoding in 0i32..10, count in 0usize..1000, from in 0usize..1000) {
        let dictionary = |physical| Dictionary::new(page(bytes.clone(), Encoding::Plain, count), physical);
        let page = page(bytes.clone(), Encoding::from_parquet(encoding), count);

        for physical in [Physical::Boolean, Physical::Int32, Physical::Int64, Physical::Double, Physical::ByteArray, Physical::Other] {
            if let Ok(values) = page.decode(physical, from.min(count)..count, Some(&dictionary(physical))) {
                prop_assert_eq!(values.len(), count - from.min(count));
            }
        }
    }
}

#[test]
fn narrow_integers_wrap_at_32_bits() {
    let page =
        page(encode_delta(&[i64::from(i32::MAX), i64::from(i32::MAX) + 1]), Encoding::DeltaBinaryPacked, 2);

    let Values::Ints(values) = page.decode(Physical::Int32, 0..2, None).unwrap() else {
        panic!("not integers")
    };

    assert_eq!(values, [i64::from(i32::MAX), i64::from(i32::MIN)]);
}

#[test]
fn codes_outside_of_the_dictionary_are_refused() {
    // Bit width 8, a run of two codes 3.
    let codes = page(vec![8, 4, 3], Encoding::Dictionary, 2);
    let entries = |count| Dictionary::new(page(vec![0; 4 * count], Encoding::Plain, count), Physical::Int32);

    assert_eq!(codes.decode(Physical::Int32, 0..2, Some(&entries(4))).unwrap().len(), 2);
    assert!(codes.decode(Physical::Int32, 0..2, Some(&entries(3))).is_err());
    assert!(codes.decode(Physical::Int32, 0..2, None).is_err());
}

#[test]
fn strings_of_a_dictionary_are_found_by_their_codes() {
    let entries = b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc\xff\0\0\0cut off";
    let dictionary = Dictionary::new(page(entries.to_vec(), Encoding::Plain, 4), Physical::ByteArray);
    // Bit width 8, runs of one code.
    let decode = |codes: &[u8]| {
        let runs = codes.iter().flat_map(|code| [2, *code]);
        let page = page([8].into_iter().chain(runs).collect(), Encoding::Dictionary, codes.len());
        page.decode(Physical::ByteArray, 0..codes.len(), Some(&dictionary))
    };

    assert_eq!(strings(&decode(&[2, 0, 1, 2]).unwrap()), [&b"bc"[..], b"a", b"", b"bc"]);
    assert!(decode(&[0, 3]).is_err());
    assert!(decode(&[4]).is_err());
}
