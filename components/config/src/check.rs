//! Goes over a document before it becomes typed: unknown keys and wrong kinds of values are errors, keys that Tempo has
//! and we have not are warnings, what is empty is dropped, and Go's spellings of scalars become ours.
//!
//! Collects everything that is wrong and leaves a document without it, so that the typed step finds the rest.

use crate::{
    Finding, legacy_overrides,
    legacy_overrides::Moved,
    lines::{Lines, Path},
    parse::{Mapping, Number, Value},
    schema::{Schema, Shape},
    suggest,
};

/// Valid keys are listed for a wrong one if there are at most so many.
const MAX_LISTED: usize = 12;

/// What was found in one document.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    root: &'a Schema,
    lines: &'a Lines,
    /// Keys from the root to the sections that take flat keys of overrides.
    legacy_depth: usize,
    /// Flat keys of overrides, as they were written and where they are now.
    pub(crate) moved: Vec<Moved>,
    pub(crate) errors: Vec<Finding>,
    pub(crate) warnings: Vec<Finding>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(root: &'a Schema, lines: &'a Lines, legacy_depth: usize) -> Self {
        Self { root, lines, legacy_depth, moved: Vec::new(), errors: Vec::new(), warnings: Vec::new() }
    }

    /// Checks a whole document; what is wrong is left out of the result.
    pub(crate) fn document(&mut self, document: Value) -> Value {
        self.implemented(document, self.root, &mut Path::new())
            .unwrap_or_else(|| Value::Mapping(Mapping::new()))
    }

    /// Moves flat keys of the overrides at `path`; see [`legacy_overrides`].
    pub(crate) fn move_legacy(&mut self, section: &mut Value, path: &[&str], target: Option<&str>) {
        let Value::Mapping(section) = section else { return };
        let path: Path = path.iter().map(|name| (*name).to_owned()).collect();
        let (moved, conflicts) = legacy_overrides::move_keys(section, &path, target);
        self.moved.extend(moved);
        for Moved { from, to } in conflicts {
            let message = format!("sets the same as `{}`, which is also set: remove one", dotted(&to));
            self.errors.push(Finding { line: self.lines.find(&from), path: dotted(&from), message });
        }
    }

    /// An error about a place, under the name and on the line that it has in the text.
    pub(crate) fn error(&mut self, path: &[String], message: String) {
        let path = self.as_written(path);
        self.errors.push(Finding { line: self.lines.find(&path), path: dotted(&path), message });
    }

    fn warning(&mut self, path: &[String]) {
        let message = "Tempo has this key, this build does not implement it yet: it has no effect".to_owned();
        self.warnings.push(Finding { line: self.lines.find(path), path: dotted(path), message });
    }

    fn as_written(&self, path: &[String]) -> Path {
        self.moved
            .iter()
            .find_map(|moved| Some((moved, path.strip_prefix(moved.to.as_slice())?)))
            .map_or_else(|| path.to_vec(), |(moved, rest)| [moved.from.as_slice(), rest].concat())
    }

    /// A value of a key that our types have.
    fn implemented(&mut self, value: Value, schema: &Schema, path: &mut Path) -> Option<Value> {
        if value.is_null() {
            return schema.is_on_when_empty.then(|| Value::Mapping(Mapping::new()));
        }
        let checked = match (value, schema.shape.unwrap_or(Shape::Text)) {
            (Value::Mapping(map), Shape::Section) => Ok(Value::Mapping(self.section(map, schema, path))),
            (Value::Sequence(items), Shape::List) => {
                Ok(Value::Sequence(items.into_iter().filter_map(without_nulls).collect()))
            }
            (_, Shape::Section) => Err("has keys below it, it takes no value itself"),
            (_, Shape::List) => Err("takes a list"),
            (Value::Mapping(_), _) => Err("takes a value, there are no keys below it"),
            (Value::Sequence(_), _) => Err("takes one value, not a list"),
            (scalar, shape) => Ok(as_shape(scalar, shape)),
        };
        checked.map_err(|problem| self.error(path, problem.to_owned())).ok()
    }

    fn section(&mut self, map: Mapping, schema: &Schema, path: &mut Path) -> Mapping {
        let mut checked = Mapping::new();
        for (key, value) in map {
            let name = scalar_text(&key).unwrap_or_default();
            path.push(name.clone());
            match schema.child(&name) {
                // Names and texts of the user's own, such as tags.
                None if schema.is_open && !schema.has_children() => {
                    checked.insert(key, as_shape(value, Shape::Text));
                }
                None => self.unknown_key(&name, schema, path),
                Some(child) if child.shape.is_some() => {
                    if let Some(value) = self.implemented(value, child, path) {
                        checked.insert(key, value);
                    }
                }
                Some(child) => self.not_implemented(&value, child, path),
            }
            path.pop();
        }
        checked
    }

    /// A key that Tempo has and we have not: one warning for the whole section, if it sets anything of consequence.
    fn not_implemented(&mut self, value: &Value, schema: &Schema, path: &mut Path) {
        let mut settings = Vec::new();
        self.collect_settings(value, schema, path, &mut settings);
        let mut named: Vec<Path> = Vec::new();
        for setting in settings {
            let written = self.as_written(&setting);
            // Flat keys have no section in the text that could be named instead.
            let name = if written == setting { path.clone() } else { written };
            if !named.contains(&name) {
                named.push(name);
            }
        }
        for name in named {
            self.warning(&name);
        }
    }

    /// Finds the places below a key that is not implemented where something of consequence is set.
    fn collect_settings(
        &mut self,
        value: &Value,
        schema: &Schema,
        path: &mut Path,
        settings: &mut Vec<Path>,
    ) {
        match value {
            Value::Null if !schema.is_on_when_empty => {}
            Value::Mapping(map) if schema.has_children() => {
                for (key, value) in map {
                    let name = scalar_text(key).unwrap_or_default();
                    path.push(name.clone());
                    match schema.child(&name) {
                        Some(child) => self.collect_settings(value, child, path, settings),
                        None if schema.is_open => settings.push(path.clone()),
                        None => self.unknown_key(&name, schema, path),
                    }
                    path.pop();
                }
            }
            Value::Mapping(map) if map.is_empty() && !schema.is_on_when_empty => {}
            Value::Sequence(items) if items.is_empty() => {}
            Value::Null | Value::Mapping(_) | Value::Sequence(_) | Value::Tagged(_) => {
                settings.push(path.clone())
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                let shape = if matches!(schema.neutral.as_deref(), Some("true" | "false")) {
                    Shape::Bool
                } else {
                    Shape::Text
                };
                let text = scalar_text(&as_shape(value.clone(), shape));
                let is_neutral = schema.neutral.as_deref() == Some("*") || text == schema.neutral;
                if schema.neutral.is_none() || !is_neutral {
                    settings.push(path.clone());
                }
            }
        }
    }

    fn unknown_key(&mut self, name: &str, schema: &Schema, path: &[String]) {
        let parents = path.split_last().map_or(path, |(_, parents)| parents);
        let below = |key: &str| dotted(&[parents, &[key.to_owned()]].concat());
        let takes_legacy_keys =
            parents.len() == self.legacy_depth && parents.first().is_some_and(|first| first == "overrides");
        let legacy = legacy_overrides::keys().map(|(flat, _)| flat).filter(|_| takes_legacy_keys);
        let mut message = "Tempo has no such key".to_owned();
        if let Some(near) = suggest::nearest(name, schema.keys.keys().map(String::as_str).chain(legacy)) {
            message += &format!("; did you mean `{}`?", below(near));
        } else if let elsewhere @ [_, ..] = self.paths_elsewhere(name).as_slice() {
            message += &format!("; did you mean `{}`?", elsewhere.join("` or `"));
        } else if (1..=MAX_LISTED).contains(&schema.keys.len()) {
            let keys: Vec<&str> = schema.keys.keys().map(String::as_str).collect();
            message += &format!("; keys here are {}", keys.join(", "));
        }
        self.error(path, message);
    }

    /// Where a key of this name would be valid, if that is few places: it was probably indented wrongly.
    fn paths_elsewhere(&self, name: &str) -> Vec<String> {
        const MAX_PLACES: usize = 3;
        let mut paths = self.root.paths_of(name);
        paths.sort_by_key(|path| path.matches('.').count());
        paths.truncate(MAX_PLACES);
        paths
    }
}

