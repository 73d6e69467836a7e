//! Bloom filter shards, `bloom-0` to `bloom-N`: "certainly not in this block" for a trace id, bit for bit as Tempo has
//! it.
//!
//! ```text
//! u64  bits m        big-endian, all of them
//! u64  hashes k
//! u64  m again
//! u64  times ceil(m / 64): bit b is in word b / 64 and has the value 1 << (b mod 64)
//! ```
//! A trace id belongs to the shard FNV-1(id) mod number of shards. Its bits come from four 64-bit hashes, MurmurHash3
//! x64 128 of the id and of the id followed by a byte 1: bit i is
//! `(h[i mod 2] + i * h[2 + ((i + i mod 2) mod 4) / 2]) mod m`, sums and products wrapping at 64 bits.

use bytes::Bytes;
use tempo_model::TraceId;

const HEADER_BYTES: usize = 24;
/// Tempo computes 7 for its default false-positive rate; more than this is damage.
const MAX_HASHES: u64 = 64;
/// As many as Tempo makes at most.
const MAX_SHARDS: f64 = 1000.0;
/// What a meta without a number of shards means.
const LEGACY_SHARDS: u32 = 10;

/// Why bytes are not a bloom filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bloom filter {problem}")]
pub(crate) struct BloomError {
    problem: &'static str,
}

/// One shard, as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Bloom {
    bits: u64,
    hashes: u64,
    words: Bytes,
}

impl Bloom {
    pub(crate) fn parse(bytes: Bytes) -> Result<Bloom, BloomError> {
        let error = |problem| BloomError { problem };
        let Some((header, words)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(error("is shorter than its header"));
        };
        let (fields, _) = header.as_chunks::<8>();
        let &[bits, hashes, length] = fields else { return Err(error("is shorter than its header")) };
        let [bits, hashes, length] = [bits, hashes, length].map(u64::from_be_bytes);
        if bits == 0 || bits != length || bits.div_ceil(64).checked_mul(8) != Some(words.len() as u64) {
            return Err(error("has another size than its header says"));
        }
        if hashes == 0 || hashes > MAX_HASHES {
            return Err(error("has an impossible number of hashes"));
        }
        Ok(Bloom { bits, hashes, words: bytes.slice(HEADER_BYTES..) })
    }

    /// False if the id was certainly not added.
    pub(crate) fn contains(&self, id: &TraceId) -> bool {
        locations(id, self.hashes, self.bits).all(|bit| {
            // Words are big-endian, so a word's lowest bits are in its last byte.
            let byte = bit / 64 * 8 + 7 - bit % 64 / 8;
            let byte = usize::try_from(byte).ok().and_then(|byte| self.words.get(byte));
            byte.is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.words.len()
    }
}

/// What filters are made to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BloomOptions {
    /// Share of absent ids that a filter takes for present.
    pub(crate) false_positive_rate: f64,
    pub(crate) shard_bytes: usize,
}

/// The objects `bloom-0` and so on for the ids of a block; at least one.
pub(crate) fn build(ids: &[TraceId], options: BloomOptions) -> Vec<Vec<u8>> {
    let bits = (options.shard_bytes.max(8) as u64) * 8;
    let (shards, hashes) = shards_and_hashes(ids.len(), bits, options.false_positive_rate);
    let mut words = vec![vec![0u64; usize::try_from(bits.div_ceil(64)).unwrap_or(0)]; shards as usize];
    for id in ids {
        let Some(shard) = words.get_mut(shard_of(id, shards) as usize) else { continue };
        for bit in locations(id, hashes, bits) {
            if let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| shard.get_mut(at)) {
                *word |= 1 << (bit % 64);
            }
        }
    }
    let object =
        |shard: &Vec<u64>| [bits, hashes, bits].iter().chain(shard).flat_map(|n| n.to_be_bytes()).collect();
    words.iter().map(object).collect()
}

/// As Tempo estimates them for `ids` traces and shards of `bits` bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "both are clamped to a small range first"
)]
fn shards_and_hashes(ids: usize, bits: u64, false_positive_rate: f64) -> (u32, u64) {
    let rate =
        if false_positive_rate > 0.0 && false_positive_rate < 1.0 { false_positive_rate } else { 0.01 };
    let count = ids.max(1) as f64;
    let ln_2 = std::f64::consts::LN_2;
    let all_bits = (-count * rate.ln() / (ln_2 * ln_2)).ceil();
    let hashes = (ln_2 * all_bits / count).ceil().clamp(1.0, MAX_HASHES as f64);
    let shards = (all_bits / bits as f64).ceil().clamp(1.0, MAX_SHARDS);
    (shards as u32, hashes as u64)
}

