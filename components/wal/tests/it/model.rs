//! The promise, tested against a disk that breaks every promise it did not make: after any history of appends,
//! releases, disk failures, kills and power cuts, every acknowledged record that was not released comes back exactly
//! once and in order, and nothing of a released block comes back.

use std::{collections::BTreeMap, io};

use proptest::prelude::*;
use tempo_wal::{Recovery, ReplayIssue, Ticket, Wal, WalOptions};

use crate::{
    fake_disk::{FakeDisk, Operation, Tear},
    fixture::{block, id, metrics, options, record},
};

const BLOCKS: u8 = 5;
const SEGMENT_BYTES: u64 = 2_000;

#[derive(Debug, Clone)]
enum Step {
    Append {
        block: u8,
        size: usize,
    },
    /// Waits for all tickets.
    Settle,
    Release {
        block: u8,
    },
    Fail {
        operation: Operation,
        kind: io::ErrorKind,
    },
    /// Lets the disk have this much room, then waits for all tickets, then makes room again.
    FillUp {
        free: usize,
        appends: u8,
        block: u8,
    },
    /// Cuts the power while these appends and this release wait for their sync.
    CutPowerDuringSync {
        appends: u8,
        block: u8,
        release: u8,
        seed: u64,
        tear: Tear,
    },
    CutPower {
        seed: u64,
        tear: Tear,
    },
    Kill,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let tear = || prop_oneof![Just(Tear::Prefix), Just(Tear::Holes)];
    let operation = prop_oneof![
        Just(Operation::Create),
        Just(Operation::Append),
        Just(Operation::Sync),
        Just(Operation::SyncDir),
        Just(Operation::Remove)
    ];
    let kind = prop_oneof![Just(io::ErrorKind::StorageFull), Just(io::ErrorKind::Other)];
    prop_oneof![
        8 => (0..BLOCKS, 0..600_usize).prop_map(|(block, size)| Step::Append { block, size }),
        4 => Just(Step::Settle),
        3 => (0..BLOCKS).prop_map(|block| Step::Release { block }),
        2 => (operation, kind).prop_map(|(operation, kind)| Step::Fail { operation, kind }),
        1 => (0..1500_usize, 1..6_u8, 0..BLOCKS)
            .prop_map(|(free, appends, block)| Step::FillUp { free, appends, block }),
        2 => (1..8_u8, 0..BLOCKS, 0..BLOCKS * 2, any::<u64>(), tear()).prop_map(
            |(appends, block, release, seed, tear)| Step::CutPowerDuringSync { appends, block, release, seed, tear }
        ),
        1 => (any::<u64>(), tear()).prop_map(|(seed, tear)| Step::CutPower { seed, tear }),
        1 => Just(Step::Kill),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not acknowledged: may be there or not.
    Open,
    Acknowledged,
    /// Its block's release failed or was cut off.
    MaybeReleased,
    Released,
}

struct Model {
    disk: FakeDisk,
    wal: Option<Wal>,
    pending: Vec<(u64, Ticket)>,
    /// By id, which is also the order of appends.
    records: BTreeMap<u64, (u8, usize, Fate)>,
    next_id: u64,
    /// Nothing happened that may look like damage.
    is_clean: bool,
}

impl Model {
    fn new() -> Model {
        let mut model = Model {
            disk: FakeDisk::default(),
            wal: None,
            pending: Vec::new(),
            records: BTreeMap::new(),
            next_id: 1,
            is_clean: true,
        };
        model.reopen();
        model
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().unwrap()
    }

    fn append(&mut self, block: u8, size: usize) {
        let id = self.next_id;
        self.next_id += 1;
        let ticket = self.wal().append(record(block, id, size)).unwrap();
        self.records.insert(id, (block, size, Fate::Open));
        self.pending.push((id, ticket));
    }

    async fn settle(&mut self) {
        for (id, ticket) in std::mem::take(&mut self.pending) {
            let fate = &mut self.records.get_mut(&id).unwrap().2;
            if ticket.synced().await.is_ok() && *fate == Fate::Open {
                *fate = Fate::Acknowledged;
            }
        }
    }

    fn set_fate(&mut self, of: u8, fate: Fate) {
        for (block, _, current) in self.records.values_mut() {
            if *block == of && *current != Fate::Released {
                *current = fate;
            }
        }
    }

