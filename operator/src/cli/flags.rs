//! Arguments to a [`Command`]: `--name=value` or `--name value`, one dash or two, `-f` for files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
};

use tempo_config::LogLevel;

use super::built_in_defaults;
use crate::references::OperatorDefaults;

const USAGE: &str = "\
tempo-operator run [flags]           keep all TempoClusters as they are written
tempo-operator crd                   print the CustomResourceDefinition
tempo-operator render -f FILE...     print the objects that would be applied
tempo-operator validate -f FILE...   say what is wrong with TempoClusters

FILE is YAML with one or more documents; - is stdin. Secrets and ConfigMaps that a TempoCluster names are taken from the
files too; those that are not there are assumed to exist with the usual keys.
";

/// What a subcommand takes: name, placeholder, help.
type Flag = (&'static str, &'static str, &'static str);

const RUN: &[Flag] = &[
    ("listen", "address", "Where /livez, /readyz and /metrics are answered (default 0.0.0.0:8080)"),
    ("watch-namespaces", "names", "Namespaces with TempoClusters, separated by commas (default: all)"),
    ("lease-namespace", "name", "Namespace of the lease of the leader; without it there is no election"),
    ("lease-name", "name", "Name of that lease (default tempo-operator)"),
    ("default-image", "image", "Repository and tag of Tempo where the spec names none"),
    ("concurrency", "number", "Clusters worked on at once (default 4)"),
    ("log-level", "level", "debug, info, warn or error (default info)"),
    ("log-format", "format", "text or json (default text)"),
];

const FILES: &[Flag] = &[
    ("f", "file", "A file with TempoClusters, Secrets and ConfigMaps; may be given more than once"),
    ("default-image", "image", "Repository and tag of Tempo where the spec names none"),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FlagError {
    #[error("no command given\n\n{USAGE}")]
    NoCommand,
    #[error("unknown command {0:?}; commands are run, crd, render and validate")]
    UnknownCommand(String),
    #[error("unknown flag --{name} of {command}; flags are {known}")]
    UnknownFlag { command: &'static str, name: String, known: String },
    #[error("flag --{0} needs a value")]
    MissingValue(String),
    #[error("flag --{0} is given twice")]
    Twice(String),
    #[error("unexpected argument {0:?}")]
    Unexpected(String),
    #[error("no file given: -f FILE")]
    NoFile,
    #[error("flag --{flag}: {value:?} {problem}")]
    Invalid { flag: &'static str, value: String, problem: &'static str },
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    Help(String),
    Version,
    Crd,
    Render(FilesCommand),
    Validate(FilesCommand),
    Run(Box<RunFlags>),
}

/// `render` and `validate`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FilesCommand {
    pub(super) files: Vec<PathBuf>,
    pub(super) defaults: OperatorDefaults,
}

/// `run`.
#[derive(Debug, PartialEq)]
pub(super) struct RunFlags {
    pub(super) listen: SocketAddr,
    pub(super) watch_namespaces: Vec<String>,
    /// Namespace and name.
    pub(super) lease: Option<(String, String)>,
    pub(super) defaults: OperatorDefaults,
    pub(super) concurrency: u16,
    pub(super) log_level: LogLevel,
    pub(super) log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Reads the arguments without the program's name.
pub(super) fn command(arguments: Vec<String>) -> Result<Command, FlagError> {
    let mut arguments = arguments.into_iter();
    let name = arguments.next().ok_or(FlagError::NoCommand)?;
    let rest: Vec<String> = arguments.collect();
    match name.as_str() {
        "-h" | "--help" | "-help" | "help" => Ok(Command::Help(help())),
        "--version" | "-version" | "version" => Ok(Command::Version),
        "crd" => match parse("crd", &[], rest)? {
            None => Ok(Command::Help(help())),
            Some(_) => Ok(Command::Crd),
        },
        "render" => Ok(files("render", rest)?.map_or_else(|| Command::Help(help()), Command::Render)),
        "validate" => Ok(files("validate", rest)?.map_or_else(|| Command::Help(help()), Command::Validate)),
        "run" => match parse("run", RUN, rest)? {
            None => Ok(Command::Help(help())),
            Some(flags) => Ok(Command::Run(Box::new(run(&flags)?))),
        },
        _ => Err(FlagError::UnknownCommand(name)),
    }
}

fn help() -> String {
    let mut text = USAGE.to_owned();
    for (command, flags) in [("run", RUN), ("render and validate", FILES)] {
        write!(text, "\nFlags of {command}:\n").expect("writing to a String");
        for (name, placeholder, help) in flags {
            writeln!(text, "  {} <{placeholder}>\n        {help}", dashed(name))
                .expect("writing to a String");
        }
    }
    text
}

fn dashed(name: &str) -> String {
    if name.len() == 1 { format!("-{name}") } else { format!("--{name}") }
}

/// Flags as given, still text.
type Given = BTreeMap<&'static str, Vec<String>>;

/// `None` if help was asked for.
fn parse(command: &'static str, table: &[Flag], arguments: Vec<String>) -> Result<Option<Given>, FlagError> {
    let mut given = Given::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            return Err(FlagError::Unexpected(argument));
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        if name == "h" || name == "help" {
            return Ok(None);
        }
        let Some((name, ..)) = table.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<String> = table.iter().map(|(name, ..)| dashed(name)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(FlagError::UnknownFlag { command, name: name.to_owned(), known });
        };
        let value = inline.or_else(|| arguments.next());
        let value = value.ok_or_else(|| FlagError::MissingValue((*name).to_owned()))?;
        let values = given.entry(name).or_default();
        if *name != "f" && !values.is_empty() {
            return Err(FlagError::Twice((*name).to_owned()));
        }
        values.push(value);
    }
    Ok(Some(given))
}

fn one<'a>(given: &'a Given, name: &str) -> Option<&'a str> {
    given.get(name).and_then(|values| values.first()).map(String::as_str)
}