/// The shard that a trace id belongs to.
pub(crate) fn shard_of(id: &TraceId, shards: u32) -> u32 {
    let shards = if shards == 0 { LEGACY_SHARDS } else { shards };
    let hash = id
        .as_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte));
    hash % shards
}

/// The bits of an id in a filter of `bits` bits.
pub(crate) fn locations(id: &TraceId, hashes: u64, bits: u64) -> impl Iterator<Item = u64> {
    let mut longer = [1; 17];
    longer[..16].copy_from_slice(id.as_bytes());
    let (h0, h1) = murmur3_x64_128(id.as_bytes());
    let (h2, h3) = murmur3_x64_128(&longer);
    (0..hashes).map(move |i| {
        let first = if i % 2 == 0 { h0 } else { h1 };
        let second = if (i + i % 2) % 4 / 2 == 0 { h2 } else { h3 };
        first.wrapping_add(i.wrapping_mul(second)) % bits
    })
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// MurmurHash3's 128-bit variant for 64-bit machines, seed 0.
fn murmur3_x64_128(bytes: &[u8]) -> (u64, u64) {
    let (blocks, tail) = bytes.as_chunks::<16>();
    let (mut h1, mut h2) = (0u64, 0u64);
    for block in blocks {
        let (low, high) = halves(block);
        h1 ^= mix1(low);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(high);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let mut last = [0; 16];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    let (low, high) = halves(&last);
    h1 ^= mix1(low);
    h2 ^= mix2(high);
    let len = bytes.len() as u64;
    h1 ^= len;
    h2 ^= len;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

fn halves(block: &[u8; 16]) -> (u64, u64) {
    let value = u128::from_le_bytes(*block);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
    let halves = (value as u64, (value >> 64) as u64);
    halves
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the real thing; for m = 819200 and k = 7.
    #[test]
    fn bits_and_shards_are_those_of_tempo() {
        let vectors = [
            (
                "00000000000000000000000000001001",
                [33644, 47591, 795058, 722043, 610400, 358003, 286270],
                0x7969_3234,
            ),
            (
                "80db73d95d94c9132d6ba80e583a00d2",
                [606045, 263978, 818449, 499061, 493113, 262802, 391289],
                0x8571_1947,
            ),
        ];

        for (id, bits, fnv) in vectors {
            let id = TraceId::parse_hex(id).unwrap();
            assert_eq!(locations(&id, 7, 819_200).collect::<Vec<u64>>(), bits);
            assert_eq!(shard_of(&id, u32::MAX), fnv);
            assert_eq!(shard_of(&id, 0), fnv % 10);
        }
    }

    #[test]
    fn shards_are_as_many_as_tempo_makes() {
        let shards = |ids| shards_and_hashes(ids, 8 * 102_400, 0.01);

        assert_eq!(
            [0, 1, 1000, 100_000, 1_000_000, 6_000_000].map(shards),
            [(1, 7), (1, 7), (1, 7), (2, 7), (12, 7), (71, 7)]
        );
        assert_eq!(shards(usize::MAX).0, 1000);
    }

    #[test]
    fn every_id_is_in_its_shard() {
        let ids: Vec<TraceId> = (0..5000u128).map(|n| TraceId::from_bytes((n << 64).to_be_bytes())).collect();

        let blooms = build(&ids, BloomOptions { false_positive_rate: 0.01, shard_bytes: 1024 });

        let blooms: Vec<Bloom> = blooms.into_iter().map(|b| Bloom::parse(b.into()).unwrap()).collect();
        assert_eq!(blooms.len(), 6);
        let has = |id: &TraceId| blooms.get(shard_of(id, 6) as usize).is_some_and(|b| b.contains(id));
        assert!(ids.iter().all(has));
        let absent = (0..5000u128).map(|n| TraceId::from_bytes((n << 64 | 1).to_be_bytes()));
        assert!(absent.filter(has).count() < 200);
    }

    #[test]
    fn filters_that_contradict_their_header_are_refused() {
        let filter = |bits: u64, hashes: u64, length: u64, words: usize| {
            let mut bytes: Vec<u8> = [bits, hashes, length].iter().flat_map(|n| n.to_be_bytes()).collect();
            bytes.extend(vec![0xff; words * 8]);
            Bloom::parse(bytes.into())
        };

        assert!(filter(128, 7, 128, 2).unwrap().contains(&TraceId::MAX));
        for broken in [
            filter(0, 7, 0, 0),
            filter(128, 7, 64, 2),
            filter(128, 7, 128, 3),
            filter(u64::MAX, 7, u64::MAX, 2),
            filter(128, 0, 128, 2),
            filter(128, 65, 128, 2),
            Bloom::parse(Bytes::from_static(b"short")),
        ] {
            broken.unwrap_err();
        }
    }
}
