//! Writing a head as a block, in bytes of OTLP per second; and finding a trace in the head.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempo_block::{SpanColumns, WriteOptions, write_block};
use tempo_model::{BlockId, TenantId};

#[path = "load/spans.rs"]
mod spans;

fn options() -> WriteOptions {
    WriteOptions {
        block_id: BlockId::random(),
        tenant: TenantId::single(),
        dedicated_columns: Vec::new(),
        choose_dedicated: true,
        bloom_fp: 0.01,
        bloom_shard_bytes: 102_400,
        spans_per_row_group: 32_768,
        spans_per_page: 4096,
        sidecar: true,
        zstd_level: 1,
        replication_factor: 1,
        threads: 1,
    }
}

fn encode(criterion: &mut Criterion) {
    let (batches, bytes) = spans::batches(4000);
    let mut columns = SpanColumns::new();
    batches.iter().for_each(|batch| columns.append(batch).expect("the spans are well-formed"));
    let folder = tempfile::tempdir().expect("a temporary folder");

    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| write_block(&columns, &options(), folder.path()).expect("the disk has room"));
    });
    group.finish();

    let ids: Vec<_> = columns.trace_ids().take(100).collect();
    criterion.bench_function("head/find 100 traces", |bencher| {
        bencher.iter(|| ids.iter().filter_map(|id| columns.find_trace(id)).count());
    });
}

criterion_group!(benches, encode);
criterion_main!(benches);
