//! Log lines in Tempo's form, logfmt or JSON:
//! `level=info ts=2026-11-22T10:00:00.123456789Z caller=app.rs:12 msg="started" key=value`.
//!
//! Fields of the spans around an event follow its own, innermost first. A value is quoted if it is empty or holds a space,
//! a quote, `=` or a control character; control characters and quotes are escaped, so that one event is always one line.

use std::fmt;

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, format::Writer},
    registry::LookupSpan,
};

/// `key=value` pairs.
#[derive(Debug)]
pub(super) struct LogfmtLine;

/// One JSON object a line.
#[derive(Debug)]
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for LogfmtLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = Line::of(event);
        write!(writer, "level={} ts={} caller={} msg=", line.level, timestamp(), line.caller)?;
        write_value(&mut writer, &line.message)?;
        for (key, value) in &line.fields {
            write!(writer, " {key}=")?;
            write_value(&mut writer, value)?;
        }
        for fields in span_fields(context) {
            write!(writer, " {fields}")?;
        }
        writeln!(writer)
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let line = Line::of(event);
        let mut object = serde_json::Map::new();
        for (key, value) in [("level", line.level.to_owned()), ("ts", timestamp()), ("caller", line.caller)] {
            object.insert(key.to_owned(), value.into());
        }
        object.insert("msg".to_owned(), line.message.into());
        for (key, value) in line.fields {
            object.insert(key.to_owned(), value.into());
        }
        let spans = span_fields(context);
        if !spans.is_empty() {
            object.insert("spans".to_owned(), spans.into());
        }
        writeln!(writer, "{}", serde_json::Value::Object(object))
    }
}

/// One event, taken apart.
struct Line {
    level: &'static str,
    caller: String,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn of(event: &Event<'_>) -> Line {
        let metadata = event.metadata();
        let file = metadata.file().unwrap_or("unknown");
        let file = file.rsplit('/').next().unwrap_or(file);
        let mut line = Line {
            level: level_name(*metadata.level()),
            caller: format!("{file}:{}", metadata.line().unwrap_or(0)),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }

    fn push(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name if name.starts_with("log.") => {}
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}"));
    }
}

fn level_name(level: Level) -> &'static str {
    if level == Level::ERROR {
        "error"
    } else if level == Level::WARN {
        "warn"
    } else if level == Level::INFO {
        "info"
    } else {
        "debug"
    }
}

fn timestamp() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

fn span_fields<S, N>(context: &FmtContext<'_, S, N>) -> Vec<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let Some(scope) = context.event_scope() else { return Vec::new() };
    scope
        .filter_map(|span| {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>()?;
            (!fields.is_empty()).then(|| fields.to_string())
        })
        .collect()
}

fn write_value(out: &mut impl fmt::Write, value: &str) -> fmt::Result {
    let needs_quotes = value.is_empty()
        || value.chars().any(|c| c <= ' ' || c == '=' || c == '"' || c == '\\' || c.is_control());
    if !needs_quotes {
        return out.write_str(value);
    }
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines<F>(format: F) -> String
    where
        F: FormatEvent<tracing_subscriber::Registry, tracing_subscriber::fmt::format::DefaultFields>
            + Send
            + Sync
            + 'static,
    {
        let memory = Memory::default();
        let writer = memory.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(format)
            .with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(tenant = "a b", size = 3, text = "x\ny\"", "flushed block");
        });
        let bytes = memory.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_logfmt_line_with_escapes() {
        let line = lines(LogfmtLine);

        assert!(line.starts_with("level=info ts=2"), "{line}");
        assert!(line.contains(" caller=logfmt.rs:"), "{line}");
        assert!(
            line.ends_with(" msg=\"flushed block\" tenant=\"a b\" size=3 text=\"x\\ny\\\"\"\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn json_lines_parse_and_have_the_same_keys() {
        let line: serde_json::Value = serde_json::from_str(&lines(JsonLine)).unwrap();

        assert_eq!(line["msg"], "flushed block");
        assert_eq!(line["text"], "x\ny\"");
        assert_eq!(line["level"], "info");
    }
}
