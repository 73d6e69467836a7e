//! The checked-in CustomResourceDefinition: current, small, and such that Git and the API server never differ. After a
//! change that is meant: `cargo run -p tempo-operator -- crd > crds/tempoclusters.yaml`, and copy it to
//! `charts/tempo-operator/files/`.

use serde_json::Value;
use tempo_operator::{cli, crd};

const CHECKED_IN: &str = include_str!("../../../crds/tempoclusters.yaml");

fn schema() -> Value {
    let definition = serde_json::to_value(crd::definition()).unwrap();
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap().clone()
}

/// Calls `look` with every schema and its path.
fn each(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, below) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each(below, &format!("{path}.{name}"), look);
    }
    for (below, name) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(below) = schema.get(below).filter(|below| below.is_object()) {
            each(below, &format!("{path}{name}"), look);
        }
    }
}

fn paths(is_bad: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    each(&schema(), "", &mut |path, schema| {
        if is_bad(path, schema) {
            found.push(path.to_owned());
        }
    });
    found
}

#[test]
fn the_checked_in_definition_is_current() {
    assert!(cli::definition() == CHECKED_IN, "see the head of crds.rs");
}

#[test]
fn the_definition_is_small_enough_for_a_client_side_apply() {
    assert!(CHECKED_IN.len() < 100_000, "{} bytes", CHECKED_IN.len());
}

#[test]
fn the_api_server_adds_nothing_to_a_spec() {
    let found = paths(|_, schema| schema.get("default").is_some());

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_null_is_dropped_and_not_kept() {
    let found = paths(|_, schema| schema.get("nullable").is_some());

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_list_and_map_of_the_spec_is_bounded() {
    let found = paths(|path, schema| {
        let is_list = schema["type"] == "array" && schema.get("maxItems").is_none();
        let is_map = schema.get("additionalProperties").is_some() && schema.get("maxProperties").is_none();
        path.starts_with(".spec") && (is_list || is_map)
    });

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_text_of_the_spec_is_bounded() {
    let found = paths(|path, schema| {
        let is_free = ["maxLength", "enum", "format"].iter().all(|bound| schema.get(*bound).is_none());
        path.starts_with(".spec")
            && schema["type"] == "string"
            && is_free
            && !path.ends_with("{}")
            && !path.ends_with("[]")
    });

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_field_says_what_it_is_for() {
    let found = paths(|path, schema| {
        let is_named = !path.is_empty() && !path.ends_with("{}") && !path.ends_with("[]");
        is_named && schema.get("description").and_then(Value::as_str).unwrap_or_default().is_empty()
    });

    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn names_columns_and_subresources_are_those_that_users_know() {
    let definition = crd::definition().spec;
    let version = definition.versions.into_iter().next().unwrap();
    let columns = version.additional_printer_columns.unwrap();
    let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.priority)).collect();
    let wide = Some(1);

    assert_eq!(definition.names.short_names, Some(vec!["tpc".to_owned(), "tempoc".to_owned()]));
    assert_eq!(definition.names.categories, Some(vec!["tempo-rs".to_owned(), "observability".to_owned()]));
    let narrow = ["Version", "Ready", "Phase", "Ingesters", "Updated", "Age"].map(|name| (name, None));
    assert_eq!(columns, [narrow.as_slice(), &[("Storage", wide), ("Message", wide)]].concat());
    let subresources = version.subresources.unwrap();
    assert!(subresources.status.is_some());
    assert_eq!(subresources.scale.unwrap().status_replicas_path, ".status.ingester.replicas");
}
