//! YAML text to [`Config`] and [`Overrides`]; the one module that calls serde_yaml, so that it can be swapped.
//!
//! Steps: `${VARIABLE}` ([`crate::env`]), YAML with duplicate keys refused, `<<` merged, flat keys of old moved, keys
//! and kinds checked ([`crate::check`]), then the types. Every step reports all it finds and goes on with the rest.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, DeserializeSeed},
};
pub use serde_yaml::Value;
pub(crate) use serde_yaml::{Mapping, Number};

use crate::{
    Config, Finding, Findings, Limits, Overrides, ReceiversConfig,
    check::Checker,
    env,
    lines::{self, Lines, Path},
    schema::Schema,
    validate,
};

/// Flat keys of old stand in `overrides` of the configuration and below each tenant of the per-tenant file.
const FLAT_IN_CONFIG: usize = 1;
const FLAT_IN_OVERRIDES: usize = 2;

/// serde_yaml's own limit is 128 levels, but its scanner needs 23 s for 100,000 brackets before it gets there.
const MAX_FLOW_DEPTH: usize = 1_000;

/// How a configuration file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions {
    /// Whether `${VARIABLE}` is replaced (`-config.expand-env`).
    pub expand_env: bool,
}

/// A configuration that could be read, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Keys that Tempo has and this build does not implement, and variables that are not set.
    pub warnings: Vec<Finding>,
    /// Where keys stand in the text, to add lines to what [`Config::validate`] finds.
    pub lines: Lines,
}

impl Config {
    /// Reads a configuration file. `env` is only used if `options` ask for it.
    pub fn from_yaml(
        text: &str,
        env: &BTreeMap<String, String>,
        options: ParseOptions,
    ) -> Result<Parsed, Findings> {
        let expanded = if options.expand_env {
            env::expand(text, env)
        } else {
            env::Expanded { text: text.to_owned(), ..env::Expanded::default() }
        };
        let lines = Lines::of(&expanded.text);
        let schema = Schema::of_config(&to_value(&Self::sample()));
        let mut checker = Checker::new(&schema, &lines, FLAT_IN_CONFIG);
        checker.errors.extend(expanded.errors);
        checker.warnings.extend(expanded.warnings);
        let document = read_document(&expanded.text, &lines, &mut checker);
        let document = check_config(document, &mut checker);
        let config = typed(document.clone(), document, &Value::Mapping(Mapping::new()), &mut checker);
        let warnings = finish(checker)?;
        let config = config.ok_or_else(|| Finding::new("", "the configuration cannot be read"))?;
        Ok(Parsed { config, warnings, lines })
    }

    /// Puts a fragment of YAML over this configuration: sections are merged, values and lists replaced. The fragment is
    /// checked like a file.
    pub fn overlay(self, fragment: &Value) -> Result<Parsed, Findings> {
        let lines = Lines::default();
        let schema = Schema::of_config(&to_value(&Self::sample()));
        let mut checker = Checker::new(&schema, &lines, FLAT_IN_CONFIG);
        let fragment = check_config(fragment.clone(), &mut checker);
        let base = to_value(&self);
        let mut merged = base.clone();
        merge(&mut merged, fragment.clone());
        let config: Option<Self> = typed(merged, fragment, &base, &mut checker);
        let warnings = finish(checker)?;
        let mut config = config.ok_or_else(|| Finding::new("", "the fragment cannot be read"))?;
        config.restore_secrets(&self);
        Ok(Parsed { config, warnings, lines })
    }

    /// A configuration in which every key is present once it is rendered.
    pub(crate) fn sample() -> Self {
        let mut sample = Self::default();
        sample.overrides.defaults = Limits::sample();
        sample.distributor.receivers = ReceiversConfig::all();
        sample
    }
}

/// Reads the per-tenant file, in Tempo's nested form or its flat form of old. Keys that an entry does not set have the
/// value of `defaults`. Returns the keys that Tempo has and this build does not implement as warnings.
pub fn parse_overrides(text: &str, defaults: &Limits) -> Result<(Overrides, Vec<Finding>), Findings> {
    let lines = Lines::of(text);
    let schema = Schema::of_overrides(&to_value(&Limits::sample()));
    let mut checker = Checker::new(&schema, &lines, FLAT_IN_OVERRIDES);
    let mut document = read_document(text, &lines, &mut checker);
    if let Some(Value::Mapping(tenants)) = document.get_mut("overrides") {
        for (tenant, entry) in tenants {
            if let Some(tenant) = tenant.as_str() {
                checker.move_legacy(entry, &["overrides", tenant], None);
            }
        }
    }
    let document = checker.document(document);
    let base = to_value(defaults);
    let mut overrides = Overrides::new(defaults.clone());
    if let Some(Value::Mapping(tenants)) = document.get("overrides") {
        for (tenant, entry) in tenants {
            let Some(tenant) = tenant.as_str() else { continue };
            let mut merged = base.clone();
            merge(&mut merged, entry.clone());
            let prefix = vec!["overrides".to_owned(), tenant.to_owned()];
            if let Some(limits) = typed_at(prefix, merged, entry.clone(), &base, &mut checker) {
                for finding in validate::limits(&limits) {
                    let below = lines::path_of(&finding.path);
                    checker.error(
                        &[vec!["overrides".to_owned(), tenant.to_owned()], below].concat(),
                        finding.message,
                    );
                }
                overrides.tenants.insert(tenant.to_owned(), limits);
            }
        }
    }
    let warnings = finish(checker)?;
    Ok((overrides, warnings))
}

/// Writes any part of the configuration as YAML.
pub(crate) fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_yaml::to_string(value).expect("the configuration's types are maps with text keys")
}

