//! The account of the pods. Tempo never asks the API server, so it carries no token; clouds give it roles by annotation.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::owned;
use crate::validate::ValidatedCluster;

/// `None` if the spec says that it exists already.
pub(super) fn render(cluster: &ValidatedCluster) -> Option<ServiceAccount> {
    let account = &cluster.service_account;
    if !account.is_created {
        return None;
    }
    let mut metadata = owned(cluster, account.name.clone());
    metadata.annotations = Some(account.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Some(ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}
