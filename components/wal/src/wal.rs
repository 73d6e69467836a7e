//! The log as its users see it: append, wait for the ticket, release.
//!
//! [`Wal`] only enqueues; the thread in `writer.rs` owns the files. The order of records is the order of `append`
//! calls, whatever happens between a call and its ticket.

use std::{collections::HashSet, fmt, io, path::PathBuf, sync::Arc, thread};

use bytes::Bytes;
use parking_lot::Mutex;
use tempo_model::{BlockId, TenantId};
use tokio::sync::{oneshot, watch};

use crate::{
    filesystem::{Filesystem, LocalFilesystem},
    metrics::Metrics,
    queue::{Entry, Queue, Work},
    record::MAX_PAYLOAD_BYTES,
    replay::Recovery,
    retention::Retention,
    survey::{OpenError, Survey},
    writer::{Writer, WriterOptions},
};

const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
const DEFAULT_MAX_PENDING_BYTES: usize = 64 << 20;

/// How to open a log.
#[derive(Debug, Clone)]
pub struct WalOptions {
    pub dir: PathBuf,
    pub filesystem: Arc<dyn Filesystem>,
    /// A segment that has this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// Payload bytes that may wait for the disk before [`AppendError::Full`].
    pub max_pending_bytes: usize,
}

impl WalOptions {
    /// The defaults, on the machine's own file system.
    pub fn new(dir: impl Into<PathBuf>) -> WalOptions {
        WalOptions {
            dir: dir.into(),
            filesystem: Arc::new(LocalFilesystem),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_pending_bytes: DEFAULT_MAX_PENDING_BYTES,
        }
    }
}

/// What is logged: bytes of a tenant that will become part of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub block: BlockId,
    pub tenant: TenantId,
    pub payload: Bytes,
}

/// Why a record or a release is not in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is behind; the same call may succeed a moment later.
    #[error("write-ahead log is behind: {pending_bytes} bytes wait for the disk, limit {limit_bytes}; retry")]
    Full { pending_bytes: usize, limit_bytes: usize },
    #[error("record of {bytes} bytes is larger than the write-ahead log takes, {limit_bytes}")]
    TooLarge { bytes: usize, limit_bytes: usize },
    #[error("write-ahead log is closed")]
    Closed,
    /// The disk failed or is full. Later calls try again on a new segment.
    #[error("{operation} write-ahead log segment {path}", path = path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
}

/// A record on its way to the disk. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before the ticket says that it is synced"]
pub struct Ticket {
    done: oneshot::Receiver<Result<(), AppendError>>,
}

impl Ticket {
    /// Resolves when the record is on disk, or will never be acknowledged. After an error the record may still
    /// come back after a crash, once.
    pub async fn synced(self) -> Result<(), AppendError> {
        self.done.await.unwrap_or(Err(AppendError::Closed))
    }
}

/// The write-ahead log of one process. Cheap to clone.
///
/// When the last clone is dropped the writer finishes what is queued and lets the directory go; [`Wal::close`] also
/// waits for that.
#[derive(Clone)]
pub struct Wal {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Arc<Queue>,
    retention: Arc<Mutex<Retention>>,
    metrics: Metrics,
    /// Becomes true when the writer has ended and the directory is free.
    ended: watch::Receiver<bool>,
}

impl Wal {
    /// Locks the directory, surveys what is there and starts the writer. Records that survived come from the
    /// [`Recovery`]; new ones may be appended at once and go to a new segment.
    pub fn open(options: WalOptions, metrics: Metrics) -> Result<(Wal, Recovery), OpenError> {
        let WalOptions { dir, filesystem, segment_bytes, max_pending_bytes } = options;
        let survey = Survey::open(Arc::clone(&filesystem), &dir)?;
        metrics.set_damaged_segments(survey.damaged_files);
        let queue = Arc::new(Queue::new(max_pending_bytes));
        let retention = Arc::new(Mutex::new(Retention::new(survey.retained)));
        let recovery =
            Recovery::new(survey.replay, Arc::clone(&filesystem), Arc::clone(&retention), metrics.clone());
        let (ended, has_ended) = watch::channel(false);
        let writer = Writer::new(
            WriterOptions {
                dir: dir.clone(),
                filesystem,
                segment_bytes,
                lock: survey.lock,
                tail: survey.tail,
            },
            Arc::clone(&queue),
            Arc::clone(&retention),
            metrics.clone(),
        );
        let guard = EndGuard { queue: Arc::clone(&queue), ended };
        thread::Builder::new()
            .name("wal-writer".to_owned())
            .spawn(move || {
                let _guard = guard;
                writer.run();
            })
            .map_err(|source| OpenError::Io { operation: "start the writer of", path: dir, source })?;
        let inner = Inner { queue, retention, metrics, ended: has_ended };
        Ok((Wal { inner: Arc::new(inner) }, recovery))
    }

    /// Enqueues in call order and returns at once: may be called under a lock. The ticket resolves when the record
    /// is on disk.
    pub fn append(&self, record: Record) -> Result<Ticket, AppendError> {
        let bytes = record.payload.len();
        let result = if bytes > MAX_PAYLOAD_BYTES {
            Err(AppendError::TooLarge { bytes, limit_bytes: MAX_PAYLOAD_BYTES })
        } else {
            self.enqueue(Work::Append(record))
        };
        result.inspect_err(|error| self.inner.metrics.rejected(error))
    }

    /// Everything of this block that was appended before is durable elsewhere: forget it. Returns when that is on
    /// disk and segments that nobody needs any more are deleted. After an error the block is not released: try again.
    pub async fn release(&self, block: BlockId) -> Result<(), AppendError> {
        self.enqueue(Work::Release(block))?.synced().await
    }

    /// Bytes in all segment files, those that only wait for an older one to go included.
    pub fn disk_bytes(&self) -> u64 {
        self.inner.retention.lock().disk_bytes()
    }

    /// The block that must be released before the oldest segment can go.
    pub fn oldest_block(&self) -> Option<BlockId> {
        self.inner.retention.lock().oldest_block()
    }

    /// All blocks that must be released before the oldest segment can go, in no order.
    pub fn oldest_blocks(&self) -> Vec<BlockId> {
        self.inner.retention.lock().oldest_blocks()
    }

    /// All blocks with records that are on disk and were not released.
    pub fn unreleased_blocks(&self) -> HashSet<BlockId> {
        self.inner.retention.lock().unreleased_blocks()
    }

    /// Refuses new work, finishes what is queued and frees the directory.
    pub async fn close(self) {
        self.inner.queue.close();
        let mut ended = self.inner.ended.clone();
        // The sender lives in the writer thread's guard: gone means ended.
        ended.wait_for(|ended| *ended).await.map(|_| ()).unwrap_or_default();
    }

    fn enqueue(&self, work: Work) -> Result<Ticket, AppendError> {
        let (sender, done) = oneshot::channel();
        let pending = self.inner.queue.push(Entry { work, done: sender })?;
        self.inner.metrics.set_pending(pending);
        Ok(Ticket { done })
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("disk_bytes", &self.disk_bytes()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Runs when the writer ends, however it ends: nobody waits for a writer that is gone.
struct EndGuard {
    queue: Arc<Queue>,
    ended: watch::Sender<bool>,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.queue.abort();
        self.ended.send_replace(true);
    }
}