    async fn release(&mut self, of: u8) {
        // The order of calls is what counts; tickets that are still out belong to the release too.
        let result = self.wal().release(block(of)).await;
        self.settle().await;
        self.set_fate(of, if result.is_ok() { Fate::Released } else { Fate::MaybeReleased });
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Append { block, size } => self.append(block, size),
            Step::Settle => self.settle().await,
            Step::Release { block } => self.release(block).await,
            Step::Fail { operation, kind } => {
                self.is_clean = false;
                self.disk.fail_next(operation, kind);
            }
            Step::FillUp { free, appends, block } => {
                self.is_clean = false;
                self.disk.limit_free_bytes(Some(free));
                for size in 0..appends {
                    self.append(block, usize::from(size) * 100);
                }
                self.settle().await;
                self.disk.limit_free_bytes(None);
            }
            Step::CutPowerDuringSync { appends, block, release, seed, tear } => {
                self.cut_power_during_sync((appends, block), release, seed, tear).await;
            }
            Step::CutPower { seed, tear } => {
                self.is_clean &= tear == Tear::Prefix;
                self.disk.cut_power(seed, tear);
                self.come_back().await;
            }
            Step::Kill => {
                self.disk.kill_process();
                self.come_back().await;
            }
            Step::Restart => {
                self.wal.take().unwrap().close().await;
                self.disk.kill_process();
                self.come_back().await;
            }
        }
    }

    async fn cut_power_during_sync(&mut self, (appends, of): (u8, u8), release: u8, seed: u64, tear: Tear) {
        self.is_clean &= tear == Tear::Prefix;
        // A batch that fails earlier would never come to its sync.
        self.disk.clear_faults();
        self.disk.hold_syncs(true);
        for size in 0..appends {
            self.append(of, usize::from(size) * 70);
        }
        if release < BLOCKS {
            let wal = self.wal().clone();
            let mut released = Box::pin(async move { wal.release(block(release)).await });
            // Enqueues it.
            assert!(futures_poll_once(released.as_mut()).await.is_none());
            self.disk.wait_for_held_sync();
            self.disk.cut_power(seed, tear);
            // It may have been in a batch before the one that was held.
            let fate = if released.await.is_ok() { Fate::Released } else { Fate::MaybeReleased };
            self.settle().await;
            self.set_fate(release, fate);
        } else {
            self.disk.wait_for_held_sync();
            self.disk.cut_power(seed, tear);
        }
        self.come_back().await;
    }

    async fn come_back(&mut self) {
        self.settle().await;
        if let Some(wal) = self.wal.take() {
            wal.close().await;
        }
        self.reopen();
    }

    /// Opens the log and compares what it recovers.
    fn reopen(&mut self) {
        let options = WalOptions { segment_bytes: SEGMENT_BYTES, ..options(self.disk.boot()) };
        let (wal, recovery) = Wal::open(options, metrics()).unwrap();
        self.wal = Some(wal);
        self.check(recovery);
    }

    fn check(&mut self, recovery: Recovery) {
        let mut last = 0;
        let mut seen = Vec::new();
        for item in recovery {
            match item {
                Ok(recovered) => {
                    let id = id(&recovered);
                    assert!(id > last, "record {id} came back after {last}");
                    last = id;
                    let (block, size, fate) = self.records[&id];
                    assert_ne!(fate, Fate::Released, "record {id} of a released block came back");
                    assert_eq!(recovered, record(block, id, size));
                    seen.push(id);
                }
                Err(issue) => {
                    let is_torn = matches!(issue, ReplayIssue::TornTail { .. });
                    assert!(is_torn || !self.is_clean, "nothing was damaged: {issue}");
                }
            }
        }
        for (id, (_, _, fate)) in &self.records {
            let came_back = seen.contains(id);
            assert!(*fate != Fate::Acknowledged || came_back, "acknowledged record {id} is lost");
        }
    }

    /// Releases everything; then nothing comes back and nothing but the newest segment is left.
    async fn finish(mut self) {
        self.disk.kill_process();
        self.come_back().await;
        for of in 0..BLOCKS {
            self.append(of, 10);
            self.settle().await;
            self.release(of).await;
        }
        assert!(self.wal().oldest_block().is_none());
        assert!(self.wal().disk_bytes() < 500, "{} bytes are left", self.wal().disk_bytes());
        self.disk.cut_power(1, Tear::Prefix);
        self.come_back().await;
    }
}

/// Polls once; `Some` if that completed it.
async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut model = Model::new();
        for step in steps {
            model.apply(step).await;
        }
        model.finish().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_come_back_once_and_released_ones_never(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(steps);
    }
}
