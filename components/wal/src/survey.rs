//! What a directory holds when the log is opened: locks it, follows the chain of segments from the newest to the
//! oldest (so that what is obsolete is known before it is met), reads every record's header once, and settles what is needed, released, torn, damaged or missing.
//!
//! Memory: one entry per segment and block and one per release record, never a payload. Nothing on disk is changed
//! before all headers were read, so that a log of a newer version stays as it is.

use std::{
    collections::HashMap,
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempo_model::BlockId;

use crate::{
    filesystem::{DirectoryLock, Filesystem},
    reader::{SegmentReader, Step},
    record::{Kind, RecordHeader},
    replay::{Issues, Position, ReplayIssue, ReplayPlan, ReplaySegment},
    retention::RetainedSegment,
    segment::{
        HeaderState, Link, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, VERSION, aside_path, parse_name,
        segment_path,
    },
    writer::Tail,
};

const LOCK_NAME: &str = "LOCK";
const PROBE_NAME: &str = "PROBE";

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("write-ahead log {path} is in use by another process", path = path.display())]
    Locked { path: PathBuf },
    #[error("write-ahead log directory {path} is not writable", path = path.display())]
    NotWritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "write-ahead log segment {path} has version {version}, this program reads up to {supported}; nothing was changed",
        path = path.display()
    )]
    NewerVersion { path: PathBuf, version: u32, supported: u32 },
    #[error("{operation} write-ahead log {path}", path = path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Everything the writer and the recovery start from.
pub(crate) struct Survey {
    pub(crate) lock: DirectoryLock,
    pub(crate) retained: Vec<RetainedSegment>,
    pub(crate) replay: ReplayPlan,
    pub(crate) tail: Tail,
    pub(crate) damaged_files: usize,
}

/// A segment file and what its first bytes say.
struct Found {
    number: u64,
    path: PathBuf,
    size: u64,
    /// `None`: neither copy of the header can be read.
    header: Option<SegmentHeader>,
}

/// A segment of the chain; `end` is known if its successor names it.
struct Chained {
    found: Found,
    end: Option<u64>,
    is_newest: bool,
    /// First and last number of the segments missing between this one and its successor.
    missing_behind: Option<(u64, u64)>,
}

/// A segment after its records' headers were read.
struct Scanned {
    found: Found,
    end: u64,
    is_newest: bool,
    is_damaged: bool,
    has_data: bool,
    /// Offsets of each block's first and last data record.
    blocks: HashMap<BlockId, (u64, u64)>,
    issues: Issues,
    missing_behind: Option<(u64, u64)>,
}

struct Surveyor {
    filesystem: Arc<dyn Filesystem>,
    dir: PathBuf,
    /// The last release record of each block.
    releases: HashMap<BlockId, Position>,
    oldest_needed: u64,
}

impl Survey {
    pub(crate) fn open(filesystem: Arc<dyn Filesystem>, dir: &Path) -> Result<Survey, OpenError> {
        let lock = prepare_dir(filesystem.as_ref(), dir)?;
        let names = filesystem.list(dir).map_err(io_error("list", dir))?;
        let mut numbers = Vec::new();
        let mut highest = 0;
        let mut damaged_files = 0;
        for (number, name) in names.iter().filter_map(|name| parse_name(name)) {
            highest = highest.max(number);
            match name {
                SegmentName::Segment => numbers.push(number),
                SegmentName::Damaged => damaged_files += 1,
                SegmentName::Abandoned => {}
            }
        }
        numbers.sort_unstable();
        let mut surveyor =
            Surveyor { filesystem, dir: dir.to_owned(), releases: HashMap::new(), oldest_needed: 0 };
        let found = numbers.into_iter().map(|number| surveyor.find(number)).collect::<Result<Vec<_>, _>>()?;
        let (chain, before) = surveyor.chain(found);
        let scanned: Vec<Scanned> = chain.into_iter().map(|segment| surveyor.scan(segment)).collect();
        surveyor.settle(scanned, before, SurveyedDir { lock, highest, damaged_files })
    }
}

struct SurveyedDir {
    lock: DirectoryLock,
    highest: u64,
    damaged_files: usize,
}

