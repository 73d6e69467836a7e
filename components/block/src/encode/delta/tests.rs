use proptest::prelude::*;

use super::*;

/// Reads the encoding as the specification says it, for values of `bits` bits; gives the bytes it used as well.
fn decode(bytes: &[u8], bits: u32) -> (Vec<u64>, usize) {
    let mut at = 0;
    let varint = |at: &mut usize| {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes[*at];
            *at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    let zigzag = |v: u64| (v >> 1) ^ (v & 1).wrapping_neg();
    let mask = u64::MAX >> (64 - bits);
    assert_eq!((varint(&mut at), varint(&mut at)), (128, 4));
    let count = usize::try_from(varint(&mut at)).unwrap();
    let mut last = zigzag(varint(&mut at)) & mask;
    let mut values = Vec::new();
    if count > 0 {
        values.push(last);
    }
    while values.len() < count {
        let min = zigzag(varint(&mut at));
        let widths: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        at += 4;
        for width in widths.map(usize::from) {
            if values.len() == count {
                assert_eq!(width, 0, "a miniblock without values has width 0");
                continue;
            }
            assert!(width <= bits as usize);
            for index in 0..32 {
                let bit = |b: usize| {
                    let position = index * width + b;
                    u64::from(bytes[at + position / 8] >> (position % 8) & 1) << b
                };
                let delta: u64 = (0..width).map(bit).sum();
                if values.len() < count {
                    last = last.wrapping_add(min).wrapping_add(delta) & mask;
                    values.push(last);
                }
            }
            at += width * 4;
        }
    }
    (values, at)
}

/// Runs of near and far values, so that widths differ.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![any::<u64>(), 0u64..50, Just(u64::MAX), Just(1 << 63), Just(0)];
    prop::collection::vec(value, 0..600)
}

proptest! {
    #[test]
    fn numbers_of_64_bits_come_back(values in values()) {
        let mut encoded = Vec::new();

        binary_packed_64(&mut encoded, &values);

        prop_assert_eq!(decode(&encoded, 64), (values, encoded.len()));
    }

    #[test]
    fn numbers_of_32_bits_come_back(values in values()) {
        let values: Vec<u32> = values.iter().map(|v| u32::try_from(v >> 32).unwrap()).collect();
        let mut encoded = Vec::new();

        binary_packed_32(&mut encoded, &values);

        let (decoded, used) = decode(&encoded, 32);
        prop_assert_eq!(used, encoded.len());
        prop_assert_eq!(decoded, values.iter().map(|&v| u64::from(v)).collect::<Vec<u64>>());
    }
}

#[test]
fn equal_steps_take_no_bits() {
    let mut encoded = Vec::new();

    binary_packed_32(&mut encoded, &(0..1000).map(|n| n * 3).collect::<Vec<u32>>());

    // Header of six bytes and, for each of eight blocks, the step and four widths.
    assert_eq!(encoded.len(), 6 + 8 * 5);
}
