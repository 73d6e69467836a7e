use std::time::Duration;

use serde_json::{Value, json};

use super::{Refusal, Storage, ValidatedCluster, validate};
use crate::{
    crd::{ConditionType, TempoCluster},
    references::{KeyState, OperatorDefaults, References, SecretState, SecretView},
};

fn cluster(spec: &Value) -> TempoCluster {
    let object = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster",
        "metadata": {"name": "traces", "namespace": "observability", "uid": "1"}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn references() -> References {
    References::none(OperatorDefaults {
        image_repository: "tempo-rs/tempo".to_owned(),
        image_tag: None,
        version: "0.4.1".to_owned(),
    })
}

fn secret(keys: &[(&str, &str)]) -> SecretState {
    SecretState::Present(SecretView {
        name: "keys".to_owned(),
        uid: "2".to_owned(),
        resource_version: "3".to_owned(),
        keys: keys.iter().map(|(key, value)| ((*key).to_owned(), value.len())).collect(),
        values: keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        content_hash: "4".to_owned(),
    })
}

fn filesystem(mut fragment: Value) -> Value {
    fragment["mode"] = json!("Monolithic");
    fragment["storage"] = json!({"filesystem": {}});
    fragment
}

fn s3(s3: Value) -> Value {
    json!({"mode": "Monolithic", "storage": {"s3": s3, "credentials": {"secretRef": {"name": "keys"}}}})
}

fn with_secret(spec: &Value, keys: &[(&str, &str)]) -> Result<ValidatedCluster, Refusal> {
    validate(&cluster(spec), &References { storage_secret: secret(keys), ..references() })
}

const STATIC: [(&str, &str); 2] = [("access_key_id", "a"), ("access_key_secret", "b")];

fn bucket(valid: &ValidatedCluster) -> &super::S3 {
    match &valid.storage {
        Storage::S3(s3) => s3,
        Storage::Filesystem => panic!("expected S3"),
    }
}

#[test]
fn what_is_not_written_has_a_default() {
    let valid = validate(&cluster(&filesystem(json!({}))), &references()).unwrap();

    assert_eq!(valid.image(), "tempo-rs/tempo:0.4.1");
    assert_eq!(valid.version(), "0.4.1");
    assert_eq!(valid.rollout().soak, Duration::from_secs(60));
    assert_eq!(valid.deletion().timeout, Duration::from_secs(15 * 60));
    let effective = valid.effective();
    assert_eq!(effective.volume_size.as_deref(), Some("10Gi"));
    assert_eq!(effective.progress_deadline.as_deref(), Some("30m"));
    assert_eq!(effective.drain.as_deref(), Some("Flush"));
    let endpoints = valid.endpoints();
    assert_eq!(endpoints.query.as_deref(), Some("http://traces.observability.svc:3200"));
    assert_eq!(endpoints.otlp_grpc.as_deref(), Some("traces.observability.svc:4317"));
    assert_eq!(endpoints.zipkin, None);
}

#[test]
fn the_image_follows_version_tag_digest_and_the_operators_flag() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let flagged = OperatorDefaults { image_tag: Some("nightly".to_owned()), ..references().operator };
    let flagged = References { operator: flagged, ..references() };
    for (spec, references, image) in [
        (json!({"version": "0.4.0"}), references(), "tempo-rs/tempo:0.4.0".to_owned()),
        (json!({"image": {"tag": "x"}}), references(), "tempo-rs/tempo:x".to_owned()),
        (
            json!({"version": "0.4.1", "image": {"repository": "mine/tempo", "digest": digest}}),
            references(),
            format!("mine/tempo@{digest}"),
        ),
        (json!({}), flagged.clone(), "tempo-rs/tempo:nightly".to_owned()),
        (json!({"version": "0.4.0"}), flagged, "tempo-rs/tempo:0.4.0".to_owned()),
    ] {
        let valid = validate(&cluster(&filesystem(spec)), &references).unwrap();

        assert_eq!(valid.image(), image);
    }
}

