//! Keeps the [`Blocklist`] current: every `blocklist_poll`, tenant by tenant, from the tenant's index or by listing
//! its folder.
//!
//! * The builder of the index lists and writes the index when something changed; others read it, and list if it is
//!   missing, unreadable or stale (when `blocklist_poll_fallback` says so). Only the builder writes.
//! * Metas are immutable: known ids keep theirs, an unknown one costs one GET.
//! * A meta that makes no sense costs exactly its block: quarantined with the reason, counted, tried again later.
//! * A tenant that cannot be listed keeps its old list, and costs no other tenant anything.

mod index_step;
mod listing_step;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use display_error_chain::DisplayErrorChain;
use futures::StreamExt as _;
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use tempo_config::TraceStorageConfig;
use tempo_model::TenantId;

use crate::{
    backend::Backend,
    blocklist::{Blocklist, Source, TenantBlocks},
    metrics::Metrics,
    store::StoreError,
};

use index_step::WrittenIndex;
use listing_step::Quarantine;

/// After a failed poll the next one comes earlier than `blocklist_poll`, but not earlier than this.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Nor later than this: a store that comes back is not to be unknown for minutes.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A compacted block stays visible to trace by id for this many polls: others may not list its successor yet.
const RECENT_POLLS: u32 = 2;

/// How the poller behaves; [`PollerOptions::from_config`] takes all but two from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollerOptions {
    pub interval: Duration,
    /// Random pause before each tenant, at most this long.
    pub tenant_jitter: Duration,
    pub tenant_concurrency: usize,
    /// Metas read at once for one tenant.
    pub meta_concurrency: usize,
    /// How often a tenant's listing is repeated within a poll.
    pub listing_retries: u32,
    /// List instead, when the index cannot be used.
    pub falls_back_to_listing: bool,
    /// An index older than this is not used; zero means that any age is good.
    pub stale_index_after: Duration,
    /// This process writes the tenant indexes.
    pub builds_index: bool,
    /// Seed of all jitter.
    pub seed: u64,
}

impl PollerOptions {
    pub fn from_config(config: &TraceStorageConfig, builds_index: bool, seed: u64) -> PollerOptions {
        PollerOptions {
            interval: config.blocklist_poll.get(),
            tenant_jitter: Duration::from_millis(config.blocklist_poll_jitter_ms),
            tenant_concurrency: config.blocklist_poll_tenant_concurrency.max(1),
            meta_concurrency: config.blocklist_poll_concurrency.max(1),
            listing_retries: config.blocklist_poll_tolerate_consecutive_errors,
            falls_back_to_listing: config.blocklist_poll_fallback,
            stale_index_after: config.blocklist_poll_stale_tenant_index.get(),
            builds_index,
            seed,
        }
    }
}

/// What one poll did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PollReport {
    /// Tenants that are up to date.
    pub polled: usize,
    /// Tenants that keep their old list.
    pub failed: Vec<TenantId>,
}

/// Refreshes one blocklist from one backend.
#[derive(Debug)]
pub struct Poller {
    backend: Backend,
    blocklist: Blocklist,
    options: PollerOptions,
    metrics: Metrics,
    tenants: BTreeMap<TenantId, TenantState>,
    random: SmallRng,
    /// How long the loop waits before its next poll.
    pause: Duration,
    retry: Duration,
}

/// What the poller remembers of a tenant beside its blocks.
#[derive(Debug, Default)]
struct TenantState {
    quarantine: Quarantine,
    /// The index as this process last wrote it.
    written: Option<WrittenIndex>,
    /// The list holds what an earlier poll listed.
    is_known: bool,
}

/// One tenant's poll: what it works on and with.
struct TenantPoll<'a> {
    backend: &'a Backend,
    blocklist: &'a Blocklist,
    options: &'a PollerOptions,
    metrics: &'a Metrics,
    tenant: &'a TenantId,
    now: Timestamp,
}

/// The tenant keeps its old list.
struct TenantFailed;

impl Poller {
    pub fn new(backend: Backend, blocklist: Blocklist, options: PollerOptions, metrics: Metrics) -> Poller {
        let random = SmallRng::seed_from_u64(options.seed);
        Poller {
            backend,
            blocklist,
            options,
            metrics,
            tenants: BTreeMap::new(),
            random,
            pause: Duration::ZERO,
            retry: FIRST_RETRY,
        }
    }

