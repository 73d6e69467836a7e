//! Command-line flags as Go's `flag` package reads them: one dash or two, `-name=value`, `-name value`, a bool flag alone,
//! parsing stops at the first argument that is not a flag or after `--`.
//!
//! One table ([`SERVER`]) drives parsing, `-h` and the check for unknown names. Values stay text here; [`ServerFlags`]
//! turns them into typed settings. Flags win over the configuration file.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use tempo_config::{GoDuration, LogFormat, LogLevel};

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `-name` alone means true; a value only as `-name=value`.
    Bool,
    Text(&'static str),
}

/// One row of a flag table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub takes: Takes,
    pub help: &'static str,
}

const fn text(name: &'static str, placeholder: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Text(placeholder), help }
}

const fn boolean(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Bool, help }
}

/// The flags of the server, in the order in which `-h` prints them.
pub const SERVER: &[Flag] = &[
    text(
        "config.file",
        "file",
        "Configuration file to load. Without it: disk under ./tempo-data, HTTP 3200, OTLP 4317 and 4318 on localhost.",
    ),
    boolean(
        "config.expand-env",
        "Expand ${VAR} and ${VAR:default} in the configuration file from the environment.",
    ),
    boolean("config.verify", "Verify the configuration, print what is wrong with it, and exit."),
    text(
        "target",
        "name",
        "Which parts to run. So far only everything in one process: all or scalable-single-binary (default all)",
    ),
    boolean("version", "Print the version and exit."),
    text(
        "log.level",
        "level",
        "Only log messages of this severity or above: debug, info, warn, error (default info)",
    ),
    text("log.format", "format", "Form of log lines: logfmt or json (default logfmt)"),
    boolean("multitenancy.enabled", "Read the tenant from the X-Scope-OrgID header."),
    boolean("auth.enabled", "Deprecated: use -multitenancy.enabled."),
    text("http-api-prefix", "path", "Prefix of every /api path."),
    text("server.http-listen-address", "address", "Address the HTTP server listens on."),
    text("server.http-listen-port", "port", "Port of the HTTP server (default 3200)"),
    text("server.grpc-listen-address", "address", "Address the gRPC server listens on."),
    text("server.grpc-listen-port", "port", "Port of the gRPC server (default 9095)"),
    text("storage.trace.local.path", "directory", "Where the local backend keeps blocks."),
    text("storage.trace.wal.path", "directory", "Where the write-ahead log lives."),
    text(
        "shutdown-delay",
        "duration",
        "How long to answer /ready with 503 before the stop begins (default 0s)",
    ),
    text("mem-ballast-size-mbs", "megabytes", "Accepted for old start scripts; has no effect."),
];

/// The flags of `tempo demo`.
pub const DEMO: &[Flag] = &[
    text("endpoint", "url", "Where to send: OTLP over gRPC (default http://localhost:4317)"),
    text("query-url", "url", "Where to ask: the HTTP server (default http://localhost:3200)"),
    text("traces", "number", "How many traces to send (default 10)"),
    text("tenant", "id", "Tenant to send as and to ask as (X-Scope-OrgID)."),
    text("seed", "number", "Seed of the generated traces (default: the current time)"),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("flag provided but not defined: -{name}{}", nearest_text(.nearest))]
    Unknown { name: String, nearest: Option<&'static str> },
    #[error("flag needs a value: -{name}")]
    MissingValue { name: &'static str },
    #[error("bad flag syntax: {argument}")]
    Syntax { argument: String },
    #[error("invalid value {value:?} for flag -{name}: {problem}")]
    Invalid { name: &'static str, value: String, problem: String },
    #[error("unexpected argument {argument:?}; the only subcommand is `demo`")]
    Unexpected { argument: String },
}

fn nearest_text(nearest: &Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean -{name}?)")).unwrap_or_default()
}

/// Flags as given, still text; the last one wins.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    values: BTreeMap<&'static str, String>,
    /// `-h` or `-help` was given.
    pub help: bool,
    /// What follows the last flag.
    pub rest: Vec<String>,
}

/// Reads `arguments` (without the program's name) by `table`.
pub fn parse(table: &'static [Flag], arguments: Vec<String>) -> Result<Parsed, FlagError> {
    let mut parsed = Parsed::default();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next_if(|a| a.len() > 1 && a.starts_with('-')) {
        let body = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or(&argument);
        if body.is_empty() {
            break;
        }
        if body.starts_with('-') || body.starts_with('=') {
            return Err(FlagError::Syntax { argument });
        }
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if name == "h" || name == "help" {
            parsed.help = true;
            continue;
        }
        let Some(flag) = table.iter().find(|flag| flag.name == name) else {
            return Err(FlagError::Unknown { name: name.to_owned(), nearest: nearest(table, name) });
        };
        let value = match (flag.takes, inline) {
            (_, Some(value)) => value,
            (Takes::Bool, None) => "true".to_owned(),
            (Takes::Text(_), None) => arguments.next().ok_or(FlagError::MissingValue { name: flag.name })?,
        };
        parsed.values.insert(flag.name, value);
    }
    parsed.rest = arguments.collect();
    Ok(parsed)
}

impl Parsed {
    pub fn get(&self, name: &'static str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The value of `name` read by `read`, whose error text is shown to the user.
    pub fn read<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, FlagError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        read(value).map(Some).map_err(|problem| FlagError::Invalid { name, value: value.to_owned(), problem })
    }

