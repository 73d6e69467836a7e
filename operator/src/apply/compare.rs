//! Whether a live object already is what an apply would make of it.
//!
//! `covers` asks if every field of the rendered object has the same value in the live one; what others added is left alone,
//! as server-side apply would. It sees what was changed by hand. It cannot see a field that an earlier version of the
//! rendered object had and this one has not: that is what the hash annotation in `apply.rs` is for.

use serde_json::{Map, Value};

/// Fields by which the API server tells the items of a list apart.
const ITEM_KEYS: [&str; 8] =
    ["name", "uid", "mountPath", "containerPort", "port", "type", "topologyKey", "ip"];

/// Whether `live` has everything of `rendered`.
pub(super) fn covers(live: &Value, rendered: &Value) -> bool {
    match (rendered, live) {
        (Value::Object(rendered), Value::Object(live)) => {
            rendered.iter().all(|(key, rendered)| match live.get(key) {
                Some(live) => covers(live, rendered),
                None => is_empty(rendered),
            })
        }
        (Value::Array(rendered), Value::Array(live)) => covers_list(live, rendered),
        (Value::String(rendered), Value::String(live)) => {
            rendered == live || is_same_quantity(rendered, live)
        }
        (Value::Number(rendered), Value::Number(live)) => rendered.as_f64() == live.as_f64(),
        (rendered, live) => rendered == live,
    }
}

fn covers_list(live: &[Value], rendered: &[Value]) -> bool {
    if rendered.iter().all(|item| item.as_object().is_some_and(is_keyed)) {
        rendered.iter().all(|rendered| live.iter().any(|live| covers(live, rendered)))
    } else {
        live.len() == rendered.len()
            && live.iter().zip(rendered).all(|(live, rendered)| covers(live, rendered))
    }
}

fn is_keyed(item: &Map<String, Value>) -> bool {
    ITEM_KEYS.iter().any(|key| item.contains_key(*key))
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

/// The API server rewrites quantities: `0.5` becomes `500m`, `1024Mi` stays or becomes `1Gi`.
fn is_same_quantity(one: &str, other: &str) -> bool {
    match (quantity(one), quantity(other)) {
        (Some(one), Some(other)) => (one - other).abs() <= one.abs() * 1e-9,
        (_, _) => false,
    }
}

fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::covers;

    #[test]
    fn what_others_added_is_left_alone() {
        let rendered =
            json!({"metadata": {"labels": {"a": "1"}}, "spec": {"ports": [{"name": "http", "port": 3200}]}});
        let live = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "resourceVersion": "7"},
            "spec": {"ports": [{"name": "extra", "port": 1}, {"name": "http", "port": 3200, "protocol": "TCP"}], "clusterIP": "10.0.0.1"},
        });

        assert!(covers(&live, &rendered));
    }

    #[test]
    fn a_changed_or_missing_field_is_seen() {
        let rendered = json!({"spec": {"ports": [{"name": "http", "port": 3200}], "args": ["-a", "-b"]}});

        assert!(!covers(
            &json!({"spec": {"ports": [{"name": "http", "port": 3201}], "args": ["-a", "-b"]}}),
            &rendered
        ));
        assert!(!covers(&json!({"spec": {"ports": [], "args": ["-a", "-b"]}}), &rendered));
        assert!(!covers(
            &json!({"spec": {"ports": [{"name": "http", "port": 3200}], "args": ["-a", "-b", "-c"]}}),
            &rendered
        ));
        assert!(!covers(&json!({"spec": {"args": ["-a", "-b"]}}), &rendered));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        assert!(covers(&json!({"cpu": "500m", "memory": "1Gi"}), &json!({"cpu": "0.5", "memory": "1024Mi"})));
        assert!(!covers(&json!({"cpu": "501m"}), &json!({"cpu": "0.5"})));
        assert!(!covers(&json!("v1"), &json!("v2")));
    }

    #[test]
    fn what_is_empty_may_be_left_out() {
        assert!(covers(&json!({}), &json!({"automountServiceAccountToken": false, "annotations": {}})));
        assert!(covers(
            &json!({"volumes": [{"name": "tmp", "emptyDir": {}}]}),
            &json!({"volumes": [{"name": "tmp", "emptyDir": {}}]})
        ));
    }
}
