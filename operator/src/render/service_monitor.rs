//! A ServiceMonitor of the Prometheus operator: scrape the Service's HTTP port.

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::{labels, names, owned, service};
use crate::validate::ValidatedCluster;

/// The kind; the API server may not have it.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"),
        "servicemonitors",
    )
}

pub(super) fn render(cluster: &ValidatedCluster) -> Option<DynamicObject> {
    let monitor = cluster.service_monitor.as_ref()?;
    let name = names::stateful_set(&cluster.name);
    let mut endpoint = json!({ "port": service::HTTP_PORT_NAME, "path": "/metrics" });
    if let (Some(interval), Some(endpoint)) = (&monitor.interval, endpoint.as_object_mut()) {
        endpoint.insert("interval".to_owned(), json!(interval));
    }
    let mut metadata = owned(cluster, name.clone());
    if let Some(labels) = metadata.labels.as_mut() {
        for (key, value) in &monitor.labels {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let mut selector = labels::selector(cluster);
    selector.insert(service::ROLE_LABEL.0.to_owned(), service::ROLE_LABEL.1.to_owned());
    let spec = json!({
        "selector": { "matchLabels": selector },
        "endpoints": [endpoint],
    });
    let mut object = DynamicObject::new(&name, &resource()).data(json!({ "spec": spec }));
    object.metadata = metadata;
    Some(object)
}
