//! The thread that owns the files: takes all that is queued, compresses it, writes it with one call, syncs once,
//! and only then resolves the tickets.
//!
//! After any failure the segment is left behind and its batch fails; the next batch tries a new segment, so a full
//! disk recovers by itself. Nothing is written twice: a record that failed is its sender's to send again. Only the
//! releases of a failed batch are tried once more, without the records: they make room.

use std::{io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tempo_model::BlockId;
use tokio::time::Instant;

use crate::{
    filesystem::{DirectoryLock, Filesystem},
    metrics::{Metrics, Operation},
    queue::{Entry, Queue, Work},
    record::BatchBuffer,
    retention::{RetainedSegment, Retention},
    segment::{ActiveSegment, Link, SEGMENT_HEADER_BYTES, SegmentHeader, aside_path, segment_path},
    wal::AppendError,
};

/// Payload bytes that share one write and one sync at most. 8 MiB compress and write in about 15 ms; more per sync
/// gains no throughput and costs memory and latency.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The buffer is kept between batches up to this size.
const MAX_KEPT_BUFFER_BYTES: usize = 2 * MAX_BATCH_BYTES;

pub(crate) struct WriterOptions {
    pub(crate) dir: PathBuf,
    pub(crate) filesystem: Arc<dyn Filesystem>,
    pub(crate) segment_bytes: u64,
    pub(crate) lock: DirectoryLock,
    pub(crate) tail: Tail,
}

/// Where the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The newest segment that has records, and where they end.
    pub(crate) previous: Link,
    pub(crate) next_number: u64,
}

pub(crate) struct Writer {
    dir: PathBuf,
    filesystem: Arc<dyn Filesystem>,
    segment_bytes: u64,
    queue: Arc<Queue>,
    retention: Arc<Mutex<Retention>>,
    metrics: Metrics,
    active: Option<ActiveSegment>,
    tail: Tail,
    buffer: BatchBuffer,
    /// Offsets of the batch's records in the segment, in order.
    offsets: Vec<u64>,
    _lock: DirectoryLock,
}

