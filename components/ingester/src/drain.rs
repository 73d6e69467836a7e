//! Emptying this ingester for good: what whoever wants to remove it (scale-down, deletion) does first.
//!
//! A drain refuses pushes, flushes everything and keeps serving reads; the process stays alive, so that it can be asked
//! whether anything is left. It is a file, `<wal>/draining`, synced before the drain is acknowledged: a process that is
//! killed and started again on the same volume takes no pushes and goes on draining. So once a drain is
//! [`DrainPhase::Drained`] the volume stays empty until somebody takes the drain back, which removes the file.
//!
//! What counts as left is what the WAL still holds and what is on its way to the backend; a quarantined block keeps its
//! WAL records and therefore counts. Segments that were set aside because they were damaged are counted too: they are for
//! a human, and no flush will ever empty them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tracing::info;

use crate::{flush::FlushError, open::Ingester};

const MARKER: &str = "draining";
const DAMAGED_SUFFIX: &str = ".wal.damaged";

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DrainPhase {
    /// No drain: pushes are taken.
    Serving,
    Flushing,
    /// Nothing is left, and nothing comes.
    Drained,
}

/// The answer of `GET /ingester/v1/drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainState {
    pub phase: DrainPhase,
    /// Blocks with spans that are not in the backend, the one that pushes go into included.
    pub unflushed_blocks: usize,
    /// Those of them that no further try will flush.
    pub quarantined_blocks: u64,
    /// Files of the WAL that were set aside at a start because they were damaged.
    pub damaged_segments: usize,
    /// Why the last try to flush a block failed, until one succeeds.
    pub last_error: Option<String>,
    /// Drained, and nothing damaged is kept here: the volume can go.
    pub safe_to_terminate: bool,
}