fn prepare_dir(filesystem: &dyn Filesystem, dir: &Path) -> Result<DirectoryLock, OpenError> {
    filesystem.create_dir_all(dir).map_err(io_error("create", dir))?;
    let lock = filesystem.lock(&dir.join(LOCK_NAME)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path: dir.to_owned() },
        _ => write_error(dir, error),
    })?;
    let probe = dir.join(PROBE_NAME);
    // A full disk is no reason to refuse: what is there can be replayed, and flushing it makes room.
    let is_full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
    // One that is left from a crash says nothing.
    filesystem.remove(&probe).ok();
    match filesystem.create(&probe) {
        Ok(_) => filesystem.remove(&probe).map_err(|error| write_error(dir, error))?,
        Err(error) if is_full(&error) => {}
        Err(error) => return Err(write_error(dir, error)),
    }
    Ok(lock)
}

fn write_error(dir: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::NotWritable { path: dir.to_owned(), source }
        }
        _ => OpenError::Io { operation: "lock", path: dir.to_owned(), source },
    }
}

fn io_error(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { operation, path: path.to_owned(), source }
}

impl Surveyor {
    fn find(&self, number: u64) -> Result<Found, OpenError> {
        let path = segment_path(&self.dir, number);
        let file = self.filesystem.open(&path).map_err(io_error("open", &path))?;
        let size = file.size().map_err(io_error("open", &path))?;
        let mut first = vec![0; usize::try_from(size.min(SEGMENT_HEADER_BYTES)).unwrap_or_default()];
        let mut have = 0;
        while let Some(rest) = first.get_mut(have..).filter(|rest| !rest.is_empty()) {
            // An error is the same as bytes that cannot be read: the segment counts as damaged.
            match file.read_at(rest, have as u64) {
                Ok(0) | Err(_) => break,
                Ok(read) => have += read,
            }
        }
        let header = match SegmentHeader::decode(first.get(..have).unwrap_or_default()) {
            HeaderState::Newer(version) => {
                return Err(OpenError::NewerVersion { path, version, supported: VERSION });
            }
            // A file that was renamed by hand is not the segment it claims to be.
            HeaderState::Valid(header) => (header.number == number).then_some(header),
            HeaderState::Unreadable => None,
        };
        Ok(Found { number, path, size, header })
    }

    /// Lists the segments from the newest to the oldest, each with the end that its successor names, and takes those
    /// out in which nothing was acknowledged. Also returns what the oldest says about the one before it.
    fn chain(&self, found: Vec<Found>) -> (Vec<Chained>, Option<Link>) {
        let mut chain: Vec<Chained> = Vec::new();
        let mut link = None;
        for found in found.into_iter().rev() {
            let newer = chain.last().map(|newer| newer.found.number);
            let (end, missing_behind) = match link {
                Some(Link { number, end: _ }) if number < found.number => {
                    self.abandon(&found);
                    continue;
                }
                Some(Link { number, end }) if number == found.number => (Some(end), None),
                Some(Link { number, end: _ }) => (None, Some((found.number + 1, number))),
                // Either this is the newest, or the newer one's header is lost and only numbers can tell.
                None => match newer {
                    Some(newer) if found.number + 1 < newer => (None, Some((found.number + 1, newer - 1))),
                    Some(_) | None => (None, None),
                },
            };
            let may_hold_records = end.map_or(found.size, |end| end.max(found.size)) > SEGMENT_HEADER_BYTES;
            if found.header.is_none() && !may_hold_records {
                // Creation was cut short by a crash.
                self.abandon(&found);
                continue;
            }
            link = found.header.map(|header| header.previous);
            chain.push(Chained { found, end, is_newest: newer.is_none(), missing_behind });
        }
        (chain, link)
    }

    /// Removes a file in which nothing was acknowledged; one with content is kept for a human.
    fn abandon(&self, found: &Found) {
        let result = if found.size <= SEGMENT_HEADER_BYTES {
            self.filesystem.remove(&found.path)
        } else {
            self.filesystem.rename(&found.path, &aside_path(&found.path, "abandoned"))
        };
        match result {
            Ok(()) => {
                tracing::info!(path = %found.path.display(), "took unacknowledged write-ahead log segment away")
            }
            Err(error) => {
                tracing::warn!(path = %found.path.display(), %error, "could not remove write-ahead log segment");
            }
        }
    }

