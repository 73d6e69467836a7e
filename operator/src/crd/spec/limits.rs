//! `limits`: what tenants may do. Rendered to a file that running pods read again.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{KeyReference, free_form};

/// `limits`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[x_kube(
    validation = Rule::new("!has(self.tenantsFrom) || !has(self.tenantsFrom.kind) || self.tenantsFrom.kind == 'ConfigMap'")
        .message("limits are no secret: tenantsFrom is a ConfigMap")
        .field_path(".tenantsFrom"),
)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Limits of tenants that are not named, and of what the named ones do not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<TenantLimitsSpec>,
    /// Limits by tenant; `*` is every tenant without an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 500))]
    pub tenants: Option<BTreeMap<String, TenantLimitsSpec>>,
    /// A file in Tempo's form of per-tenant overrides. What `tenants` says goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants_from: Option<KeyReference>,
}

/// Limits of one tenant, or of all.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TenantLimitsSpec {
    /// Limits on taking spans in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingestion: Option<IngestionLimitsSpec>,
    /// Further keys as in Tempo's overrides (`ingestion: {rate_strategy: global}`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_form")]
    pub extra: Option<BTreeMap<String, Value>>,
}

/// `limits.*.ingestion`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct IngestionLimitsSpec {
    /// Bytes a second of received protobuf. Default: 15000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub rate_bytes: Option<i64>,
    /// Bytes that may come at once above the rate. Default: 20000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub burst_bytes: Option<i64>,
    /// Live traces; 0 is no limit. Default: 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_traces_per_user: Option<i64>,
    /// Bytes of one trace; 0 is no limit. Default: 5000000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_bytes_per_trace: Option<i64>,
}
