//! Bodies of answers: read to their end within bounds, counted, compared with what was asked for. And hedged reads.
//!
//! A body that stops early, a range that is not the one asked for and a server that ignores ranges are told apart from
//! the object's real end; none of them is ever returned as if it were the data.

use std::{future::Future, ops::Range, time::Duration};

use aws_sdk_s3::{operation::get_object::GetObjectOutput, primitives::ByteStream};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use crate::metrics::Metrics;

use super::failure::{Failure, Kind};

/// Bytes for which a buffer is made before they have come.
const MAX_TRUSTED_BYTES: u64 = 64 << 20;

/// Reads a whole object's body.
pub(super) async fn whole(answer: GetObjectOutput, idle: Duration) -> Result<Bytes, Failure> {
    let announced = answer.content_length().and_then(|length| u64::try_from(length).ok());
    collect(answer.body, announced, idle).await
}

/// Reads the body of a ranged read, which must be exactly that range.
pub(super) async fn part(
    answer: GetObjectOutput,
    range: &Range<u64>,
    idle: Duration,
) -> Result<Bytes, Failure> {
    let wanted = range.end - range.start;
    let announced = answer.content_length().and_then(|length| u64::try_from(length).ok());
    match answer.content_range().and_then(ContentRange::parse) {
        Some(found) if found.start == range.start && found.end == range.end => {}
        Some(found)
            if found.start == range.start && found.size == Some(found.end) && found.end < range.end =>
        {
            let text = format!("range {}..{} of an object of {} bytes", range.start, range.end, found.end);
            return Err(Failure::caused(Kind::BadRange, text.clone(), text));
        }
        Some(found) => {
            let text =
                format!("asked for bytes {}..{}, got {}..{}", range.start, range.end, found.start, found.end);
            return Err(Failure::unavailable(text));
        }
        // A server may answer a range that is the whole object without saying so.
        None if range.start == 0 && announced == Some(wanted) => {}
        None => {
            let text = format!("the service ignored the range {}..{}", range.start, range.end);
            return Err(Failure::other(text));
        }
    }
    collect(answer.body, Some(wanted), idle).await
}

/// `Content-Range: bytes <start>-<last>/<size or *>`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    /// Exclusive.
    end: u64,
    size: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<ContentRange> {
        let (range, size) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let (start, last): (u64, u64) = (start.parse().ok()?, last.parse().ok()?);
        let end = last.checked_add(1).filter(|end| *end > start)?;
        Some(ContentRange { start, end, size: size.parse().ok() })
    }
}

/// Reads a body; `wanted` bytes if that is known, no more, no less, with no pause longer than `idle`.
async fn collect(mut body: ByteStream, wanted: Option<u64>, idle: Duration) -> Result<Bytes, Failure> {
    let reserve = wanted.unwrap_or(0).min(MAX_TRUSTED_BYTES);
    let mut data = BytesMut::with_capacity(usize::try_from(reserve).unwrap_or(0));
    loop {
        let next = tokio::time::timeout(idle, body.next()).await;
        let chunk = match next {
            Ok(None) => break,
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => {
                let text = format!("the answer broke off after {} bytes", data.len());
                return Err(Failure::caused(Kind::Unavailable, text, error));
            }
            Err(_) => {
                let text = format!("the answer stopped after {} bytes, nothing for {idle:?}", data.len());
                return Err(Failure::unavailable(text));
            }
        };
        if wanted.is_some_and(|wanted| (data.len() + chunk.len()) as u64 > wanted) {
            let text = format!("the answer is longer than the {} bytes it should be", wanted.unwrap_or(0));
            return Err(Failure::unavailable(text));
        }
        data.extend_from_slice(&chunk);
    }
    match wanted {
        Some(wanted) if wanted != data.len() as u64 => {
            Err(Failure::unavailable(format!("the answer has {} of {wanted} bytes", data.len())))
        }
        Some(_) | None => Ok(data.freeze()),
    }
}

/// When a read is sent again although the first may still be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hedging {
    /// `None`: never.
    pub(super) after: Option<Duration>,
    /// Requests in all.
    pub(super) up_to: usize,
}

