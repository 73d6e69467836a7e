//! Recent data from a closure, blocks from fixtures in memory, a querier around them.

use std::{fs, path::Path, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};
use tempo_backend::{
    Backend, BlockMeta, Blocklist, FaultyStore, MemoryStore, Metrics, Poller, PollerOptions, Store, keys,
};
use tempo_block::BlockCache;
use tempo_config::{ByteSize, Overrides, QuerierConfig, TraceStorageConfig};
use tempo_model::{BlockId, TenantId, TraceId, Waits, trace::Trace};
use tempo_proto::{
    frontend::{TraceByIdJob, TraceByIdMode},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span},
};
use tempo_querier::{Dependencies, Querier, RecentError, RecentTraces};
use tokio::{sync::watch, time::Duration};

/// The trace of tenant `c5` that is in both of its blocks, the root in the second.
pub(crate) const SPLIT: &str = "2001";

pub(crate) enum Recent {
    Nothing,
    Has(Trace),
    Fails,
    TakesForever,
}

struct FakeRecent {
    recent: Recent,
    asked: Mutex<Vec<(TenantId, TraceId)>>,
}

#[async_trait]
impl RecentTraces for FakeRecent {
    async fn find_trace(&self, tenant: &TenantId, id: &TraceId) -> Result<Option<Trace>, RecentError> {
        self.asked.lock().push((tenant.clone(), *id));
        match &self.recent {
            Recent::Nothing => Ok(None),
            Recent::Has(trace) => Ok(Some(trace.clone())),
            Recent::Fails => Err(RecentError { source: "ingester is on fire".into() }),
            Recent::TakesForever => {
                tokio::time::sleep(Duration::from_secs(1 << 20)).await;
                Ok(None)
            }
        }
    }
}

/// A querier and what is behind it.
pub(crate) struct Setup {
    pub(crate) querier: Querier,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) blocklist: Blocklist,
    /// The blocks of `c5`, by id.
    pub(crate) blocks: Vec<BlockId>,
    backend: Backend,
    backend_metrics: Metrics,
    recent: Arc<FakeRecent>,
    registry: Registry,
}

pub(crate) async fn setup(recent: Recent) -> Setup {
    setup_with_limit(recent, 0).await
}

pub(crate) async fn setup_with_limit(recent: Recent, max_bytes_per_trace: u64) -> Setup {
    let registry = Registry::new();
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let backend_metrics = Metrics::register(&registry).unwrap();
    let backend = Backend::new(Arc::clone(&store) as Arc<dyn Store>, backend_metrics.clone());
    let blocklist = Blocklist::new();
    let blocks = put_fixtures(&store, &blocklist).await;
    let recent = Arc::new(FakeRecent { recent, asked: Mutex::default() });
    let mut overrides = Overrides::default();
    overrides.defaults.global.max_bytes_per_trace = ByteSize::from_bytes(max_bytes_per_trace);
    let deps = Dependencies {
        recent: Arc::clone(&recent) as Arc<dyn RecentTraces>,
        backend: backend.clone(),
        blocklist: blocklist.clone(),
        cache: BlockCache::new(1 << 20),
        concurrent_blocks: 4,
        overrides: watch::channel(Arc::new(overrides)).1,
        waits: Waits::default(),
        registry: &registry,
    };
    let querier = Querier::new(&QuerierConfig::default(), deps).unwrap();
    Setup { querier, store, blocklist, blocks, backend, backend_metrics, recent, registry }
}

async fn put_fixtures(store: &FaultyStore, blocklist: &Blocklist) -> Vec<BlockId> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../block/tests/it/fixtures/c5");
    let mut ids = Vec::new();
    for block in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let meta = BlockMeta::from_json(&fs::read(block.join(keys::META)).unwrap()).unwrap();
        for object in fs::read_dir(&block).unwrap().map(|entry| entry.unwrap().path()) {
            let name = object.file_name().unwrap().to_str().unwrap();
            let key = keys::block_object(&meta.tenant, meta.block_id, name);
            store.put(&key, fs::read(&object).unwrap().into()).await.unwrap();
        }
        ids.push(meta.block_id);
        blocklist.add(Arc::new(meta));
    }
    ids.sort_unstable();
    assert_eq!(ids.len(), 2);
    ids
}

impl Setup {
    pub(crate) fn asked(&self) -> Vec<(TenantId, TraceId)> {
        self.recent.asked.lock().clone()
    }

    /// Refreshes the blocklist from what is in the store.
    pub(crate) async fn poll(&self) {
        let options = PollerOptions::from_config(&TraceStorageConfig::default(), true, 1);
        let (backend, blocklist) = (self.backend.clone(), self.blocklist.clone());
        let mut poller = Poller::new(backend, blocklist, options, self.backend_metrics.clone());
        let report = poller.poll_once(Timestamp::now()).await.unwrap();
        assert!(report.failed.is_empty(), "{report:?}");
    }

    /// Marks a block compacted, as a compactor does.
    pub(crate) async fn mark_compacted(&self, block: BlockId) {
        let meta = keys::block_object(&c5(), block, keys::META);
        let compacted = keys::block_object(&c5(), block, keys::META_COMPACTED);
        self.store.put(&compacted, self.store.get(&meta).await.unwrap()).await.unwrap();
        self.store.delete(&meta).await.unwrap();
    }

    /// Lines of the metrics text that begin so.
    pub(crate) fn metrics(&self, prefix: &str) -> Vec<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }
}

pub(crate) fn c5() -> TenantId {
    TenantId::parse("c5").unwrap()
}

/// A job for the trace that is in both blocks.
pub(crate) fn job(mode: TraceByIdMode) -> TraceByIdJob {
    TraceByIdJob {
        tenant: c5().to_string(),
        trace_id: TraceId::parse_hex(SPLIT).unwrap().as_bytes().to_vec().into(),
        mode: mode as i32,
        block_start: BlockId::MIN.as_bytes().to_vec().into(),
        block_end: BlockId::MAX.as_bytes().to_vec().into(),
        start_unix_secs: 0,
        end_unix_secs: 0,
    }
}

pub(crate) fn recent_trace(id: u8) -> Trace {
    let span = Span { span_id: vec![id; 8], name: format!("recent {id}"), ..Span::default() };
    Trace {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource::default()),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// Names of all spans, sorted.
pub(crate) fn names(trace: Option<&Trace>) -> Vec<&str> {
    let parts = trace.map_or(&[][..], |trace| &trace.resource_spans);
    let scopes = parts.iter().flat_map(|part| &part.scope_spans);
    let mut names: Vec<&str> = scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}
