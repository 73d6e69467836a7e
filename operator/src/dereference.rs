//! Step 1 of a reconcile: reads what the spec points at, by name, and nothing else.
//!
//! A missing object is a state, not an error: it may come later, and the watch in `controller.rs` then wakes the cluster.
//! Errors are those of the API server itself. `points_at` is the index that this watch uses; both must name the same
//! objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt as _};

use crate::{
    crd::{KeyHolder, KeyReference, TempoCluster, TempoClusterSpec},
    references::{KeyState, OperatorDefaults, References, SecretState, SecretView, content_hash},
};

#[derive(Debug, thiserror::Error)]
#[error("read {kind} {name}")]
pub struct DereferenceError {
    kind: &'static str,
    name: String,
    pub(crate) source: kube::Error,
}

/// Reads everything that `cluster` points at.
pub async fn dereference(
    client: &Client,
    cluster: &TempoCluster,
    operator: &OperatorDefaults,
) -> Result<References, DereferenceError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let reader = Reader {
        secrets: Api::namespaced(client.clone(), &namespace),
        config_maps: Api::namespaced(client.clone(), &namespace),
    };
    let spec = &cluster.spec;
    let pointers = Pointers::of(spec);
    Ok(References {
        storage_secret: reader.secret(pointers.storage_secret).await?,
        storage_ca: reader.key(pointers.storage_ca).await?,
        ingest_certificate: reader.secret(pointers.ingest_certificate).await?,
        ingest_client_ca: reader.key(pointers.ingest_client_ca).await?,
        tenant_overrides: reader.key(pointers.tenant_overrides).await?,
        operator: operator.clone(),
    })
}

/// Whether a change of this object can change what `dereference` returns.
pub fn points_at(spec: &TempoClusterSpec, kind: KeyHolder, name: &str) -> bool {
    let Pointers { storage_secret, storage_ca, ingest_certificate, ingest_client_ca, tenant_overrides } =
        Pointers::of(spec);
    let is_secret = kind == KeyHolder::Secret
        && [storage_secret, ingest_certificate].into_iter().flatten().any(|secret| secret == name);
    is_secret
        || [storage_ca, ingest_client_ca, tenant_overrides]
            .into_iter()
            .flatten()
            .any(|key| key.holder() == kind && key.name == name)
}

/// The places of a spec that name other objects.
pub(crate) struct Pointers<'a> {
    pub(crate) storage_secret: Option<&'a str>,
    pub(crate) storage_ca: Option<&'a KeyReference>,
    pub(crate) ingest_certificate: Option<&'a str>,
    pub(crate) ingest_client_ca: Option<&'a KeyReference>,
    pub(crate) tenant_overrides: Option<&'a KeyReference>,
}

impl<'a> Pointers<'a> {
    pub(crate) fn of(spec: &'a TempoClusterSpec) -> Pointers<'a> {
        let credentials = spec.storage.credentials.as_ref();
        let ingest = spec.ingest.as_ref().and_then(|ingest| ingest.tls.as_ref());
        Pointers {
            storage_secret: credentials
                .and_then(|credentials| credentials.secret_ref.as_ref())
                .map(|reference| reference.name.as_str()),
            storage_ca: spec.storage.tls.as_ref().and_then(|tls| tls.ca_ref.as_ref()),
            ingest_certificate: ingest
                .and_then(|tls| tls.secret_ref.as_ref())
                .map(|reference| reference.name.as_str()),
            ingest_client_ca: ingest.and_then(|tls| tls.client_ca_ref.as_ref()),
            tenant_overrides: spec.limits.as_ref().and_then(|limits| limits.tenants_from.as_ref()),
        }
    }
}

struct Reader {
    secrets: Api<Secret>,
    config_maps: Api<ConfigMap>,
}

impl Reader {
    async fn secret(&self, name: Option<&str>) -> Result<SecretState, DereferenceError> {
        let Some(name) = name else {
            return Ok(SecretState::NotReferenced);
        };
        Ok(match self.get_secret(name).await? {
            None => SecretState::Missing { name: name.to_owned() },
            Some(secret) => SecretState::Present(view(&secret)),
        })
    }

    async fn key(&self, reference: Option<&KeyReference>) -> Result<KeyState, DereferenceError> {
        let Some(reference) = reference else {
            return Ok(KeyState::NotReferenced);
        };
        let (kind, data) = match reference.holder() {
            KeyHolder::Secret => {
                ("Secret", self.get_secret(&reference.name).await?.map(|secret| bytes_of(&secret)))
            }
            KeyHolder::ConfigMap => (
                "ConfigMap",
                self.get_config_map(&reference.name).await?.map(|config_map| texts_of(&config_map)),
            ),
        };
        Ok(key_state(reference, kind, data))
    }

    async fn get_secret(&self, name: &str) -> Result<Option<Secret>, DereferenceError> {
        let failed = |source| DereferenceError { kind: "Secret", name: name.to_owned(), source };
        self.secrets.get_opt(name).await.map_err(failed)
    }

    async fn get_config_map(&self, name: &str) -> Result<Option<ConfigMap>, DereferenceError> {
        let failed = |source| DereferenceError { kind: "ConfigMap", name: name.to_owned(), source };
        self.config_maps.get_opt(name).await.map_err(failed)
    }
}

/// The key that `reference` names; `data` is `None` if the object does not exist.
pub(crate) fn key_state(
    reference: &KeyReference,
    kind: &'static str,
    data: Option<BTreeMap<String, Vec<u8>>>,
) -> KeyState {
    let name = reference.name.clone();
    let key = reference.key.clone();
    match data {
        None => KeyState::MissingObject { kind, name },
        Some(data) => match data.get(&key) {
            None => KeyState::MissingKey { kind, name, key },
            Some(value) => KeyState::Present {
                text: if kind == "ConfigMap" {
                    String::from_utf8_lossy(value).into_owned()
                } else {
                    String::new()
                },
                content_hash: content_hash([(key.as_str(), value.as_slice())]),
            },
        },
    }
}

pub(crate) fn view(secret: &Secret) -> SecretView {
    let data = bytes_of(secret);
    let readable = |key: &str| {
        let value = String::from_utf8(data.get(key)?.clone()).ok()?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    SecretView {
        name: secret.name_any(),
        uid: secret.uid().unwrap_or_default(),
        resource_version: secret.resource_version().unwrap_or_default(),
        keys: data.iter().map(|(key, value)| (key.clone(), value.len())).collect(),
        values: SecretView::READABLE.into_iter().filter_map(readable).collect(),
        content_hash: content_hash(data.iter().map(|(key, value)| (key.as_str(), value.as_slice()))),
    }
}

pub(crate) fn bytes_of(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

pub(crate) fn texts_of(config_map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let texts =
        config_map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binaries = config_map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    texts.chain(binaries).collect()
}

#[cfg(test)]
mod tests;
