//! The tree of keys that a configuration may have: what our types implement, and what else Tempo has.
//!
//! Implemented keys are read off a rendered sample of the types, so that they cannot drift. Tempo's keys come from
//! `schema/tempo_2_10.txt`, one key a line, nesting by two spaces, with these marks after the key:
//!
//! - `= value`: a value that has the effect of what this build does anyway, so that setting it deserves no warning;
//!   `= *` says so of every value
//! - `...`: anything may be below
//! - `{}`: with nothing under it the key is "on", not "unset" (receivers and their protocols)
//!
//! `*` stands for any key, `= name` at the start of a line begins a group, `@name` puts a group's keys in its place.

use std::collections::BTreeMap;

use crate::parse::Value;

const TEMPO_KEYS: &str = include_str!("schema/tempo_2_10.txt");

/// One key, and the keys below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Schema {
    /// What our types take here; `None` if they have no such key.
    pub(crate) shape: Option<Shape>,
    /// A value that deserves no warning although the key is not implemented.
    pub(crate) neutral: Option<String>,
    /// Whether anything may be below.
    pub(crate) is_open: bool,
    /// Whether the key switches something on with nothing under it.
    pub(crate) is_on_when_empty: bool,
    /// The keys below, by name.
    pub(crate) keys: BTreeMap<String, Schema>,
    /// What any key that is not in `keys` may have.
    wildcard: Option<Box<Schema>>,
}

/// What kind of value our types take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Section,
    Bool,
    Integer,
    Float,
    Text,
    List,
}

impl Schema {
    /// The keys of the main configuration. `sample` is a rendered configuration in which every key is present.
    pub(crate) fn of_config(sample: &Value) -> Self {
        let mut schema = Self::of_tempo("root");
        schema.implement(sample);
        schema
    }

    /// The keys of the per-tenant file. `sample` is one tenant's rendered limits in which every key is present.
    pub(crate) fn of_overrides(sample: &Value) -> Self {
        let mut limits = Self::of_tempo("limits");
        limits.implement(sample);
        let section = || Self { shape: Some(Shape::Section), ..Self::default() };
        let tenants = Self { wildcard: Some(Box::new(limits)), ..section() };
        Self { keys: BTreeMap::from([("overrides".to_owned(), tenants)]), ..section() }
    }

    /// The keys that Tempo has in one group of the table.
    fn of_tempo(group: &str) -> Self {
        let groups = read_groups(TEMPO_KEYS);
        build(&groups, groups.get(group).map_or(&[], Vec::as_slice))
    }

    /// Marks the keys of `sample` as implemented, adding those that Tempo does not have.
    fn implement(&mut self, sample: &Value) {
        self.shape = Some(match sample {
            Value::Mapping(map) => {
                for (key, value) in map {
                    if let Some(key) = key.as_str() {
                        self.keys.entry(key.to_owned()).or_default().implement(value);
                    }
                }
                Shape::Section
            }
            Value::Bool(_) => Shape::Bool,
            Value::Number(number) if number.is_f64() => Shape::Float,
            Value::Number(_) => Shape::Integer,
            Value::Sequence(_) => Shape::List,
            Value::String(_) | Value::Null | Value::Tagged(_) => Shape::Text,
        });
    }

    /// What may be under `key`.
    pub(crate) fn child(&self, key: &str) -> Option<&Self> {
        self.keys.get(key).or(self.wildcard.as_deref())
    }

    /// Whether keys below are known.
    pub(crate) fn has_children(&self) -> bool {
        !self.keys.is_empty() || self.wildcard.is_some()
    }

    /// The paths of all keys named `name`, dotted.
    pub(crate) fn paths_of(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths(name, &mut Vec::new(), &mut found);
        found
    }

    fn collect_paths<'a>(&'a self, name: &str, path: &mut Vec<&'a str>, found: &mut Vec<String>) {
        for (key, child) in &self.keys {
            path.push(key);
            if key == name {
                found.push(path.join("."));
            }
            child.collect_paths(name, path, found);
            path.pop();
        }
    }

    fn merge(&mut self, other: Self) {
        let Self { shape, neutral, is_open, is_on_when_empty, keys, wildcard } = other;
        self.shape = self.shape.or(shape);
        self.neutral = self.neutral.take().or(neutral);
        self.is_open |= is_open;
        self.is_on_when_empty |= is_on_when_empty;
        for (key, child) in keys {
            self.keys.entry(key).or_default().merge(child);
        }
        self.wildcard = self.wildcard.take().or(wildcard);
    }
}

/// One line of the table without its indentation.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    depth: usize,
    text: &'a str,
}

fn read_groups(table: &str) -> BTreeMap<&str, Vec<Line<'_>>> {
    let mut groups = BTreeMap::new();
    let mut lines: &mut Vec<Line<'_>> = groups.entry("").or_default();
    for line in table.lines() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if let Some(name) = text.strip_prefix("= ") {
            lines = groups.entry(name).or_default();
            continue;
        }
        lines.push(Line { depth: (line.len() - line.trim_start().len()) / 2, text });
    }
    groups
}

/// The tree of some lines; all have at least the depth of the first.
fn build(groups: &BTreeMap<&str, Vec<Line<'_>>>, lines: &[Line<'_>]) -> Schema {
    let mut schema = Schema::default();
    let mut rest = lines;
    while let Some((line, tail)) = rest.split_first() {
        let below = tail.iter().position(|next| next.depth <= line.depth).unwrap_or(tail.len());
        let (children, after) = tail.split_at(below);
        rest = after;
        if let Some(group) = line.text.strip_prefix('@') {
            schema.merge(build(groups, groups.get(group).map_or(&[], Vec::as_slice)));
            continue;
        }
        let mut child = build(groups, children);
        let (text, neutral) = line.text.split_once(" = ").unwrap_or((line.text, ""));
        child.neutral = (!neutral.is_empty()).then(|| neutral.to_owned());
        let mut words = text.split_whitespace();
        let key = words.next().unwrap_or_default();
        for mark in words {
            child.is_open |= mark == "...";
            child.is_on_when_empty |= mark == "{}";
        }
        match key {
            "*" => schema.wildcard = Some(Box::new(child)),
            key => schema.keys.entry(key.to_owned()).or_default().merge(child),
        }
    }
    schema
}

#[cfg(test)]
mod tests;