    /// Reads the headers of all records. Where the end is not known it is found: behind the last record whose body is
    /// whole too.
    fn scan(&mut self, segment: Chained) -> Scanned {
        let Chained { found, end: known_end, is_newest, missing_behind } = segment;
        let mut scanned = Scanned {
            end: known_end.unwrap_or(found.size),
            is_newest,
            is_damaged: false,
            has_data: false,
            blocks: HashMap::new(),
            issues: Issues::default(),
            missing_behind,
            found,
        };
        let path = scanned.found.path.clone();
        if let Some(expected) = known_end.filter(|end| *end > scanned.found.size) {
            scanned.is_damaged = true;
            scanned.end = scanned.found.size;
            scanned.issues.push(ReplayIssue::ShortSegment {
                segment: path.clone(),
                expected_bytes: expected,
                bytes: scanned.found.size,
            });
        }
        let Some(header) = scanned.found.header else {
            scanned.is_damaged = true;
            scanned.issues.push(ReplayIssue::UnreadableSegment { segment: path, bytes: scanned.found.size });
            return scanned;
        };
        let result = self.filesystem.open(&path).and_then(|file| {
            let reader = SegmentReader::new(file, header.salt, scanned.end);
            match known_end {
                Some(_) => self.scan_headers(reader.for_headers(), &mut scanned),
                None => self.scan_to_find_end(reader, &mut scanned),
            }
        });
        if let Err(error) = result {
            // Unread is not absent: the file is kept, and not cut.
            scanned.is_damaged = true;
            scanned.is_newest = false;
            scanned.issues.push(ReplayIssue::Read { segment: path, source: Arc::new(error) });
        }
        scanned
    }

    fn scan_headers(&mut self, mut reader: SegmentReader, scanned: &mut Scanned) -> io::Result<()> {
        loop {
            match reader.step()? {
                Step::Record { offset, header } => self.note(scanned, offset, &header),
                Step::Damaged { offset, bytes } => scanned.add_damaged_region(offset, bytes),
                Step::End => return Ok(()),
            }
        }
    }

    /// Damage counts as such only if a whole record follows; otherwise it is the torn tail of a write that was never
    /// acknowledged.
    fn scan_to_find_end(&mut self, mut reader: SegmentReader, scanned: &mut Scanned) -> io::Result<()> {
        let mut good_end = SEGMENT_HEADER_BYTES;
        let mut suspects = Vec::new();
        loop {
            match reader.step()? {
                Step::Record { offset, header } => {
                    if reader.body(offset, &header)?.is_none() {
                        suspects.push(Suspect::Body { offset, header });
                        continue;
                    }
                    for suspect in suspects.drain(..) {
                        match suspect {
                            Suspect::Region { offset, bytes } => scanned.add_damaged_region(offset, bytes),
                            // Replay reports the record itself, if it still matters.
                            Suspect::Body { offset, header } => {
                                scanned.is_damaged = true;
                                self.note(scanned, offset, &header);
                            }
                        }
                    }
                    self.note(scanned, offset, &header);
                    good_end = offset + header.record_bytes();
                }
                Step::Damaged { offset, bytes } => suspects.push(Suspect::Region { offset, bytes }),
                Step::End => break,
            }
        }
        if good_end < scanned.end {
            scanned.issues.push(ReplayIssue::TornTail {
                segment: scanned.found.path.clone(),
                offset: good_end,
                bytes: scanned.end - good_end,
            });
            // Without its successor's word, the tail of an older segment may have been acknowledged.
            scanned.is_damaged |= !scanned.is_newest;
            scanned.end = good_end;
        }
        Ok(())
    }

    fn note(&mut self, scanned: &mut Scanned, offset: u64, header: &RecordHeader) {
        match header.kind {
            Kind::Data { block } => {
                scanned.has_data = true;
                scanned.blocks.entry(block).or_insert((offset, offset)).1 = offset;
            }
            Kind::Release { block } => {
                let position = Position { segment: scanned.found.number, offset };
                let last = self.releases.entry(block).or_insert(position);
                *last = position.max(*last);
            }
            Kind::Trim { oldest_needed } => self.oldest_needed = self.oldest_needed.max(oldest_needed),
        }
    }

