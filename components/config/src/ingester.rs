//! `ingester`: how long recent traces stay in memory, when they become blocks, and how the WAL is bounded.

use serde::{Deserialize, Serialize};

use crate::{ByteSize, GoDuration};

/// The `ingester` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngesterConfig {
    /// Blocks written to the backend at once.
    pub concurrent_flushes: usize,
    /// How often heads are checked for size and age.
    pub flush_check_period: GoDuration,
    /// Time after which one attempt to write a block to the backend is given up and tried again.
    pub flush_op_timeout: GoDuration,
    /// A trace without new spans for this long is no longer counted as live.
    pub trace_idle_period: GoDuration,
    /// A trace is no longer counted as live after this long, even if spans keep coming.
    pub trace_live_period: GoDuration,
    /// A head of this age is cut and becomes a block.
    pub max_block_duration: GoDuration,
    /// A head that holds this much received data is cut and becomes a block.
    pub max_block_bytes: ByteSize,
    /// How long a block is answered from local disk after it was written to the backend.
    pub complete_block_timeout: GoDuration,
    /// Whether stopping the process cuts and writes everything to the backend. The WAL keeps it safe without.
    pub flush_all_on_shutdown: bool,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: IngesterExtras,
}

impl Default for IngesterConfig {
    fn default() -> Self {
        Self {
            concurrent_flushes: 4,
            flush_check_period: GoDuration::from_secs(10),
            flush_op_timeout: GoDuration::from_mins(5),
            trace_idle_period: GoDuration::from_secs(5),
            trace_live_period: GoDuration::from_secs(30),
            max_block_duration: GoDuration::from_mins(30),
            max_block_bytes: ByteSize::from_mib(500),
            complete_block_timeout: GoDuration::from_mins(15),
            flush_all_on_shutdown: false,
            tempo_rs: IngesterExtras::default(),
        }
    }
}

/// `ingester.tempo_rs`: bounds of memory and of the WAL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngesterExtras {
    /// A WAL segment of this size is closed and the next one begun.
    pub wal_segment_bytes: ByteSize,
    /// When the WAL is larger than this, the heads that keep its oldest segments are cut.
    pub wal_max_bytes: ByteSize,
    /// A head whose columns take this much memory is cut.
    pub head_bytes: ByteSize,
    /// Pushes in progress at once, in bytes; more are told to come back later.
    pub max_inflight_push_bytes: ByteSize,
    /// Memory that reading the WAL at start may take.
    pub replay_memory_bytes: ByteSize,
    /// Heads of one tenant that wait to become blocks; when there are more, pushes wait.
    pub max_sealed_heads: usize,
    /// First pause after a block could not be written; it doubles with every failure.
    pub flush_retry_backoff_min: GoDuration,
    /// Longest pause between attempts to write a block.
    pub flush_retry_backoff_max: GoDuration,
}

impl Default for IngesterExtras {
    fn default() -> Self {
        Self {
            wal_segment_bytes: ByteSize::from_mib(64),
            wal_max_bytes: ByteSize::from_gib(4),
            head_bytes: ByteSize::from_mib(48),
            max_inflight_push_bytes: ByteSize::from_mib(64),
            replay_memory_bytes: ByteSize::from_mib(256),
            max_sealed_heads: 2,
            flush_retry_backoff_min: GoDuration::from_secs(1),
            flush_retry_backoff_max: GoDuration::from_secs(30),
        }
    }
}
