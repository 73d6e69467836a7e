//! A disk as bad as POSIX allows: bytes that were not synced, and names whose directory was not synced, may be lost
//! at a power cut in any combination; the last writes may be torn; a failed sync loses its bytes for good although
//! they can still be read until then (as on Linux); space runs out in the middle of a write.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tempo_wal::{DirectoryLock, Filesystem, LogFile};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Append,
    Sync,
    SyncDir,
    Remove,
    Read,
}

/// What a power cut may do to bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tear {
    /// A prefix of them arrives.
    Prefix,
    /// Any sectors of them arrive, zeros in the others.
    Holes,
}

/// The disk; survives the machines that [`FakeDisk::boot`] starts on it, one at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    files: HashMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    locked: HashSet<PathBuf>,
    capacity: Option<usize>,
    faults: Vec<(Operation, io::ErrorKind)>,
    holds_syncs: bool,
    held_syncs: usize,
    syncs: usize,
}

#[derive(Debug, Default)]
struct Content {
    current: Vec<u8>,
    durable: Vec<u8>,
    /// Readable now, never durable: a sync of them failed.
    lost: Vec<std::ops::Range<usize>>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl FakeDisk {
    /// A machine that uses the disk until its power is cut.
    pub(crate) fn boot(&self) -> Arc<dyn Filesystem> {
        Arc::new(Machine { disk: self.clone(), epoch: self.state().epoch })
    }

    /// The machine loses its power: only what was synced is certain to be there afterwards.
    pub(crate) fn cut_power(&self, seed: u64, tear: Tear) {
        let mut random = Random(seed);
        let mut state = self.stop();
        for change in std::mem::take(&mut state.pending_names) {
            if random.below(2) == 0 {
                apply(&mut state.durable_names, &change);
            }
        }
        state.names = state.durable_names.clone();
        for content in state.files.values_mut() {
            content.lose_unsynced(&mut random, tear);
        }
    }

    /// The process is killed: what it wrote stays, synced or not.
    pub(crate) fn kill_process(&self) {
        drop(self.stop());
    }

    /// Lets the next operation of this kind fail.
    pub(crate) fn fail_next(&self, operation: Operation, kind: io::ErrorKind) {
        self.state().faults.push((operation, kind));
    }

    /// Takes back what [`FakeDisk::fail_next`] ordered and did not happen yet.
    pub(crate) fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Leaves room for this many more bytes.
    pub(crate) fn limit_free_bytes(&self, free: Option<usize>) {
        let mut state = self.state();
        let used = state.used();
        state.capacity = free.map(|free| used + free);
    }

    /// While on, syncs wait: what was written stays in the air.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.state().holds_syncs = hold;
        self.0.changed.notify_all();
    }

    /// Waits until a sync is held.
    pub(crate) fn wait_for_held_sync(&self) {
        let mut state = self.state();
        while state.held_syncs == 0 {
            self.0.changed.wait(&mut state);
        }
    }

    pub(crate) fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// Names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.state().names.keys().map(name).collect()
    }

    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[path]].current.clone()
    }

    /// Puts a file there as if it had always been, or replaces its content.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.next_file;
        state.next_file += 1;
        state
            .files
            .insert(id, Content { current: bytes.to_vec(), durable: bytes.to_vec(), lost: Vec::new() });
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    pub(crate) fn remove(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    fn stop(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.epoch += 1;
        state.locked.clear();
        state.faults.clear();
        state.holds_syncs = false;
        self.0.changed.notify_all();
        state
    }
}

impl State {
    fn used(&self) -> usize {
        self.names.values().map(|id| self.files[id].current.len()).sum()
    }

    fn change_name(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.pending_names.push(change);
    }
}

impl Content {
    fn sync(&mut self) {
        self.durable = self.current.clone();
        for lost in &self.lost {
            if let Some(bytes) = self.durable.get_mut(lost.clone()) {
                bytes.fill(0);
            }
        }
    }

    fn fail_sync(&mut self) {
        let from = self.durable.len().min(self.current.len());
        self.lost.push(from..self.current.len());
    }

