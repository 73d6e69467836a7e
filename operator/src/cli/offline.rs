//! `render` and `validate` on files: the same steps as a reconcile, with [`References`] from the files.
//!
//! What a TempoCluster names and the files do not hold is assumed to exist with the usual keys, because Secrets are seldom
//! kept in files; a warning says what was assumed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::{
    documents::{self, Documents},
    flags::FilesCommand,
    yaml,
};
use crate::{
    crd::{KeyHolder, KeyReference, TempoCluster},
    dereference::{Pointers, bytes_of, key_state, texts_of, view},
    references::{KeyState, OperatorDefaults, References, SecretState, SecretView},
    render, validate,
};

/// Stands in the place of what the API server gives.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

/// The objects of all clusters.
#[derive(Debug)]
pub(super) struct Rendered {
    /// YAML documents in the order in which they would be applied.
    pub(super) text: String,
    /// One per cluster.
    pub(super) places: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Renders every TempoCluster of the files, or says everything that is wrong.
pub(super) fn render(command: &FilesCommand) -> Result<Rendered, Vec<String>> {
    let documents = documents::read(&command.files)?;
    let mut rendered = Rendered { text: String::new(), places: Vec::new(), warnings: Vec::new() };
    let mut problems = Vec::new();
    for (place, cluster) in &documents.clusters {
        let mut cluster = cluster.clone();
        cluster.metadata.uid.get_or_insert_with(|| NO_UID.to_owned());
        let mut warnings = Vec::new();
        let references = Assumptions { documents: &documents, cluster: &cluster, warnings: &mut warnings }
            .references(&command.defaults);
        let resources = validate::validate(&cluster, &references).and_then(|valid| render::render(&valid));
        match resources {
            Ok(resources) => {
                warnings.extend(resources.warnings.iter().cloned());
                for child in resources.in_apply_order() {
                    rendered.text.push_str("---\n");
                    rendered.text.push_str(&yaml::document(&child.value));
                }
            }
            Err(refusal) => problems.push(format!("{place}: {}", refusal.message)),
        }
        rendered.warnings.extend(warnings.into_iter().map(|warning| format!("{place}: {warning}")));
        rendered.places.push(place.to_string());
    }
    if problems.is_empty() { Ok(rendered) } else { Err(problems) }
}

/// Looks into the files first and assumes the rest.
struct Assumptions<'a> {
    documents: &'a Documents,
    cluster: &'a TempoCluster,
    warnings: &'a mut Vec<String>,
}

impl Assumptions<'_> {
    fn references(mut self, defaults: &OperatorDefaults) -> References {
        let pointers = Pointers::of(&self.cluster.spec);
        let credentials = self.cluster.spec.storage.credentials.clone().unwrap_or_default();
        let keys = credentials.keys.unwrap_or_default();
        let keys = [
            keys.access_key_id.unwrap_or_else(|| "access_key_id".to_owned()),
            keys.secret_access_key.unwrap_or_else(|| "access_key_secret".to_owned()),
        ];
        let keys = keys.into_iter().chain(keys_of_token(self.cluster));
        References {
            storage_secret: self.secret(pointers.storage_secret, keys.collect()),
            storage_ca: self.key(pointers.storage_ca),
            ingest_certificate: self
                .secret(pointers.ingest_certificate, vec!["tls.crt".to_owned(), "tls.key".to_owned()]),
            ingest_client_ca: self.key(pointers.ingest_client_ca),
            tenant_overrides: self.key(pointers.tenant_overrides),
            operator: defaults.clone(),
        }
    }

    fn place(&self, name: &str) -> (String, String) {
        let namespace = self.cluster.namespace().unwrap_or_else(|| "default".to_owned());
        (namespace, name.to_owned())
    }

    fn secret(&mut self, name: Option<&str>, usual_keys: Vec<String>) -> SecretState {
        let Some(name) = name else { return SecretState::NotReferenced };
        if let Some(secret) = self.documents.secrets.get(&self.place(name)) {
            return SecretState::Present(view(secret));
        }
        let message = format!("Secret {name} is not in the files; assumed to have {}", usual_keys.join(", "));
        self.warnings.push(message);
        let mut secret = SecretView { name: name.to_owned(), ..view(&Secret::default()) };
        secret.keys = usual_keys.into_iter().map(|key| (key, 1)).collect();
        SecretState::Present(secret)
    }

    fn key(&mut self, reference: Option<&KeyReference>) -> KeyState {
        let Some(reference) = reference else { return KeyState::NotReferenced };
        let place = self.place(&reference.name);
        let (kind, data) = match reference.holder() {
            KeyHolder::Secret => ("Secret", self.documents.secrets.get(&place).map(bytes_of)),
            KeyHolder::ConfigMap => ("ConfigMap", self.documents.config_maps.get(&place).map(texts_of)),
        };
        let KeyReference { name, key, .. } = reference;
        let data = data.unwrap_or_else(|| {
            self.warnings.push(format!("{kind} {name} is not in the files; assumed to have {key}, empty"));
            BTreeMap::from([(key.clone(), Vec::new())])
        });
        key_state(reference, kind, Some(data))
    }
}

fn keys_of_token(cluster: &TempoCluster) -> Option<String> {
    cluster.spec.storage.credentials.as_ref()?.keys.as_ref()?.session_token.clone()
}
