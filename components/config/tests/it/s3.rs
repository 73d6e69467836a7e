//! `storage.trace.s3`: what is read, what is refused, what is never shown.

use tempo_config::{ByteSize, S3Checksums, S3SseKind};

use crate::{print, read};

/// What validation says about an S3 backend with a bucket and `keys`.
fn refused(keys: &str) -> Vec<String> {
    let text = format!("storage: {{trace: {{backend: s3, s3: {{bucket: traces, {keys}}}}}}}");
    print(read(&text).expect(keys).config.validate().expect_err(keys))
}

#[test]
fn a_bucket_alone_is_enough() {
    let config = read("storage: {trace: {backend: s3, s3: {bucket: traces}}}").unwrap().config;

    assert_eq!(config.storage.trace.s3.tempo_rs.checksums, S3Checksums::WhenRequired);
    config.validate().unwrap();
}

#[test]
fn all_keys_are_read() {
    let text = "
storage:
  trace:
    backend: s3
    s3:
      bucket: traces
      prefix: prod/eu
      endpoint: minio.example:9000
      region: eu-central-1
      access_key: AK
      secret_key: SK
      session_token: ST
      tls_cert_path: /tls/tls.crt
      tls_key_path: /tls/tls.key
      tls_ca_path: /tls/ca.crt
      tls_server_name: minio
      tls_min_version: VersionTLS13
      part_size: 16777216
      hedge_requests_at: 500ms
      hedge_requests_up_to: 3
      signature_v2: false
      forcepathstyle: true
      bucket_lookup_type: 2
      enable_dual_stack: true
      storage_class: STANDARD_IA
      native_aws_auth_enabled: true
      list_blocks_concurrency: 10
      tags: {team: sre, year: 2026}
      metadata: {origin: tempo}
      sse: {type: SSE-KMS, kms_key_id: 'alias/tempo', kms_encryption_context: '{\"team\":\"sre\"}'}
      tempo_rs: {checksums: when_supported, connect_timeout: 1s, request_timeout: 10s, max_attempts: 2}
";

    let parsed = read(text).unwrap();

    assert_eq!(print(parsed.warnings), Vec::<String>::new());
    let s3 = parsed.config.storage.trace.s3.clone();
    assert_eq!(s3.part_size, ByteSize::from_mib(16));
    assert_eq!(s3.tags["year"], "2026");
    assert_eq!(s3.sse.kind, S3SseKind::Kms);
    assert_eq!(s3.tempo_rs.checksums, S3Checksums::WhenSupported);
    parsed.config.validate().unwrap();
}

#[test]
fn what_cannot_work_is_refused_with_its_key() {
    let cases = [
        (
            "endpoint: 'http://minio:9000'",
            "endpoint: must be a host such as minio:9000, without a scheme; set insecure for plain HTTP",
        ),
        ("endpoint: 'minio/traces'", "endpoint: must be a host such as minio:9000, without a path"),
        ("access_key: AK", "secret_key: must be set, because access_key is"),
        ("secret_key: SK", "access_key: must be set, because secret_key is"),
        ("session_token: ST", "session_token: has no effect without access_key and secret_key"),
        ("tls_key_path: /k", "tls_cert_path: must be set, because tls_key_path is"),
        ("insecure: true, tls_ca_path: /ca", "tls_ca_path: has no effect, because insecure says plain HTTP"),
        ("part_size: 1MiB", "part_size: is 1048576, must be from 5242880 to 5368709120"),
        ("hedge_requests_up_to: 0", "hedge_requests_up_to: is 0, must be from 1 to 10"),
        (
            "signature_v2: true",
            "signature_v2: is not supported: signatures of version 2 are broken by design and gone from S3; \
             every server takes version 4",
        ),
        ("bucket_lookup_type: 3", "bucket_lookup_type: is 3, must be from 0 to 2"),
        (
            "bucket_lookup_type: 1, forcepathstyle: true",
            "bucket_lookup_type: is 1, the host name, but forcepathstyle says path",
        ),
        (
            "storage_class: GLACIER",
            "storage_class: holds objects that cannot be read at once; queries need blocks at once",
        ),
        (
            "metadata: {'a b': c}",
            "metadata.a b: must be a header: letters, digits and dashes, with an ASCII value",
        ),
        ("sse: {kms_key_id: k}", "sse.kms_key_id: has no effect unless sse.type is SSE-KMS"),
        (
            "sse: {type: SSE-KMS, kms_encryption_context: team}",
            "sse.kms_encryption_context: must be a JSON object of texts",
        ),
        (
            "sse: {type: SSE-C, tempo_rs: {encryption_key: short}}",
            "sse.tempo_rs.encryption_key: must be 32 bytes in base64, because sse.type is SSE-C",
        ),
        (
            "insecure: true, sse: {type: SSE-C, tempo_rs: {encryption_key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}}",
            "insecure: would send sse.tempo_rs.encryption_key in the clear",
        ),
        ("list_blocks_concurrency: 0", "list_blocks_concurrency: is 0, must be from 1 to 100"),
        ("tempo_rs: {max_attempts: 0}", "tempo_rs.max_attempts: is 0, must be from 1 to 20"),
        ("tempo_rs: {request_timeout: 0s}", "tempo_rs.request_timeout: must be longer than 0"),
    ];

    for (keys, expected) in cases {
        assert_eq!(refused(keys), [format!("storage.trace.s3.{expected}")], "{keys}");
    }
}

#[test]
fn a_bucket_must_be_named() {
    let config = read("storage: {trace: {backend: s3}}").unwrap().config;

    let findings = print(config.validate().unwrap_err());

    assert_eq!(
        findings,
        ["storage.trace.s3.bucket: must be set: the name of the bucket for blocks, no path"]
    );
}

#[test]
fn the_rules_bind_only_when_s3_is_the_backend() {
    let config = read("storage: {trace: {s3: {signature_v2: true, access_key: AK}}}").unwrap().config;

    config.validate().unwrap();
}

#[test]
fn keys_are_never_printed() {
    let text = "storage: {trace: {s3: {access_key: AK, secret_key: hidden1, session_token: hidden2, \
                sse: {type: SSE-C, tempo_rs: {encryption_key: hidden3}}}}}";

    let config = read(text).unwrap().config.validate().unwrap();

    for printed in [config.to_yaml(), format!("{config:?}")] {
        assert!(!printed.contains("hidden"), "{printed}");
        assert!(printed.contains("AK"), "{printed}");
    }
}
