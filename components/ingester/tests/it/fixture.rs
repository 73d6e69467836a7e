//! An ingester over a temporary directory and a backend that tests can break.

use std::{panic::Location, path::Path, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::Registry;
use prost::Message as _;
use tempo_backend::{Backend, Blocklist, Fault, FaultyStore, MemoryStore, Operation, Store, When};
use tempo_block::{BlockCache, BlockReader};
use tempo_config::{Config, GoDuration, Limits, Overrides};
use tempo_ingester::{Dependencies, Ingester, TrackTasks};
use tempo_model::{PushBatch, PushBatchBuilder, TenantId, TraceId, Waits, trace::Combiner};
use tempo_proto::{
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    tempopb::Trace,
    trace::Span,
};
use tempo_wal::LocalFilesystem;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The bucket: it survives the ingesters that write to it.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) faults: Arc<FaultyStore>,
    pub(crate) memory: Arc<MemoryStore>,
}

impl Bucket {
    pub(crate) fn new() -> Bucket {
        let memory = Arc::new(MemoryStore::new());
        let inner = Arc::clone(&memory);
        Bucket { faults: Arc::new(FaultyStore::new(inner, 1)), memory }
    }

    pub(crate) fn breaks(&self, when: When, fault: Fault) {
        self.faults.inject(when, fault);
    }

    /// Every `meta.json` in the bucket.
    pub(crate) async fn metas(&self) -> Vec<String> {
        let entries = self.memory.list("").await.unwrap();
        entries.into_iter().map(|entry| entry.key).filter(|key| key.ends_with("/meta.json")).collect()
    }
}

/// A running ingester.
pub(crate) struct Running {
    pub(crate) ingester: Ingester,
    pub(crate) backend: Backend,
    pub(crate) blocklist: Blocklist,
    pub(crate) waits: Waits,
    pub(crate) tasks: Arc<TaskNames>,
    pub(crate) stop_process: CancellationToken,
    /// How often the backend was asked whether it has an object before the ingester was open.
    pub(crate) questions_at_start: u64,
    overrides: watch::Sender<Arc<Overrides>>,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::single()
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.ingester.flush_check_period = GoDuration::from(Duration::from_millis(50));
    config.ingester.tempo_rs.flush_retry_backoff_min = GoDuration::from(Duration::from_millis(10));
    config.ingester.tempo_rs.flush_retry_backoff_max = GoDuration::from(Duration::from_millis(20));
    config.overrides.defaults.ingestion.max_traces_per_user = 0;
    config
}

/// Remembers the names of all tasks.
#[derive(Debug, Default)]
pub(crate) struct TaskNames(pub(crate) Mutex<Vec<&'static str>>);

impl TrackTasks for TaskNames {
    fn track(
        &self,
        name: &'static str,
        _: &'static Location<'static>,
        task: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, ()> {
        self.0.lock().push(name);
        task
    }
}

impl Running {
    pub(crate) async fn start(dir: &Path, bucket: &Bucket, config: &Config) -> Running {
        let mut storage = config.storage.trace.clone();
        storage.wal.path = dir.join("wal").to_string_lossy().into_owned();
        let registry = Registry::new();
        let metrics = tempo_backend::Metrics::register(&registry).unwrap();
        let faults = Arc::clone(&bucket.faults);
        let backend = Backend::new(faults, metrics);
        let blocklist = Blocklist::new();
        let (overrides, receiver) =
            watch::channel(Arc::new(Overrides::new(config.overrides.defaults.clone())));
        let stop_process = CancellationToken::new();
        let (tasks, waits) = (Arc::new(TaskNames::default()), Waits::default());
        let dependencies = Dependencies {
            storage: &storage,
            backend: backend.clone(),
            blocklist: blocklist.clone(),
            cache: BlockCache::new(16 << 20),
            overrides: receiver,
            registry: &registry,
            filesystem: Arc::new(LocalFilesystem),
            waits: waits.clone(),
            tasks: Arc::clone(&tasks) as Arc<dyn TrackTasks>,
            stop_process: stop_process.clone(),
        };
        let asked_before = bucket.faults.calls(Operation::Size);
        let ingester = Ingester::open(&config.ingester, dependencies).await.unwrap();
        let questions_at_start = bucket.faults.calls(Operation::Size) - asked_before;
        let stop = CancellationToken::new();
        let (runner, token) = (ingester.clone(), stop.clone());
        let run = tokio::spawn(async move { runner.run(token).await.unwrap() });
        Running {
            ingester,
            backend,
            blocklist,
            waits,
            tasks,
            stop_process,
            questions_at_start,
            overrides,
            stop,
            run,
        }
    }

    pub(crate) fn set_limits(&self, change: impl FnOnce(&mut Limits)) {
        let mut limits = self.overrides.borrow().defaults.clone();
        change(&mut limits);
        self.overrides.send_replace(Arc::new(Overrides::new(limits)));
    }

    /// As SIGTERM does it: nothing is flushed, the WAL is closed.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.run.await.unwrap();
    }

    /// What a query sees: the ingester's part and the blocks of the blocklist, combined.
    pub(crate) async fn find(&self, id: TraceId) -> Option<Trace> {
        let mut combiner = Combiner::new(0);
        if let Some(part) = self.ingester.find_trace(&tenant(), &id).await.unwrap() {
            combiner.add(part).unwrap();
        }
        for meta in self.blocklist.metas(&tenant()).iter() {
            let reader =
                BlockReader::open(self.backend.clone(), Arc::clone(meta), BlockCache::new(1 << 20)).unwrap();
            if let Some(part) = reader.find_trace(&id).await.unwrap().trace {
                combiner.add(part).unwrap();
            }
        }
        combiner.finish()
    }

    pub(crate) async fn assert_has(&self, traces: impl IntoIterator<Item = u64>, spans: u64) {
        for number in traces {
            let found = self.find(trace_id(number)).await;
            let found = found.unwrap_or_else(|| panic!("trace {number} is lost"));
            let scopes = found.resource_spans.iter().flat_map(|r| &r.scope_spans);
            assert_eq!(scopes.map(|s| s.spans.len() as u64).sum::<u64>(), spans, "spans of trace {number}");
        }
    }
}

pub(crate) fn trace_id(number: u64) -> TraceId {
    TraceId::from_bytes((u128::from(number) << 64 | 0xabcd).to_be_bytes())
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Spans `first..first + spans` of each of the traces.
pub(crate) fn batch(traces: impl IntoIterator<Item = u64>, first: u64, spans: u64) -> PushBatch {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let mut builder = PushBatchBuilder::default();
    let context = builder.push_context(&resource.encode_to_vec(), b"");
    for number in traces {
        builder.begin_trace(trace_id(number));
        for span in first..first + spans {
            let span = Span {
                trace_id: trace_id(number).as_bytes().to_vec(),
                span_id: (span + 1).to_be_bytes().to_vec(),
                name: format!("operation {span}"),
                start_time_unix_nano: 1_700_000_000_000_000_000 + span,
                end_time_unix_nano: 1_700_000_000_000_001_000 + span,
                attributes: vec![text("request.id", &format!("{number}-{span}"))],
                ..Span::default()
            };
            builder.push_span(context, &span.encode_to_vec());
        }
    }
    builder.finish()
}
