//! Bounds the bytes of requests that are being read, checked and pushed, and knows when none is left.
//!
//! A reservation grows while its body arrives or is inflated, and is given back when it is dropped. When the bound is
//! reached, or draining has begun, new bytes are refused at once: the client is told to come again, nothing waits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
}

/// Bytes of one request.
#[derive(Debug)]
pub(crate) struct Reservation {
    inflight: Inflight,
    permit: OwnedSemaphorePermit,
}

impl Inflight {
    pub(crate) fn new(max_bytes: u64) -> Inflight {
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX).max(1);
        Inflight {
            bytes: Arc::new(Semaphore::new(max_bytes as usize)),
            max_bytes,
            is_draining: Arc::new(AtomicBool::new(false)),
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

    pub(crate) fn used_bytes(&self) -> usize {
        (self.max_bytes as usize).saturating_sub(self.bytes.available_permits())
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refused> {
        if self.is_draining.load(Ordering::Acquire) {
            return Err(Refused::Draining);
        }
        let bytes = u32::try_from(bytes).map_err(|_| Refused::Full)?;
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| Refused::Full)
    }
}

impl Reservation {
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        self.permit.merge(self.inflight.take(bytes)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_bound_are_refused_until_others_are_done() {
        let inflight = Inflight::new(100);
        let mut first = inflight.reserve(50).unwrap();

        assert_eq!(first.grow(50).unwrap_err(), Refused::Full);
        assert_eq!(inflight.reserve(49).unwrap_err(), Refused::Full);
        assert!(inflight.reserve(48).is_ok());

        drop(first);
        assert!(inflight.reserve(99).is_ok());
        assert_eq!(inflight.used_bytes(), 0);
    }

    #[tokio::test]
    async fn drain_refuses_new_bytes_and_waits_for_the_rest() {
        let inflight = Inflight::new(100);
        let held = inflight.reserve(10).unwrap();
        let mut drained = Box::pin(inflight.drain());

        assert!(futures::poll!(drained.as_mut()).is_pending());
        assert_eq!(inflight.reserve(1).unwrap_err(), Refused::Draining);
        drop(held);

        drained.await;
    }
}
