//! Blocks that Tempo wrote, and what they hold by an independent decoder (`fixtures/expected.py`, pyarrow).
//!
//! `a3`, `a4` and `a5` are the same traces in vParquet3, 4 and 5; `ded` has custom dedicated columns, `nd5` none;
//! `c5` is a pair of small blocks.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::Value;
use tempo_backend::{Backend, BlockMeta, FaultyStore, MemoryStore, Metrics, Store as _};
use tempo_block::{BlockCache, BlockReader};
use tempo_model::{TraceId, json, trace::Trace};

/// Traces by id, as normalised protobuf JSON.
pub(crate) type Expected = BTreeMap<TraceId, Value>;

/// One block, to be put into a store.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) meta: BlockMeta,
    /// All objects but `meta.json`.
    pub(crate) objects: BTreeMap<String, Bytes>,
    pub(crate) expected: Expected,
}

/// A reader over a store that counts calls.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) backend: Backend,
    pub(crate) reader: BlockReader,
}

impl Fixture {
    pub(crate) async fn open(&self) -> Opened {
        self.open_with(BlockCache::new(64 << 20)).await
    }

    pub(crate) async fn open_with(&self, cache: BlockCache) -> Opened {
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
        for (name, bytes) in &self.objects {
            let key = tempo_backend::keys::block_object(&self.meta.tenant, self.meta.block_id, name);
            store.put(&key, bytes.clone()).await.unwrap();
        }
        store.reset_calls();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let backend = Backend::new(Arc::clone(&store) as Arc<dyn tempo_backend::Store>, metrics);
        let reader = BlockReader::open(backend.clone(), Arc::new(self.meta.clone()), cache).unwrap();
        Opened { store, backend, reader }
    }

    /// The same block with other bytes for one object.
    pub(crate) fn with_object(&self, name: &str, bytes: impl Into<Bytes>) -> Fixture {
        let mut changed = self.clone();
        changed.objects.insert(name.to_owned(), bytes.into());
        changed
    }
}

/// All fixture blocks.
pub(crate) fn all() -> Vec<Fixture> {
    let tenants = ["a3", "a4", "a5", "c5", "ded", "nd5"];
    tenants.into_iter().flat_map(blocks_of).map(|block| load(&block)).collect()
}

/// The first block of a tenant.
pub(crate) fn of_tenant(tenant: &str) -> Fixture {
    load(&blocks_of(tenant)[0])
}

fn blocks_of(tenant: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures").join(tenant);
    let mut blocks: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    blocks.retain(|path| path.is_dir());
    blocks.sort();
    blocks
}

fn load(folder: &Path) -> Fixture {
    let mut objects = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let object = entry.file_name().into_string().unwrap();
        objects.insert(object, Bytes::from(std::fs::read(entry.path()).unwrap()));
    }
    let meta = BlockMeta::from_json(&objects.remove("meta.json").unwrap()).unwrap();
    let mut text = String::new();
    let expected = std::fs::File::open(folder.with_extension("json.gz")).unwrap();
    flate2::read::GzDecoder::new(expected).read_to_string(&mut text).unwrap();
    let traces: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    let trace = |(id, trace): (String, Value)| (TraceId::parse_hex(&id).unwrap(), normalised(trace));
    let expected = traces.into_iter().map(trace).collect();
    Fixture { name: format!("{}/{}", meta.tenant, meta.block_id), meta, objects, expected }
}

/// A trace as JSON in a form that does not depend on the order of anything without an order.
pub(crate) fn trace_json(trace: &Trace) -> Value {
    let mut text = String::new();
    json::write_trace(&mut text, trace, "resourceSpans");
    normalised(serde_json::from_str(&text).unwrap())
}

/// Sorts every list but those inside of attribute values, and makes all numbers doubles.
fn normalised(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(normalised).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            let field = |(key, value): (String, Value)| {
                let value = if key == "value" { numbers(value) } else { normalised(value) };
                (key, value)
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => numbers(other),
    }
}

fn numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(items) => Value::Array(items.into_iter().map(numbers).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(k, v)| (k, numbers(v))).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}
