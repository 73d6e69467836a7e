//! Reading back what was acknowledged and not released, one record at a time.
//!
//! Invariant: every such record that can be read is yielded once, in the order of its append; whatever cannot be read
//! is reported with its place, and its segment is kept. Memory: one record and the plan made by `survey.rs`.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, io, mem,
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use tempo_model::{BlockId, TenantId};

use crate::{
    filesystem::Filesystem,
    metrics::Metrics,
    reader::{SegmentReader, Step},
    record::{Kind, RecordHeader},
    retention::Retention,
    wal::Record,
};

/// Issues that are kept with their details; further ones are counted.
const MAX_ISSUES: usize = 1000;

/// What was found torn, damaged or missing. Only [`ReplayIssue::TornTail`] is expected, after a crash in the middle of
/// a write that was not acknowledged yet.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReplayIssue {
    #[error("cut {bytes} bytes of an unfinished write at offset {offset} of {segment}", segment = segment.display())]
    TornTail { segment: PathBuf, offset: u64, bytes: u64 },
    #[error(
        "skipped a damaged record of block {block}, {bytes} bytes at offset {offset} of {segment}",
        segment = segment.display()
    )]
    DamagedRecord { segment: PathBuf, offset: u64, bytes: u64, block: BlockId },
    #[error("skipped {bytes} damaged bytes at offset {offset} of {segment}", segment = segment.display())]
    DamagedRegion { segment: PathBuf, offset: u64, bytes: u64 },
    #[error("skipped all {bytes} bytes of {segment}: its header is damaged", segment = segment.display())]
    UnreadableSegment { segment: PathBuf, bytes: u64 },
    #[error("{segment} has {bytes} bytes where {expected_bytes} were acknowledged", segment = segment.display())]
    ShortSegment { segment: PathBuf, expected_bytes: u64, bytes: u64 },
    /// At least the last of these was there and is not any more.
    #[error("write-ahead log segments {first} to {last} are missing")]
    MissingSegments { first: u64, last: u64 },
    #[error("skipped the rest of {segment}: it could not be read", segment = segment.display())]
    Read {
        segment: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
}

impl ReplayIssue {
    /// A word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            ReplayIssue::TornTail { segment: _, offset: _, bytes: _ } => "torn_tail",
            ReplayIssue::DamagedRecord { segment: _, offset: _, bytes: _, block: _ } => "damaged_record",
            ReplayIssue::DamagedRegion { segment: _, offset: _, bytes: _ } => "damaged_region",
            ReplayIssue::UnreadableSegment { segment: _, bytes: _ } => "unreadable_segment",
            ReplayIssue::ShortSegment { segment: _, expected_bytes: _, bytes: _ } => "short_segment",
            ReplayIssue::MissingSegments { first: _, last: _ } => "missing_segments",
            ReplayIssue::Read { segment: _, source: _ } => "read",
        }
    }

    /// Whether acknowledged records may be lost.
    pub fn is_loss(&self) -> bool {
        !matches!(self, ReplayIssue::TornTail { .. })
    }
}

/// A place in the log; ordered as records were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A bounded list of issues.
#[derive(Debug, Default)]
pub(crate) struct Issues {
    kept: VecDeque<ReplayIssue>,
    more: u64,
}

impl Issues {
    pub(crate) fn push(&mut self, issue: ReplayIssue) {
        if self.kept.len() < MAX_ISSUES {
            self.kept.push_back(issue);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn append(&mut self, later: Issues) {
        self.more += later.more;
        for issue in later.kept {
            self.push(issue);
        }
    }
}

#[derive(Debug)]
pub(crate) struct ReplaySegment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    pub(crate) end: u64,
}

/// What there is to replay.
#[derive(Debug)]
pub(crate) struct ReplayPlan {
    /// Those with unreleased blocks, oldest first.
    pub(crate) segments: Vec<ReplaySegment>,
    pub(crate) releases: HashMap<BlockId, Position>,
    pub(crate) issues: Issues,
}

/// What a replay did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Segments that have something to replay.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    pub records: u64,
    /// Before compression.
    pub payload_bytes: u64,
    /// Records of blocks that were released meanwhile or before.
    pub released_records: u64,
    /// Issues yielded, and those beyond what is kept.
    pub issues: u64,
}

/// Yields the surviving, unreleased records in order, and what was found wrong on the way. Records stay in their
/// segments until their block is released. Blocks may be released while this runs; their remaining records are skipped.
pub struct Recovery {
    filesystem: Arc<dyn Filesystem>,
    retention: Arc<Mutex<Retention>>,
    metrics: Metrics,
    segments: VecDeque<ReplaySegment>,
    last_segment: u64,
    releases: HashMap<BlockId, Position>,
    issues: Issues,
    open: Option<(ReplaySegment, SegmentReader)>,
    delivered: HashSet<BlockId>,
    tenant: Option<TenantId>,
    report: RecoveryReport,
    is_finished: bool,
}

