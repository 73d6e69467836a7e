//! Zipkin JSON to OTLP, per byte of JSON.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tempo_distributor::{ZipkinFormat, zipkin_to_otlp};

/// 500 spans like those of the standard load: some 14 tags each, 20 services.
fn json() -> String {
    let spans: Vec<String> = (0..500u64).map(span).collect();
    format!("[{}]", spans.join(","))
}

fn span(n: u64) -> String {
    let random = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let trace = (random % 64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
    let start = 1_700_000_000_000_000 + n * 1009;
    format!(
        r#"{{"traceId":"{trace:016x}{random:016x}","parentId":"{:016x}","id":"{random:016x}","kind":"SERVER","name":"get /api/v1/products/{{id}}","timestamp":{start},"duration":{},"localEndpoint":{{"serviceName":"service-{}","ipv4":"10.2.{}.{}"}},"remoteEndpoint":{{"ipv4":"10.2.3.4","port":32768}},"annotations":[{{"timestamp":{start},"value":"cache miss"}}],"tags":{{"http.method":"GET","http.status_code":"200","http.path":"/api/v1/products/{n}","http.url":"http://catalog.shop.svc.cluster.local:8080/api/v1/products/{n}?page=3&size=50","url.scheme":"http","user_agent.original":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)","http.route":"/api/v1/products/{{id}}","thread.name":"http-nio-8080-exec-7","thread.id":"4711","app.user.id":"{random:016x}","server.address":"catalog.shop.svc.cluster.local","server.port":"8080","otel.scope.name":"io.opentelemetry.http"}}}}"#,
        random.rotate_left(17),
        random % 1_000_000,
        n / 25,
        random % 200,
        random % 251,
    )
}

fn zipkin(c: &mut Criterion) {
    let json = json();
    let mut group = c.benchmark_group("zipkin");
    group.throughput(Throughput::Bytes(json.len() as u64));
    group.bench_function("v2 json", |b| {
        b.iter(|| zipkin_to_otlp(ZipkinFormat::V2Json, false, black_box(json.as_bytes())).expect("is valid"));
    });
    group.finish();
}

criterion_group!(benches, zipkin);
criterion_main!(benches);
