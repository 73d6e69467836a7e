//! "Did you mean": the valid key that is nearest to one that does not exist.

/// The candidate nearest to `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    // One slip for short names, more for long ones.
    let limit = 1 + wanted.len() / 5;
    candidates
        .map(|candidate| (distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `maxBlockBytes`, `max-block-bytes` and `max_block_bytes` are the same to a reader.
fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours between two names (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(from != to);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == &b[j - 1] && &a[i - 1] == to {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest, plain};

    #[test]
    fn slips_are_counted() {
        let cases =
            [("", "", 0), ("abc", "abc", 0), ("abc", "ab", 1), ("abc", "acb", 1), ("kitten", "sitting", 3)];

        for (a, b, expected) in cases {
            assert_eq!(distance(&plain(a), &plain(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_key_is_found_and_far_ones_are_not() {
        let keys = ["max_block_bytes", "max_block_duration", "path"];

        assert_eq!(nearest("max_blok_bytes", keys.into_iter()), Some("max_block_bytes"));
        assert_eq!(nearest("maxBlockDuration", keys.into_iter()), Some("max_block_duration"));
        assert_eq!(nearest("pathh", keys.into_iter()), Some("path"));
        assert_eq!(nearest("something", keys.into_iter()), None);
    }
}
