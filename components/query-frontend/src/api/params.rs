//! The parameters of a lookup by id, with the texts of Tempo where they are wrong.
//!
//! A parameter that is given twice counts the first time; an empty one counts as absent.

use axum::extract::Query;
use http::Uri;
use tempo_model::{BlockId, IdError, TraceId};

use crate::find_trace::{Mode, TraceQuery};

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

/// Reads `{trace_id}` and the query string. The range of blocks is checked, then ignored: the frontend makes its own.
pub(crate) fn trace_query(trace_id: &str, uri: &Uri) -> Result<TraceQuery, ParamError> {
    let trace_id = TraceId::parse_hex(trace_id)?;
    let Query(pairs) =
        Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| ParamError::Malformed)?;
    let get = |name: &str| {
        let pair = pairs.iter().find(|(key, _)| key == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };

    let mode = match get("mode") {
        None | Some("all") => Mode::All,
        Some("ingesters") => Mode::Ingesters,
        Some("blocks") => Mode::Blocks,
        Some("external") => Mode::External,
        Some(other) => return Err(ParamError::Mode(other.to_owned())),
    };
    if mode != Mode::Ingesters {
        for name in ["blockStart", "blockEnd"] {
            if let Some(text) = get(name) {
                text.parse::<BlockId>().map_err(|problem| ParamError::Block { name, problem })?;
            }
        }
    }

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
    Ok(TraceQuery { trace_id, mode, start_unix_secs: secs(start), end_unix_secs: secs(end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(id: &str, query: &str) -> Result<TraceQuery, String> {
        let uri: Uri = format!("/api/traces/x?{query}").parse().unwrap();
        trace_query(id, &uri).map_err(|error| error.to_string())
    }

    fn refusal(query: &str) -> String {
        parse("1", query).unwrap_err()
    }

    #[test]
    fn everything_has_a_default() {
        let want = TraceQuery {
            trace_id: TraceId::parse_hex("abc").unwrap(),
            mode: Mode::All,
            start_unix_secs: 0,
            end_unix_secs: 0,
        };

        assert_eq!(parse("ABC", ""), Ok(want.clone()));
        assert_eq!(parse("0abc", "mode=&start=&end=&blockStart=&other=1"), Ok(want));
    }

    #[test]
    fn every_parameter_is_read() {
        let query = parse(
            "1",
            "mode=blocks&start=10&end=20&blockStart=b996743a4b8547f3988c4299346fdf86&blockEnd=ffffffff-ffff-ffff-ffff-ffffffffffff",
        )
        .unwrap();

        assert_eq!((query.mode, query.start_unix_secs, query.end_unix_secs), (Mode::Blocks, 10, 20));
        assert_eq!(parse("1", "mode=ingesters&blockStart=junk").unwrap().mode, Mode::Ingesters);
        assert_eq!(parse("1", "mode=external").unwrap().mode, Mode::External);
        assert_eq!(parse("1", "start=100").unwrap().start_unix_secs, 100);
        assert_eq!(parse("1", "start=-5&end=5").unwrap().start_unix_secs, 0);
        assert_eq!(parse("1", "mode=blocks&mode=junk").unwrap().mode, Mode::Blocks);
    }

    #[test]
    fn refusals_have_the_texts_of_tempo() {
        assert_eq!(
            parse("12x4", "").unwrap_err(),
            "trace IDs can only contain hex characters: invalid character 'x' at position 3"
        );
        assert_eq!(parse(&"0".repeat(33), "").unwrap_err(), "trace IDs can't be larger than 128 bits");
        assert_eq!(refusal("mode=some"), "invalid value for mode some");
        assert_eq!(refusal("blockStart=12"), "invalid value for blockStart: invalid UUID length: 2");
        assert_eq!(
            refusal("blockEnd=zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"),
            "invalid value for blockEnd: invalid UUID format"
        );
        assert_eq!(
            refusal("start=a"),
            "invalid value for start: strconv.ParseInt: parsing \"a\": invalid syntax"
        );
        assert_eq!(
            refusal("end=1.5"),
            "invalid value for end: strconv.ParseInt: parsing \"1.5\": invalid syntax"
        );
        assert_eq!(
            refusal("start=20&end=20"),
            "http parameter start must be before end. received start=20 end=20"
        );
    }
}
