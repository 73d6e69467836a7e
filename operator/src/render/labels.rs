//! Labels and annotations, and who may use them for what.
//!
//! Selectors use `tempo-rs.dev/{cluster,component}` only: the StatefulSet controller copies them to volumes, and with
//! `app.kubernetes.io/instance` among them Argo CD's label tracking would adopt and prune the volumes.

use std::collections::BTreeMap;

use crate::validate::ValidatedCluster;

pub(super) const CLUSTER: &str = "tempo-rs.dev/cluster";
pub(super) const CLUSTER_UID: &str = "tempo-rs.dev/cluster-uid";
pub(super) const COMPONENT: &str = "tempo-rs.dev/component";
pub(super) const CONFIG_DIGEST: &str = "tempo-rs.dev/config-digest";
pub(super) const CREDENTIALS_DIGEST: &str = "tempo-rs.dev/credentials-digest";
pub(super) const RESTARTED_AT: &str = "tempo-rs.dev/restarted-at";

const SINGLE_BINARY: &str = "single-binary";

type Labels = BTreeMap<String, String>;

fn labels<const N: usize>(labels: [(&str, &str); N]) -> Labels {
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What selects the cluster's pods.
pub(super) fn selector(cluster: &ValidatedCluster) -> Labels {
    labels([(CLUSTER, &cluster.name), (COMPONENT, SINGLE_BINARY)])
}

/// On pods: the selector and what people and dashboards look at.
pub(super) fn pod(cluster: &ValidatedCluster) -> Labels {
    let mut pod = selector(cluster);
    pod.extend(labels([
        ("app.kubernetes.io/name", "tempo"),
        ("app.kubernetes.io/instance", &cluster.name),
        ("app.kubernetes.io/component", SINGLE_BINARY),
        ("app.kubernetes.io/managed-by", "tempo-operator"),
        ("app.kubernetes.io/version", &cluster.version),
    ]));
    pod
}

/// On objects that the operator prunes: the uid, which a later cluster of the same name does not share.
pub(super) fn object(cluster: &ValidatedCluster) -> Labels {
    let mut object = pod(cluster);
    object.insert(CLUSTER_UID.to_owned(), cluster.uid.clone());
    object
}

/// On volume claims: Argo CD leaves them alone whatever it thinks they belong to.
pub(super) fn volume_annotations() -> Labels {
    labels([
        ("argocd.argoproj.io/compare-options", "IgnoreExtraneous"),
        ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"),
    ])
}
