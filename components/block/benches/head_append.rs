//! Appending pushed spans to a head's columns, in bytes of OTLP per second.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tempo_block::SpanColumns;

#[path = "load/spans.rs"]
mod spans;

fn append(criterion: &mut Criterion) {
    let (batches, bytes) = spans::batches(2000);
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("append", |bencher| {
        let fill = |mut columns: SpanColumns| {
            for batch in &batches {
                columns.append(batch).expect("the spans are well-formed");
            }
            columns
        };
        bencher.iter_batched(SpanColumns::new, fill, BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
