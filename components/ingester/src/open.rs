//! The ingester's parts and how they are put together at start.

use std::{
    fmt,
    panic::Location,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use futures::future::BoxFuture;
use hashbrown::HashMap;
use parking_lot::RwLock;
use prometheus::Registry;
use tempo_backend::{Backend, Blocklist, LocalStore};
use tempo_block::{BlockCache, WriteOptions};
use tempo_config::{IngesterConfig, Overrides, TraceStorageConfig};
use tempo_model::{BlockId, TenantId, WaitKind, Waits};
use tempo_wal::{Filesystem, Wal, WalOptions};
use tokio::{
    sync::{MutexGuard, Notify, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cut::CutPolicy,
    drain::{self, Drain},
    instance::{Append, Instance},
    metrics::Metrics,
    replay::Pieces,
};

/// What an ingester needs from the process.
#[derive(Debug)]
pub struct Dependencies<'a> {
    pub storage: &'a TraceStorageConfig,
    pub backend: Backend,
    pub blocklist: Blocklist,
    pub cache: BlockCache,
    pub overrides: watch::Receiver<Arc<Overrides>>,
    pub registry: &'a Registry,
    pub filesystem: Arc<dyn Filesystem>,
    /// Told how long pushes and blocks wait, and for what.
    pub waits: Waits,
    /// Told about every task that the ingester spawns.
    pub tasks: Arc<dyn TrackTasks>,
    /// Cancelled when `/shutdown` has flushed everything: the process ends then.
    pub stop_process: CancellationToken,
}

/// Knows the tasks of the process, for its operators.
pub trait TrackTasks: fmt::Debug + Send + Sync {
    /// The same task, known under `name` and where it was spawned until it ends.
    fn track(
        &self,
        name: &'static str,
        site: &'static Location<'static>,
        task: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()>;
}

/// Why an ingester could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("open the WAL in {0}")]
    Wal(PathBuf, #[source] tempo_wal::OpenError),
    #[error("read local blocks in {0}")]
    LocalBlocks(PathBuf, #[source] std::io::Error),
    #[error("open local blocks in {0}")]
    LocalStore(PathBuf, #[source] tempo_backend::StoreError),
    #[error("look for the drain marker {0}")]
    DrainMarker(PathBuf, #[source] std::io::Error),
    #[error("write a block while replaying the WAL")]
    Replay(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("register metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Cheap to clone; every clone is the same ingester.
#[derive(Debug, Clone)]
pub struct Ingester {
    pub(crate) shared: Arc<Shared>,
}

/// What all parts of the ingester work on.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) wal: Wal,
    pub(crate) backend: Backend,
    /// `<wal>/blocks`, read like a backend.
    pub(crate) local: Backend,
    pub(crate) blocklist: Blocklist,
    pub(crate) cache: BlockCache,
    pub(crate) overrides: watch::Receiver<Arc<Overrides>>,
    pub(crate) metrics: Metrics,
    pub(crate) waits: Waits,
    tasks: Arc<dyn TrackTasks>,
    pub(crate) write_template: WriteOptions,
    pub(crate) instances: RwLock<HashMap<TenantId, Arc<Instance>, RandomState>>,
    pub(crate) pieces: Pieces,
    /// One permit per sealed head that a push may leave in memory.
    pub(crate) sealed_slots: Arc<Semaphore>,
    /// Memory of all heads: counted at every check; in between pushes add and blocks subtract.
    pub(crate) head_memory: AtomicUsize,
    pub(crate) encoders: Semaphore,
    pub(crate) uploads: Semaphore,
    /// There is a sealed head or a block to work on.
    pub(crate) wake: Notify,
    pub(crate) shutdown_asked: Notify,
    pub(crate) stop_process: CancellationToken,
    /// `run` has ended: nobody writes blocks any more.
    pub(crate) stopped: CancellationToken,
    pub(crate) is_read_only: AtomicBool,
    pub(crate) drain: Drain,
    local_blocks_dir: PathBuf,
    quarantine_dir: PathBuf,
}

/// The configuration, as the parts use it.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) cut: CutPolicy,
    pub(crate) check_period: Duration,
    pub(crate) trace_idle: Duration,
    pub(crate) trace_live: Duration,
    /// Heads together; beyond it the largest are cut.
    pub(crate) max_memory_bytes: usize,
    /// Heads together; beyond it pushes are turned away.
    pub(crate) refuse_memory_bytes: usize,
    pub(crate) replay_memory_bytes: usize,
    pub(crate) wal_max_bytes: u64,
    /// How long a flushed block's local copy is kept.
    pub(crate) keep_local: Duration,
    /// Whether a stop flushes everything first.
    pub(crate) flush_on_stop: bool,
    /// After this long an attempt to write a block to the backend is given up.
    pub(crate) upload_timeout: Duration,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
}

impl Ingester {
    /// Opens the WAL, replays it, and takes over blocks left on local disk. When this returns every span that was ever
    /// acknowledged is readable; [`Ingester::run`] then goes on writing blocks.
    pub async fn open(
        config: &IngesterConfig,
        dependencies: Dependencies<'_>,
    ) -> Result<Ingester, OpenError> {
        let Dependencies {
            storage,
            backend,
            blocklist,
            cache,
            overrides,
            registry,
            filesystem,
            waits,
            tasks,
            stop_process,
        } = dependencies;
        let wal_dir = PathBuf::from(&storage.wal.path);
        let wal_options = WalOptions {
            dir: wal_dir.clone(),
            filesystem,
            segment_bytes: config.tempo_rs.wal_segment_bytes.get(),
            max_pending_bytes: config.tempo_rs.max_inflight_push_bytes.to_usize(),
        };
        let wal_metrics = tempo_wal::Metrics::register(registry)?;
        let (wal, recovery) = tokio::task::block_in_place(|| Wal::open(wal_options, wal_metrics))
            .map_err(|error| OpenError::Wal(wal_dir.clone(), error))?;
        let local_blocks_dir = wal_dir.join("blocks");
        let local_store = LocalStore::open(&local_blocks_dir)
            .await
            .map_err(|error| OpenError::LocalStore(local_blocks_dir.clone(), error))?;
        let shared = Shared {
            settings: settings(config),
            wal,
            backend,
            // Reads of local disk are not requests to the backend: they are counted nowhere.
            local: Backend::new(Arc::new(local_store), tempo_backend::Metrics::register(&Registry::new())?),
            blocklist,
            cache,
            overrides,
            metrics: Metrics::register(registry)?,
            waits,
            tasks,
            write_template: write_template(storage),
            instances: RwLock::default(),
            pieces: Pieces::default(),
            sealed_slots: Arc::new(Semaphore::new(config.tempo_rs.max_sealed_heads)),
            head_memory: AtomicUsize::new(0),
            encoders: Semaphore::new(ENCODERS),
            uploads: Semaphore::new(config.concurrent_flushes),
            wake: Notify::new(),
            shutdown_asked: Notify::new(),
            stop_process,
            stopped: CancellationToken::new(),
            is_read_only: AtomicBool::new(false),
            drain: Drain::open(&wal_dir)
                .map_err(|error| OpenError::DrainMarker(drain::marker(&wal_dir), error))?,
            local_blocks_dir,
            quarantine_dir: wal_dir.join("quarantine"),
        };
        shared.recover(recovery).await?;
        Ok(Ingester { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// The tenant's instance, made when it is new.
    pub(crate) fn instance(&self, tenant: &TenantId) -> Arc<Instance> {
        if let Some(instance) = self.instances.read().get(tenant) {
            return Arc::clone(instance);
        }
        let mut instances = self.instances.write();
        let new = || Arc::new(Instance::new(tenant.clone(), Instant::now()));
        Arc::clone(instances.entry(tenant.clone()).or_insert_with(new))
    }

    /// The order of the instance's appends, once it is the caller's turn.
    pub(crate) async fn order<'i>(&self, instance: &'i Instance) -> MutexGuard<'i, Append> {
        let asked = Instant::now();
        let append = instance.append.lock().await;
        self.waits.observe(WaitKind::Lock, "ingester: order of a tenant's appends", asked.elapsed());
        append
    }

    /// Makes a task known under the caller's place in the code.
    #[track_caller]
    pub(crate) fn track(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        self.tasks.track(name, Location::caller(), Box::pin(task))
    }

    pub(crate) fn all_instances(&self) -> Vec<Arc<Instance>> {
        self.instances.read().values().cloned().collect()
    }

    pub(crate) fn local_blocks_dir(&self) -> &Path {
        &self.local_blocks_dir
    }

    pub(crate) fn local_block_dir(&self, tenant: &TenantId, block: BlockId) -> PathBuf {
        self.local_blocks_dir.join(tenant.as_str()).join(block.to_string())
    }

    /// Where a block with broken files is put for a human to look at.
    pub(crate) fn quarantine_dir(&self, tenant: &TenantId, block: BlockId) -> PathBuf {
        self.quarantine_dir.join(tenant.as_str()).join(block.to_string())
    }
}

/// Heads encoded at once: encoding is processor work, and one core must stay for pushes and queries.
const ENCODERS: usize = 1;

fn settings(config: &IngesterConfig) -> Settings {
    let extras = &config.tempo_rs;
    let head_bytes = extras.head_bytes.to_usize();
    // One head may fill while `max_sealed_heads` wait: beyond that other tenants' heads are the ones to cut.
    let max_memory_bytes = head_bytes.saturating_mul(extras.max_sealed_heads + 2);
    let replay_memory_bytes = extras.replay_memory_bytes.to_usize();
    Settings {
        cut: CutPolicy {
            max_head_bytes: head_bytes,
            max_received_bytes: config.max_block_bytes.get(),
            max_age: config.max_block_duration.get(),
        },
        check_period: config.flush_check_period.get().min(MAX_CHECK_PERIOD),
        trace_idle: config.trace_idle_period.get(),
        trace_live: config.trace_live_period.get(),
        max_memory_bytes,
        // What a replay leaves in memory is no reason to refuse.
        refuse_memory_bytes: max_memory_bytes.max(replay_memory_bytes).saturating_add(head_bytes),
        replay_memory_bytes,
        wal_max_bytes: extras.wal_max_bytes.get(),
        keep_local: config.complete_block_timeout.get(),
        flush_on_stop: config.flush_all_on_shutdown,
        upload_timeout: config.flush_op_timeout.get(),
        retry_min: extras.flush_retry_backoff_min.get(),
        retry_max: extras.flush_retry_backoff_max.get(),
    }
}

/// Live traces and memory are looked at no less often than this.
const MAX_CHECK_PERIOD: Duration = Duration::from_secs(1);

fn write_template(storage: &TraceStorageConfig) -> WriteOptions {
    let block = &storage.block;
    WriteOptions {
        block_id: BlockId::MIN,
        tenant: TenantId::single(),
        dedicated_columns: block.parquet_dedicated_columns.clone(),
        choose_dedicated: block.tempo_rs.choose_dedicated_columns,
        bloom_fp: block.bloom_filter_false_positive,
        bloom_shard_bytes: block.bloom_filter_shard_size_bytes.to_usize(),
        spans_per_row_group: block.tempo_rs.spans_per_row_group,
        spans_per_page: block.tempo_rs.spans_per_page,
        sidecar: block.tempo_rs.sidecar,
        zstd_level: block.tempo_rs.zstd_level,
        replication_factor: 1,
        threads: block.tempo_rs.encode_threads,
    }
}
