//! Token bucket per tenant on the uncompressed protobuf bytes of requests, with Tempo's texts.
//!
//! Behaves as Go's `rate.Limiter`: a refused request takes nothing, one larger than the burst never passes. Limits are
//! looked up for each request, so a changed override holds at once. A bucket that has filled up again says nothing a
//! new one would not say, so full buckets are dropped from time to time: memory is bounded by recently active tenants.

use std::time::Duration;

use parking_lot::Mutex;
use tempo_config::{IngestionLimits, RateStrategy};
use tempo_model::TenantId;
use tokio::time::Instant;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Why a request was refused. The texts are Tempo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateLimited {
    #[error(
        "RATE_LIMITED: ingestion rate limit (local: {rate} bytes/s, global: {global} bytes/s, burst: {burst} bytes) exceeded while adding {bytes} bytes for user {tenant}. consider increasing the limit or reducing ingestion rate."
    )]
    Rate { rate: u64, global: u64, burst: u64, bytes: usize, tenant: TenantId },
    #[error(
        "RATE_LIMITED: batch size ({bytes} bytes) exceeds ingestion limit (local: {rate} bytes/s, global: {global} bytes/s, burst: {burst} bytes) while adding {bytes} bytes for user {tenant}. consider reducing batch size or increasing rate limit."
    )]
    Batch { rate: u64, global: u64, burst: u64, bytes: usize, tenant: TenantId },
}

#[derive(Debug)]
pub(crate) struct RateLimiter {
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    by_tenant: hashbrown::HashMap<TenantId, Bucket, foldhash::fast::RandomState>,
    swept: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
    rate: f64,
    burst: f64,
}

impl RateLimiter {
    pub(crate) fn new(now: Instant) -> RateLimiter {
        let by_tenant = hashbrown::HashMap::with_hasher(foldhash::fast::RandomState::default());
        RateLimiter { buckets: Mutex::new(Buckets { by_tenant, swept: now }) }
    }

    /// Takes `bytes` from the tenant's bucket, or nothing.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        bytes: usize,
        limits: &IngestionLimits,
        now: Instant,
    ) -> Result<(), RateLimited> {
        let (rate, burst) = (limits.rate_limit_bytes.get(), limits.burst_size_bytes.get());
        let mut buckets = self.buckets.lock();
        buckets.sweep(now);
        let bucket = buckets.by_tenant.entry_ref(tenant).or_insert_with(|| Bucket {
            tokens: as_f64(burst),
            at: now,
            rate: 0.0,
            burst: 0.0,
        });
        bucket.rate = as_f64(rate);
        bucket.burst = as_f64(burst);
        if bucket.take(as_f64(bytes as u64), now) {
            return Ok(());
        }
        drop(buckets);
        let global = match limits.rate_strategy {
            RateStrategy::Local => 0,
            // One distributor until there is a ring: its share is the whole.
            RateStrategy::Global => rate,
        };
        let tenant = tenant.clone();
        let size = bytes as u64;
        if size > rate && size > burst {
            Err(RateLimited::Batch { rate, global, burst, bytes, tenant })
        } else {
            Err(RateLimited::Rate { rate, global, burst, bytes, tenant })
        }
    }
}

impl Buckets {
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.by_tenant.retain(|_, bucket| {
            bucket.refill(now);
            bucket.tokens < bucket.burst
        });
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
    }

    fn take(&mut self, bytes: f64, now: Instant) -> bool {
        self.refill(now);
        let is_granted = bytes <= self.tokens;
        if is_granted {
            self.tokens -= bytes;
        }
        is_granted
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates and sizes in bytes are far below 2^53")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
