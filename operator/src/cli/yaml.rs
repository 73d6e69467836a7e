//! YAML as people read Kubernetes objects: `apiVersion`, `kind`, `metadata` first, all other keys sorted.

use serde_json::Value;
use serde_yaml::Mapping;

const FIRST: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// One document, without the line that separates documents.
pub(super) fn document(object: &Value) -> String {
    serde_yaml::to_string(&ordered(object, true)).expect("an object is a map with text keys")
}

fn ordered(value: &Value, is_object: bool) -> serde_yaml::Value {
    match value {
        Value::Object(map) => {
            let rank = |key: &str| {
                let first = FIRST.iter().position(|first| is_object && *first == key);
                first.unwrap_or(FIRST.len())
            };
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|(a, _), (b, _)| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
            let entry = |(key, value): (&String, &Value)| (key.clone().into(), ordered(value, false));
            serde_yaml::Value::Mapping(entries.into_iter().map(entry).collect::<Mapping>())
        }
        Value::Array(items) => items.iter().map(|item| ordered(item, false)).collect::<Vec<_>>().into(),
        Value::Null => serde_yaml::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.into(),
            (None, Some(number), _) => number.into(),
            (None, None, Some(number)) => number.into(),
            (None, None, None) => serde_yaml::Value::Null,
        },
    }
}
