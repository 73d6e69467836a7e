//! Step 4 of a reconcile: makes the API server's objects what was rendered, in the order in which they were rendered.
//!
//! Server-side apply under one field manager. An object that already covers what was rendered, and that was applied from the
//! same rendered text (annotation `tempo-rs.dev/applied-hash`), is not written: a settled cluster costs no write.
//! Objects that belong to somebody else are refused, not taken over. Objects of ours that are no longer rendered are
//! deleted by the cluster's uid, for the kinds of `pruned_kinds` only: volumes and StatefulSets never; ConfigMaps not while
//! a pod still mounts them. ServiceMonitors are left out where the API server does not know them. StatefulSets that are being deleted are left to the planner.

mod compare;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use futures::future::join_all;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions},
};
use serde_json::Value;

use self::compare::covers;
use crate::{observe::CLUSTER_LABEL, render::service_monitor, volumes};

/// The field manager of all children.
pub const FIELD_MANAGER: &str = "tempo-operator";
pub(crate) const HASH_ANNOTATION: &str = "tempo-rs.dev/applied-hash";
pub(crate) const CLUSTER_UID_LABEL: &str = "tempo-rs.dev/cluster-uid";

/// The cluster whose children are applied.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
}

/// One rendered object.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    pub resource: ApiResource,
    pub value: Value,
}

impl Child {
    fn name(&self) -> &str {
        self.value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
    }

    fn title(&self) -> Title {
        Title { kind: self.resource.kind.clone(), name: self.name().to_owned() }
    }
}

/// Kind and name, as messages show them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Title {
    pub kind: String,
    pub name: String,
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What an apply did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    pub created: Vec<Title>,
    pub updated: Vec<Title>,
    pub deleted: Vec<Title>,
    /// Kinds that this cluster does not have.
    pub missing_kinds: BTreeSet<String>,
}

