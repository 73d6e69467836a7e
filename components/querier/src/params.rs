//! The parameters of `/querier/api/traces/{id}`, with the texts of Tempo where they are wrong.
//!
//! A parameter that is given twice counts the first time; an empty one counts as absent.

use axum::extract::Query;
use http::Uri;
use tempo_model::{BlockId, IdError, TenantId, TraceId};

use crate::job::{BlockRange, Job};

/// What is wrong with a request, for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParamError {
    #[error(transparent)]
    TraceId(#[from] IdError),
    #[error("invalid value for mode {0}")]
    Mode(String),
    #[error("invalid value for {name}: {problem}")]
    Block { name: &'static str, problem: IdError },
    #[error("invalid value for {name}: strconv.ParseInt: parsing {value:?}: invalid syntax")]
    Number { name: &'static str, value: String },
    #[error("http parameter start must be before end. received start={start} end={end}")]
    Reversed { start: i64, end: i64 },
    #[error("invalid query string")]
    Malformed,
}

/// Reads `{trace_id}` and the query string.
pub(crate) fn job(tenant: TenantId, trace_id: &str, uri: &Uri) -> Result<Job, ParamError> {
    let trace_id = TraceId::parse_hex(trace_id)?;
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| ParamError::Malformed)?;
    let get = |name: &str| {
        let pair = pairs.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };

    let (with_recent, with_blocks) = match get("mode") {
        None | Some("all") => (true, true),
        Some("ingesters") => (true, false),
        Some("blocks") => (false, true),
        // Since Tempo 2.10, which asks an external store then. There is none.
        Some("external") => (false, false),
        Some(other) => return Err(ParamError::Mode(other.to_owned())),
    };
    let block = |name: &'static str, default: BlockId| match get(name) {
        // Without blocks their bounds are not even looked at.
        Some(text) if with_blocks => text.parse().map_err(|problem| ParamError::Block { name, problem }),
        _ => Ok(default),
    };
    let (first, last) = (block("blockStart", BlockId::MIN)?, block("blockEnd", BlockId::MAX)?);

    let number = |name: &'static str| match get(name) {
        None => Ok(0),
        Some(text) => text.parse::<i64>().map_err(|_| ParamError::Number { name, value: text.to_owned() }),
    };
    let (start, end) = (number("start")?, number("end")?);
    if start != 0 && end != 0 && end <= start {
        return Err(ParamError::Reversed { start, end });
    }
    // A time before 1970 bounds nothing that a span can be at.
    let secs = |signed: i64| u64::try_from(signed).unwrap_or(0);
    let range = BlockRange { first, last, start_unix_secs: secs(start), end_unix_secs: secs(end) };
    Ok(Job { tenant, trace_id, with_recent, blocks: with_blocks.then_some(range) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Job, String> {
        let uri: Uri = format!("/querier/api/traces/x?{query}").parse().unwrap();
        job(TenantId::single(), "abc", &uri).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_has_a_default() {
        let range =
            BlockRange { first: BlockId::MIN, last: BlockId::MAX, start_unix_secs: 0, end_unix_secs: 0 };
        let want = Job {
            tenant: TenantId::single(),
            trace_id: TraceId::parse_hex("abc").unwrap(),
            with_recent: true,
            blocks: Some(range),
        };

        assert_eq!(parse(""), Ok(want.clone()));
        assert_eq!(parse("mode=all&start=&end="), Ok(want));
    }

    #[test]
    fn the_bounds_of_blocks_are_read_in_both_spellings() {
        let job = parse(concat!(
            "mode=blocks&blockStart=10000000000000000000000000000000",
            "&blockEnd=20000000-0000-0000-0000-000000000000&start=3&end=4"
        ))
        .unwrap();

        let id = |text: &str| text.parse::<BlockId>().unwrap();
        let want = BlockRange {
            first: id("10000000-0000-0000-0000-000000000000"),
            last: id("20000000-0000-0000-0000-000000000000"),
            start_unix_secs: 3,
            end_unix_secs: 4,
        };
        assert_eq!((job.with_recent, job.blocks), (false, Some(want)));
    }

    #[test]
    fn without_blocks_their_bounds_are_not_checked() {
        let job = parse("mode=ingesters&blockStart=junk&blockEnd=junk").unwrap();

        assert_eq!((job.with_recent, job.blocks), (true, None));
        assert_eq!(parse("mode=external").map(|job| (job.with_recent, job.blocks)), Ok((false, None)));
    }

    #[test]
    fn refusals_have_the_texts_of_tempo() {
        let cases = [
            ("mode=none", "invalid value for mode none"),
            ("blockStart=1", "invalid value for blockStart: invalid UUID length: 1"),
            ("blockEnd=zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "invalid value for blockEnd: invalid UUID format"),
            ("end=x", r#"invalid value for end: strconv.ParseInt: parsing "x": invalid syntax"#),
            ("start=2&end=1", "http parameter start must be before end. received start=2 end=1"),
        ];

        for (query, want) in cases {
            assert_eq!(parse(query).unwrap_err(), want);
        }
    }
}
