use k8s_openapi::ByteString;
use serde_json::json;

use super::*;

fn spec(value: serde_json::Value) -> TempoClusterSpec {
    serde_json::from_value(value).expect("a spec")
}

#[test]
fn a_spec_points_at_what_it_names_and_at_nothing_else() {
    let spec = spec(json!({
        "mode": "Monolithic",
        "storage": {
            "s3": {},
            "credentials": {"secretRef": {"name": "bucket"}},
            "tls": {"caRef": {"name": "ca", "key": "ca.crt"}},
        },
        "limits": {"tenantsFrom": {"kind": "Secret", "name": "tenants", "key": "overrides.yaml"}},
    }));

    assert!(points_at(&spec, KeyHolder::Secret, "bucket"));
    assert!(points_at(&spec, KeyHolder::ConfigMap, "ca"));
    assert!(points_at(&spec, KeyHolder::Secret, "tenants"));
    assert!(!points_at(&spec, KeyHolder::ConfigMap, "bucket"));
    assert!(!points_at(&spec, KeyHolder::Secret, "ca"));
}

#[test]
fn no_secret_leaves_the_view_of_a_secret() {
    let data = [("bucket", "traces"), ("access_key_secret", "hunter2")];
    let secret = Secret {
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into()))).collect()),
        ..Secret::default()
    };

    let view = view(&secret);

    assert_eq!(view.values, BTreeMap::from([("bucket".to_owned(), "traces".to_owned())]));
    assert_eq!(view.keys.get("access_key_secret"), Some(&7));
    assert!(!format!("{view:?}").contains("hunter2"));
}
