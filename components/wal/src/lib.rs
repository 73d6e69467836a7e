//! The write-ahead log: what was acknowledged is in here, synced, until it is durable elsewhere.
//!
//! One log serves all tenants of a process. Records are opaque payloads that name the block they will end up in; a
//! segment file goes when every block in it, and in all older segments, was released. Nothing here decodes a payload.
//!
//! # Files
//! `<dir>/LOCK` is held (`flock`) by the one process that may use the directory. Segments are named by their number,
//! 20 decimal digits and `.wal`; numbers only grow. `<segment>.damaged` is a segment that had damage, kept for a
//! human after all that was readable in it was released; `<segment>.abandoned` held nothing acknowledged. Neither is
//! ever read or deleted by us.
//!
//! # Segment, version 1 (all integers little endian)
//! ```text
//! 0    64  segment header
//! 64   64  the same header again, so that one bad sector does not cost the segment
//! 128   …  records, back to back
//! ```
//! Segment header. These 64 bytes keep their layout in every later version:
//! ```text
//! 0    8   magic "TEMPOWAL"
//! 8    4   version: 1. A larger one is refused at open and nothing is touched
//! 12   4   zero
//! 16   8   number, as in the file's name
//! 24   8   salt: random per segment, part of every record's checksum
//! 32   8   number of the previous segment, 0 for none
//! 40   8   end of the previous segment: what lies behind this offset there was never acknowledged
//! 48   12  zero
//! 60   4   crc32c of bytes 0..60
//! ```
//! Record:
//! ```text
//! 0    4   marker f5 'W' 'R' f6 (never part of UTF-8 text): where a reader looks for the next record after damage
//! 4    1   kind: 1 data, 2 release, 3 trim
//! 5    1   length of the tenant id, 0 unless data
//! 6    1   1 if the payload is an lz4 block, 0 if it is stored as it is
//! 7    1   zero
//! 8    4   bytes of the payload as stored, at most 2^28 + 2^21
//! 12   4   bytes of the payload before compression, at most 2^28
//! 16   16  data, release: block id. trim: u64 number of the oldest segment still needed, then zeros
//! 32   4   crc32c of everything behind the record's header
//! 36   4   crc32c of: the salt (8 bytes), this record's offset in the file (u64), bytes 0..36
//! 40   …   tenant id, payload
//! ```
//! The header has its own checksum, so that a damaged payload costs one record and not the way to the next; salt and
//! offset are in it, so that no payload can contain bytes that a reader looking for a record would take for one.
//!
//! # Rules that make it safe
//! - A record is acknowledged after `fdatasync` of its segment, which was created, written and synced together with
//!   its directory before it got its first record.
//! - After any failed write or sync a segment gets no further record. What was acknowledged in it ends at a known
//!   offset, which the next segment's header carries: the rest, whatever the page cache shows, is ignored.
//!   A segment in which nothing was acknowledged is not part of the chain and is removed.
//! - **Release.** A release record hides the data records of its block at *earlier positions*. Segments go strictly
//!   oldest first, so a release record is never removed before the data that it hides. Before files go, a trim record
//!   with the number of the oldest segment still needed is synced; it always lies at or behind that segment. So
//!   removals may reach the disk in any order, or not at all: a segment below the highest trim record is obsolete,
//!   whatever became of the release records above it. And whatever is missing at or above it was lost.
//! - Recovery never writes to what it reads, except that it cuts the torn tail of the newest segment.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod filesystem;
mod metrics;
mod queue;
mod reader;
mod record;
mod replay;
mod retention;
mod segment;
mod survey;
mod wal;
mod writer;

pub use filesystem::{DirectoryLock, Filesystem, LocalFilesystem, LogFile};
pub use metrics::Metrics;
pub use replay::{Recovery, RecoveryReport, ReplayIssue};
pub use survey::OpenError;
pub use wal::{AppendError, Record, Ticket, Wal, WalOptions};
