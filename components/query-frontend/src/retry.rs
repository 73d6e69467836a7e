//! Trying a job again: how often, and how long to wait before.
//!
//! Jobs only read, so any failure that is not the job's own fault is worth another try. Waits double from 10 ms and
//! are stretched at random by up to their own length, so that the jobs of one query, which fail together, do not come
//! back together.

use std::time::Duration;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::SmallRng};

const FIRST_WAIT: Duration = Duration::from_millis(10);
const MAX_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Retry {
    max_retries: u32,
    random: Mutex<SmallRng>,
}

impl Retry {
    pub(crate) fn new(max_retries: u32) -> Retry {
        Retry::with_random(max_retries, SmallRng::from_rng(&mut rand::rng()))
    }

    pub(crate) fn with_random(max_retries: u32, random: SmallRng) -> Retry {
        Retry { max_retries, random: Mutex::new(random) }
    }

    /// How long to wait before trying again what failed `retries + 1` times; `None`: give up.
    pub(crate) fn wait_after(&self, retries: u32) -> Option<Duration> {
        if retries >= self.max_retries {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << retries.min(16)).min(MAX_WAIT);
        Some(wait.mul_f64(1.0 + self.random.lock().random::<f64>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_stretched_at_random_and_end() {
        let retry = Retry::with_random(9, SmallRng::seed_from_u64(7));

        let waits: Vec<Duration> = (0..10).map_while(|retries| retry.wait_after(retries)).collect();

        assert_eq!(waits.len(), 9);
        for (retries, wait) in waits.iter().enumerate() {
            let base = Duration::from_millis(10 << retries).min(MAX_WAIT);
            assert!((base..=base * 2).contains(wait), "retry {retries}: {wait:?}");
        }
    }

    #[test]
    fn no_retries_means_none() {
        assert_eq!(Retry::with_random(0, SmallRng::seed_from_u64(7)).wait_after(0), None);
    }
}