impl Applied {
    pub fn has_written(&self) -> bool {
        !(self.created.is_empty() && self.updated.is_empty() && self.deleted.is_empty())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{verb} {object}")]
    Call { verb: &'static str, object: Title, source: kube::Error },
    #[error("{object} exists and belongs to {owner}: delete or rename it")]
    Foreign { object: Title, owner: String },
}

/// Applies `children` in their order, then deletes what is no longer among them.
pub async fn apply(client: &Client, owner: Owner<'_>, children: Vec<Child>) -> Result<Applied, ApplyError> {
    let applier = Applier { client, owner };
    let mut applied = Applied::default();
    let mut live = applier.list_live(&children, &mut applied).await?;
    let mut rendered = BTreeSet::new();
    for child in children {
        if applied.missing_kinds.contains(&child.resource.kind) {
            continue;
        }
        let title = child.title();
        let before = live.remove(&title);
        applier.apply_one(child, before, &mut applied).await?;
        rendered.insert(title);
    }
    applier.prune(live, &mut applied).await?;
    Ok(applied)
}

/// Kinds whose orphans are deleted.
fn pruned_kinds() -> [ApiResource; 5] {
    [
        service_monitor::resource(),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
    ]
}

struct Applier<'a> {
    client: &'a Client,
    owner: Owner<'a>,
}

struct Live {
    resource: ApiResource,
    object: DynamicObject,
}

impl Applier<'_> {
    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), self.owner.namespace, resource)
    }

    /// Our objects of all kinds that are rendered or pruned.
    async fn list_live(
        &self,
        children: &[Child],
        applied: &mut Applied,
    ) -> Result<BTreeMap<Title, Live>, ApplyError> {
        let mut kinds: BTreeMap<String, ApiResource> =
            pruned_kinds().into_iter().map(|resource| (resource.kind.clone(), resource)).collect();
        for child in children {
            kinds.entry(child.resource.kind.clone()).or_insert_with(|| child.resource.clone());
        }
        let optional = service_monitor::resource().kind;
        // From the API server's cache: what it does not show yet is read again by name before it is written, and what it
        // still shows is deleted by uid.
        let ours =
            ListParams::default().labels(&format!("{CLUSTER_UID_LABEL}={}", self.owner.uid)).match_any();
        let lists = join_all(kinds.into_iter().map(|(kind, resource)| {
            let (api, ours) = (self.api(&resource), &ours);
            async move { (kind, resource, api.list(ours).await) }
        }));
        let mut live = BTreeMap::new();
        for (kind, resource, objects) in lists.await {
            let objects = match objects {
                Ok(objects) => objects,
                Err(kube::Error::Api(status)) if kind == optional && status.code == 404 => {
                    if children.iter().any(|child| child.resource.kind == kind) {
                        applied.missing_kinds.insert(kind);
                    }
                    continue;
                }
                Err(source) => {
                    let object = Title { kind, name: "objects of this cluster".to_owned() };
                    return Err(ApplyError::Call { verb: "list", object, source });
                }
            };
            for object in objects {
                let title = Title { kind: kind.clone(), name: object.name_any() };
                live.insert(title, Live { resource: resource.clone(), object });
            }
        }
        Ok(live)
    }

    async fn apply_one(
        &self,
        mut child: Child,
        mut before: Option<Live>,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let title = child.title();
        let hash = stamp(&mut child.value);
        let api = self.api(&child.resource);
        let failed = |verb| {
            let object = title.clone();
            move |source| ApplyError::Call { verb, object, source }
        };
        let is_new = before.is_none() && self.may_create(&api, &title).await?;
        if before.is_none() && !is_new {
            let object = api.get_opt(&title.name).await.map_err(failed("get"))?;
            before = object.map(|object| Live { resource: child.resource.clone(), object });
        }
        if let Some(live) = &before {
            keep_immutable(&mut child, &live.object);
            if live.object.metadata.deletion_timestamp.is_some()
                || is_as_rendered(&live.object, &child.value, &hash)
            {
                return Ok(());
            }
            if is_frozen_otherwise(&live.object, &child.value) {
                api.delete(&title.name, &only(&live.object)).await.map_err(failed("delete"))?;
            }
        }
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch(&title.name, &parameters, &Patch::Apply(&child.value)).await.map_err(failed("apply"))?;
        if is_new {
            applied.created.push(title)
        } else {
            applied.updated.push(title)
        }
        Ok(())
    }

    /// An object that our list did not show: not there (true), ours without its labels (false), or somebody else's (error).
    async fn may_create(&self, api: &Api<DynamicObject>, title: &Title) -> Result<bool, ApplyError> {
        let found = api.get_metadata_opt(&title.name).await;
        let found =
            found.map_err(|source| ApplyError::Call { verb: "get", object: title.clone(), source })?;
        let Some(found) = found else {
            return Ok(true);
        };
        let controller =
            found.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let foreign = |owner: String| ApplyError::Foreign { object: title.clone(), owner };
        match controller {
            Some(controller) if controller.uid == self.owner.uid => Ok(false),
            Some(controller) => {
                Err(foreign(format!("{} {} ({})", controller.kind, controller.name, controller.uid)))
            }
            // Left behind by an orphaning delete.
            None if found.labels().get(CLUSTER_LABEL).is_some_and(|name| name == self.owner.name) => {
                Ok(false)
            }
            None => Err(foreign("nobody that the operator knows".to_owned())),
        }
    }

    async fn prune(&self, live: BTreeMap<Title, Live>, applied: &mut Applied) -> Result<(), ApplyError> {
        let kinds = pruned_kinds();
        let mut orphans: BTreeMap<Title, Live> = live
            .into_iter()
            .filter(|(_, live)| kinds.contains(&live.resource))
            .filter(|(_, live)| live.object.metadata.deletion_timestamp.is_none())
            .filter(|(_, live)| {
                live.object.owner_references().iter().any(|owner| owner.uid == self.owner.uid)
            })
            .collect();
        if orphans.keys().any(|title| title.kind == ConfigMap::kind(&())) {
            let mounted = self.mounted_config_maps().await?;
            orphans.retain(|title, _| title.kind != ConfigMap::kind(&()) || !mounted.contains(&title.name));
        }
        for (title, live) in orphans {
            match self.api(&live.resource).delete(&title.name, &only(&live.object)).await {
                Ok(_) => applied.deleted.push(title),
                // Gone, or no longer the one that was looked at.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(source) => return Err(ApplyError::Call { verb: "delete", object: title, source }),
            }
        }
        Ok(())
    }

    /// Names of the ConfigMaps that pods of this cluster mount.
    async fn mounted_config_maps(&self) -> Result<BTreeSet<String>, ApplyError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), self.owner.namespace);
        let ours = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", self.owner.name));
        let pods = api.list(&ours).await.map_err(|source| ApplyError::Call {
            verb: "list",
            object: Title { kind: "Pod".to_owned(), name: "objects of this cluster".to_owned() },
            source,
        })?;
        let volumes = pods.into_iter().filter_map(|pod| pod.spec?.volumes).flatten();
        let names = volumes.flat_map(|volume| {
            let direct = volume.config_map.map(|source| source.name);
            let projected = volume.projected.and_then(|projected| projected.sources).into_iter().flatten();
            direct.into_iter().chain(projected.filter_map(|source| Some(source.config_map?.name)))
        });
        Ok(names.collect())
    }
}