    /// Cleans up, cuts the torn tail and hands over.
    fn settle(
        mut self,
        newest_first: Vec<Scanned>,
        before: Option<Link>,
        dir: SurveyedDir,
    ) -> Result<Survey, OpenError> {
        let SurveyedDir { lock, highest, damaged_files } = dir;
        let mut retained = Vec::new();
        let mut segments = Vec::new();
        let mut previous = Link::default();
        let mut issues = Issues::default();
        if let Some(Link { number: last, end: _ }) = before.filter(|before| before.number > 0) {
            self.report_missing(&mut issues, Some((1, last)));
        }
        for mut segment in newest_first.into_iter().rev() {
            if segment.is_newest {
                self.filesystem
                    .truncate(&segment.found.path, segment.end)
                    .map_err(io_error("cut the torn tail of", &segment.found.path))?;
            }
            previous = Link { number: segment.found.number, end: segment.end };
            if segment.found.number < self.oldest_needed {
                self.remove_obsolete(&segment);
            } else {
                issues.append(mem::take(&mut segment.issues));
                let blocks = self.unreleased(&segment);
                segments.extend(segment.replay(!blocks.is_empty()));
                retained.push(segment.retain(blocks));
            }
            self.report_missing(&mut issues, segment.missing_behind);
        }
        let next_number = highest.max(previous.number).max(self.oldest_needed) + 1;
        let replay = ReplayPlan { segments, releases: mem::take(&mut self.releases), issues };
        Ok(Survey { lock, retained, replay, tail: Tail { previous, next_number }, damaged_files })
    }

    /// The segment's blocks with records behind their release, or without one.
    fn unreleased(&self, segment: &Scanned) -> HashMap<BlockId, u64> {
        let is_unreleased = |block: &BlockId, offset: u64| {
            let last = Position { segment: segment.found.number, offset };
            self.releases.get(block).is_none_or(|release| *release < last)
        };
        let unreleased = segment.blocks.iter().filter(|(block, (_, last))| is_unreleased(block, *last));
        unreleased.map(|(block, (first, _))| (*block, *first)).collect()
    }

    /// Segments below the oldest needed one are gone because nobody needs them.
    fn report_missing(&self, issues: &mut Issues, missing: Option<(u64, u64)>) {
        if let Some((first, last)) = missing.filter(|(_, last)| *last >= self.oldest_needed) {
            issues.push(ReplayIssue::MissingSegments { first: first.max(self.oldest_needed), last });
        }
    }

    /// A trim record says that nothing in it is needed; its removal did not reach the disk.
    fn remove_obsolete(&self, segment: &Scanned) {
        let path = &segment.found.path;
        let result = if segment.is_damaged {
            self.filesystem.rename(path, &aside_path(path, "damaged"))
        } else {
            self.filesystem.remove(path)
        };
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "could not remove write-ahead log segment");
        }
    }
}

impl Scanned {
    fn add_damaged_region(&mut self, offset: u64, bytes: u64) {
        self.is_damaged = true;
        let segment = self.found.path.clone();
        self.issues.push(ReplayIssue::DamagedRegion { segment, offset, bytes });
    }

    fn replay(&self, has_unreleased_blocks: bool) -> Option<ReplaySegment> {
        let header = self.found.header.filter(|_| has_unreleased_blocks)?;
        Some(ReplaySegment {
            number: self.found.number,
            path: self.found.path.clone(),
            salt: header.salt,
            end: self.end,
        })
    }

    fn retain(&self, blocks: HashMap<BlockId, u64>) -> RetainedSegment {
        RetainedSegment {
            number: self.found.number,
            path: self.found.path.clone(),
            bytes: self.end.min(self.found.size),
            blocks,
            has_data: self.has_data,
            is_damaged: self.is_damaged,
        }
    }
}

enum Suspect {
    Region { offset: u64, bytes: u64 },
    Body { offset: u64, header: RecordHeader },
}
