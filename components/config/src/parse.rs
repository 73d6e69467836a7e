//! YAML to [`Config`]; the one module that calls serde_yaml.

use std::collections::BTreeMap;

use serde::Serialize;
pub use serde_yaml::Value;

use crate::{Config, Finding, Findings, Limits, Overrides};

/// How a configuration file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions {
    /// Whether `${VARIABLE}` is replaced (`-config.expand-env`).
    pub expand_env: bool,
}

/// A configuration that could be read, and what is worth saying about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Keys that Tempo has and this build does not implement.
    pub warnings: Vec<Finding>,
}

impl Config {
    /// Reads a configuration file. `env` is only used if `options` ask for it.
    pub fn from_yaml(
        text: &str,
        _env: &BTreeMap<String, String>,
        _options: ParseOptions,
    ) -> Result<Parsed, Findings> {
        let config = serde_yaml::from_str(text).map_err(|error| Finding::new("", error.to_string()))?;
        Ok(Parsed { config, warnings: Vec::new() })
    }
}

/// Reads the per-tenant file.
pub fn parse_overrides(text: &str, defaults: &Limits) -> Result<(Overrides, Vec<Finding>), Findings> {
    let tenants = serde_yaml::from_str(text).map_err(|error| Finding::new("", error.to_string()))?;
    Ok((Overrides { defaults: defaults.clone(), tenants }, Vec::new()))
}

/// Writes any part of the configuration.
pub(crate) fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_yaml::to_string(value).expect("the configuration's types have no map keys that are not text")
}