#[test]
fn only_this_minor_version_and_the_one_before_are_run() {
    for (version, is_supported) in [
        ("0.4.9", true),
        ("0.4.1-rc.1", true),
        ("0.3.0", true),
        ("0.2.9", false),
        ("0.5.0", false),
        ("1.4.1", false),
    ] {
        let validated = validate(&cluster(&filesystem(json!({"version": version}))), &references());

        let reason = validated.err().map(|refusal| refusal.reason);
        assert_eq!(reason.as_deref(), (!is_supported).then_some("UnsupportedVersion"), "{version}");
    }
}

#[test]
fn tempo_operators_secret_is_understood_as_it_is() {
    let keys = [("bucket", "tempo"), ("endpoint", "http://minio:9000/"), STATIC[0], STATIC[1]];

    let valid = with_secret(&s3(json!({})), &keys).unwrap();

    let s3 = bucket(&valid);
    assert_eq!((s3.bucket.as_str(), s3.endpoint.as_str(), s3.insecure), ("tempo", "minio:9000", true));
    assert_eq!(valid.storage_status().location, "s3://tempo");
}

#[test]
fn what_the_spec_says_goes_before_the_secret() {
    let keys =
        [("bucket", "theirs"), ("endpoint", "https://theirs"), ("region", "there"), STATIC[0], STATIC[1]];
    let spec = s3(json!({"bucket": "ours", "endpoint": "https://ours:9000", "region": "here"}));

    let valid = with_secret(&spec, &keys).unwrap();

    let s3 = bucket(&valid);
    let found = (s3.bucket.as_str(), s3.endpoint.as_str(), s3.region.as_str(), s3.insecure);
    assert_eq!(found, ("ours", "ours:9000", "here", false));
}

#[test]
fn keys_of_the_secret_are_found_by_all_their_names() {
    let own = json!({"accessKeyId": "id", "secretAccessKey": "key", "sessionToken": "token"});
    let mut mapped = s3(json!({"bucket": "b"}));
    mapped["storage"]["credentials"]["keys"] = own;
    let sdk = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_SESSION_TOKEN", "c")];
    for (spec, keys, found) in [
        (s3(json!({"bucket": "b"})), STATIC.to_vec(), ["access_key_id", "access_key_secret", ""]),
        (
            s3(json!({"bucket": "b"})),
            sdk.to_vec(),
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
        ),
        (mapped, vec![("id", "a"), ("key", "b"), ("token", "c")], ["id", "key", "token"]),
    ] {
        let valid = with_secret(&spec, &keys).unwrap();

        let super::Credentials::Secret(keys) = &bucket(&valid).credentials else { panic!("expected keys") };
        let token = keys.session_token.as_deref().unwrap_or_default();
        assert_eq!([keys.access_key_id.as_str(), &keys.secret_access_key, token], found);
    }
}

#[test]
fn a_refusal_of_storage_names_the_key_and_whether_waiting_helps() {
    let named = s3(json!({"bucket": "b"}));
    let mut mapped = named.clone();
    mapped["storage"]["credentials"]["keys"] = json!({"accessKeyId": "id"});
    for (spec, keys, reason, text, is_waiting) in [
        (
            &named,
            vec![STATIC[0]],
            "SecretIncomplete",
            "no key access_key_secret or AWS_SECRET_ACCESS_KEY",
            true,
        ),
        (&named, vec![STATIC[0]], "SecretIncomplete", "it has access_key_id", true),
        (&named, vec![("access_key_id", ""), STATIC[1]], "SecretIncomplete", "with a value", true),
        (&mapped, STATIC.to_vec(), "SecretIncomplete", "has no key id with", true),
        (&s3(json!({})), STATIC.to_vec(), "SecretIncomplete", "storage.s3.bucket", true),
        (
            &named,
            vec![("role_arn", "arn"), ("region", "r")],
            "InvalidStorage",
            "storage.credentials.ambient",
            false,
        ),
        (
            &s3(json!({"bucket": "b", "endpoint": "ftp://x"})),
            STATIC.to_vec(),
            "InvalidStorage",
            "ftp://",
            false,
        ),
        (
            &s3(json!({"bucket": "b", "endpoint": "x/y"})),
            STATIC.to_vec(),
            "InvalidStorage",
            "without a path",
            false,
        ),
        (
            &s3(json!({"bucket": "b"})),
            [&STATIC[..], &[("endpoint", "${AWS_SECRET_ACCESS_KEY}.example")]].concat(),
            "InvalidStorage",
            "storage.s3.endpoint: `${AWS_SECRET_ACCESS_KEY}.example` must not have `${`",
            false,
        ),
        (
            &s3(json!({"bucket": "b", "endpoint": "https://x", "insecure": true})),
            STATIC.to_vec(),
            "InvalidStorage",
            "storage.s3.insecure",
            false,
        ),
    ] {
        let refusal = with_secret(spec, &keys).unwrap_err();

        assert_eq!(
            (refusal.condition, refusal.reason.as_str()),
            (ConditionType::StorageReady, reason),
            "{refusal}"
        );
        assert!(refusal.message.contains(text), "{refusal}");
        assert_eq!(refusal.is_waiting, is_waiting, "{refusal}");
    }
}