impl Hedging {
    /// Runs `read`, another one whenever `after` has passed without an answer, and takes the first that succeeds; if
    /// none does, the last failure.
    pub(super) async fn run<T, F>(self, metrics: &Metrics, read: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let Some(after) = self.after else { return read().await };
        let mut running = FuturesUnordered::new();
        running.push(read());
        let mut sent = 1;
        let mut next_at = Instant::now() + after;
        loop {
            tokio::select! {
                biased;
                ended = running.next() => match ended {
                    Some(Err(failure)) if running.is_empty() => return Err(failure),
                    // Another one is still under way.
                    Some(Err(_)) => {}
                    Some(Ok(answer)) => return Ok(answer),
                    None => return Err(Failure::other("no read was begun")),
                },
                () = tokio::time::sleep_until(next_at), if sent < self.up_to => {
                    metrics.read_hedged();
                    running.push(read());
                    sent += 1;
                    next_at = Instant::now() + after;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use prometheus::Registry;

    use super::*;

    #[test]
    fn content_ranges_are_read_and_nonsense_is_not() {
        let range = |start, end, size| Some(ContentRange { start, end, size });

        assert_eq!(ContentRange::parse("bytes 3-4/10"), range(3, 5, Some(10)));
        assert_eq!(ContentRange::parse("bytes 3-4/*"), range(3, 5, None));
        for text in
            ["", "bytes */10", "bytes 4-3/10", "bytes -4/10", "3-4/10", "bytes 0-18446744073709551615/*"]
        {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    fn answer(range: Option<&str>, body: &'static [u8]) -> GetObjectOutput {
        GetObjectOutput::builder()
            .set_content_range(range.map(str::to_owned))
            .content_length(i64::try_from(body.len()).unwrap())
            .body(ByteStream::from_static(body))
            .build()
    }

    #[tokio::test]
    async fn only_the_very_range_that_was_asked_for_is_taken() {
        let idle = Duration::from_secs(1);
        for (range, body, expected) in [
            (Some("bytes 3-5/10"), &b"345"[..], Ok("345")),
            (Some("bytes 3-4/5"), b"34", Err(Kind::BadRange)),
            (Some("bytes 3-4/10"), b"34", Err(Kind::Unavailable)),
            (Some("bytes 0-2/10"), b"012", Err(Kind::Unavailable)),
            (Some("bytes 3-5/10"), b"34", Err(Kind::Unavailable)),
            (Some("bytes 3-5/10"), b"3456", Err(Kind::Unavailable)),
            (None, b"0123456789", Err(Kind::Other)),
        ] {
            let read = part(answer(range, body), &(3..6), idle).await;
            let read = read.map_err(|failure| failure.kind);
            assert_eq!(read, expected.map(|text: &str| Bytes::copy_from_slice(text.as_bytes())), "{range:?}");
        }
    }

    fn metrics() -> Metrics {
        Metrics::register(&Registry::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_takes_long_is_sent_again_and_the_first_answer_counts() {
        let hedging = Hedging { after: Some(Duration::from_millis(100)), up_to: 3 };
        let started = Instant::now();
        let sent = Cell::new(0);

        let answer = hedging
            .run(&metrics(), || {
                sent.set(sent.get() + 1);
                let number = sent.get();
                async move {
                    let pause = if number == 1 { Duration::from_secs(60) } else { Duration::from_millis(10) };
                    tokio::time::sleep(pause).await;
                    Ok(number)
                }
            })
            .await;

        assert_eq!(answer.unwrap(), 2);
        assert_eq!(sent.get(), 2);
        assert_eq!(started.elapsed(), Duration::from_millis(110));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_not_sent_more_often_than_allowed() {
        let hedging = Hedging { after: Some(Duration::from_millis(100)), up_to: 2 };
        let sent = Cell::new(0);

        let answer: Result<(), _> = hedging
            .run(&metrics(), || {
                sent.set(sent.get() + 1);
                async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    Err(Failure::unavailable("503"))
                }
            })
            .await;

        answer.unwrap_err();
        assert_eq!(sent.get(), 2);
    }
}
