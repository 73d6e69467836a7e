//! What every new object gets, and what reading it takes: storage class, tags, metadata, encryption, and the checksum
//! of uploads in parts, whose parts must have the same kind as the whole.

use std::collections::HashMap;

use aws_sdk_s3::{
    operation::{
        create_multipart_upload::builders::CreateMultipartUploadFluentBuilder,
        get_object::builders::GetObjectFluentBuilder, head_object::builders::HeadObjectFluentBuilder,
        put_object::builders::PutObjectFluentBuilder, upload_part::builders::UploadPartFluentBuilder,
    },
    types::{ChecksumAlgorithm, ServerSideEncryption, StorageClass},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use md5::{Digest as _, Md5};
use tempo_config::{S3Checksums, S3Config, S3SseConfig, S3SseExtras, S3SseKind};

/// Why the settings of objects cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum S3ObjectsError {
    #[error("storage.trace.s3.sse.kms_encryption_context is no JSON object of texts")]
    Context(#[source] serde_json::Error),
    #[error("storage.trace.s3.sse.tempo_rs.encryption_key is not 32 bytes in base64")]
    Key,
}

/// The settings, as the requests take them.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    class: Option<StorageClass>,
    tags: Option<String>,
    metadata: Option<HashMap<String, String>>,
    encryption: Encryption,
    part_checksum: Option<ChecksumAlgorithm>,
}

#[derive(Clone)]
enum Encryption {
    Bucket,
    S3,
    Kms {
        key_id: Option<String>,
        context: Option<String>,
    },
    /// Key and its MD5, both in base64.
    Customer {
        key: String,
        md5: String,
    },
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encryption::Bucket => "Bucket",
            Encryption::S3 => "S3",
            Encryption::Kms { key_id: _, context: _ } => "Kms",
            Encryption::Customer { key: _, md5: _ } => "Customer",
        })
    }
}

const CUSTOMER_ALGORITHM: &str = "AES256";

/// Sets what a request that makes an object takes; the SDK's builders have no trait in common.
macro_rules! describe_object {
    ($request:expr, $objects:expr) => {{
        let objects: &Objects = $objects;
        let request = $request
            .set_storage_class(objects.class.clone())
            .set_tagging(objects.tags.clone())
            .set_metadata(objects.metadata.clone());
        match &objects.encryption {
            Encryption::Bucket => request,
            Encryption::S3 => request.server_side_encryption(ServerSideEncryption::Aes256),
            Encryption::Kms { key_id, context } => request
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .set_ssekms_key_id(key_id.clone())
                .set_ssekms_encryption_context(context.clone()),
            Encryption::Customer { .. } => show_key!(request, objects),
        }
    }};
}

/// Shows the service the customer's key, if there is one.
macro_rules! show_key {
    ($request:expr, $objects:expr) => {
        match &$objects.encryption {
            Encryption::Customer { key, md5 } => $request
                .sse_customer_algorithm(CUSTOMER_ALGORITHM)
                .sse_customer_key(key)
                .sse_customer_key_md5(md5),
            Encryption::Bucket | Encryption::S3 | Encryption::Kms { key_id: _, context: _ } => $request,
        }
    };
}

impl Objects {
    pub(super) fn new(config: &S3Config) -> Result<Objects, S3ObjectsError> {
        let tags: Vec<String> =
            config.tags.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
        Ok(Objects {
            class: filled(&config.storage_class).map(|class| StorageClass::from(class.as_str())),
            tags: filled(&tags.join("&")),
            metadata: (!config.metadata.is_empty()).then(|| config.metadata.clone().into_iter().collect()),
            encryption: Encryption::new(&config.sse)?,
            part_checksum: match config.tempo_rs.checksums {
                S3Checksums::WhenRequired => None,
                S3Checksums::WhenSupported => Some(ChecksumAlgorithm::Crc32),
            },
        })
    }

    pub(super) fn put(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        describe_object!(request, self)
    }

    pub(super) fn create(
        &self,
        request: CreateMultipartUploadFluentBuilder,
    ) -> CreateMultipartUploadFluentBuilder {
        describe_object!(request, self).set_checksum_algorithm(self.part_checksum.clone())
    }

    pub(super) fn part(&self, request: UploadPartFluentBuilder) -> UploadPartFluentBuilder {
        show_key!(request, self).set_checksum_algorithm(self.part_checksum.clone())
    }

    pub(super) fn get(&self, request: GetObjectFluentBuilder) -> GetObjectFluentBuilder {
        show_key!(request, self)
    }

    pub(super) fn head(&self, request: HeadObjectFluentBuilder) -> HeadObjectFluentBuilder {
        show_key!(request, self)
    }
}

impl Encryption {
    fn new(config: &S3SseConfig) -> Result<Encryption, S3ObjectsError> {
        let S3SseConfig { kind, kms_key_id, kms_encryption_context, tempo_rs } = config;
        let S3SseExtras { encryption_key } = tempo_rs;
        Ok(match kind {
            S3SseKind::Bucket => Encryption::Bucket,
            S3SseKind::S3 => Encryption::S3,
            S3SseKind::Kms => {
                let context = filled(kms_encryption_context)
                    .map(|text| {
                        serde_json::from_str::<HashMap<String, String>>(&text)
                            .map(|_| BASE64_STANDARD.encode(text))
                    })
                    .transpose()
                    .map_err(S3ObjectsError::Context)?;
                Encryption::Kms { key_id: filled(kms_key_id), context }
            }
            S3SseKind::Customer => {
                let key = encryption_key.expose().to_owned();
                let bytes = BASE64_STANDARD.decode(&key).map_err(|_| S3ObjectsError::Key)?;
                if bytes.len() != 32 {
                    return Err(S3ObjectsError::Key);
                }
                Encryption::Customer { key, md5: BASE64_STANDARD.encode(Md5::digest(&bytes)) }
            }
        })
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A tag as it goes into the query of a URL.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use tempo_config::Secret;

    use super::*;

    #[test]
    fn tags_are_encoded() {
        let config = S3Config {
            tags: [("team", "a&b"), ("year", "2026")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..S3Config::default()
        };

        assert_eq!(Objects::new(&config).unwrap().tags.as_deref(), Some("team=a%26b&year=2026"));
    }

    #[test]
    fn keys_and_contexts_that_cannot_be_used_are_refused() {
        let customer = |key: &str| S3SseConfig {
            kind: S3SseKind::Customer,
            tempo_rs: S3SseExtras { encryption_key: Secret::new(key) },
            ..S3SseConfig::default()
        };
        let context = |text: &str| S3SseConfig {
            kind: S3SseKind::Kms,
            kms_encryption_context: text.to_owned(),
            ..S3SseConfig::default()
        };

        assert!(Encryption::new(&customer("AAAA")).is_err());
        assert!(Encryption::new(&customer(&format!("{}=", "A".repeat(43)))).is_ok());
        assert!(Encryption::new(&context("{\"a\": 1}")).is_err());
        assert!(Encryption::new(&context("{\"a\": \"b\"}")).is_ok());
    }
}