    fn lose_unsynced(&mut self, random: &mut Random, tear: Tear) {
        let written = std::mem::take(&mut self.current);
        let synced = self.durable.len();
        if written.len() <= synced {
            // A cut that was not synced happened or not.
            let keep = if random.below(2) == 0 { written.len() } else { synced };
            self.durable.truncate(keep);
        } else {
            let arrived = random.below(written.len() - synced + 1);
            self.durable.extend_from_slice(&written[synced..synced + arrived]);
            for lost in &self.lost {
                let end = lost.end.min(self.durable.len());
                if lost.start < end {
                    self.durable[lost.start..end].fill(0);
                }
            }
            if tear == Tear::Holes {
                for sector in self.durable[synced..].chunks_mut(64) {
                    if random.below(3) == 0 {
                        sector.fill(0);
                    }
                }
            }
        }
        self.lost.clear();
        self.current = self.durable.clone();
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Create(path, id) => {
            names.insert(path.clone(), *id);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
    }
}

#[derive(Debug)]
struct Machine {
    disk: FakeDisk,
    epoch: u64,
}

impl Machine {
    fn enter(&self, operation: Option<Operation>) -> io::Result<MutexGuard<'_, State>> {
        enter(&self.disk, self.epoch, operation)
    }

    fn file(&self, id: u64) -> Box<dyn LogFile> {
        Box::new(FakeFile { disk: self.disk.clone(), epoch: self.epoch, id })
    }
}

fn enter(disk: &FakeDisk, epoch: u64, operation: Option<Operation>) -> io::Result<MutexGuard<'_, State>> {
    let mut state = disk.state();
    if state.epoch != epoch {
        return Err(io::Error::other("the machine is off"));
    }
    let fault = operation.and_then(|operation| state.faults.iter().position(|(on, _)| *on == operation));
    match fault {
        // A failed sync has to do something to the file first.
        Some(at) if operation != Some(Operation::Sync) => Err(state.faults.remove(at).1.into()),
        Some(_) | None => Ok(state),
    }
}

impl Filesystem for Machine {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.enter(None).map(|_| ())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.enter(None)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn lock(&self, path: &Path) -> io::Result<DirectoryLock> {
        let mut state = self.enter(None)?;
        if !state.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let lock: Box<dyn Any + Send + Sync> =
            Box::new(FakeLock { disk: self.disk.clone(), epoch: self.epoch, path: path.to_owned() });
        Ok(lock)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut state = self.enter(Some(Operation::Create))?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, Content::default());
        state.change_name(NameChange::Create(path.to_owned(), id));
        Ok(self.file(id))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let state = self.enter(None)?;
        state.names.get(path).map(|id| self.file(*id)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut file = self.open(path)?;
        file.set_size(len)?;
        file.sync()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter(None)?.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(None)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        drop(state);
        state = self.enter(Some(Operation::Remove))?;
        state.change_name(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.enter(Some(Operation::SyncDir))?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

struct FakeLock {
    disk: FakeDisk,
    epoch: u64,
    path: PathBuf,
}

impl Drop for FakeLock {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.epoch == self.epoch {
            state.locked.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    epoch: u64,
    id: u64,
}

impl LogFile for FakeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = enter(&self.disk, self.epoch, Some(Operation::Append))?;
        let free = state.capacity.map_or(usize::MAX, |capacity| capacity.saturating_sub(state.used()));
        let fits = bytes.len().min(free);
        state.files.get_mut(&self.id).unwrap().current.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = enter(&self.disk, self.epoch, Some(Operation::Read))?;
        let content = &state.files[&self.id].current;
        let rest = content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(enter(&self.disk, self.epoch, None)?.files[&self.id].current.len() as u64)
    }

    fn set_size(&mut self, len: u64) -> io::Result<()> {
        let mut state = enter(&self.disk, self.epoch, None)?;
        state.files.get_mut(&self.id).unwrap().current.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = enter(&self.disk, self.epoch, Some(Operation::Sync))?;
        state.held_syncs += 1;
        self.disk.0.changed.notify_all();
        while state.holds_syncs && state.epoch == self.epoch {
            self.disk.0.changed.wait(&mut state);
        }
        state.held_syncs -= 1;
        if state.epoch != self.epoch {
            return Err(io::Error::other("the machine is off"));
        }
        state.syncs += 1;
        let fault = state.faults.iter().position(|(on, _)| *on == Operation::Sync);
        let error = fault.map(|at| state.faults.remove(at).1);
        let content = state.files.get_mut(&self.id).unwrap();
        match error {
            Some(kind) => {
                content.fail_sync();
                Err(kind.into())
            }
            None => {
                content.sync();
                Ok(())
            }
        }
    }
}

/// SplitMix64: deterministic from its seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}
