use tempo_config::ByteSize;

use super::*;

fn limits(rate: u64, burst: u64) -> IngestionLimits {
    IngestionLimits {
        rate_limit_bytes: ByteSize::from_bytes(rate),
        burst_size_bytes: ByteSize::from_bytes(burst),
        ..IngestionLimits::default()
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[test]
fn a_bucket_starts_full_and_fills_with_the_rate() {
    let start = Instant::now();
    let limiter = RateLimiter::new(start);
    let (a, limits) = (tenant("a"), limits(100, 200));
    let take =
        |bytes, millis| limiter.take(&a, bytes, &limits, start + Duration::from_millis(millis)).is_ok();

    assert!(take(200, 0));
    assert!(!take(1, 0));
    assert!(take(50, 500));
    assert!(!take(51, 1000));
    assert!(take(50, 1000));
    assert!(!take(201, 60_000), "more than the burst never passes");
}

#[test]
fn tenants_do_not_share_a_bucket() {
    let now = Instant::now();
    let limiter = RateLimiter::new(now);

    assert!(limiter.take(&tenant("a"), 100, &limits(100, 100), now).is_ok());
    assert!(limiter.take(&tenant("b"), 100, &limits(100, 100), now).is_ok());
    assert!(limiter.take(&tenant("a"), 1, &limits(100, 100), now).is_err());
}

#[test]
fn a_changed_limit_holds_at_once() {
    let start = Instant::now();
    let limiter = RateLimiter::new(start);
    let a = tenant("a");
    limiter.take(&a, 100, &limits(100, 100), start).unwrap();

    let later = start + Duration::from_secs(10);
    assert!(limiter.take(&a, 1000, &limits(100, 1000), later).is_ok());
}

#[test]
fn refusals_have_the_texts_of_tempo() {
    let now = Instant::now();
    let limiter = RateLimiter::new(now);
    let text = |bytes, rate, burst| {
        limiter.take(&tenant("a"), bytes, &limits(rate, burst), now).unwrap_err().to_string()
    };

    assert_eq!(
        text(30, 10, 20),
        "RATE_LIMITED: batch size (30 bytes) exceeds ingestion limit (local: 10 bytes/s, global: 0 bytes/s, burst: 20 bytes) while adding 30 bytes for user a. consider reducing batch size or increasing rate limit."
    );
    assert_eq!(
        text(30, 100, 20),
        "RATE_LIMITED: ingestion rate limit (local: 100 bytes/s, global: 0 bytes/s, burst: 20 bytes) exceeded while adding 30 bytes for user a. consider increasing the limit or reducing ingestion rate."
    );
}

#[test]
fn full_buckets_are_dropped() {
    let start = Instant::now();
    let limiter = RateLimiter::new(start);
    for n in 0..1000 {
        limiter.take(&tenant(&format!("t{n}")), 10, &limits(100, 100), start).unwrap();
    }

    limiter.take(&tenant("slow"), 100, &limits(0, 100), start).unwrap();
    limiter.take(&tenant("last"), 1, &limits(100, 100), start + SWEEP_EVERY).unwrap();

    let buckets = limiter.buckets.lock();
    let mut left: Vec<_> = buckets.by_tenant.keys().map(TenantId::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["last", "slow"]);
}