/// Puts the hash of the rendered object into its annotations.
fn stamp(value: &mut Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    let hash = format!("{:016x}", hasher.finish());
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations =
            metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(HASH_ANNOTATION.to_owned(), Value::String(hash.clone()));
        }
    }
    hash
}

fn is_as_rendered(live: &DynamicObject, rendered: &Value, hash: &str) -> bool {
    let is_same_text = live.annotations().get(HASH_ANNOTATION).is_some_and(|applied| applied == hash);
    let (Ok(live), Some(rendered)) = (serde_json::to_value(live), rendered.as_object()) else {
        return false;
    };
    // The items of a list say neither their version nor their kind.
    let mut fields = rendered.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind"));
    is_same_text && fields.all(|(name, rendered)| live.get(name).is_some_and(|live| covers(live, rendered)))
}

/// An immutable ConfigMap with other content: only deleting it helps.
fn is_frozen_otherwise(live: &DynamicObject, rendered: &Value) -> bool {
    live.data.get("immutable") == Some(&Value::Bool(true)) && live.data.get("data") != rendered.get("data")
}

fn only(object: &DynamicObject) -> DeleteParams {
    DeleteParams::background().preconditions(Preconditions { uid: object.uid(), resource_version: None })
}

/// What the API server lets nobody change stays as it is; the planner sees the difference.
fn keep_immutable(child: &mut Child, live: &DynamicObject) {
    if child.resource.kind != StatefulSet::kind(&()) {
        return;
    }
    let live = serde_json::to_value(live).and_then(serde_json::from_value::<StatefulSet>);
    let rendered = serde_json::from_value::<StatefulSet>(child.value.clone());
    if let (Ok(live), Ok(mut rendered)) = (live, rendered) {
        volumes::keep_immutable_fields(&mut rendered, &live);
        if let Ok(value) = serde_json::to_value(rendered) {
            child.value = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_hash_follows_the_rendered_text_only() {
        let mut one = json!({"metadata": {"name": "a"}, "data": {"k": "1"}});
        let mut same = one.clone();
        let mut other = json!({"metadata": {"name": "a"}, "data": {"k": "2"}});

        let hash = stamp(&mut one);

        assert_eq!(hash, stamp(&mut same));
        assert_ne!(hash, stamp(&mut other));
        assert_eq!(one["metadata"]["annotations"][HASH_ANNOTATION], json!(hash));
    }
}
