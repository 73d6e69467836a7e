//! [`ValidConfig`] and [`Overrides`] to YAML: as they are in effect, what differs from the defaults, the defaults; and a
//! digest of what one target reads, so that a change restarts only the processes it concerns.
//!
//! Keys stand in the order of the types. Secrets are masked by [`crate::Secret`] itself.

use std::fmt;

use crate::{
    Config, Limits, Overrides, Target, ValidConfig,
    parse::{Mapping, Value, to_value, to_yaml},
};

/// A hash of the sections that one target reads. Stable across builds as long as keys and values are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl ValidConfig {
    /// The effective configuration: every key, secrets masked.
    pub fn to_yaml(&self) -> String {
        to_yaml(&**self)
    }

    /// Only what differs from the defaults.
    pub fn diff_to_yaml(&self) -> String {
        diff_to_yaml(&to_value(&**self), &to_value(&Config::default()))
    }

    /// A hash of the sections that `target` reads: its own, and those that every process reads.
    pub fn digest(&self, target: Target) -> Digest {
        let mut hash = Fnv::default();
        if let Value::Mapping(sections) = to_value(&**self) {
            for (name, section) in &sections {
                if name.as_str().is_some_and(|name| target.reads(name)) {
                    hash.add(to_yaml(name).as_bytes());
                    hash.add(to_yaml(section).as_bytes());
                }
            }
        }
        Digest(hash.0)
    }
}

impl Config {
    /// The configuration of an empty file.
    pub fn defaults_to_yaml() -> String {
        to_yaml(&Self::default())
    }
}

impl Overrides {
    /// The limits in effect: `defaults`, and per tenant below `overrides`.
    pub fn to_yaml(&self) -> String {
        to_yaml(self)
    }

    /// Only what differs from Tempo's defaults, and what of each tenant differs from `defaults`.
    pub fn diff_to_yaml(&self) -> String {
        let defaults = diff(&to_value(&self.defaults), &to_value(&Limits::default()));
        let base = to_value(&self.defaults);
        let tenants = self.tenants.iter().map(|(tenant, limits)| {
            (Value::String(tenant.clone()), diff(&to_value(limits), &base).unwrap_or(empty()))
        });
        let tenants = Value::Mapping(tenants.collect());
        let sections = [("defaults", defaults.unwrap_or(empty())), ("overrides", tenants)];
        to_yaml(&Mapping::from_iter(sections.map(|(name, value)| (Value::String(name.to_owned()), value))))
    }
}

fn empty() -> Value {
    Value::Mapping(Mapping::new())
}

fn diff_to_yaml(actual: &Value, defaults: &Value) -> String {
    to_yaml(&diff(actual, defaults).unwrap_or(empty()))
}

/// What of `actual` is not the same in `defaults`; `None` if all is.
fn diff(actual: &Value, defaults: &Value) -> Option<Value> {
    let (Value::Mapping(actual), Value::Mapping(defaults)) = (actual, defaults) else {
        return (actual != defaults).then(|| actual.clone());
    };
    let mut changed = Mapping::new();
    for (key, value) in actual {
        let difference = match defaults.get(key) {
            Some(default) => diff(value, default),
            None => Some(value.clone()),
        };
        if let Some(difference) = difference {
            changed.insert(key.clone(), difference);
        }
    }
    (!changed.is_empty()).then_some(Value::Mapping(changed))
}

/// FNV-1a, 64 bits: small, and the same in every build, which std's hasher does not promise. A digest guards nothing.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
