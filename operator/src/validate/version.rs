//! Which versions of Tempo this operator can run: its own minor version and the one before it.

use super::Refusal;
use crate::crd::ConditionType;

/// The version to run: `wanted`, or the operator's own.
pub(super) fn supported(wanted: Option<&str>, own: &str) -> Result<String, Refusal> {
    let Some(wanted) = wanted else { return Ok(own.to_owned()) };
    let is_supported = match (major_minor(wanted), major_minor(own)) {
        (Some((major, minor)), Some((own_major, own_minor))) => {
            major == own_major && (minor == own_minor || minor + 1 == own_minor)
        }
        _ => false,
    };
    if is_supported {
        return Ok(wanted.to_owned());
    }
    let message = format!("version: this operator ({own}) cannot run {wanted}; {}", choice(own));
    Err(Refusal::spec(ConditionType::Stalled, "UnsupportedVersion", message))
}

fn choice(own: &str) -> String {
    match major_minor(own) {
        Some((major, minor)) if minor > 0 => {
            format!("it can run {major}.{}.x and {major}.{minor}.x", minor - 1)
        }
        Some((major, minor)) => format!("it can run {major}.{minor}.x"),
        None => "leave it out".to_owned(),
    }
}

fn major_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
