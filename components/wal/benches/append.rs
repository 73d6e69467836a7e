//! Append until synced: payloads of about 330 kB, shaped like OTLP (repeated keys, few distinct values, random ids),
//! from eight callers at once, on the disk under `CARGO_TARGET_TMPDIR`.
//!
//! Criterion measures the wall clock. Before it, one run per variant prints CPU seconds per GB of payload, which is
//! what the project has a budget for (0.9, `fdatasync` and the callers included).

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first failure")]

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use prometheus::Registry;
use tempo_model::{BlockId, TenantId};
use tempo_wal::{Metrics, Record, Wal, WalOptions};
use tokio::{runtime::Runtime, time::Instant};

const PAYLOADS: usize = 32;
const PAYLOAD_BYTES: usize = 330_000;
const CALLERS: usize = 8;

/// Deterministic from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.next() % of.len() as u64).unwrap()]
    }
}

fn put(payload: &mut Vec<u8>, tag: u8, value: &[u8]) {
    payload.push(tag);
    payload.push(u8::try_from(value.len()).unwrap());
    payload.extend_from_slice(value);
}

/// About 500 spans of some 660 bytes with 15 attributes each, as the standard load has them.
fn payload(seed: u64) -> Bytes {
    const KEYS: [&str; 15] = [
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.full",
        "server.address",
        "server.port",
        "client.address",
        "user_agent.original",
        "network.protocol.version",
        "db.system",
        "db.query.text",
        "messaging.destination.name",
        "thread.name",
        "code.function.name",
        "enduser.id",
    ];
    const VALUES: [&str; 8] = [
        "GET",
        "/api/products/{id}",
        "200",
        "HTTP/1.1",
        "postgresql",
        "worker-12",
        "10.12.4.199",
        "SELECT name, price FROM products WHERE id = $1 AND region = $2",
    ];
    let mut random = Random(seed | 1);
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES + 1024);
    while payload.len() < PAYLOAD_BYTES {
        let ids =
            [random.next().to_le_bytes(), random.next().to_le_bytes(), random.next().to_le_bytes()].concat();
        put(&mut payload, 0x0a, &ids[..16]);
        put(&mut payload, 0x12, &ids[16..]);
        payload.extend_from_slice(
            &(1_700_000_000_000_000_000 + random.next() % 1_000_000_000_000).to_le_bytes(),
        );
        for key in KEYS {
            put(&mut payload, 0x0a, key.as_bytes());
            match random.next() % 5 {
                0 => put(&mut payload, 0x12, format!("{:08x}", random.next() & 0xffff_ffff).as_bytes()),
                _ => put(&mut payload, 0x12, random.pick(&VALUES).as_bytes()),
            }
        }
    }
    payload.into()
}

fn open(dir: &Path) -> Wal {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    Wal::open(WalOptions::new(dir), metrics).unwrap().0
}

/// Appends every payload `rounds` times and waits for all of them.
async fn append_all(wal: &Wal, payloads: &[Bytes], block: BlockId, rounds: usize) {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let wal = wal.clone();
        let mine: Vec<Bytes> = payloads.iter().skip(caller).step_by(CALLERS).cloned().collect();
        callers.spawn(async move {
            for _ in 0..rounds {
                for payload in &mine {
                    let record = Record { block, tenant: TenantId::single(), payload: payload.clone() };
                    wal.append(record).unwrap().synced().await.unwrap();
                }
            }
        });
    }
    while let Some(result) = callers.join_next().await {
        result.unwrap();
    }
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn report(runtime: &Runtime, dir: &Path, name: &str, payloads: &[Bytes], rounds: usize) {
    let wal = open(&dir.join(name.replace(' ', "-")));
    let block = BlockId::from_bytes([1; 16]);
    let bytes = rounds * payloads.iter().map(Bytes::len).sum::<usize>();
    let (started, cpu) = (Instant::now(), cpu_time());
    runtime.block_on(append_all(&wal, payloads, block, rounds));
    let (wall, cpu) = (started.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    let gigabytes = bytes as f64 / 1e9;
    eprintln!(
        "{name}: {:.0} MB/s, {:.2} CPU s/GB, {:.2} bytes written per byte",
        gigabytes * 1e3 / wall,
        cpu / gigabytes,
        wal.disk_bytes() as f64 / bytes as f64
    );
    runtime.block_on(async {
        wal.release(block).await.unwrap();
        wal.close().await;
    });
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let payloads: Vec<Bytes> = (0..PAYLOADS).map(|seed| payload(seed as u64)).collect();
    let small: Vec<Bytes> = payloads.iter().map(|payload| payload.slice(..4_000)).collect();
    report(&runtime, dir.path(), "330 kB payloads", &payloads, 100);
    report(&runtime, dir.path(), "4 kB payloads", &small, 100);

    let mut criterion = Criterion::default().configure_from_args();
    let wal = open(&dir.path().join("criterion"));
    let mut group = criterion.benchmark_group("append");
    group
        .sample_size(20)
        .throughput(Throughput::Bytes(payloads.iter().map(Bytes::len).sum::<usize>() as u64));
    group.bench_function("8 callers, 330 kB", |bencher| {
        bencher.iter(|| {
            let block = BlockId::random();
            runtime.block_on(async {
                append_all(&wal, &payloads, block, 1).await;
                wal.release(block).await.unwrap();
            });
        });
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 caller, 330 kB", |bencher| {
        bencher.iter(|| {
            let record =
                Record { block: BlockId::MIN, tenant: TenantId::single(), payload: payloads[0].clone() };
            runtime.block_on(async { wal.append(record).unwrap().synced().await.unwrap() });
        });
    });
    group.finish();
    criterion.final_summary();
    runtime.block_on(wal.close());
}
