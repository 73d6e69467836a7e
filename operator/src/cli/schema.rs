//! A value against the schema of the CustomResourceDefinition, as the API server checks it, but stricter: a field that it
//! would drop in silence is a problem here. Only the keywords that our schema uses.

use regex::Regex;
use serde_json::{Map, Value};

/// Everything that is wrong with `value`, each with its path.
pub(super) fn problems(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut report =
        |problem: String| found.push(format!("{}: {problem}", if path.is_empty() { "object" } else { path }));
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_right_kind = match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    if !is_right_kind {
        report(format!("is {}, must be of type {kind}", shown(value)));
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed: Vec<String> = allowed.iter().map(shown).collect();
        report(format!("is {}, must be one of {}", shown(value), allowed.join(", ")));
    }
    match value {
        Value::Object(map) => object(schema, map, path, found),
        Value::Array(items) => {
            bound(schema, ("minItems", "maxItems"), items.len(), "items", &mut report);
            let item = schema.get("items").unwrap_or(&Value::Null);
            for (i, value) in items.iter().enumerate() {
                check(item, value, &format!("{path}[{i}]"), found);
            }
        }
        Value::String(text) => {
            bound(schema, ("minLength", "maxLength"), text.chars().count(), "characters", &mut report);
            let pattern = schema.get("pattern").and_then(Value::as_str);
            if let Some(pattern) = pattern
                && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
            {
                report(format!("is {}, must match {pattern}", shown(value)));
            }
        }
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
            if let Some(least) = limit("minimum").filter(|least| number < *least) {
                report(format!("is {number}, must be at least {least}"));
            }
            if let Some(most) = limit("maximum").filter(|most| number > *most) {
                report(format!("is {number}, must be at most {most}"));
            }
        }
        Value::Bool(_) | Value::Null => {}
    }
}

fn object(schema: &Value, map: &Map<String, Value>, path: &str, found: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !map.contains_key(key) {
            found.push(format!("{}: must be set", below(key)));
        }
    }
    let mut report = |problem: String| found.push(format!("{path}: {problem}"));
    bound(schema, ("minProperties", "maxProperties"), map.len(), "entries", &mut report);
    let is_free = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
    let properties = schema.get("properties").and_then(Value::as_object);
    let any = schema.get("additionalProperties").filter(|any| any.is_object());
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        match (properties.and_then(|properties| properties.get(key)), any) {
            (Some(schema), _) | (None, Some(schema)) => check(schema, value, &below(key), found),
            (None, None) if is_free || (properties.is_none() && any.is_none()) => {}
            (None, None) => {
                let known: Vec<&str> =
                    properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                found.push(format!(
                    "{}: there is no such field; fields are {}",
                    below(key),
                    known.join(", ")
                ));
            }
        }
    }
}

fn bound(
    schema: &Value,
    (least, most): (&str, &str),
    count: usize,
    noun: &str,
    report: &mut impl FnMut(String),
) {
    let limit =
        |name: &str| schema.get(name).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    if let Some(least) = limit(least).filter(|least| count < *least) {
        report(format!("has {count} {noun}, must have at least {least}"));
    }
    if let Some(most) = limit(most).filter(|most| count > *most) {
        report(format!("has {count} {noun}, must have at most {most}"));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a map".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
