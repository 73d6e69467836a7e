//! Byte strings as dense numbers: an arena of bytes, an offset each, and a hash table for those worth finding again.
//!
//! Numbers are stable and never reused; nothing is removed. At most 4 GiB of bytes.

use std::hash::BuildHasher;

use hashbrown::{HashTable, hash_table::Entry};

/// The dictionary cannot take more: 32 bits number its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Full;

#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    bytes: Vec<u8>,
    /// Entry `i` is `bytes[ends[i] .. ends[i + 1]]`; the first end is 0.
    ends: Vec<u32>,
    table: HashTable<Slot>,
    hasher: foldhash::fast::RandomState,
}

/// The hash is kept so that growing the table and most comparisons do not touch the arena.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    id: u32,
}

impl Dictionary {
    pub(crate) fn len(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// Empty for a number that was not given out.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let at = id as usize;
        match (self.ends.get(at), self.ends.get(at + 1)) {
            (Some(&start), Some(&end)) => self.bytes.get(start as usize..end as usize).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Memory that is held.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 4 + self.table.allocation_size()
    }

    pub(crate) fn find(&self, value: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(value);
        self.table.find(spread(hash), |s| s.hash == short(hash) && self.get(s.id) == value).map(|s| s.id)
    }

    /// The number of `value`, and whether it is new. `check` sees a new value before it is added and may refuse it.
    #[inline]
    pub(crate) fn intern<E: From<Full>>(
        &mut self,
        value: &[u8],
        check: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(u32, bool), E> {
        let hash = self.hasher.hash_one(value);
        let Dictionary { bytes, ends, table, .. } = self;
        let is_equal = |s: &Slot| {
            if s.hash != short(hash) {
                return false;
            }
            let at = s.id as usize;
            let range = ends.get(at).zip(ends.get(at + 1)).map(|(&a, &b)| a as usize..b as usize);
            range.and_then(|range| bytes.get(range)) == Some(value)
        };
        // The upper half of the kept hash picks the bucket again when the table grows.
        match table.entry(spread(hash), is_equal, |s| spread(u64::from(s.hash))) {
            Entry::Occupied(entry) => Ok((entry.get().id, false)),
            Entry::Vacant(entry) => {
                check(value)?;
                let id = push(bytes, ends, value)?;
                entry.insert(Slot { hash: short(hash), id });
                Ok((id, true))
            }
        }
    }

    /// Adds a value that is not worth finding again.
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<u32, Full> {
        push(&mut self.bytes, &mut self.ends, value)
    }
}

fn push(bytes: &mut Vec<u8>, ends: &mut Vec<u32>, value: &[u8]) -> Result<u32, Full> {
    if ends.is_empty() {
        ends.push(0);
    }
    let id = u32::try_from(ends.len() - 1).map_err(|_| Full)?;
    let end = bytes.len().checked_add(value.len()).and_then(|end| u32::try_from(end).ok()).ok_or(Full)?;
    super::grow(bytes, value.len());
    super::grow(ends, 1);
    bytes.extend_from_slice(value);
    ends.push(end);
    Ok(id)
}

#[expect(clippy::cast_possible_truncation, reason = "a part of the hash")]
fn short(hash: u64) -> u32 {
    hash as u32
}

/// A 64-bit hash from the 32 bits that are kept: the table takes its buckets from the low and its tags from the high
/// bits.
fn spread(hash: u64) -> u64 {
    u64::from(short(hash)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intern(dictionary: &mut Dictionary, value: &[u8]) -> (u32, bool) {
        dictionary.intern(value, |_| Ok::<(), Full>(())).unwrap()
    }

    #[test]
    fn a_value_keeps_its_number() {
        let mut dictionary = Dictionary::default();
        let values: Vec<Vec<u8>> = (0..10_000u32).map(|n| format!("value {n}").into_bytes()).collect();

        let first: Vec<_> = values.iter().map(|v| intern(&mut dictionary, v)).collect();
        let again: Vec<_> = values.iter().map(|v| intern(&mut dictionary, v)).collect();

        assert!(first.iter().zip(0..).all(|(got, id)| *got == (id, true)));
        assert!(again.iter().zip(0..).all(|(got, id)| *got == (id, false)));
        assert!(values.iter().zip(0..).all(|(value, id)| dictionary.get(id) == value));
        assert_eq!(dictionary.find(b"value 77"), Some(77));
        assert_eq!(dictionary.find(b"value"), None);
        assert_eq!(dictionary.get(10_000), b"");
    }

    #[test]
    fn a_refused_value_is_not_kept() {
        let mut dictionary = Dictionary::default();

        let refused = dictionary.intern(b"x", |_| Err(Full));

        assert!(refused.is_err());
        assert_eq!((dictionary.len(), dictionary.find(b"x")), (0, None));
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let mut dictionary = Dictionary::default();

        assert_eq!(intern(&mut dictionary, b""), (0, true));
        assert_eq!(intern(&mut dictionary, b""), (0, false));
    }
}
