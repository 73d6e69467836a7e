//! Bounds the bytes of requests that are being read, checked and pushed, and knows when none is left.
//!
//! A reservation grows while its body arrives or is inflated, and is given back when it is dropped. When the bound is
//! reached, or draining has begun, new bytes are refused at once: the client is told to come again, nothing waits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::InflightMetrics;

/// Why bytes were not taken in. Both are for the client to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too many bytes in flight, try again later")]
    Full,
    #[error("distributor is shutting down")]
    Draining,
}

#[derive(Debug, Clone)]
pub(crate) struct Inflight {
    bytes: Arc<Semaphore>,
    max_bytes: u32,
    is_draining: Arc<AtomicBool>,
    metrics: InflightMetrics,
}

/// Bytes of one request.
#[derive(Debug)]
pub(crate) struct Reservation {
    inflight: Inflight,
    permit: OwnedSemaphorePermit,
}

impl Inflight {
    /// 0 and anything above 4 GiB is 4 GiB.
    pub(crate) fn new(max_bytes: u64, metrics: InflightMetrics) -> Inflight {
        let max_bytes = match max_bytes {
            0 => u32::MAX,
            bytes => u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        Inflight {
            bytes: Arc::new(Semaphore::new(max_bytes as usize)),
            max_bytes,
            is_draining: Arc::new(AtomicBool::new(false)),
            metrics,
        }
    }

    /// Takes `bytes`, and one more so that an empty request is waited for, too.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reservation, Refused> {
        let permit = self.take(bytes.saturating_add(1))?;
        Ok(Reservation { inflight: self.clone(), permit })
    }

    /// Refuses new bytes from now on and waits until every reservation is gone.
    pub(crate) async fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        // The semaphore is never closed, so this cannot fail; dropping the permit lets `drain` be called again.
        drop(self.bytes.acquire_many(self.max_bytes).await);
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        let permit = if self.is_draining.load(Ordering::Acquire) {
            Err(Refused::Draining)
        } else {
            u32::try_from(bytes)
                .ok()
                .and_then(|bytes| Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok())
                .ok_or(Refused::Full)
        };
        match &permit {
            Ok(permit) => self.metrics.taken(permit.num_permits()),
            Err(Refused::Full) => self.metrics.refused("full"),
            Err(Refused::Draining) => self.metrics.refused("draining"),
        }
        permit
    }
}

impl Reservation {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        self.permit.merge(self.inflight.take(bytes)?);
        Ok(())
    }

    /// Gives back what is more than `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let excess = self.permit.num_permits().saturating_sub(bytes.saturating_add(1));
        if let Some(excess) = self.permit.split(excess) {
            self.inflight.metrics.given_back(excess.num_permits());
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.inflight.metrics.given_back(self.permit.num_permits());
    }
}

#[cfg(test)]
impl Inflight {
    /// With metrics that nobody reads.
    pub(crate) fn unobserved(max_bytes: u64) -> Inflight {
        let metrics = crate::metrics::Metrics::register(&prometheus::Registry::new()).unwrap();
        Inflight::new(max_bytes, metrics.inflight().clone())
    }

    pub(crate) fn used_bytes(&self) -> usize {
        (self.max_bytes as usize).saturating_sub(self.bytes.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_bound_are_refused_until_others_are_done() {
        let inflight = Inflight::unobserved(100);
        let mut first = inflight.reserve(50).unwrap();

        assert_eq!(first.grow(50).unwrap_err(), Refused::Full);
        assert_eq!(inflight.reserve(49).unwrap_err(), Refused::Full);
        assert!(inflight.reserve(48).is_ok());

        first.shrink_to(200);
        assert_eq!(inflight.used_bytes(), 51);
        first.shrink_to(9);
        assert_eq!(inflight.used_bytes(), 10);
        drop(first);
        assert!(inflight.reserve(99).is_ok());
        assert_eq!(inflight.used_bytes(), 0);
    }

    #[tokio::test]
    async fn drain_refuses_new_bytes_and_waits_for_the_rest() {
        let inflight = Inflight::unobserved(100);
        let held = inflight.reserve(10).unwrap();
        let mut drained = Box::pin(inflight.drain());

        assert!(futures::poll!(drained.as_mut()).is_pending());
        assert_eq!(inflight.reserve(1).unwrap_err(), Refused::Draining);
        drop(held);

        drained.await;
    }
}