fn files(command: &'static str, arguments: Vec<String>) -> Result<Option<FilesCommand>, FlagError> {
    let Some(given) = parse(command, FILES, arguments)? else { return Ok(None) };
    let files: Vec<PathBuf> = given.get("f").into_iter().flatten().map(PathBuf::from).collect();
    if files.is_empty() {
        return Err(FlagError::NoFile);
    }
    Ok(Some(FilesCommand { files, defaults: defaults(&given)? }))
}

fn run(given: &Given) -> Result<RunFlags, FlagError> {
    fn read<T>(
        given: &Given,
        flag: &'static str,
        problem: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, FlagError> {
        let Some(value) = one(given, flag) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| FlagError::Invalid { flag, value: value.to_owned(), problem })
    }
    let address = "is no address: write host:port, such as 0.0.0.0:8080";
    let listen = read(given, "listen", address, |value| value.parse().ok())?;
    let level = read(given, "log-level", "is none of debug, info, warn, error", |value| value.parse().ok())?;
    let format = read(given, "log-format", "is neither text nor json", |value| match value {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    })?;
    let concurrency = "is no number from 1 to 64";
    let concurrency = read(given, "concurrency", concurrency, |value| {
        value.parse().ok().filter(|number| (1..=64).contains(number))
    })?;
    let namespaces = one(given, "watch-namespaces").unwrap_or_default().split(',').map(str::trim);
    // Two controllers of one namespace would work on one cluster at once.
    let namespaces: BTreeSet<&str> = namespaces.filter(|name| !name.is_empty()).collect();
    let lease = one(given, "lease-namespace").filter(|namespace| !namespace.is_empty());
    let lease_name = one(given, "lease-name").unwrap_or("tempo-operator");
    Ok(RunFlags {
        listen: listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8080))),
        watch_namespaces: namespaces.into_iter().map(str::to_owned).collect(),
        lease: lease.map(|namespace| (namespace.to_owned(), lease_name.to_owned())),
        defaults: defaults(given)?,
        concurrency: concurrency.unwrap_or(4),
        log_level: level.unwrap_or_default(),
        log_format: format.unwrap_or(LogFormat::Text),
    })
}

/// `repository` or `repository:tag`; a colon before the last slash belongs to the registry's port.
fn defaults(given: &Given) -> Result<OperatorDefaults, FlagError> {
    const FLAG: &str = "default-image";
    let mut defaults = built_in_defaults();
    let Some(image) = one(given, FLAG).filter(|image| !image.is_empty()) else { return Ok(defaults) };
    let invalid = |problem| FlagError::Invalid { flag: FLAG, value: image.to_owned(), problem };
    if image.contains('@') {
        return Err(invalid("has a digest, which does not say its version; write repository:tag"));
    }
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    };
    if repository.is_empty() || tag.is_some_and(str::is_empty) {
        return Err(invalid("is no image; write repository:tag"));
    }
    defaults.image_repository = repository.to_owned();
    defaults.image_tag = tag.map(str::to_owned);
    Ok(defaults)
}
