//! `storage` with its Secret: where traces are kept and with which credentials.
//!
//! What the spec says goes before what the Secret says. Secrets made for tempo-operator are understood as they are
//! (`bucket, endpoint, access_key_id, access_key_secret`), and so are those with the SDK's names (`AWS_ACCESS_KEY_ID`, ...).

use super::{
    Refusal,
    receivers::{CaFile, ca_file},
};
use crate::{
    crd::{ConditionType, CredentialKeysSpec, S3Spec, StorageSpec},
    references::{References, SecretState, SecretView},
};

/// Keys of access key, secret key and session token, in the order in which they are looked for.
const ACCESS_KEYS: [&str; 2] = ["access_key_id", "AWS_ACCESS_KEY_ID"];
const SECRET_KEYS: [&str; 2] = ["access_key_secret", "AWS_SECRET_ACCESS_KEY"];
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

/// Where traces are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// On the pod's volume.
    Filesystem,
    S3(Box<S3>),
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Host and port; empty for Amazon's.
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) insecure: bool,
    pub(crate) force_path_style: bool,
    pub(crate) credentials: Credentials,
    pub(crate) ca: Option<CaFile>,
    pub(crate) insecure_skip_verify: bool,
}

/// How the object storage knows us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// What the pod's surroundings give.
    Ambient,
    /// Keys of a Secret.
    Secret(CredentialKeys),
}

/// A Secret and which of its keys hold what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialKeys {
    pub(crate) secret: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
    pub(crate) content_hash: String,
}

impl Storage {
    /// Such as `s3://traces/prod`.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Filesystem => "volume".to_owned(),
            Self::S3(s3) if s3.prefix.is_empty() => format!("s3://{}", s3.bucket),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.prefix),
        }
    }
}

fn waiting(reason: &str, message: impl Into<String>) -> Refusal {
    Refusal::waiting(ConditionType::StorageReady, reason, message)
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::spec(ConditionType::StorageReady, "InvalidStorage", message)
}

pub(super) fn validate(spec: &StorageSpec, references: &References) -> Result<Storage, Refusal> {
    let Some(s3) = &spec.s3 else { return Ok(Storage::Filesystem) };
    let secret = match &references.storage_secret {
        SecretState::NotReferenced => None,
        SecretState::Missing { name } => {
            let message = format!("storage.credentials.secretRef: Secret {name} does not exist");
            return Err(waiting("SecretNotFound", message));
        }
        SecretState::Present(secret) => Some(secret),
    };
    let keys = spec.credentials.as_ref().and_then(|credentials| credentials.keys.clone()).unwrap_or_default();
    let credentials = match secret {
        None => Credentials::Ambient,
        Some(secret) => Credentials::Secret(credential_keys(&keys, secret)?),
    };
    let bucket = value(s3.bucket.as_ref(), "bucket", secret).ok_or_else(|| match secret {
        None => invalid("storage.s3.bucket: must be set"),
        Some(secret) => waiting(
            "SecretIncomplete",
            format!("storage.s3.bucket: is not set, and Secret {} has no key bucket", secret.name),
        ),
    })?;
    let (endpoint, insecure) = endpoint(s3, secret)?;
    let region = value(s3.region.as_ref(), "region", secret).unwrap_or_default();
    let prefix = spec.prefix.clone().unwrap_or_default().trim_matches('/').to_owned();
    let places =
        [("s3.bucket", &bucket), ("s3.endpoint", &endpoint), ("s3.region", &region), ("prefix", &prefix)];
    // The pod replaces references to its environment in the whole file; what is stored where must not depend on that.
    if let Some((field, text)) = places.into_iter().find(|(_, text)| text.contains("${")) {
        return Err(invalid(format!("storage.{field}: `{text}` must not have `${{` in it")));
    }
    let tls = spec.tls.clone().unwrap_or_default();
    let ca = ca_file("storage.tls.caRef", tls.ca_ref.as_ref(), &references.storage_ca)
        .map_err(|message| waiting("CaNotFound", message))?;
    Ok(Storage::S3(Box::new(S3 {
        bucket,
        prefix,
        endpoint,
        region,
        insecure,
        force_path_style: s3.force_path_style.unwrap_or(false),
        credentials,
        ca,
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
    })))
}

