//! Tempo's flat keys of overrides (`ingestion_rate_limit_bytes`), moved to where they are now (`ingestion.rate_limit_bytes`)
//! before anything else looks at the document. Remembers what was moved, so that findings name the key as it was written.

use crate::{
    lines::Path,
    parse::{Mapping, Value},
};

const LEGACY_KEYS: &str = include_str!("schema/legacy_overrides.txt");

/// The flat keys and their paths now.
pub(crate) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    LEGACY_KEYS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// One key that was moved.
#[derive(Debug, PartialEq)]
pub(crate) struct Moved {
    pub(crate) from: Path,
    pub(crate) to: Path,
}

/// Moves the flat keys of the section at `path` below its key `target` (none: into the section itself). Returns what was
/// moved, and what could not be because the new key is set as well.
pub(crate) fn move_keys(
    section: &mut Mapping,
    path: &[String],
    target: Option<&str>,
) -> (Vec<Moved>, Vec<Moved>) {
    let (mut moved, mut conflicts) = (Vec::new(), Vec::new());
    for (flat, nested) in keys() {
        if target.is_none() && flat == nested {
            continue;
        }
        let Some(value) = section.remove(flat) else { continue };
        let names: Vec<&str> = target.into_iter().chain(nested.split('.')).collect();
        let step = Moved {
            from: path.iter().cloned().chain([flat.to_owned()]).collect(),
            to: path.iter().cloned().chain(names.iter().map(|name| (*name).to_owned())).collect(),
        };
        match insert(section, &names, value) {
            Ok(()) => moved.push(step),
            Err(Occupied) => conflicts.push(step),
        }
    }
    (moved, conflicts)
}

/// Something is already there.
#[derive(Debug)]
struct Occupied;

/// Puts a value where `names` lead to, making the sections on the way.
fn insert(section: &mut Mapping, names: &[&str], value: Value) -> Result<(), Occupied> {
    let Some((name, below)) = names.split_first() else { return Err(Occupied) };
    let key = Value::String((*name).to_owned());
    if below.is_empty() {
        if section.get(&key).is_some_and(|present| !present.is_null()) {
            return Err(Occupied);
        }
        section.insert(key, value);
        return Ok(());
    }
    let child = section.entry(key).or_insert(Value::Null);
    if child.is_null() {
        *child = Value::Mapping(Mapping::new());
    }
    match child {
        Value::Mapping(child) => insert(child, below, value),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Sequence(_)
        | Value::Tagged(_) => Err(Occupied),
    }
}