#[test]
fn what_is_not_there_yet_is_waited_for() {
    let missing = || KeyState::MissingObject { kind: "ConfigMap", name: "it".to_owned() };
    let no_key = KeyState::MissingKey { kind: "ConfigMap", name: "it".to_owned(), key: "k".to_owned() };
    let reference = json!({"name": "it", "key": "k"});
    let tls = json!({"mode": "Mutual", "secretRef": {"name": "keys"}, "clientCaRef": reference});
    let ingest = filesystem(json!({"ingest": {"tls": tls}}));
    let mut ca = s3(json!({"bucket": "b"}));
    ca["storage"]["tls"] = json!({"caRef": reference});
    let certificate = || secret(&[("tls.crt", "a"), ("tls.key", "b")]);
    let tenants = filesystem(json!({"limits": {"tenantsFrom": reference}}));
    let base = references();
    for (spec, references, reason) in [
        (
            s3(json!({})),
            References { storage_secret: SecretState::Missing { name: "keys".to_owned() }, ..base.clone() },
            "SecretNotFound",
        ),
        (
            ca,
            References { storage_secret: secret(&STATIC), storage_ca: missing(), ..base.clone() },
            "CaNotFound",
        ),
        (
            ingest.clone(),
            References { ingest_certificate: secret(&[("tls.crt", "a")]), ..base.clone() },
            "IngestCertificateNotFound",
        ),
        (
            ingest,
            References { ingest_certificate: certificate(), ingest_client_ca: missing(), ..base.clone() },
            "IngestCertificateNotFound",
        ),
        (tenants, References { tenant_overrides: no_key, ..base }, "TenantOverridesNotFound"),
    ] {
        let refusal = validate(&cluster(&spec), &references).unwrap_err();

        assert_eq!(refusal.reason, reason, "{refusal}");
        assert!(refusal.is_waiting, "{refusal}");
        assert!(refusal.message.contains("keys") || refusal.message.contains("it"), "{refusal}");
    }
}

#[test]
fn ports_and_arguments_that_collide_are_refused() {
    for (fragment, text) in [
        (
            json!({"ingest": {"otlpHttp": {"port": 4317}}}),
            "ingest.otlpHttp.port: 4317 is taken by ingest.otlpGrpc",
        ),
        (json!({"ingest": {"otlpGrpc": {"port": 3200}}}), "taken by Tempo's own API"),
        (
            json!({"ingest": {"otlpGrpc": {"enabled": false}, "otlpHttp": {"enabled": false}}}),
            "every protocol is off",
        ),
        (
            json!({"monolithic": {"extraArgs": ["-a", "--config.file=x"]}}),
            "monolithic.extraArgs[1]: -config.file=x",
        ),
        (json!({"monolithic": {"extraArgs": ["-target=ingester"]}}), "use mode"),
    ] {
        let refusal = validate(&cluster(&filesystem(fragment)), &references()).unwrap_err();

        assert_eq!((refusal.condition, refusal.is_waiting), (ConditionType::Stalled, false));
        assert!(refusal.message.contains(text), "{refusal}");
    }
}

#[test]
fn tcp_and_udp_have_ports_of_their_own() {
    let ingest = json!({"ingest": {"jaegerThriftCompact": {"enabled": true, "port": 4317}}});

    let valid = validate(&cluster(&filesystem(ingest)), &references());

    assert!(valid.is_ok(), "{valid:?}");
}
