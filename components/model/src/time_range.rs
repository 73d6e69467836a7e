//! A closed range of time in Unix nanoseconds, as spans carry it.

/// `start_unix_nanos..=end_unix_nanos`. `start <= end` is not guaranteed: blocks written by Tempo may have it
/// reversed, and spans may end before they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    pub start_unix_nanos: u64,
    pub end_unix_nanos: u64,
}

impl TimeRange {
    /// The range that grows by [`TimeRange::extend`] from nothing.
    pub const EMPTY: TimeRange = TimeRange { start_unix_nanos: u64::MAX, end_unix_nanos: 0 };

    /// Widens the range to cover a span.
    pub fn extend(&mut self, start_unix_nanos: u64, end_unix_nanos: u64) {
        self.start_unix_nanos = self.start_unix_nanos.min(start_unix_nanos);
        self.end_unix_nanos = self.end_unix_nanos.max(end_unix_nanos);
    }

    pub fn is_empty(&self) -> bool {
        *self == TimeRange::EMPTY
    }
}
