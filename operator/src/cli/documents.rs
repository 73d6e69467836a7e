//! Files of YAML documents to TempoClusters, Secrets and ConfigMaps, with the place of each for messages.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read as _,
    path::{Path, PathBuf},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Resource, core::cel};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::Value;

use super::schema;
use crate::crd::{self, TempoCluster};

/// Where an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    /// Counted from 1.
    document: usize,
    /// Kind and name, as far as they can be read.
    object: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, document, object } = self;
        write!(f, "{}: document {document}", file.display())?;
        if object.is_empty() { Ok(()) } else { write!(f, " ({object})") }
    }
}

/// What the files hold. Secrets and ConfigMaps are found by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) clusters: Vec<(Place, TempoCluster)>,
    pub(super) secrets: BTreeMap<(String, String), Secret>,
    pub(super) config_maps: BTreeMap<(String, String), ConfigMap>,
}

/// Reads all files, or says everything that is wrong with them.
pub(super) fn read(files: &[PathBuf]) -> Result<Documents, Vec<String>> {
    let mut documents = Documents::default();
    let mut problems = Vec::new();
    for file in files {
        match text(file) {
            Ok(text) => documents.add(file, &text, &mut problems),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() && documents.clusters.is_empty() {
        problems.push(format!("there is no {} in the files", TempoCluster::kind(&())));
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}

fn text(file: &Path) -> Result<String, String> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| format!("{}: {error}", file.display()))
}

impl Documents {
    fn add(&mut self, file: &Path, text: &str, problems: &mut Vec<String>) {
        for (i, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
            let mut place = Place { file: file.to_owned(), document: i + 1, object: String::new() };
            // By way of serde_yaml's own value, which refuses keys that are set twice.
            let read = serde_yaml::Value::deserialize(document).map_err(|error| error.to_string());
            let value =
                match read.and_then(|value| Value::deserialize(value).map_err(|error| error.to_string())) {
                    Ok(Value::Null) => continue,
                    Ok(value) => value,
                    Err(error) => {
                        problems.push(format!("{place}: {error}"));
                        // What follows a document that is no YAML cannot be told apart.
                        return;
                    }
                };
            let field = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (kind, group) = (field("/kind"), field("/apiVersion"));
            place.object = format!("{kind} {}", field("/metadata/name")).trim().to_owned();
            match (group, kind) {
                ("v1", "Secret") => self.add_secret(&place, value, problems),
                ("v1", "ConfigMap") => self.add_config_map(&place, value, problems),
                (group, kind) if is_ours(group, kind) => self.add_cluster(place, value, problems),
                ("" | "v1", "") => problems.push(format!("{place}: kind: must be set")),
                _ if kind == TempoCluster::kind(&()) => problems.push(format!(
                    "{place}: apiVersion: is {group:?}, must be {:?}",
                    TempoCluster::api_version(&())
                )),
                _ => {}
            }
        }
    }

    fn add_cluster(&mut self, place: Place, value: Value, problems: &mut Vec<String>) {
        let mut found = schema::problems(&cluster_schema(), &value);
        if value.pointer("/metadata/name").is_none() {
            found.push("metadata.name: must be set".to_owned());
        }
        match serde_json::from_value::<TempoCluster>(value) {
            Ok(cluster) => {
                let broken = cel::validate_cel(&cluster).err();
                found.extend(broken.iter().flat_map(|rules| rules.iter()).map(ToString::to_string));
                self.clusters.push((place.clone(), cluster));
            }
            // The schema's findings say the same in better words.
            Err(_) if !found.is_empty() => {}
            Err(error) => found.push(error.to_string()),
        }
        problems.extend(found.into_iter().map(|problem| format!("{place}: {problem}")));
    }

    fn add_secret(&mut self, place: &Place, value: Value, problems: &mut Vec<String>) {
        let Some(mut secret) = typed::<Secret>(place, value, problems) else { return };
        let plain = secret.string_data.take().unwrap_or_default();
        let data = secret.data.get_or_insert_default();
        data.extend(plain.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
        self.secrets.insert(key(&secret), secret);
    }

    fn add_config_map(&mut self, place: &Place, value: Value, problems: &mut Vec<String>) {
        if let Some(config_map) = typed::<ConfigMap>(place, value, problems) {
            self.config_maps.insert(key(&config_map), config_map);
        }
    }
}

fn is_ours(api_version: &str, kind: &str) -> bool {
    api_version == TempoCluster::api_version(&()) && kind == TempoCluster::kind(&())
}

fn key(object: &impl kube::ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_else(|| "default".to_owned()), object.name_any())
}

fn typed<T: DeserializeOwned>(place: &Place, value: Value, problems: &mut Vec<String>) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(object) => Some(object),
        Err(error) => {
            problems.push(format!("{place}: {error}"));
            None
        }
    }
}

fn cluster_schema() -> Value {
    let definition = crd::definition();
    let version = definition.spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema).and_then(|schema| schema.open_api_v3_schema);
    let mut schema = serde_json::to_value(schema).unwrap_or_default();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for always in ["apiVersion", "kind"] {
            properties.insert(always.to_owned(), serde_json::json!({ "type": "string" }));
        }
        properties.insert("metadata".to_owned(), serde_json::json!({ "type": "object" }));
    }
    schema
}
