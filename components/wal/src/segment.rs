//! Segment files: their names, their header, and the one that is being written.
//!
//! An [`ActiveSegment`] exists only after its file, its header and its name are durable.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut};

use crate::filesystem::{Filesystem, LogFile};

/// Both copies of the header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 2 * HEADER_BYTES as u64;
pub(crate) const VERSION: u32 = 1;

const HEADER_BYTES: usize = 64;
const CHECKED_BYTES: usize = HEADER_BYTES - 4;
const MAGIC: [u8; 8] = *b"TEMPOWAL";

/// Where a segment's acknowledged records end; `number` 0 stands for "there is none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) previous: Link,
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderState {
    Valid(SegmentHeader),
    /// Written by a later version of this program.
    Newer(u32),
    Unreadable,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; 2 * HEADER_BYTES] {
        let mut copy = [0; HEADER_BYTES];
        let mut out = &mut copy[..];
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        out.put_u64_le(self.number);
        out.put_u64_le(self.salt);
        out.put_u64_le(self.previous.number);
        out.put_u64_le(self.previous.end);
        let (checked, mut crc) = copy.split_at_mut(CHECKED_BYTES);
        crc.put_u32_le(crc32c::crc32c(checked));
        let mut both = [0; 2 * HEADER_BYTES];
        let (first, second) = both.split_at_mut(HEADER_BYTES);
        first.copy_from_slice(&copy);
        second.copy_from_slice(&copy);
        both
    }

    /// Reads the header from a file's first bytes, from either copy. A version that cannot be verified but looks
    /// newer is taken for newer: refusing is harmless, reading or removing is not.
    pub(crate) fn decode(bytes: &[u8]) -> HeaderState {
        let mut copies = bytes.chunks_exact(HEADER_BYTES).take(2);
        let first = copies.next().and_then(|copy| decode_copy(copy, true));
        let second = copies.next().and_then(|copy| decode_copy(copy, true));
        let unverified = || bytes.get(..HEADER_BYTES).and_then(|copy| decode_copy(copy, false));
        match first.or(second) {
            Some(state) => state,
            None => match unverified() {
                Some(HeaderState::Newer(version)) => HeaderState::Newer(version),
                Some(HeaderState::Valid(_) | HeaderState::Unreadable) | None => HeaderState::Unreadable,
            },
        }
    }
}

fn decode_copy(copy: &[u8], verify: bool) -> Option<HeaderState> {
    let (checked, mut crc) = copy.split_at_checked(CHECKED_BYTES)?;
    if !checked.starts_with(&MAGIC) || (verify && crc.try_get_u32_le().ok()? != crc32c::crc32c(checked)) {
        return None;
    }
    let mut rest = checked.get(MAGIC.len()..)?;
    let version = rest.try_get_u32_le().ok()?;
    if version > VERSION {
        return Some(HeaderState::Newer(version));
    }
    let _zero = rest.try_get_u32_le().ok()?;
    let number = rest.try_get_u64_le().ok()?;
    let salt = rest.try_get_u64_le().ok()?;
    let previous = Link { number: rest.try_get_u64_le().ok()?, end: rest.try_get_u64_le().ok()? };
    Some(HeaderState::Valid(SegmentHeader { number, salt, previous }))
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

/// The number of a segment, or of one that was set aside.
pub(crate) fn parse_name(name: &str) -> Option<(u64, SegmentName)> {
    let (digits, kind) = if let Some(digits) = name.strip_suffix(".wal") {
        (digits, SegmentName::Segment)
    } else if let Some(digits) = name.strip_suffix(".wal.damaged") {
        (digits, SegmentName::Damaged)
    } else {
        (name.strip_suffix(".wal.abandoned")?, SegmentName::Abandoned)
    };
    let is_number = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok().map(|number| (number, kind)) } else { None }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentName {
    Segment,
    Damaged,
    Abandoned,
}

/// The path of a segment that is kept for a human and no longer part of the log.
pub(crate) fn aside_path(segment: &Path, suffix: &str) -> PathBuf {
    let mut name = segment.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// The segment that takes records.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    /// What is synced; the file may be longer after a failure.
    pub(crate) end: u64,
    pub(crate) file: Box<dyn LogFile>,
}

impl ActiveSegment {
    /// Creates the file and makes its header and its name durable. On failure nothing of it is left, or a file
    /// that no later segment names as its predecessor.
    pub(crate) fn create(
        filesystem: &dyn Filesystem,
        dir: &Path,
        header: SegmentHeader,
    ) -> io::Result<ActiveSegment> {
        let path = segment_path(dir, header.number);
        let mut file = filesystem.create(&path)?;
        let written =
            file.append(&header.encode()).and_then(|()| file.sync()).and_then(|()| filesystem.sync_dir(dir));
        match written {
            Ok(()) => Ok(ActiveSegment {
                number: header.number,
                path,
                salt: header.salt,
                end: SEGMENT_HEADER_BYTES,
                file,
            }),
            Err(error) => {
                drop(file);
                // The first error is the one to report; a file that stays is ignored by recovery.
                filesystem.remove(&path).ok();
                Err(error)
            }
        }
    }

    pub(crate) fn has_records(&self) -> bool {
        self.end > SEGMENT_HEADER_BYTES
    }
}

#[cfg(test)]
mod tests;