    /// A bool as Go's `strconv.ParseBool` reads it.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, FlagError> {
        self.read(name, |value| match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err("not a boolean".to_owned()),
        })
    }

    /// A value of any type that reads itself from text.
    pub fn parsed<N: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<N>, FlagError> {
        self.read(name, |value| value.parse().map_err(|e: N::Err| e.to_string()))
    }

    fn port(&self, name: &'static str) -> Result<Option<u16>, FlagError> {
        self.read(name, |value| value.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned()))
    }

    fn owned(&self, name: &'static str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// What `-h` prints.
pub fn help(usage: &str, table: &[Flag]) -> String {
    let mut out = format!("{usage}\n\nFlags:\n");
    for flag in table {
        let placeholder = match flag.takes {
            Takes::Bool => String::new(),
            Takes::Text(placeholder) => format!(" <{placeholder}>"),
        };
        writeln!(out, "  -{}{placeholder}\n        {}", flag.name, flag.help).expect("writing to a String");
    }
    out
}

/// The known flag most like `name`, if one is near enough to be what was meant.
fn nearest(table: &[Flag], name: &str) -> Option<&'static str> {
    let most = (name.len() / 3).max(2);
    table
        .iter()
        .map(|flag| (edit_distance(flag.name.as_bytes(), name.as_bytes()), flag.name))
        .filter(|&(distance, _)| distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let substituted = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The server's flags with their types; `None` where the flag was not given.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ServerFlags {
    pub config_file: Option<PathBuf>,
    pub expand_env: bool,
    pub verify: bool,
    pub log_level: Option<LogLevel>,
    pub log_format: Option<LogFormat>,
    pub target: Option<String>,
    pub multitenancy: Option<bool>,
    pub http_api_prefix: Option<String>,
    pub http_listen_address: Option<String>,
    pub http_listen_port: Option<u16>,
    pub grpc_listen_address: Option<String>,
    pub grpc_listen_port: Option<u16>,
    pub local_path: Option<String>,
    pub wal_path: Option<String>,
    pub shutdown_delay: Option<Duration>,
    /// Flags that were accepted but do nothing or have a new name: one warning each at start.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Serve(Box<ServerFlags>),
    Demo(DemoFlags),
    Version,
    Help(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoFlags {
    pub endpoint: String,
    pub query_url: String,
    pub traces: u32,
    pub tenant: Option<String>,
    pub seed: Option<u64>,
}

const USAGE: &str = "tempo [flags]         run the server\ntempo demo [flags]    send a small shop's traces to a running server and read them back";

const DEMO_USAGE: &str =
    "tempo demo [flags]    send a small shop's traces to a running server and read them back";

/// Decides what to do from the arguments (without the program's name).
pub fn command(arguments: Vec<String>) -> Result<Command, FlagError> {
    let parsed = parse(SERVER, arguments)?;
    if parsed.help {
        return Ok(Command::Help(help(USAGE, SERVER)));
    }
    if let Some((first, rest)) = parsed.rest.split_first() {
        if first == "demo" && parsed.values.is_empty() {
            return demo_command(rest.to_vec());
        }
        return Err(FlagError::Unexpected { argument: first.clone() });
    }
    if parsed.boolean("version")?.unwrap_or(false) {
        return Ok(Command::Version);
    }
    Ok(Command::Serve(Box::new(server_flags(&parsed)?)))
}

fn server_flags(parsed: &Parsed) -> Result<ServerFlags, FlagError> {
    let mut warnings = Vec::new();
    if parsed.get("mem-ballast-size-mbs").is_some() {
        parsed.parsed::<u64>("mem-ballast-size-mbs")?;
        warnings.push("-mem-ballast-size-mbs has no effect".to_owned());
    }
    let deprecated = parsed.boolean("auth.enabled")?;
    if deprecated.is_some() {
        warnings.push("-auth.enabled is deprecated, use -multitenancy.enabled".to_owned());
    }
    Ok(ServerFlags {
        config_file: parsed.get("config.file").filter(|path| !path.is_empty()).map(PathBuf::from),
        expand_env: parsed.boolean("config.expand-env")?.unwrap_or(false),
        verify: parsed.boolean("config.verify")?.unwrap_or(false),
        log_level: parsed.parsed("log.level")?,
        log_format: parsed.read("log.format", |value| match value {
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err("formats are logfmt and json".to_owned()),
        })?,
        target: parsed.owned("target"),
        multitenancy: parsed.boolean("multitenancy.enabled")?.or(deprecated),
        http_api_prefix: parsed.owned("http-api-prefix"),
        http_listen_address: parsed.owned("server.http-listen-address"),
        http_listen_port: parsed.port("server.http-listen-port")?,
        grpc_listen_address: parsed.owned("server.grpc-listen-address"),
        grpc_listen_port: parsed.port("server.grpc-listen-port")?,
        local_path: parsed.owned("storage.trace.local.path"),
        wal_path: parsed.owned("storage.trace.wal.path"),
        shutdown_delay: parsed.parsed::<GoDuration>("shutdown-delay")?.map(GoDuration::get),
        warnings,
    })
}

fn demo_command(arguments: Vec<String>) -> Result<Command, FlagError> {
    let parsed = parse(DEMO, arguments)?;
    if parsed.help {
        return Ok(Command::Help(help(DEMO_USAGE, DEMO)));
    }
    if let Some(argument) = parsed.rest.first() {
        return Err(FlagError::Unexpected { argument: argument.clone() });
    }
    Ok(Command::Demo(DemoFlags {
        endpoint: parsed.owned("endpoint").unwrap_or_else(|| "http://localhost:4317".to_owned()),
        query_url: parsed.owned("query-url").unwrap_or_else(|| "http://localhost:3200".to_owned()),
        traces: parsed
            .read("traces", |value| value.parse().map_err(|_| "not a number".to_owned()))?
            .unwrap_or(10),
        tenant: parsed.owned("tenant"),
        seed: parsed.read("seed", |value| value.parse().map_err(|_| "not a number".to_owned()))?,
    }))
}
