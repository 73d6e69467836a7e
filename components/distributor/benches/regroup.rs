//! Regrouping a walked request by trace, per byte.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempo_distributor::{
    regroup::Regroup,
    validate::{RequestWalk, WalkOptions},
};

mod request;

fn regroup(c: &mut Criterion) {
    let request = request::encoded();
    let mut walk = RequestWalk::default();
    walk.walk(&request, WalkOptions { max_attribute_bytes: 2048 }).expect("request is valid");
    let mut regroup = Regroup::default();
    let mut group = c.benchmark_group("regroup");
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("standard request", |b| {
        b.iter(|| black_box(regroup.regroup(black_box(&walk), &request).expect("contexts are small")));
    });
    group.finish();
}

criterion_group!(benches, regroup);
criterion_main!(benches);
