//! The table of Tempo's keys is well-formed, and our types have no keys that Tempo has not.

use std::collections::BTreeSet;

use super::{Schema, Shape, TEMPO_KEYS, read_groups};
use crate::{Config, Limits, legacy_overrides, parse::to_value};

/// All keys that our types have, dotted.
fn implemented(schema: &Schema, path: &str, found: &mut BTreeSet<String>) {
    for (key, child) in &schema.keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if child.shape.is_some() {
            found.insert(path.clone());
            implemented(child, &path, found);
        }
    }
}

fn has(schema: &Schema, path: &str) -> bool {
    path.split('.').try_fold(schema, |schema, key| schema.child(key)).is_some()
}

#[test]
fn every_key_of_the_types_is_tempos_or_below_tempo_rs() {
    let tempo = Schema::of_tempo("root");
    let mut keys = BTreeSet::new();
    implemented(&Schema::of_config(&to_value(&Config::sample())), "", &mut keys);

    let invented: Vec<_> = keys
        .iter()
        .filter(|key| !has(&tempo, key) && !key.split('.').any(|name| name == "tempo_rs"))
        .collect();

    assert_eq!(invented, Vec::<&String>::new());
    assert!(keys.contains("storage.trace.block.bloom_filter_false_positive"));
}

#[test]
fn every_key_of_the_sample_has_a_value_to_read_its_kind_from() {
    let yaml = crate::parse::to_yaml(&Config::sample());

    assert!(!yaml.contains("null"), "{yaml}");
}

#[test]
fn every_group_of_the_table_exists_and_is_used() {
    let groups = read_groups(TEMPO_KEYS);
    let used: BTreeSet<&str> = groups
        .values()
        .flatten()
        .filter_map(|line| line.text.strip_prefix('@'))
        .chain(["", "root", "limits"])
        .collect();

    assert_eq!(groups.keys().copied().collect::<BTreeSet<_>>(), used);
    assert!(groups[""].is_empty());
}

#[test]
fn indentation_of_the_table_goes_in_by_one_step() {
    for (group, lines) in read_groups(TEMPO_KEYS) {
        let mut last = None;
        for line in lines {
            assert!(line.depth <= last.map_or(0, |depth| depth + 1), "{group}: {}", line.text);
            last = Some(line.depth);
        }
    }
}

#[test]
fn flat_keys_lead_to_keys_that_exist() {
    let limits = Schema::of_tempo("limits");

    let lost: Vec<_> = legacy_overrides::keys().filter(|(_, nested)| !has(&limits, nested)).collect();

    assert_eq!(lost, Vec::new());
}

#[test]
fn kinds_are_read_off_the_types() {
    let schema = Schema::of_overrides(&to_value(&Limits::sample()));
    let shape =
        |path: &str| path.split('.').try_fold(&schema, |schema, key| schema.child(key)).and_then(|s| s.shape);

    assert_eq!(shape("overrides.any-tenant.ingestion"), Some(Shape::Section));
    assert_eq!(shape("overrides.any-tenant.ingestion.rate_limit_bytes"), Some(Shape::Integer));
    assert_eq!(shape("overrides.any-tenant.ingestion.retry_info_enabled"), Some(Shape::Bool));
    assert_eq!(shape("overrides.any-tenant.ingestion.rate_strategy"), Some(Shape::Text));
    assert_eq!(shape("overrides.any-tenant.storage.parquet_dedicated_columns"), Some(Shape::List));
    assert_eq!(shape("overrides.any-tenant.metrics_generator"), None);
}
