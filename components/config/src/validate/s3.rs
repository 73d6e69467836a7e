//! Rules for `storage.trace.s3`, checked when it is the backend.

use crate::{ByteSize, S3Config, S3SseConfig, S3SseExtras, S3SseKind, Secret};

use super::{Rules, as_u64};

/// Parts of an upload are at least this large, and what S3 takes at most.
const PART_BYTES: std::ops::RangeInclusive<u64> = ByteSize::from_mib(5).get()..=ByteSize::from_gib(5).get();

/// Tags that one object may have.
const MAX_TAGS: usize = 10;

/// Classes whose objects must be asked for hours before they can be read.
const OFFLINE_CLASSES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

fn key(name: &str) -> String {
    format!("storage.trace.s3.{name}")
}

pub(super) fn check(s3: &S3Config, rules: &mut Rules) {
    let is_name = !s3.bucket.is_empty() && !s3.bucket.contains(|c: char| c == '/' || c.is_whitespace());
    rules.require(is_name, &key("bucket"), "must be set: the name of the bucket for blocks, no path");
    if s3.endpoint.contains("://") {
        let message = "must be a host such as minio:9000, without a scheme; set insecure for plain HTTP";
        rules.refuse(&key("endpoint"), message);
    } else if s3.endpoint.contains(|c: char| c == '/' || c == '@' || c.is_whitespace()) {
        rules.refuse(&key("endpoint"), "must be a host such as minio:9000, without a path");
    }
    credentials(s3, rules);
    tls(s3, rules);
    if s3.part_size != ByteSize::ZERO {
        rules.range(&key("part_size"), s3.part_size.get(), PART_BYTES);
    }
    rules.range(&key("hedge_requests_up_to"), as_u64(s3.hedge_requests_up_to), 1..=10);
    rules.require(
        !s3.signature_v2,
        &key("signature_v2"),
        "is not supported: signatures of version 2 are broken by design and gone from S3; every server takes version 4",
    );
    rules.range(&key("bucket_lookup_type"), u64::from(s3.bucket_lookup_type), 0..=2);
    rules.require(
        !(s3.forcepathstyle && s3.bucket_lookup_type == 1),
        &key("bucket_lookup_type"),
        "is 1, the host name, but forcepathstyle says path",
    );
    objects(s3, rules);
    sse(&s3.sse, s3.insecure, rules);
    rules.range(&key("list_blocks_concurrency"), as_u64(s3.list_blocks_concurrency), 1..=100);
    rules.positive(&key("tempo_rs.connect_timeout"), s3.tempo_rs.connect_timeout);
    rules.positive(&key("tempo_rs.request_timeout"), s3.tempo_rs.request_timeout);
    rules.range(&key("tempo_rs.max_attempts"), u64::from(s3.tempo_rs.max_attempts), 1..=20);
}

fn credentials(s3: &S3Config, rules: &mut Rules) {
    match (s3.access_key.is_empty(), s3.secret_key.is_empty()) {
        (true, false) => rules.refuse(&key("access_key"), "must be set, because secret_key is"),
        (false, true) => rules.refuse(&key("secret_key"), "must be set, because access_key is"),
        (true, true) if !s3.session_token.is_empty() => {
            rules.refuse(&key("session_token"), "has no effect without access_key and secret_key");
        }
        (true, true) | (false, false) => {}
    }
}

fn tls(s3: &S3Config, rules: &mut Rules) {
    match (s3.tls_cert_path.is_empty(), s3.tls_key_path.is_empty()) {
        (true, false) => rules.refuse(&key("tls_cert_path"), "must be set, because tls_key_path is"),
        (false, true) => rules.refuse(&key("tls_key_path"), "must be set, because tls_cert_path is"),
        (true, true) | (false, false) => {}
    }
    if s3.insecure {
        for (name, is_set) in [
            ("tls_cert_path", !s3.tls_cert_path.is_empty()),
            ("tls_ca_path", !s3.tls_ca_path.is_empty()),
            ("tls_server_name", !s3.tls_server_name.is_empty()),
            ("tls_insecure_skip_verify", s3.tls_insecure_skip_verify),
        ] {
            rules.require(!is_set, &key(name), "has no effect, because insecure says plain HTTP");
        }
    }
}

fn objects(s3: &S3Config, rules: &mut Rules) {
    rules.require(
        !OFFLINE_CLASSES.contains(&s3.storage_class.as_str()),
        &key("storage_class"),
        "holds objects that cannot be read at once; queries need blocks at once",
    );
    rules.require(s3.tags.len() <= MAX_TAGS, &key("tags"), "has more than the 10 tags that S3 takes");
    let is_header = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    for (name, value) in &s3.metadata {
        let is_plain = is_header(name) && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let path = key(&format!("metadata.{name}"));
        rules.require(is_plain, &path, "must be a header: letters, digits and dashes, with an ASCII value");
    }
}

fn sse(sse: &S3SseConfig, insecure: bool, rules: &mut Rules) {
    let S3SseConfig { kind, kms_key_id, kms_encryption_context, tempo_rs } = sse;
    let S3SseExtras { encryption_key } = tempo_rs;
    let is_kms = *kind == S3SseKind::Kms;
    let needs_kms = "has no effect unless sse.type is SSE-KMS";
    rules.require(is_kms || kms_key_id.is_empty(), &key("sse.kms_key_id"), needs_kms);
    let context = key("sse.kms_encryption_context");
    rules.require(is_kms || kms_encryption_context.is_empty(), &context, needs_kms);
    let text = kms_encryption_context.trim();
    let is_object = text.is_empty() || text.starts_with('{') && text.ends_with('}');
    rules.require(is_object, &context, "must be a JSON object of texts");
    let path = key("sse.tempo_rs.encryption_key");
    if *kind == S3SseKind::Customer {
        rules.require(
            is_32_bytes(encryption_key),
            &path,
            "must be 32 bytes in base64, because sse.type is SSE-C",
        );
        rules.require(!insecure, &key("insecure"), "would send sse.tempo_rs.encryption_key in the clear");
    } else {
        rules.require(encryption_key.is_empty(), &path, "has no effect unless sse.type is SSE-C");
    }
}

/// Whether a text looks like base64 of 32 bytes; an unexpanded variable may become one.
fn is_32_bytes(secret: &Secret) -> bool {
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match secret.expose().strip_suffix('=') {
        Some(digits) => digits.len() == 43 && digits.bytes().all(is_digit),
        None => secret.expose().starts_with("${"),
    }
}
