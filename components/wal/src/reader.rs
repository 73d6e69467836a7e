//! Reads a segment record by record through one window of memory, and finds its way again after damage.

use std::io;

use crate::{
    filesystem::LogFile,
    record::{MARKER, RECORD_HEADER_BYTES, RecordHeader},
    segment::SEGMENT_HEADER_BYTES,
};

/// Read at once where everything is wanted, and while looking for a record.
const WINDOW_BYTES: usize = 256 << 10;
/// Read at once where only headers are wanted.
const HEADERS_WINDOW_BYTES: usize = 4 << 10;

/// What lies at the reader's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Record {
        offset: u64,
        header: RecordHeader,
    },
    /// No record can be made out in these bytes; the next one, if any, begins behind them.
    Damaged {
        offset: u64,
        bytes: u64,
    },
    End,
}

#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Box<dyn LogFile>,
    salt: u64,
    position: u64,
    end: u64,
    read_ahead: usize,
    window: Vec<u8>,
    window_start: u64,
}

impl SegmentReader {
    /// Reads records up to `end`, which must lie inside the file.
    pub(crate) fn new(file: Box<dyn LogFile>, salt: u64, end: u64) -> SegmentReader {
        SegmentReader {
            file,
            salt,
            position: SEGMENT_HEADER_BYTES,
            end,
            read_ahead: WINDOW_BYTES,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// For a pass that looks at few bodies or none: skips over them on the disk too.
    pub(crate) fn for_headers(mut self) -> SegmentReader {
        self.read_ahead = HEADERS_WINDOW_BYTES;
        self
    }

    /// Moves to the next record; its body is not looked at.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let offset = self.position;
        if offset >= self.end {
            return Ok(Step::End);
        }
        if let Some(header) = self.header_at(offset)? {
            self.position = offset + header.record_bytes();
            return Ok(Step::Record { offset, header });
        }
        self.position = self.find_record(offset + 1)?.unwrap_or(self.end);
        Ok(Step::Damaged { offset, bytes: self.position - offset })
    }

    /// The body of a record that `step` returned; `None` if its checksum is wrong.
    pub(crate) fn body(&mut self, offset: u64, header: &RecordHeader) -> io::Result<Option<&[u8]>> {
        let Some(body) = self.bytes(offset + RECORD_HEADER_BYTES as u64, header.body_bytes())? else {
            return Ok(None);
        };
        Ok((crc32c::crc32c(body) == header.body_crc).then_some(body))
    }

    /// A whole record's header at exactly this offset. A record that is cut off by the end is none.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<RecordHeader>> {
        let (salt, end) = (self.salt, self.end);
        let Some(bytes) = self.bytes(offset, RECORD_HEADER_BYTES)? else { return Ok(None) };
        let header = bytes.first_chunk().and_then(|bytes| RecordHeader::decode(bytes, salt, offset));
        Ok(header.filter(|header| header.record_bytes() <= end - offset))
    }

    /// The first offset, from this one on, where a record begins.
    fn find_record(&mut self, mut from: u64) -> io::Result<Option<u64>> {
        loop {
            let available = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
            let len = available.min(WINDOW_BYTES);
            if len < RECORD_HEADER_BYTES {
                return Ok(None);
            }
            let Some(bytes) = self.bytes(from, len)? else { return Ok(None) };
            match bytes.windows(MARKER.len()).position(|window| window == MARKER) {
                Some(at) => {
                    let candidate = from + at as u64;
                    if self.header_at(candidate)?.is_some() {
                        return Ok(Some(candidate));
                    }
                    from = candidate + 1;
                }
                // A marker may lie across the end of what was searched.
                None => from += (len - MARKER.len() + 1) as u64,
            }
        }
    }

    /// Exactly these bytes of the file, `None` if they reach behind the end.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.end {
            return Ok(None);
        }
        let is_inside = offset >= self.window_start
            && offset + len as u64 <= self.window_start + self.window.len() as u64;
        if !is_inside {
            self.fill(offset, len)?;
        }
        let at = usize::try_from(offset - self.window_start).map_err(io::Error::other)?;
        match self.window.get(at..at + len) {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Loads the window from this offset, with `len` bytes or more.
    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let available = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let want = len.max(self.read_ahead).min(available);
        self.window.resize(want, 0);
        self.window_start = offset;
        let mut have = 0;
        while let Some(rest) = self.window.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + have as u64) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.window.clear();
                    return Err(error);
                }
            }
        }
        self.window.truncate(have);
        Ok(())
    }
}
