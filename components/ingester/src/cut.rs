//! When a head is sealed: full, old, in the way of the WAL, or the largest while memory is short.
//!
//! Pure decisions; `instance.rs` carries them out.

use std::time::Duration;

/// Why a head was sealed; the label of `tempo_ingester_heads_cut_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutReason {
    Full,
    Old,
    /// It pins the oldest WAL segment while the WAL is over its size.
    WalFull,
    /// All heads together are over their memory.
    MemoryShort,
    /// `/flush`, `/shutdown` or a stop asked for it.
    Asked,
}

impl CutReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            CutReason::Full => "full",
            CutReason::Old => "old",
            CutReason::WalFull => "wal_full",
            CutReason::MemoryShort => "memory_short",
            CutReason::Asked => "asked",
        }
    }
}

/// When heads are cut by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutPolicy {
    pub(crate) max_head_bytes: usize,
    pub(crate) max_received_bytes: u64,
    pub(crate) max_age: Duration,
}

/// What the policy looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadSize {
    pub(crate) memory_bytes: usize,
    pub(crate) received_bytes: u64,
    pub(crate) age: Duration,
}

impl CutPolicy {
    /// Whether the next push needs a new head first.
    pub(crate) fn is_full(&self, head: HeadSize) -> bool {
        head.memory_bytes >= self.max_head_bytes || head.received_bytes >= self.max_received_bytes
    }

    pub(crate) fn decide(&self, head: HeadSize) -> Option<CutReason> {
        if self.is_full(head) {
            Some(CutReason::Full)
        } else if head.age >= self.max_age {
            Some(CutReason::Old)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CutPolicy =
        CutPolicy { max_head_bytes: 100, max_received_bytes: 1000, max_age: Duration::from_secs(60) };

    #[test]
    fn heads_are_cut_by_memory_by_bytes_received_and_by_age() {
        let small = HeadSize { memory_bytes: 99, received_bytes: 999, age: Duration::from_secs(59) };

        assert_eq!(POLICY.decide(small), None);
        assert_eq!(POLICY.decide(HeadSize { memory_bytes: 100, ..small }), Some(CutReason::Full));
        assert_eq!(POLICY.decide(HeadSize { received_bytes: 1000, ..small }), Some(CutReason::Full));
        assert_eq!(POLICY.decide(HeadSize { age: Duration::from_secs(60), ..small }), Some(CutReason::Old));
    }
}
