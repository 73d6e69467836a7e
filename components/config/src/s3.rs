//! `storage.trace.s3`: a bucket of Amazon S3 or of what speaks its protocol.
//!
//! Keys and defaults are Tempo's; what Tempo has no key for is under `tempo_rs`. Files named here are opened by the
//! store, not here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, GoDuration, Secret, TlsMinVersion};

/// `storage.trace.s3`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder in the bucket under which everything is kept.
    pub prefix: String,
    /// Host of the service, with its port if need be, without scheme. Empty: Amazon's for the region.
    pub endpoint: String,
    /// Region of the bucket. Empty: from the endpoint's name or the environment, else us-east-1.
    pub region: String,
    /// Access key. Empty takes what the environment has: variables, a profile, a web identity, a container's or a
    /// machine's role.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// Token of temporary credentials.
    pub session_token: Secret,
    /// Whether the service is spoken to without TLS.
    pub insecure: bool,
    /// Certificate that the service is shown; file in PEM.
    pub tls_cert_path: String,
    /// Key of that certificate; file in PEM.
    pub tls_key_path: String,
    /// Authorities that the service's certificate may be from; file in PEM. Empty: those of the system.
    pub tls_ca_path: String,
    /// Name that the service's certificate must have. Empty: the endpoint's.
    pub tls_server_name: String,
    /// Whether any certificate is taken.
    pub tls_insecure_skip_verify: bool,
    /// Lowest TLS version.
    pub tls_min_version: TlsMinVersion,
    /// Size of one part of an upload, which is held in memory. 0: 8 MiB. Files up to this size go in one request.
    pub part_size: ByteSize,
    /// A read that has no answer after this long is sent a second time; the first answer counts. 0: never.
    pub hedge_requests_at: GoDuration,
    /// How often such a read is sent at most.
    pub hedge_requests_up_to: usize,
    /// Signatures of version 2; refused.
    pub signature_v2: bool,
    /// Whether the bucket is put into the path and not into the host name.
    pub forcepathstyle: bool,
    /// Where the bucket goes: 0 by the endpoint (host name for Amazon, path for others), 1 host name, 2 path.
    pub bucket_lookup_type: u8,
    /// Whether Amazon's endpoints for IPv6 and IPv4 are used.
    pub enable_dual_stack: bool,
    /// Storage class of new objects. Empty: the bucket's.
    pub storage_class: String,
    /// Tags of new objects.
    pub tags: BTreeMap<String, String>,
    /// Metadata of new objects.
    pub metadata: BTreeMap<String, String>,
    /// Encryption of objects by the service.
    pub sse: S3SseConfig,
    /// Requests at once for one long listing.
    pub list_blocks_concurrency: usize,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: S3Extras,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: String::new(),
            region: String::new(),
            access_key: String::new(),
            secret_key: Secret::default(),
            session_token: Secret::default(),
            insecure: false,
            tls_cert_path: String::new(),
            tls_key_path: String::new(),
            tls_ca_path: String::new(),
            tls_server_name: String::new(),
            tls_insecure_skip_verify: false,
            tls_min_version: TlsMinVersion::default(),
            part_size: ByteSize::ZERO,
            hedge_requests_at: GoDuration::ZERO,
            hedge_requests_up_to: 2,
            signature_v2: false,
            forcepathstyle: false,
            bucket_lookup_type: 0,
            enable_dual_stack: false,
            storage_class: String::new(),
            tags: BTreeMap::new(),
            metadata: BTreeMap::new(),
            sse: S3SseConfig::default(),
            list_blocks_concurrency: 3,
            tempo_rs: S3Extras::default(),
        }
    }
}

/// `storage.trace.s3.sse`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3SseConfig {
    /// Who keeps the key.
    #[serde(rename = "type")]
    pub kind: S3SseKind,
    /// The key in the key service, for SSE-KMS. Empty: the account's default key.
    pub kms_key_id: String,
    /// A JSON object of texts that the key service is given with every call, for SSE-KMS.
    pub kms_encryption_context: String,
    /// Our own keys, which Tempo does not have.
    pub tempo_rs: S3SseExtras,
}

/// `storage.trace.s3.sse.tempo_rs`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3SseExtras {
    /// The key itself, 32 bytes in base64, for SSE-C.
    pub encryption_key: Secret,
}

/// Who keeps the key of encrypted objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum S3SseKind {
    /// What the bucket says.
    #[default]
    #[serde(rename = "")]
    Bucket,
    /// The store.
    #[serde(rename = "SSE-S3")]
    S3,
    /// The key service.
    #[serde(rename = "SSE-KMS")]
    Kms,
    /// We: it is sent with every request.
    #[serde(rename = "SSE-C")]
    Customer,
}

/// `storage.trace.s3.tempo_rs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Extras {
    /// When requests carry the checksums that came in 2025, which many servers do not know.
    pub checksums: S3Checksums,
    /// Time in which a connection must be made.
    pub connect_timeout: GoDuration,
    /// Time in which a request must be answered, and longest pause within an answer.
    pub request_timeout: GoDuration,
    /// How often a request is sent at most when it fails for a reason that may pass.
    pub max_attempts: u32,
}

impl Default for S3Extras {
    fn default() -> Self {
        Self {
            checksums: S3Checksums::default(),
            connect_timeout: GoDuration::from_secs(5),
            request_timeout: GoDuration::from_secs(30),
            max_attempts: 4,
        }
    }
}

/// When requests to S3 carry checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum S3Checksums {
    /// Only where the protocol demands one: every server takes that. Without TLS bodies are signed all the same.
    #[default]
    WhenRequired,
    /// Wherever the protocol knows one, as Amazon's own tools do.
    WhenSupported,
}
