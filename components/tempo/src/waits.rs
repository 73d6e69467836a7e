//! Where this process waits for itself: time spent in front of our own queues and locks, by call site.
//! `/debug/pprof/block` shows queues (a place in a semaphore, an answer from the component behind a bounded queue),
//! `/debug/pprof/mutex` shows locks.
//!
//! A site is registered once and kept; recording is two atomic adds, and only when the future was not ready at once.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    panic::Location,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    Queue,
    Lock,
}

/// Clones share one registry.
#[derive(Clone, Default)]
pub struct Waits(Arc<Mutex<BTreeMap<Key, Arc<Counters>>>>);

type Key = (WaitKind, &'static str, &'static str, u32);

#[derive(Default)]
struct Counters {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// One place that waits.
#[derive(Clone)]
pub struct WaitSite(Arc<Counters>);

/// The totals of one place since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitSnapshot {
    pub kind: WaitKind,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub count: u64,
    pub waited: Duration,
}

impl Waits {
    /// The site `name` at the caller's place in the code.
    #[track_caller]
    pub fn site(&self, kind: WaitKind, name: &'static str) -> WaitSite {
        let location = Location::caller();
        let mut sites = self.0.lock();
        let counters = sites.entry((kind, name, location.file(), location.line())).or_default();
        WaitSite(Arc::clone(counters))
    }

    pub fn snapshot(&self, wanted: WaitKind) -> Vec<WaitSnapshot> {
        let sites = self.0.lock();
        sites
            .iter()
            .filter(|((kind, ..), _)| *kind == wanted)
            .map(|(&(kind, name, file, line), counters)| WaitSnapshot {
                kind,
                name,
                file,
                line,
                count: counters.count.load(Ordering::Relaxed),
                waited: Duration::from_nanos(counters.nanos.load(Ordering::Relaxed)),
            })
            .collect()
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").field("sites", &self.0.lock().len()).finish()
    }
}

impl WaitSite {
    /// Runs `future`; if it was not ready at once, counts the wait. A wait that is given up counts too.
    pub async fn time<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let first = std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        });
        if let Some(output) = first.await {
            return output;
        }
        let _timer = Timer { site: self, start: Instant::now() };
        future.await
    }

    /// Locks `mutex`; if somebody else held it, counts the wait.
    pub fn lock<'m, T>(&self, mutex: &'m Mutex<T>) -> MutexGuard<'m, T> {
        if let Some(guard) = mutex.try_lock() {
            return guard;
        }
        let _timer = Timer { site: self, start: Instant::now() };
        mutex.lock()
    }

    fn record(&self, waited: Duration) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.nanos.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl fmt::Debug for WaitSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitSite").field("count", &self.0.count.load(Ordering::Relaxed)).finish()
    }
}

struct Timer<'a> {
    site: &'a WaitSite,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.site.record(self.start.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waits_that_happened_are_counted() {
        let waits = Waits::default();
        let site = waits.site(WaitKind::Queue, "test queue");

        site.time(std::future::ready(())).await;
        site.time(tokio::time::sleep(Duration::from_millis(30))).await;

        let seen = waits.snapshot(WaitKind::Queue);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].name, seen[0].count), ("test queue", 1));
        assert!(seen[0].waited >= Duration::from_millis(30), "{:?}", seen[0].waited);
        assert!(waits.snapshot(WaitKind::Lock).is_empty());
    }
}