impl Writer {
    pub(crate) fn new(
        options: WriterOptions,
        queue: Arc<Queue>,
        retention: Arc<Mutex<Retention>>,
        metrics: Metrics,
    ) -> Writer {
        let WriterOptions { dir, filesystem, segment_bytes, lock, tail } = options;
        Writer {
            dir,
            filesystem,
            segment_bytes,
            queue,
            retention,
            metrics,
            active: None,
            tail,
            buffer: BatchBuffer::default(),
            offsets: Vec::new(),
            _lock: lock,
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut batch = Vec::new();
        let mut releases: Vec<Entry> = Vec::new();
        self.report_disk();
        while let Some(cost) = self.queue.take(&mut batch, MAX_BATCH_BYTES) {
            let result = self.commit(&batch);
            // Before the tickets: who sees one resolve may use its room.
            self.metrics.set_pending(self.queue.finish(cost));
            let has_records = batch.iter().any(|entry| matches!(entry.work, Work::Append(_)));
            for entry in batch.drain(..) {
                match entry.work {
                    // A receiver that is gone does not want to know.
                    Work::Append(_) => drop(entry.done.send(result.clone())),
                    Work::Release(_) => releases.push(entry),
                }
            }
            let result = match result {
                // A full disk takes these few bytes sooner than the records, and they are what makes room on it.
                Err(_) if has_records && !releases.is_empty() => self.commit(&releases),
                result => result,
            };
            if result.is_ok() {
                self.trim();
            }
            for Entry { work: _, done } in releases.drain(..) {
                drop(done.send(result.clone()));
            }
            self.report_disk();
        }
    }

    /// Makes the batch durable, all of it or nothing that counts.
    fn commit(&mut self, batch: &[Entry]) -> Result<(), AppendError> {
        let active = self.ready_segment()?;
        self.buffer.begin(active.salt, active.end);
        self.offsets.clear();
        let (mut records, mut payload_bytes) = (0, 0);
        for entry in batch {
            let offset = match &entry.work {
                Work::Append(record) => {
                    records += 1;
                    payload_bytes += record.payload.len();
                    self.buffer.push_data(record)
                }
                Work::Release(block) => self.buffer.push_release(*block),
            };
            self.offsets.push(offset);
        }
        let started = Instant::now();
        let written = self.write_buffer(active)?;
        self.metrics.committed(records, payload_bytes, written, started.elapsed());
        let mut retention = self.retention.lock();
        for (entry, offset) in batch.iter().zip(&self.offsets) {
            match &entry.work {
                Work::Append(record) => retention.appended(record.block, *offset),
                Work::Release(block) => retention.release(*block),
            }
        }
        Ok(())
    }

    /// Appends the buffer to the segment and syncs it. On failure the segment is left behind.
    fn write_buffer(&mut self, mut active: ActiveSegment) -> Result<usize, AppendError> {
        let bytes = self.buffer.as_slice();
        let result = match active.file.append(bytes) {
            Ok(()) => active.file.sync().map_err(|error| (Operation::Sync, error)),
            Err(error) => Err((Operation::Write, error)),
        };
        let written = bytes.len();
        self.buffer.shrink_to(MAX_KEPT_BUFFER_BYTES);
        match result {
            Ok(()) => {
                active.end += written as u64;
                self.retention.lock().set_newest_bytes(active.end);
                self.active = Some(active);
                Ok(written)
            }
            Err((operation, error)) => {
                let path = active.path.clone();
                self.abandon(active);
                Err(self.failure(operation, path, error))
            }
        }
    }

    /// Takes the segment for the next write: the active one, or a new one if there is none or it is full.
    fn ready_segment(&mut self) -> Result<ActiveSegment, AppendError> {
        match self.active.take() {
            Some(active) if active.end < self.segment_bytes => Ok(active),
            Some(full) => {
                self.tail.previous = Link { number: full.number, end: full.end };
                drop(full);
                self.create_segment()
            }
            None => self.create_segment(),
        }
    }

    fn create_segment(&mut self) -> Result<ActiveSegment, AppendError> {
        let number = self.tail.next_number;
        self.tail.next_number += 1;
        let header = SegmentHeader { number, salt: random_salt(), previous: self.tail.previous };
        let created = ActiveSegment::create(self.filesystem.as_ref(), &self.dir, header);
        let active = created
            .map_err(|error| self.failure(Operation::Create, segment_path(&self.dir, number), error))?;
        self.retention.lock().add_segment(number, active.path.clone(), SEGMENT_HEADER_BYTES);
        Ok(active)
    }

    /// Leaves a segment after a failure. What was acknowledged in it ends at `active.end`, which the next segment's
    /// header will say; cutting the rest off only gives the space back.
    fn abandon(&mut self, mut active: ActiveSegment) {
        if active.has_records() {
            self.tail.previous = Link { number: active.number, end: active.end };
            active.file.set_size(active.end).ok();
        } else {
            self.retention.lock().drop_newest(active.number);
            self.filesystem.remove(&active.path).ok();
        }
    }

    /// Deletes the oldest segments that nobody needs, after a trim record that says so. Failures here cost disk
    /// space until the next attempt, and never data.
    fn trim(&mut self) {
        if self.retention.lock().is_all_released()
            && let Some(active) = self.active.take()
        {
            // Nothing in the active segment is needed either: go on in a new one, so that it goes too.
            self.tail.previous = Link { number: active.number, end: active.end };
            drop(active);
            match self.create_segment() {
                Ok(active) => self.active = Some(active),
                Err(_logged) => return,
            }
        }
        let Some(active) = self.active.take() else { return };
        let number = active.number;
        let Some(oldest_needed) = self.retention.lock().oldest_needed(number) else {
            self.active = Some(active);
            return;
        };
        self.buffer.begin(active.salt, active.end);
        self.buffer.push_trim(oldest_needed);
        if self.write_buffer(active).is_err() {
            return;
        }
        let released = self.retention.lock().take_released(oldest_needed);
        for segment in released {
            self.remove_segment(&segment);
        }
    }

    fn remove_segment(&self, segment: &RetainedSegment) {
        let result = if segment.is_damaged {
            let aside = aside_path(&segment.path, "damaged");
            tracing::warn!(path = %aside.display(), "set damaged write-ahead log segment aside");
            self.filesystem.rename(&segment.path, &aside).and_then(|()| self.filesystem.sync_dir(&self.dir))
        } else {
            self.filesystem.remove(&segment.path)
        };
        if let Err(error) = result {
            self.metrics.failed(Operation::Remove);
            // The trim record is durable: the file is ignored, and removed at the next start.
            tracing::warn!(path = %segment.path.display(), %error, "could not remove write-ahead log segment");
        }
    }

    fn failure(&self, operation: Operation, path: PathBuf, error: io::Error) -> AppendError {
        self.metrics.failed(operation);
        tracing::error!(operation = operation.as_str(), path = %path.display(), %error,
            "write-ahead log failed, moving to a new segment");
        AppendError::Io { operation: operation.as_str(), path, source: Arc::new(error) }
    }

    fn report_disk(&self) {
        let retention = self.retention.lock();
        self.metrics.set_disk(retention.segment_count(), retention.disk_bytes());
    }
}

/// The 122 random bits of a version 4 UUID, folded into 64.
fn random_salt() -> u64 {
    let bits = u128::from_le_bytes(*BlockId::random().as_bytes());
    let [low, high] = [bits, bits >> 64].map(|half| half & u128::from(u64::MAX));
    u64::try_from(low ^ high).unwrap_or_default()
}