/// The spec's value, else the Secret's.
fn value(of_spec: Option<&String>, key: &str, secret: Option<&SecretView>) -> Option<String> {
    let of_secret = || secret.and_then(|secret| secret.values.get(key)).map(|value| value.trim().to_owned());
    of_spec.cloned().or_else(of_secret).filter(|value| !value.is_empty())
}

/// Host and port of the service, and whether it is spoken to without TLS.
fn endpoint(s3: &S3Spec, secret: Option<&SecretView>) -> Result<(String, bool), Refusal> {
    let Some(text) = value(s3.endpoint.as_ref(), "endpoint", secret) else {
        return Ok((String::new(), s3.insecure.unwrap_or(false)));
    };
    let place = if s3.endpoint.is_some() { "storage.s3.endpoint" } else { "key endpoint of the Secret" };
    let (is_http, host) = match text.split_once("://") {
        None => (None, text.as_str()),
        Some(("http", host)) => (Some(true), host),
        Some(("https", host)) => (Some(false), host),
        Some((scheme, _)) => {
            return Err(invalid(format!("{place}: {scheme}:// is neither http:// nor https://")));
        }
    };
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', ' ', '?', '@']) {
        return Err(invalid(format!(
            "{place}: `{text}` is no address: write host, host:port or a URL without a path"
        )));
    }
    if let (Some(is_http), Some(insecure)) = (is_http, s3.insecure)
        && is_http != insecure
    {
        return Err(invalid(format!("storage.s3.insecure: is {insecure}, but {place} is `{text}`")));
    }
    Ok((host.to_owned(), s3.insecure.or(is_http).unwrap_or(false)))
}

fn credential_keys(keys: &CredentialKeysSpec, secret: &SecretView) -> Result<CredentialKeys, Refusal> {
    let access_key_id = find("accessKeyId", keys.access_key_id.as_ref(), &ACCESS_KEYS, secret);
    let secret_access_key = find("secretAccessKey", keys.secret_access_key.as_ref(), &SECRET_KEYS, secret);
    if let (Err(_), Err(_)) = (&access_key_id, &secret_access_key)
        && secret.has("role_arn")
        && keys == &CredentialKeysSpec::default()
    {
        return Err(invalid(format!(
            "storage.credentials.secretRef: Secret {} names a role and no keys; use storage.credentials.ambient, with the \
             role as an annotation of serviceAccount",
            secret.name
        )));
    }
    let session_token = match &keys.session_token {
        Some(key) => Some(find("sessionToken", Some(key), &[], secret)?),
        None => Some(SESSION_TOKEN.to_owned()).filter(|key| secret.has(key)),
    };
    Ok(CredentialKeys {
        secret: secret.name.clone(),
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
        content_hash: secret.content_hash.clone(),
    })
}

/// The key that `wanted` names, else the first of `usual` that is there.
fn find(
    field: &str,
    wanted: Option<&String>,
    usual: &[&str],
    secret: &SecretView,
) -> Result<String, Refusal> {
    let found = match wanted {
        Some(key) => Some(key.clone()).filter(|key| secret.has(key)),
        None => usual.iter().find(|key| secret.has(key)).map(|key| (*key).to_owned()),
    };
    found.ok_or_else(|| {
        let there: Vec<&str> = secret.keys.keys().map(String::as_str).collect();
        let there = if there.is_empty() { "no keys".to_owned() } else { there.join(", ") };
        let wanted = wanted.map_or_else(|| usual.join(" or "), String::clone);
        let message = format!(
            "storage.credentials.secretRef: Secret {} has no key {wanted} with a value (it has {there}); add it, or name \
             the key in storage.credentials.keys.{field}",
            secret.name
        );
        waiting("SecretIncomplete", message)
    })
}
