//! CPU by sampling: SIGPROF 100 times a second of consumed CPU time, stacks unwound by frame pointers.
//!
//! Only the frame-pointer unwinder is safe in a signal handler, which is why `.cargo/config.toml` builds with frame
//! pointers. Symbols are resolved after the sampling, on the blocking pool.

use std::time::Duration;

use pprof::ProfilerGuardBuilder;

use super::{
    ProfileError,
    pprof_format::{Frame, ProfileBuilder},
};

const SAMPLES_PER_SECOND: i32 = 100;

pub(super) async fn sample(lasting: Duration) -> Result<Vec<u8>, ProfileError> {
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let guard = ProfilerGuardBuilder::default().frequency(SAMPLES_PER_SECOND).build().map_err(failed)?;
        runtime.block_on(tokio::time::sleep(lasting));
        let report = guard.report().build().map_err(failed)?;
        drop(guard);
        encode(&report, lasting)
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

fn encode(report: &pprof::Report, lasted: Duration) -> Result<Vec<u8>, ProfileError> {
    let nanos_per_sample = 1_000_000_000 / i64::from(SAMPLES_PER_SECOND);
    let mut builder = ProfileBuilder::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
    builder.set_time(jiff::Timestamp::now(), lasted);
    builder.set_period("cpu", "nanoseconds", nanos_per_sample);
    for (frames, &count) in &report.data {
        let stack: Vec<Vec<Frame>> = frames
            .frames
            .iter()
            .map(|inlined| {
                let frame = |symbol: &pprof::Symbol| Frame {
                    function: symbol.name(),
                    file: symbol.filename().into_owned(),
                    line: i64::from(symbol.lineno()),
                };
                inlined.iter().map(frame).collect()
            })
            .collect();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let values = vec![count, count.saturating_mul(nanos_per_sample)];
        builder.add(&stack, values, &[("thread", &frames.thread_name)]);
    }
    builder.finish().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> ProfileError {
    ProfileError::Failed(error.to_string())
}
