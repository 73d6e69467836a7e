//! `podTemplate`: a strategic merge patch on the pod template, as `kubectl patch` does it: maps are merged, `null` removes,
//! lists that have a merge key are merged by it, others are replaced; `$patch: replace|delete` is understood.
//!
//! Three things are refused, each with its path: fields that a pod does not have (the API server would drop them in
//! silence), fields of another type, and changes of what the operator relies on.

use std::path::Path;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::names;
use crate::{crd::ConditionType, validate::Refusal};

const DIRECTIVE: &str = "$patch";

/// Lists of a pod that are merged, and by which keys. Those that are not here are replaced, as in the API server.
const MERGE_KEYS: [(&str, &[&str]); 12] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    ("env", &["name"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
];

/// What the operator relies on below `spec` and below the container, and what to write instead.
const OURS_OF_POD: [(&str, &str); 6] = [
    ("restartPolicy", "nothing: a StatefulSet needs Always"),
    ("serviceAccountName", "serviceAccount.name"),
    ("serviceAccount", "serviceAccount.name"),
    ("terminationGracePeriodSeconds", "monolithic.terminationGracePeriodSeconds"),
    ("hostNetwork", "monolithic.service"),
    ("volumes", "another name for a volume of your own"),
];
const OURS_OF_CONTAINER: [(&str, &str); 6] = [
    ("image", "image"),
    ("command", "monolithic.extraArgs"),
    ("args", "monolithic.extraArgs"),
    ("ports", "ingest"),
    ("volumeMounts", "another path for a volume of your own"),
    ("env", "config.env"),
];

/// Puts `patch` over `template`.
pub(super) fn apply(template: PodTemplateSpec, patch: &Value) -> Result<PodTemplateSpec, Refusal> {
    let refuse = |problem: String| {
        Refusal::spec(
            ConditionType::Stalled,
            "InvalidPodTemplate",
            format!("monolithic.podTemplate: {problem}"),
        )
    };
    let ours = serde_json::to_value(template).map_err(|error| refuse(error.to_string()))?;
    let mut merged = ours.clone();
    merge(&mut merged, patch, "").map_err(refuse)?;
    let typed: PodTemplateSpec =
        serde_json::from_value(merged.clone()).map_err(|error| refuse(error.to_string()))?;
    let read = serde_json::to_value(&typed).map_err(|error| refuse(error.to_string()))?;
    if let Some(path) = lost(&merged, &read, String::new()) {
        return Err(refuse(format!("{path}: there is no such field in a pod")));
    }
    keeps_ours(&ours, &merged).map_err(refuse)?;
    Ok(typed)
}

/// Puts `patch` over `base`, both values at `path`.
fn merge(base: &mut Value, patch: &Value, path: &str) -> Result<(), String> {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => merge_map(base, patch, path),
        (base, Value::Object(patch)) => {
            let mut map = Map::new();
            merge_map(&mut map, patch, path)?;
            *base = Value::Object(map);
            Ok(())
        }
        (base, patch) => {
            *base = patch.clone();
            Ok(())
        }
    }
}

fn merge_map(base: &mut Map<String, Value>, patch: &Map<String, Value>, path: &str) -> Result<(), String> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace" | "delete")) => base.clear(),
        Some(_) => return Err(format!("{path}.{DIRECTIVE}: is none of merge, replace and delete")),
    }
    for (key, value) in patch.iter().filter(|(key, _)| *key != DIRECTIVE) {
        let path = join(path, key);
        if key.starts_with('$') {
            return Err(format!("{path}: of directives only {DIRECTIVE} is understood"));
        }
        let merge_keys = MERGE_KEYS.iter().find(|(list, _)| list == key).map(|(_, keys)| *keys);
        match (value, merge_keys) {
            (Value::Null, _) => {
                base.remove(key);
            }
            (Value::Array(items), Some(keys)) => {
                let list = base.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(list, items, keys, &path)?;
            }
            _ => merge(base.entry(key.clone()).or_insert(Value::Null), value, &path)?,
        }
    }
    Ok(())
}

fn merge_list(list: &mut Value, items: &[Value], keys: &[&str], path: &str) -> Result<(), String> {
    if items.iter().any(|item| directive(item) == Some("replace")) {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else { return Err(format!("{path}: is no list")) };
    for (i, item) in items.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let Value::Object(map) = item else { return Err(format!("{path}: is no map")) };
        let is_only_directive = map.len() == 1 && map.contains_key(DIRECTIVE);
        if is_only_directive && directive(item) == Some("replace") {
            continue;
        }
        if let Some(key) = keys.iter().find(|key| **key != "protocol" && !map.contains_key(**key)) {
            return Err(format!("{path}.{key}: must be set, because the list is merged by it"));
        }
        let position = list.iter().position(|there| is_same(there, item, keys));
        if directive(item) == Some("delete") {
            if let Some(position) = position {
                list.remove(position);
            }
            continue;
        }
        match position.and_then(|position| list.get_mut(position)) {
            Some(there) => merge(there, item, &path)?,
            None => {
                let mut new = Value::Null;
                merge(&mut new, item, &path)?;
                list.push(new);
            }
        }
    }
    Ok(())
}

