//! Walking and validating a request, per byte.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempo_distributor::validate::{RequestWalk, WalkOptions};

mod request;

fn walk(c: &mut Criterion) {
    let request = request::encoded();
    let mut walk = RequestWalk::default();
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("standard request", |b| {
        b.iter(|| {
            walk.walk(black_box(&request), WalkOptions { max_attribute_bytes: 2048 })
                .expect("request is valid");
            black_box(walk.span_count())
        });
    });
    group.bench_function("long attributes cut", |b| {
        b.iter(|| {
            walk.walk(black_box(&request), WalkOptions { max_attribute_bytes: 60 })
                .expect("request is valid");
            black_box(walk.span_count())
        });
    });
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