    /// Polls until told to stop: at once, unless the caller has polled already. A failed poll is repeated sooner, with
    /// back-off.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = async {
                tokio::time::sleep(self.pause).await;
                self.poll_once(Timestamp::now()).await
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // What went wrong is logged and counted there.
                _ = next => {}
            }
        }
    }

    /// Refreshes all tenants. An error means that not even the tenants could be listed, and nothing changed.
    pub async fn poll_once(&mut self, now: Timestamp) -> Result<PollReport, StoreError> {
        let started = Instant::now();
        let result = self.poll_tenants(now).await;
        self.metrics.poll_ended(started.elapsed());
        if result.as_ref().is_ok_and(|report| report.polled > 0 || report.failed.is_empty()) {
            self.blocklist.poll_ended(now);
        }
        self.pause = self.next_pause(result.as_ref().is_ok_and(|report| report.failed.is_empty()));
        match &result {
            Ok(report) if report.failed.is_empty() => {
                self.metrics.poll_succeeded(now);
                debug!(tenants = report.polled, "polled blocklist");
            }
            Ok(report) => warn!(
                failed_tenants = ?report.failed,
                polled_tenants = report.polled,
                "polled blocklist in part"
            ),
            Err(error) => {
                self.metrics.poll_failed();
                warn!(error = %DisplayErrorChain::new(error), "failed to list tenants for blocklist");
            }
        }
        result
    }

    fn next_pause(&mut self, was_complete: bool) -> Duration {
        let pause = if was_complete {
            self.retry = FIRST_RETRY;
            self.options.interval
        } else {
            let pause = self.retry.min(self.options.interval);
            self.retry = self.retry.saturating_mul(2).min(LONGEST_RETRY);
            pause
        };
        pause.mul_f64(self.random.random_range(0.9..1.1))
    }

    async fn poll_tenants(&mut self, now: Timestamp) -> Result<PollReport, StoreError> {
        let start = self.blocklist.listing_starts();
        let mut tenants = BTreeSet::new();
        for name in self.backend.store().list_folders("").await? {
            match TenantId::parse(&name) {
                Ok(tenant) => {
                    tenants.insert(tenant);
                }
                Err(error) => debug!(folder = name, %error, "ignored folder that is no tenant"),
            }
        }
        self.forget_absent_tenants(&tenants, Source::Listing(start));

        let mut work = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            let state = self.tenants.remove(&tenant).unwrap_or_default();
            let pause = self.options.tenant_jitter.mul_f64(self.random.random_range(0.0..1.0));
            work.push((tenant, state, pause));
        }
        let Poller { backend, blocklist, options, metrics, .. } = &*self;
        let polls = work.into_iter().map(|(tenant, mut state, pause)| async move {
            tokio::time::sleep(pause).await;
            let poll = TenantPoll { backend, blocklist, options, metrics, tenant: &tenant, now };
            let result = poll.run(&mut state).await;
            (tenant, state, result)
        });
        let done: Vec<_> =
            futures::stream::iter(polls).buffer_unordered(options.tenant_concurrency).collect().await;

        let mut report = PollReport::default();
        for (tenant, state, result) in done {
            match result {
                Ok(()) => report.polled += 1,
                Err(TenantFailed) => {
                    self.metrics.tenant_poll_failed(&tenant);
                    report.failed.push(tenant.clone());
                }
            }
            self.tenants.insert(tenant, state);
        }
        report.failed.sort();
        Ok(report)
    }

    /// Tenants without a folder have no blocks, but for those that were added since the listing began.
    fn forget_absent_tenants(&mut self, present: &BTreeSet<TenantId>, source: Source) {
        for tenant in self.blocklist.tenants() {
            if present.contains(&tenant) {
                continue;
            }
            self.blocklist.replace(&tenant, TenantBlocks::default(), source);
        }
        let Poller { tenants, metrics, .. } = self;
        tenants.retain(|tenant, _| {
            let is_present = present.contains(tenant);
            if !is_present {
                metrics.tenant_gone(tenant);
                info!(%tenant, "tenant has no blocks any more");
            }
            is_present
        });
    }
}

impl TenantPoll<'_> {
    async fn run(&self, state: &mut TenantState) -> Result<(), TenantFailed> {
        if !self.options.builds_index {
            if let Some(read) = self.read_usable_index().await {
                self.take_index(read);
                return Ok(());
            }
            if !self.options.falls_back_to_listing {
                return Err(TenantFailed);
            }
        }
        let listed = self.list_blocks(state).await?;
        let source = Source::Listing(listed.start);
        let blocks = self.blocklist.replace(self.tenant, listed.blocks.clone(), source);
        self.metrics.tenant_has(self.tenant, blocks.live.len(), blocks.quarantined.len());
        state.is_known = true;
        if self.options.builds_index {
            self.update_index(state, &listed).await;
        }
        Ok(())
    }

    /// The age until which a compacted block counts as recent.
    fn recent(&self) -> Duration {
        self.options.interval.saturating_mul(RECENT_POLLS)
    }

    fn is_recent(&self, compacted_time: Timestamp) -> bool {
        age(self.now, compacted_time) < self.recent()
    }
}

/// How long ago a time was; nothing if it is in the future.
fn age(now: Timestamp, time: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or(Duration::ZERO)
}
