//! `storage`: where traces are kept, how the object storage knows us and how we know it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyReference, LocalReference};

/// `storage`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("[has(self.s3), has(self.filesystem)].filter(x, x).size() == 1")
        .message("set exactly one of s3 and filesystem"),
    validation = Rule::new("has(self.s3) == has(oldSelf.s3)")
        .message("the kind of storage cannot be changed: create a second cluster and move the writers"),
    validation = Rule::new(
        "(has(self.locationRevision) ? self.locationRevision : 1) >= (has(oldSelf.locationRevision) ? oldSelf.locationRevision : 1)"
    )
    .message("locationRevision can only grow"),
    validation = Rule::new(
        "(has(self.locationRevision) ? self.locationRevision : 1) > (has(oldSelf.locationRevision) ? oldSelf.locationRevision : 1) || ((has(self.prefix) ? self.prefix : '') == (has(oldSelf.prefix) ? oldSelf.prefix : '') && (!has(self.s3) || !has(oldSelf.s3) || ((has(self.s3.bucket) ? self.s3.bucket : '') == (has(oldSelf.s3.bucket) ? oldSelf.s3.bucket : ''))))"
    )
    .message("another bucket or prefix hides all traces written so far: raise locationRevision if that is meant"),
    validation = Rule::new("has(self.s3) == has(self.credentials)")
        .message("s3 needs credentials (secretRef or ambient), filesystem takes none"),
    validation = Rule::new("!has(self.filesystem) || !(has(self.prefix) || has(self.tls))")
        .message("prefix and tls are for object storage"),
)]
#[serde(rename_all = "camelCase")]
pub struct StorageSpec {
    /// Folder in the bucket under which everything is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub prefix: Option<String>,
    /// Must be raised to change bucket or prefix. What was written before stays where it is and is not found any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub location_revision: Option<i32>,
    /// Amazon S3 and what speaks its protocol. What is not set here is taken from the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Spec>,
    /// Blocks on the pod's own volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemSpec>,
    /// How the object storage knows us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// How we know the object storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<StorageTlsSpec>,
}

/// `storage.s3`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct S3Spec {
    /// Name of the bucket. Default: key `bucket` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub bucket: Option<String>,
    /// Region of the bucket. Default: key `region` of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Address of the service, with or without http:// or https://. Default: key `endpoint` of the Secret, else Amazon's
    /// for the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub endpoint: Option<String>,
    /// Whether the bucket is put into the path and not into the host name. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// Whether the service is spoken to without TLS. Default: as the endpoint's scheme says, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
}

/// `storage.filesystem`: nothing to choose.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
pub struct FilesystemSpec {}

/// `storage.credentials`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("has(self.secretRef) != has(self.ambient)")
        .message("set exactly one of secretRef and ambient"),
    validation = Rule::new("!has(self.keys) || has(self.secretRef)").message("keys belong to a secretRef"),
)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSpec {
    /// A Secret with the keys; those of tempo-operator's Secrets are understood as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Names of the keys in the Secret, if they are not access_key_id and access_key_secret (tempo-operator) or
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<CredentialKeysSpec>,
    /// What the pod's surroundings give: the service account's role, the node's role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambient: Option<AmbientSpec>,
}

/// `storage.credentials.keys`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CredentialKeysSpec {
    /// Key of the access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub access_key_id: Option<String>,
    /// Key of the secret key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_access_key: Option<String>,
    /// Key of the token of temporary credentials. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub session_token: Option<String>,
}

/// `storage.credentials.ambient`: nothing to choose.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
pub struct AmbientSpec {}

/// `storage.tls`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[x_kube(
    validation = Rule::new("!(has(self.caRef) && has(self.insecureSkipVerify) && self.insecureSkipVerify)")
        .message("caRef is of no use with insecureSkipVerify"),
)]
#[serde(rename_all = "camelCase")]
pub struct StorageTlsSpec {
    /// Certificate authorities (PEM) of the service. Default: those of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyReference>,
    /// Whether any certificate is accepted. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_skip_verify: Option<bool>,
}
