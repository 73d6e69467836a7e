//! Finding a trace by id in a block of ours (about 130,000 spans, four row groups) and in a block of Tempo's (vParquet4,
//! 306 traces), everything but the row's pages in the cache.

use std::{fs, hint::black_box, path::Path, sync::Arc};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message as _;
use tempo_backend::{Backend, BlockMeta, MemoryStore, Metrics, Store as _, keys};
use tempo_block::{BlockCache, BlockReader, SpanColumns, WriteOptions, write_block};
use tempo_model::{BlockId, PushBatchBuilder, TenantId, TraceId};
use tempo_proto::{
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    trace::{Span, Status},
};

const TRACES: u128 = 6_500;
const SPANS_PER_TRACE: u64 = 20;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// Ids spread over the whole range, by a fixed rule.
fn trace_id(n: u128) -> TraceId {
    TraceId::from_bytes((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
}

fn span(trace: u128, n: u64) -> Span {
    let text = |key: &str, value: String| attribute(key, Value::StringValue(value));
    let start = 1_700_000_000_000_000_000 + u64::try_from(trace).unwrap_or(0) * 1_000_003 + n * 1_009;
    Span {
        trace_id: trace_id(trace).as_bytes().to_vec(),
        span_id: (n + 1).to_be_bytes().to_vec(),
        parent_span_id: if n == 0 { Vec::new() } else { n.div_ceil(2).to_be_bytes().to_vec() },
        name: format!("GET /api/{}", n % 17),
        kind: i32::try_from(n % 5).unwrap_or(0),
        start_time_unix_nano: start,
        end_time_unix_nano: start + 50_000 + n,
        attributes: vec![
            text("http.method", "GET".to_owned()),
            text("url.path", format!("/api/v1/items/{}", trace % 3_000)),
            text("user.id", format!("user-{}-{n}", trace * 7 % 10_007)),
            text("db.system", "postgresql".to_owned()),
            attribute("http.status_code", Value::IntValue(200)),
            attribute("retry", Value::BoolValue(n.is_multiple_of(3))),
            attribute("rows", Value::IntValue(i64::try_from(n * 31 % 1_000).unwrap_or(0))),
        ],
        status: Some(Status::default()),
        ..Span::default()
    }
}

fn columns() -> SpanColumns {
    let mut columns = SpanColumns::new();
    for first in (0..TRACES).step_by(100) {
        let mut batch = PushBatchBuilder::default();
        let services = (0..10).map(|n| {
            let name = attribute("service.name", Value::StringValue(format!("service-{n}")));
            let pod = attribute("k8s.pod.name", Value::StringValue(format!("pod-{n}-abcdef")));
            Resource { attributes: vec![name, pod], ..Resource::default() }.encode_to_vec()
        });
        services.for_each(|resource| {
            batch.push_context(&resource, &[]);
        });
        for trace in first..first + 100 {
            batch.begin_trace(trace_id(trace));
            for n in 0..SPANS_PER_TRACE {
                batch.push_span(usize::try_from(n % 10).unwrap_or(0), &span(trace, n).encode_to_vec());
            }
        }
        columns.append(&batch.finish()).expect("made spans are well-formed");
    }
    columns
}

/// A reader of the block whose objects are in a folder.
async fn open(meta: BlockMeta, folder: &Path) -> BlockReader {
    let store = MemoryStore::new();
    for entry in fs::read_dir(folder).expect("folder of the block") {
        let path = entry.expect("entry of the folder").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("name of an object").to_owned();
        let bytes = Bytes::from(fs::read(&path).expect("object of the block"));
        store.put(&keys::block_object(&meta.tenant, meta.block_id, &name), bytes).await.expect("memory");
    }
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
    let backend = Backend::new(Arc::new(store), metrics);
    BlockReader::open(backend, Arc::new(meta), BlockCache::new(256 << 20)).expect("a known format")
}

fn find(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let options = WriteOptions {
        block_id: BlockId::from_bytes([1; 16]),
        tenant: TenantId::single(),
        dedicated_columns: Vec::new(),
        choose_dedicated: true,
        bloom_fp: 0.01,
        bloom_shard_bytes: 102_400,
        spans_per_row_group: 32_768,
        spans_per_page: 4_096,
        sidecar: true,
        zstd_level: 1,
        replication_factor: 1,
        threads: 2,
    };
    let meta = write_block(&columns(), &options, folder.path()).expect("a block");
    let own = runtime.block_on(open(meta.clone(), folder.path()));
    fs::remove_file(folder.path().join(keys::SIDECAR)).expect("the sidecar");
    let without = runtime.block_on(open(meta, folder.path()));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures/a4/ac6561cf-70e9-4d04-b912-706bf66dee7a");
    let meta = BlockMeta::from_json(&fs::read(fixture.join("meta.json")).expect("meta")).expect("meta");
    let tempo = runtime.block_on(open(meta, &fixture));
    let of_tempo = TraceId::parse_hex("80db73d95d94c9132d6ba80e583a00d2").expect("an id");

    let mut next = 0;
    let mut own_id = || {
        next = (next + 977) % TRACES;
        trace_id(next)
    };
    let mut bench = |name: &str, reader: &BlockReader, id: &mut dyn FnMut() -> TraceId| {
        criterion.bench_function(name, |b| {
            b.iter(|| {
                let id = id();
                let found = runtime.block_on(reader.find_trace(&id)).expect("a readable block");
                assert!(found.trace.is_some(), "{id} is in the block");
                black_box(found)
            });
        });
    };
    bench("find/own block with sidecar", &own, &mut own_id);
    bench("find/own block without sidecar", &without, &mut own_id);
    bench("find/block of tempo", &tempo, &mut || of_tempo);
}

criterion_group!(benches, find);
criterion_main!(benches);