/// Any part of the configuration as a tree.
pub(crate) fn to_value<T: Serialize>(value: &T) -> Value {
    serde_yaml::to_value(value).expect("the configuration's types are maps with text keys")
}

fn check_config(mut document: Value, checker: &mut Checker<'_>) -> Value {
    if let Some(overrides) = document.get_mut("overrides") {
        checker.move_legacy(overrides, &["overrides"], Some("defaults"));
    }
    checker.document(document)
}

/// All errors, or else all warnings, in the order of the text.
fn finish(checker: Checker<'_>) -> Result<Vec<Finding>, Findings> {
    let Checker { mut errors, mut warnings, .. } = checker;
    let by_line = |finding: &Finding| finding.line.unwrap_or(usize::MAX);
    errors.sort_by_key(by_line);
    warnings.sort_by_key(by_line);
    Findings::check(errors, warnings)
}

/// Reads a text into a tree without duplicate keys and with `<<` merged; an empty tree if it is no YAML.
fn read_document(text: &str, lines: &Lines, checker: &mut Checker<'_>) -> Value {
    if lines::flow_depth(text) > MAX_FLOW_DEPTH {
        checker.errors.push(Finding::new("", "lists and maps are nested too deep"));
        return Value::Null;
    }
    let duplicates = RefCell::new(Vec::new());
    let root = NodeSeed { path: Path::new(), duplicates: &duplicates };
    let read = serde_yaml::Deserializer::from_str(text);
    let document = match root.deserialize(read) {
        Ok(document) => document,
        Err(error) => {
            let line = error.location().map(|location| location.line());
            checker.errors.push(Finding { path: String::new(), line, message: syntax_message(&error) });
            Value::Null
        }
    };
    for path in duplicates.into_inner() {
        let first =
            lines.find_first(&path).map_or_else(String::new, |line| format!(" (first on line {line})"));
        checker.error(&path, format!("is set twice{first}"));
    }
    let mut document = document;
    if let Err(error) = document.apply_merge() {
        checker.errors.push(Finding::new("", format!("a merge key `<<` cannot be followed: {error}")));
    }
    document
}

/// serde_yaml's text without the position, which the finding has.
fn syntax_message(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Turns a checked document into its type. If that fails, every value of `settings` is tried alone over `base` to find
/// all that are wrong; an error that no single value explains is reported for the whole.
fn typed<T: DeserializeOwned>(
    document: Value,
    settings: Value,
    base: &Value,
    checker: &mut Checker<'_>,
) -> Option<T> {
    typed_at(Path::new(), document, settings, base, checker)
}

fn typed_at<T: DeserializeOwned>(
    mut prefix: Path,
    document: Value,
    settings: Value,
    base: &Value,
    checker: &mut Checker<'_>,
) -> Option<T> {
    let error = match serde_yaml::from_value::<T>(document) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let before = checker.errors.len();
    let depth = prefix.len();
    probe::<T>(&settings, depth, &mut prefix, base, checker);
    if checker.errors.len() == before {
        checker.error(&prefix, error.to_string());
    }
    None
}

/// Tries every value below `settings` alone.
fn probe<T: DeserializeOwned>(
    settings: &Value,
    depth: usize,
    path: &mut Path,
    base: &Value,
    checker: &mut Checker<'_>,
) {
    if let Value::Mapping(map) = settings {
        for (key, value) in map {
            path.push(crate::check::scalar_text(key).unwrap_or_default());
            probe::<T>(value, depth, path, base, checker);
            path.pop();
        }
        return;
    }
    let alone = |value: Value| {
        let mut fragment = value;
        for name in path.iter().skip(depth).rev() {
            let key = Value::String(name.clone());
            fragment = Value::Mapping(Mapping::from_iter([(key, fragment)]));
        }
        let mut document = base.clone();
        merge(&mut document, fragment);
        serde_yaml::from_value::<T>(document).err().map(|error| error.to_string())
    };
    if let Value::Sequence(items) = settings {
        let problems: Vec<_> = items.iter().map(|item| alone(Value::Sequence(vec![item.clone()]))).collect();
        for (i, problem) in problems.into_iter().enumerate() {
            if let Some(problem) = problem {
                let path = [path.as_slice(), &[format!("[{i}]")]].concat();
                checker.error(&path, problem);
            }
        }
    } else if let Some(problem) = alone(settings.clone()) {
        checker.error(path, problem);
    }
}

/// Puts `over` over `base`: maps are merged, everything else is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(present) => merge(present, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// Reads any YAML node, noting the paths of keys that are set twice (the last one wins).
struct NodeSeed<'a> {
    path: Path,
    duplicates: &'a RefCell<Vec<Path>>,
}

impl NodeSeed<'_> {
    fn below(&self, name: String) -> Self {
        let path = self.path.iter().cloned().chain([name]).collect();
        Self { path, duplicates: self.duplicates }
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for NodeSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML without tags of its own")
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.below(format!("[{}]", items.len())))? {
            items.push(item);
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Mapping::new();
        while let Some(Key(name)) = access.next_key()? {
            let seed = self.below(name.clone());
            let path = seed.path.clone();
            let value = access.next_value_seed(seed)?;
            if map.insert(Value::String(name), value).is_some() {
                self.duplicates.borrow_mut().push(path);
            }
        }
        Ok(Value::Mapping(map))
    }
}

/// A key, whose text counts: a tenant may be called `123`.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let duplicates = RefCell::new(Vec::new());
        let key = NodeSeed { path: Path::new(), duplicates: &duplicates }.deserialize(deserializer)?;
        crate::check::scalar_text(&key).map(Self).ok_or_else(|| de::Error::custom("a key must be a text"))
    }
}
