//! How often a call is tried: a few times, with growing pauses and jitter, and never more than a share of all calls.
//!
//! The budget is what keeps retries from becoming a storm. Every retry takes from it, every success gives a little
//! back: while the store is down, nearly all calls fail at their first try, and who called decides when to come back.

use std::{future::Future, time::Duration};

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::time::Instant;
use tracing::debug;

use crate::metrics::Metrics;

use super::failure::Failure;

/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Tokens of a full budget, what a retry costs, and what a success gives back.
const BUDGET: u32 = 100;
const COST: u32 = 5;
const REFUND: u32 = 1;

/// The rule, shared by all calls of a store.
#[derive(Debug)]
pub(super) struct Retries {
    max_attempts: u32,
    budget: Mutex<u32>,
    metrics: Metrics,
}

impl Retries {
    pub(super) fn new(max_attempts: u32, metrics: Metrics) -> Retries {
        Retries { max_attempts: max_attempts.max(1), budget: Mutex::new(BUDGET), metrics }
    }

    /// Tries until it succeeds or fails for good. The argument of a try is its number, from 1.
    pub(super) async fn run<T, F>(&self, mut attempt: impl FnMut(u32) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut number = 1;
        let mut pause = FIRST_PAUSE;
        loop {
            let started = Instant::now();
            let failure = match attempt(number).await {
                Ok(answer) => {
                    self.refund();
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if !failure.may_pass() || number >= self.max_attempts || !self.take() {
                return Err(failure);
            }
            debug!(attempt = number, took = ?started.elapsed(), %failure, "trying a request to S3 again");
            self.metrics.request_repeated();
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            number += 1;
        }
    }

    fn take(&self) -> bool {
        let mut budget = self.budget.lock();
        let left = budget.checked_sub(COST);
        *budget = left.unwrap_or(*budget);
        left.is_some()
    }

    fn refund(&self) {
        let mut budget = self.budget.lock();
        *budget = (*budget + REFUND).min(BUDGET);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use prometheus::Registry;

    use super::*;

    fn retries(max_attempts: u32) -> Retries {
        Retries::new(max_attempts, Metrics::register(&Registry::new()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_with_growing_pauses() {
        let started = Instant::now();
        let tries = Cell::new(0);

        let result = retries(4)
            .run(async |number| {
                tries.set(number);
                if number < 4 { Err(Failure::unavailable("503")) } else { Ok(number) }
            })
            .await;

        assert_eq!(result.unwrap(), 4);
        assert_eq!(tries.get(), 4);
        let took = started.elapsed();
        // 100, 200 and 400 ms, each half of that at least.
        assert!(took >= Duration::from_millis(350) && took <= Duration::from_millis(700), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_pass_is_tried_once() {
        let tries = Cell::new(0);

        let result: Result<(), _> = retries(4)
            .run(async |number| {
                tries.set(number);
                Err(Failure::other("no"))
            })
            .await;

        result.unwrap_err();
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_down_is_not_stormed() {
        let retries = retries(4);
        let tries = Cell::new(0);

        for _ in 0..1_000 {
            let result: Result<(), _> = retries
                .run(async |_| {
                    tries.set(tries.get() + 1);
                    Err(Failure::unavailable("503"))
                })
                .await;
            result.unwrap_err();
        }

        assert_eq!(tries.get(), 1_000 + BUDGET / COST);
    }
}
