//! Waiting for what another process is about to do.

use std::{fmt::Display, time::Duration};

use anyhow::Context as _;

const EVERY: Duration = Duration::from_millis(100);

/// Asks again and again until the answer is `Ok`; the last error tells what was missing at the deadline.
pub async fn eventually<T>(
    what: impl Display,
    deadline: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let end = tokio::time::Instant::now() + deadline;
    loop {
        every.tick().await;
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if tokio::time::Instant::now() > end {
            return Err(error).with_context(|| format!("waited {deadline:?} until {what}"));
        }
    }
}
