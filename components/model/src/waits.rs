//! Where this process waits for itself: time spent in front of our own queues and locks, by call site.
//!
//! Components are handed a [`Waits`] and tell it how long they waited; `tempo` shows it as the block and mutex profiles.
//! Measuring is the caller's, because clocks and futures are:
//!
//! ```text
//! let asked = Instant::now();
//! let slot = semaphore.acquire().await;
//! waits.observe(WaitKind::Queue, "ingester: slot of an encoder", asked.elapsed());
//! ```
//!
//! Recording is a look into a small map under a shared lock and two atomic adds; what was free at once costs neither.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

/// Shorter than this is the price of asking, not a wait: taking a free lock or permit costs a tenth of it.
const SHORTEST_WAIT: Duration = Duration::from_micros(1);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitKind {
    /// A place, a turn, or the end of work that others do.
    Queue,
    Lock,
}

/// The waits of one process since its start. Clones share them.
#[derive(Clone, Default)]
pub struct Waits(Arc<RwLock<BTreeMap<Site, Totals>>>);

type Site = (WaitKind, &'static str, &'static str, u32);

#[derive(Default)]
struct Totals {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// The totals of one place in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTotal {
    pub kind: WaitKind,
    pub name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub count: u64,
    pub waited: Duration,
}

impl Waits {
    /// The caller has waited so long for what `name` says. A wait that was given up is not seen.
    #[track_caller]
    pub fn observe(&self, kind: WaitKind, name: &'static str, waited: Duration) {
        if waited < SHORTEST_WAIT {
            return;
        }
        let location = Location::caller();
        let site = (kind, name, location.file(), location.line());
        if let Some(totals) = self.0.read().get(&site) {
            totals.add(waited);
            return;
        }
        self.0.write().entry(site).or_default().add(waited);
    }

    pub fn totals(&self, wanted: WaitKind) -> Vec<WaitTotal> {
        let sites = self.0.read();
        sites
            .iter()
            .filter(|((kind, ..), _)| *kind == wanted)
            .map(|(&(kind, name, file, line), totals)| WaitTotal {
                kind,
                name,
                file,
                line,
                count: totals.count.load(Ordering::Relaxed),
                waited: Duration::from_nanos(totals.nanos.load(Ordering::Relaxed)),
            })
            .collect()
    }
}

impl Totals {
    fn add(&self, waited: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").field("sites", &self.0.read().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_summed_by_kind_name_and_place() {
        let waits = Waits::default();
        for millis in [10, 20] {
            waits.clone().observe(WaitKind::Queue, "a queue", Duration::from_millis(millis));
        }
        waits.observe(WaitKind::Queue, "a queue", Duration::from_millis(5));
        waits.observe(WaitKind::Lock, "a lock", Duration::from_millis(1));

        let queues = waits.totals(WaitKind::Queue);
        let locks = waits.totals(WaitKind::Lock);

        let seen: Vec<_> = queues.iter().map(|total| (total.name, total.count, total.waited)).collect();
        assert_eq!(
            seen,
            [("a queue", 2, Duration::from_millis(30)), ("a queue", 1, Duration::from_millis(5))]
        );
        assert!(queues[0].file.ends_with("waits.rs") && queues[0].line < queues[1].line, "{queues:?}");
        assert_eq!((locks.len(), locks[0].name), (1, "a lock"));
    }

    #[test]
    fn what_was_free_at_once_is_no_wait() {
        let waits = Waits::default();

        waits.observe(WaitKind::Lock, "a free lock", Duration::from_nanos(999));

        assert!(waits.totals(WaitKind::Lock).is_empty());
    }
}