impl Recovery {
    pub(crate) fn new(
        plan: ReplayPlan,
        filesystem: Arc<dyn Filesystem>,
        retention: Arc<Mutex<Retention>>,
        metrics: Metrics,
    ) -> Recovery {
        let ReplayPlan { segments, releases, issues } = plan;
        let report = RecoveryReport {
            segments: segments.len(),
            segment_bytes: segments.iter().map(|segment| segment.end).sum(),
            issues: issues.more,
            ..RecoveryReport::default()
        };
        Recovery {
            filesystem,
            retention,
            metrics,
            last_segment: segments.last().map_or(0, |segment| segment.number),
            segments: segments.into(),
            releases,
            issues,
            open: None,
            delivered: HashSet::new(),
            tenant: None,
            report,
            is_finished: false,
        }
    }

    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }

    fn next_record(&mut self) -> Option<Result<Record, ReplayIssue>> {
        loop {
            let (segment, mut reader) = match self.open.take() {
                Some(open) => open,
                None => match self.open_next()? {
                    Ok(open) => open,
                    Err(issue) => return Some(Err(issue)),
                },
            };
            let step = reader.step();
            let item = match step {
                // Damage between records was reported by the survey.
                Ok(Step::Damaged { offset: _, bytes: _ }) => None,
                Ok(Step::End) => continue,
                Ok(Step::Record { offset, header }) => {
                    self.read_record(&segment, &mut reader, offset, &header)
                }
                Err(error) => Some(Err(read_issue(&segment, error))),
            };
            if let Some(Err(ReplayIssue::Read { .. })) = &item {
                self.retention.lock().mark_damaged(segment.number);
                return item;
            }
            self.open = Some((segment, reader));
            if item.is_some() {
                return item;
            }
        }
    }

    fn open_next(&mut self) -> Option<Result<(ReplaySegment, SegmentReader), ReplayIssue>> {
        loop {
            let segment = self.segments.pop_front()?;
            if !self.retention.lock().has_live_blocks(segment.number) {
                continue;
            }
            return match self.filesystem.open(&segment.path) {
                Ok(file) => {
                    let reader = SegmentReader::new(file, segment.salt, segment.end);
                    Some(Ok((segment, reader)))
                }
                Err(error) => {
                    self.retention.lock().mark_damaged(segment.number);
                    Some(Err(read_issue(&segment, error)))
                }
            };
        }
    }

    /// The record at this offset, `None` if it is not wanted.
    fn read_record(
        &mut self,
        segment: &ReplaySegment,
        reader: &mut SegmentReader,
        offset: u64,
        header: &RecordHeader,
    ) -> Option<Result<Record, ReplayIssue>> {
        let Kind::Data { block } = header.kind else { return None };
        let position = Position { segment: segment.number, offset };
        let was_released = self.releases.get(&block).is_some_and(|release| position < *release);
        if was_released || !self.retention.lock().is_live(segment.number, block) {
            self.report.released_records += 1;
            return None;
        }
        let body = match reader.body(offset, header) {
            Ok(body) => body.and_then(|body| header.decode_body(body)),
            Err(error) => return Some(Err(read_issue(segment, error))),
        };
        let record = body.and_then(|(tenant, payload)| Some((self.tenant_id(tenant)?, payload)));
        let Some((tenant, payload)) = record else {
            self.retention.lock().mark_damaged(segment.number);
            let bytes = header.record_bytes();
            return Some(Err(ReplayIssue::DamagedRecord {
                segment: segment.path.clone(),
                offset,
                bytes,
                block,
            }));
        };
        self.delivered.insert(block);
        self.report.records += 1;
        self.report.payload_bytes += payload.len() as u64;
        self.metrics.replayed(payload.len());
        Some(Ok(Record { block, tenant, payload }))
    }

    /// Neighbouring records mostly have the same tenant.
    fn tenant_id(&mut self, text: &str) -> Option<TenantId> {
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| tenant.as_str() == text) {
            return Some(tenant.clone());
        }
        let tenant = TenantId::parse(text).ok()?;
        self.tenant = Some(tenant.clone());
        Some(tenant)
    }

    fn finish(&mut self) {
        if !mem::replace(&mut self.is_finished, true) {
            self.retention.lock().forget_undelivered(self.last_segment, &self.delivered);
        }
    }
}

impl Iterator for Recovery {
    type Item = Result<Record, ReplayIssue>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.issues.kept.pop_front() {
            Some(issue) => Some(Err(issue)),
            None => self.next_record(),
        };
        match &item {
            Some(Ok(_)) => {}
            Some(Err(issue)) => {
                self.report.issues += 1;
                self.metrics.replay_issue(issue);
            }
            None => self.finish(),
        }
        item
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("report", &self.report).finish_non_exhaustive()
    }
}

fn read_issue(segment: &ReplaySegment, error: io::Error) -> ReplayIssue {
    ReplayIssue::Read { segment: segment.path.clone(), source: Arc::new(error) }
}
