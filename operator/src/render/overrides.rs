//! `limits` → the per-tenant file, which running pods read again: changing a limit restarts nothing.
//!
//! Tempo keeps limits of unnamed tenants in the main file; here they stand in the wildcard entry `*` instead. It is not
//! mixed into other entries, so `limits.defaults` is put into each. Order: configuration < `limits.defaults` <
//! `limits.tenantsFrom` < `limits.tenants`.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};
use tempo_config::{ByteSize, Findings, Limits, Overrides, parse_overrides};

use crate::{
    crd::{ConditionType, TenantLimitsSpec},
    validate::{Refusal, ValidatedCluster},
};

/// The API server takes objects up to 1.5 MB, metadata and managed fields included.
const MOST_BYTES: usize = 1_000_000;

pub(super) struct RenderedOverrides {
    pub(super) text: String,
    pub(super) warnings: Vec<String>,
}

/// `base` are the limits of the main configuration, which keys that are not in the file have.
pub(super) fn render(cluster: &ValidatedCluster, base: &Limits) -> Result<RenderedOverrides, Refusal> {
    let mut warnings = Vec::new();
    let spec = &cluster.limits;
    let defaults = over(base, &spec.defaults, "limits.defaults", &mut warnings)?;
    let mut tenants = match &spec.file {
        None => BTreeMap::new(),
        Some((text, place)) => {
            let place = format!("limits.tenantsFrom ({place})");
            parse(text, &defaults, &place, &mut warnings)?.tenants
        }
    };
    let has_defaults = defaults != *base;
    if has_defaults {
        tenants.entry(Overrides::WILDCARD.to_owned()).or_insert_with(|| defaults.clone());
    }
    for (tenant, limits) in &spec.tenants {
        let below = tenants.get(tenant).unwrap_or(&defaults);
        let limits = over(below, limits, &format!("limits.tenants.{tenant}"), &mut warnings)?;
        tenants.insert(tenant.clone(), limits);
    }
    let text = text(&tenants, base)?;
    if text.len() > MOST_BYTES {
        let message = format!("limits: the file has {} bytes, a ConfigMap holds {MOST_BYTES}", text.len());
        return Err(invalid(message));
    }
    Ok(RenderedOverrides { text, warnings })
}

fn invalid(message: String) -> Refusal {
    Refusal::spec(ConditionType::ConfigValid, "InvalidLimits", message)
}

/// Puts a tenant's fields over `below`; a typed field goes before the same key in `extra`.
fn over(
    below: &Limits,
    spec: &TenantLimitsSpec,
    place: &str,
    warnings: &mut Vec<String>,
) -> Result<Limits, Refusal> {
    const ENTRY: &str = "extra";
    let mut limits = match &spec.extra {
        None => below.clone(),
        Some(extra) => {
            let extra = serde_yaml::to_value(extra).map_err(|error| invalid(format!("{place}: {error}")))?;
            let text = file([(ENTRY.to_owned(), extra)])?;
            let mut parsed = parse(&text, below, place, warnings)?;
            parsed.tenants.remove(ENTRY).unwrap_or_else(|| below.clone())
        }
    };
    let ingestion = spec.ingestion.clone().unwrap_or_default();
    let bytes = |value: i64| ByteSize::from_bytes(u64::try_from(value).unwrap_or_default());
    if let Some(rate) = ingestion.rate_bytes {
        limits.ingestion.rate_limit_bytes = bytes(rate);
    }
    if let Some(burst) = ingestion.burst_bytes {
        limits.ingestion.burst_size_bytes = bytes(burst);
    }
    if let Some(traces) = ingestion.max_traces_per_user {
        limits.ingestion.max_traces_per_user = usize::try_from(traces).unwrap_or_default();
    }
    if let Some(trace) = ingestion.max_bytes_per_trace {
        limits.global.max_bytes_per_trace = bytes(trace);
    }
    Ok(limits)
}

fn parse(
    text: &str,
    defaults: &Limits,
    place: &str,
    warnings: &mut Vec<String>,
) -> Result<Overrides, Refusal> {
    let (overrides, found) = parse_overrides(text, defaults).map_err(|findings| refused(place, &findings))?;
    warnings.extend(found.iter().map(|finding| format!("{place}: {finding}")));
    Ok(overrides)
}

fn refused(place: &str, findings: &Findings) -> Refusal {
    let findings: Vec<String> = findings
        .iter()
        .map(|finding| {
            // Where it stands in the file that was made of one tenant's `extra` helps nobody.
            let text = finding.to_string();
            let text =
                text.strip_prefix("overrides.extra").map(|rest| format!("extra{rest}")).unwrap_or(text);
            format!("{place}: {text}")
        })
        .collect();
    invalid(findings.join("; "))
}

/// Of each tenant what differs from `base`; a tenant without differences keeps its entry, so that `*` is not its.
fn text(tenants: &BTreeMap<String, Limits>, base: &Limits) -> Result<String, Refusal> {
    let value = |limits: &Limits| serde_yaml::to_value(limits).map_err(|error| invalid(error.to_string()));
    let base = value(base)?;
    let mut entries = Vec::new();
    for (tenant, limits) in tenants {
        let entry = difference(&value(limits)?, &base).unwrap_or(Value::Mapping(Mapping::new()));
        entries.push((tenant.clone(), entry));
    }
    file(entries)
}

/// A per-tenant file with these entries.
fn file(entries: impl IntoIterator<Item = (String, Value)>) -> Result<String, Refusal> {
    let entries: BTreeMap<String, Value> = entries.into_iter().collect();
    serde_yaml::to_string(&BTreeMap::from([("overrides", entries)]))
        .map_err(|error| invalid(error.to_string()))
}

/// What of `actual` is not the same in `base`; `None` if all is.
fn difference(actual: &Value, base: &Value) -> Option<Value> {
    let (Value::Mapping(actual), Value::Mapping(base)) = (actual, base) else {
        return (actual != base).then(|| actual.clone());
    };
    let changed: Mapping = actual
        .iter()
        .filter_map(|(key, value)| {
            let changed = match base.get(key) {
                Some(base) => difference(value, base),
                None => Some(value.clone()),
            };
            changed.map(|value| (key.clone(), value))
        })
        .collect();
    (!changed.is_empty()).then_some(Value::Mapping(changed))
}