/// Why a drain could not be begun or taken back. It is then as it was before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    #[error("write the drain marker {0}")]
    Write(PathBuf, #[source] io::Error),
    #[error("remove the drain marker {0}")]
    Remove(PathBuf, #[source] io::Error),
    #[error("change the drain marker")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Whether this ingester is being drained.
#[derive(Debug)]
pub(crate) struct Drain {
    dir: PathBuf,
    is_on: watch::Sender<bool>,
    last_error: Mutex<Option<String>>,
    /// One change of the marker at a time.
    changing: Arc<Mutex<()>>,
}

pub(crate) fn marker(wal_dir: &Path) -> PathBuf {
    wal_dir.join(MARKER)
}

impl Drain {
    /// Goes on with the drain that an earlier process began.
    pub(crate) fn open(wal_dir: &Path) -> io::Result<Drain> {
        let is_on = fs::exists(marker(wal_dir))?;
        if is_on {
            info!("found a drain under way: pushes are refused");
        }
        Ok(Drain {
            dir: wal_dir.to_owned(),
            is_on: watch::Sender::new(is_on),
            last_error: Mutex::default(),
            changing: Arc::default(),
        })
    }

    pub(crate) fn is_on(&self) -> bool {
        *self.is_on.borrow()
    }

    pub(crate) fn flush_failed(&self, error: String) {
        *self.last_error.lock() = Some(error);
    }

    pub(crate) fn flush_succeeded(&self) {
        *self.last_error.lock() = None;
    }

    /// Changes the marker whatever it seems to be: what asks for it again may be what was asked before and got lost.
    async fn set(&self, is_on: bool) -> Result<(), DrainError> {
        let (dir, state, changing) = (self.dir.clone(), self.is_on.clone(), Arc::clone(&self.changing));
        // File and state in one piece of work that goes on when whoever asked for it goes away: a marker that nobody
        // knows of would refuse all pushes after the next start.
        let changed = tokio::task::spawn_blocking(move || {
            let _turn = changing.lock();
            let was_on = *state.borrow();
            let changed = change_marker(&dir, is_on);
            if changed.is_ok() {
                state.send_replace(is_on);
            } else if is_on && !was_on {
                fs::remove_file(marker(&dir)).ok();
            }
            changed
        });
        changed.await.map_err(DrainError::Interrupted)?
    }
}

fn change_marker(dir: &Path, is_on: bool) -> Result<(), DrainError> {
    let path = marker(dir);
    let changed = || {
        if is_on {
            File::create(&path)?.sync_all()?;
        } else {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        File::open(dir)?.sync_all()
    };
    let failed = |error| {
        if is_on { DrainError::Write(path.clone(), error) } else { DrainError::Remove(path.clone(), error) }
    };
    changed().map_err(failed)
}

/// How many segments were set aside; a directory that cannot be read has at least one thing to look at.
fn damaged_segments(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 1 };
    let is_damaged = |name: std::ffi::OsString| name.to_string_lossy().ends_with(DAMAGED_SUFFIX);
    entries.filter(|entry| entry.as_ref().map_or(true, |entry| is_damaged(entry.file_name()))).count()
}

impl Ingester {
    /// True while this ingester is being drained.
    pub fn watch_drain(&self) -> watch::Receiver<bool> {
        self.shared.drain.is_on.subscribe()
    }

    /// Refuses pushes from now on, also after a restart, and flushes everything in the background.
    pub(crate) async fn begin_drain(&self) -> Result<(), DrainError> {
        self.shared.drain.set(true).await?;
        info!("draining: pushes are refused");
        match self.flush(None, false).await {
            // Neither can come of a flush of all tenants that nobody waits for.
            Ok(_) | Err(FlushError::UnknownTenant(_) | FlushError::Stopped) => Ok(()),
        }
    }

    /// Takes pushes again.
    pub(crate) async fn cancel_drain(&self) -> Result<(), DrainError> {
        self.shared.drain.set(false).await?;
        info!("the drain was taken back: pushes are taken");
        Ok(())
    }

    /// Says whether anything is left here. In a drain this only gets less.
    pub async fn drain_state(&self) -> DrainState {
        let shared = &self.shared;
        let is_on = shared.drain.is_on();
        let mut left = shared.wal.unreleased_blocks();
        for instance in shared.all_instances() {
            // A push that began before the drain has left its spans in the head when it gives the order back.
            let order = shared.order(&instance).await;
            left.extend(instance.unflushed_wal_blocks());
            drop(order);
        }
        let dir = shared.drain.dir.clone();
        let damaged = tokio::task::spawn_blocking(move || damaged_segments(&dir)).await.unwrap_or(1);
        let phase = match (is_on, left.is_empty()) {
            (false, _) => DrainPhase::Serving,
            (true, false) => DrainPhase::Flushing,
            (true, true) => DrainPhase::Drained,
        };
        DrainState {
            phase,
            unflushed_blocks: left.len(),
            quarantined_blocks: shared.metrics.quarantined_blocks(),
            damaged_segments: damaged,
            last_error: shared.drain.last_error.lock().clone(),
            safe_to_terminate: phase == DrainPhase::Drained && damaged == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taking_a_drain_back_removes_a_marker_that_nobody_knew_of() {
        let dir = tempfile::tempdir().unwrap();
        let drain = Drain::open(dir.path()).unwrap();
        fs::write(marker(dir.path()), "").unwrap();

        drain.set(false).await.unwrap();

        assert!(!drain.is_on());
        assert!(!Drain::open(dir.path()).unwrap().is_on());
    }

    #[tokio::test]
    async fn draining_again_writes_a_marker_that_got_lost() {
        let dir = tempfile::tempdir().unwrap();
        let drain = Drain::open(dir.path()).unwrap();
        drain.set(true).await.unwrap();
        fs::remove_file(marker(dir.path())).unwrap();

        drain.set(true).await.unwrap();

        assert!(Drain::open(dir.path()).unwrap().is_on());
    }

    #[tokio::test]
    async fn a_drain_whose_caller_goes_away_is_begun_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let drain = Drain::open(dir.path()).unwrap();
        let mut is_on = drain.is_on.subscribe();

        assert!(futures::poll!(Box::pin(drain.set(true))).is_pending());

        is_on.wait_for(|is_on| *is_on).await.unwrap();
        assert!(Drain::open(dir.path()).unwrap().is_on());
    }

    #[tokio::test]
    async fn a_drain_that_could_not_be_written_down_is_not_begun() {
        let dir = tempfile::tempdir().unwrap();
        let drain = Drain::open(&dir.path().join("absent")).unwrap();

        drain.set(true).await.unwrap_err();

        assert!(!drain.is_on());
    }
}