/// Keys joined by dots; list items are `[0]` and take no dot.
pub(crate) fn dotted(path: &[String]) -> String {
    let mut out = String::new();
    for name in path {
        if !out.is_empty() && !name.starts_with('[') {
            out.push('.');
        }
        out.push_str(name);
    }
    out
}

/// Lists hold whole items, so keys in them are not in the schema; only what is empty is dropped.
fn without_nulls(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Mapping(map) => {
            let map = map.into_iter().filter_map(|(key, value)| Some((key, without_nulls(value)?))).collect();
            Some(Value::Mapping(map))
        }
        Value::Sequence(items) => {
            Some(Value::Sequence(items.into_iter().filter_map(without_nulls).collect()))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => Some(value),
    }
}

/// A scalar's text, as YAML would print it without quotes.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

/// A scalar in the form that our types take, where Go's YAML takes others: `yes` for true, `1_000` and `5e+06` for
/// integers, `123` for a text. What does not fit is left for the typed step to refuse.
fn as_shape(value: Value, shape: Shape) -> Value {
    let converted = match (&value, shape) {
        (Value::String(text), Shape::Bool) => as_bool(text).map(Value::Bool),
        (Value::String(text), Shape::Integer) => as_integer(text).map(|number| Value::Number(number.into())),
        (Value::Number(number), Shape::Integer) if number.is_f64() => {
            as_integer(&format!("{:.0}", number.as_f64().unwrap_or(f64::NAN)))
                .filter(|_| number.as_f64().is_some_and(|float| float.fract() == 0.0))
                .map(|number| Value::Number(number.into()))
        }
        (Value::String(text), Shape::Float) => {
            text.replace('_', "").parse::<f64>().ok().map(|float| Value::Number(Number::from(float)))
        }
        (Value::Bool(_) | Value::Number(_), Shape::Text) => scalar_text(&value).map(Value::String),
        _ => None,
    };
    converted.unwrap_or(value)
}

/// YAML 1.1's words for booleans.
fn as_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" | "true" => Some(true),
        "n" | "no" | "off" | "false" => Some(false),
        _ => None,
    }
}

/// YAML 1.1's integers: underscores, hexadecimal, octal with a leading 0, binary.
fn as_integer(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    let (digits, radix) = if let Some(hex) = digits.strip_prefix("0x") {
        (hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        (binary, 2)
    } else if let Some(octal) = digits.strip_prefix("0o") {
        (octal, 8)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (digits.as_str(), 8)
    } else {
        (digits.as_str(), 10)
    };
    // A sign would be taken by from_str_radix.
    digits
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then(|| u64::from_str_radix(digits, radix).ok())?
}