fn directive(item: &Value) -> Option<&str> {
    item.get(DIRECTIVE).and_then(Value::as_str)
}

/// Whether two items of a list have the same merge keys; a port without a protocol is TCP.
fn is_same(a: &Value, b: &Value, keys: &[&str]) -> bool {
    let tcp = Value::String("TCP".to_owned());
    let key = |item: &Value, key: &str| {
        let value = item.get(key).cloned();
        if key == "protocol" { Some(value.unwrap_or_else(|| tcp.clone())) } else { value }
    };
    keys.iter().all(|name| key(a, name) == key(b, name))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The first place of `written` that is not in `read`.
fn lost(written: &Value, read: &Value, path: String) -> Option<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written.iter().find_map(|(key, value)| {
            let path = join(&path, key);
            match read.get(key) {
                Some(read) => lost(value, read, path),
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(read)) => written
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(i, (written, read))| lost(written, read, format!("{path}[{i}]"))),
        _ => None,
    }
}

/// Refuses changes of what the operator relies on; additions beside it are fine.
fn keeps_ours(ours: &Value, merged: &Value) -> Result<(), String> {
    for map in ["labels", "annotations"] {
        let pointer = format!("/metadata/{map}");
        if let Some(path) =
            changed(ours.pointer(&pointer), merged.pointer(&pointer), &format!("metadata.{map}"))
        {
            return Err(format!("{path}: is set by the operator"));
        }
    }
    for (field, instead) in OURS_OF_POD {
        let pointer = format!("/spec/{field}");
        if let Some(path) =
            changed(ours.pointer(&pointer), merged.pointer(&pointer), &format!("spec.{field}"))
        {
            return Err(format!("{path}: is set by the operator; use {instead}"));
        }
    }
    let (ours, merged) = (container(ours), container(merged));
    for (field, instead) in OURS_OF_CONTAINER {
        let (ours, merged) = (ours.and_then(|c| c.get(field)), merged.and_then(|c| c.get(field)));
        let path = format!("spec.containers[{}].{field}", names::CONTAINER);
        if let Some(path) = changed(ours, merged, &path) {
            return Err(format!("{path}: is set by the operator; use {instead}"));
        }
    }
    match merged.and_then(hidden_data) {
        Some(path) => Err(format!(
            "spec.containers[{}].volumeMounts[{path}]: would hide a part of the data volume; use another path",
            names::CONTAINER
        )),
        None => Ok(()),
    }
}

/// A mount on or below the data volume: what is acknowledged would not be on that volume any more.
fn hidden_data(container: &Value) -> Option<&str> {
    let mounts = container.get("volumeMounts")?.as_array()?;
    let mut paths = mounts.iter().filter_map(|mount| mount.get("mountPath")?.as_str());
    paths.find(|path| *path != names::DATA_PATH && Path::new(path).starts_with(names::DATA_PATH))
}

fn container(template: &Value) -> Option<&Value> {
    let containers = template.pointer("/spec/containers")?.as_array()?;
    containers
        .iter()
        .find(|container| container.get("name").and_then(Value::as_str) == Some(names::CONTAINER))
}

/// The first place where `merged` does not hold what is in `ours`. Where nothing of ours is, nothing may be, except in
/// maps and merged lists, to which anything may be added.
fn changed(ours: Option<&Value>, merged: Option<&Value>, path: &str) -> Option<String> {
    match (ours, merged) {
        (None, None) => None,
        (None, Some(Value::Object(_) | Value::Array(_))) if !path.ends_with("command") => None,
        (Some(Value::Object(ours)), Some(Value::Object(merged))) => {
            ours.iter().find_map(|(key, value)| changed(Some(value), merged.get(key), &join(path, key)))
        }
        (Some(Value::Array(ours)), Some(Value::Array(merged))) => {
            let list = path.rsplit('.').next().unwrap_or_default();
            let Some((_, keys)) = MERGE_KEYS.iter().find(|(name, _)| *name == list) else {
                return (ours != merged).then(|| path.to_owned());
            };
            ours.iter().find_map(|item| {
                let there = merged.iter().find(|other| is_same(item, other, keys));
                let name =
                    keys.first().and_then(|key| item.get(*key)).map(ToString::to_string).unwrap_or_default();
                (there != Some(item)).then(|| format!("{path}[{}]", name.trim_matches('"')))
            })
        }
        (ours, merged) => (ours != merged).then(|| path.to_owned()),
    }
}

#[cfg(test)]
mod tests;
