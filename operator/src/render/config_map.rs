//! The configuration, immutable and named by its content, so that a pod which restarts by itself finds the file it was
//! started with; and the limits, which change in place.

use k8s_openapi::api::core::v1::ConfigMap;

use super::{config::RenderedConfig, names, owned};
use crate::validate::ValidatedCluster;

pub(super) fn config(cluster: &ValidatedCluster, config: &RenderedConfig) -> ConfigMap {
    ConfigMap {
        metadata: owned(cluster, names::config_map(&cluster.name, &config.hash)),
        immutable: Some(true),
        data: Some([(names::CONFIG_KEY.to_owned(), config.text.clone())].into()),
        ..ConfigMap::default()
    }
}

pub(super) fn overrides(cluster: &ValidatedCluster, text: String) -> ConfigMap {
    ConfigMap {
        metadata: owned(cluster, names::overrides_config_map(&cluster.name)),
        data: Some([(names::OVERRIDES_KEY.to_owned(), text)].into()),
        ..ConfigMap::default()
    }
}
