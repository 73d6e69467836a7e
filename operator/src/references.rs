//! What a TempoCluster points at, as found in the API server: input of [`crate::validate`], filled by `dereference.rs`.
//!
//! Values of Secrets never enter these types, but for the few that are no secrets and that the configuration needs
//! ([`SecretView::READABLE`]). A hash of the content takes their place, so that a rotated key restarts the pod.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// Everything a TempoCluster points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// `storage.credentials.secretRef`.
    pub storage_secret: SecretState,
    /// `storage.tls.caRef`.
    pub storage_ca: KeyState,
    /// `ingest.tls.secretRef`.
    pub ingest_certificate: SecretState,
    /// `ingest.tls.clientCaRef`.
    pub ingest_client_ca: KeyState,
    /// `limits.tenantsFrom`.
    pub tenant_overrides: KeyState,
    /// What the operator was started with.
    pub operator: OperatorDefaults,
}

impl References {
    /// A cluster that points at nothing.
    pub fn none(operator: OperatorDefaults) -> Self {
        Self {
            storage_secret: SecretState::NotReferenced,
            storage_ca: KeyState::NotReferenced,
            ingest_certificate: SecretState::NotReferenced,
            ingest_client_ca: KeyState::NotReferenced,
            tenant_overrides: KeyState::NotReferenced,
            operator,
        }
    }
}

/// A Secret that is referred to as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// The spec names none.
    NotReferenced,
    /// The spec names one that does not exist.
    Missing { name: String },
    /// It is there.
    Present(SecretView),
}

/// A Secret without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretView {
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// Its keys, and how many bytes each has.
    pub keys: BTreeMap<String, usize>,
    /// The values of [`Self::READABLE`] keys that are text.
    pub values: BTreeMap<String, String>,
    /// [`content_hash`] of all keys.
    pub content_hash: String,
}

impl SecretView {
    /// Keys that hold no secret and that the configuration needs: tempo-operator keeps them in the Secret.
    pub const READABLE: [&'static str; 4] = ["bucket", "endpoint", "region", "role_arn"];

    /// Whether `key` is there and not empty.
    pub fn has(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|length| *length > 0)
    }
}

/// One key of a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// The spec names none.
    NotReferenced,
    /// The object does not exist.
    MissingObject { kind: &'static str, name: String },
    /// The object has no such key.
    MissingKey { kind: &'static str, name: String, key: String },
    /// It is there. `text` is empty for what only the pod needs to see (certificates in Secrets).
    Present { text: String, content_hash: String },
}

/// What the operator was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorDefaults {
    /// Repository of the image, without tag.
    pub image_repository: String,
    /// Its tag, if it is not the version.
    pub image_tag: Option<String>,
    /// The operator's own version, which is the version of Tempo that it brings.
    pub version: String,
}

/// A hash of keys and values, in which a Secret's content cannot be recognised: 16 hexadecimal digits of SHA-256, each
/// part preceded by its length.
pub fn content_hash<'a>(data: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (key, value) in data {
        for part in [key.as_bytes(), value] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
