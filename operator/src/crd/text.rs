//! Texts with a meaning that are kept as the user wrote them, so that Git and the API server never differ: `90s` stays
//! `90s`, `0.5Gi` stays `0.5Gi`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempo_config::{DurationError, GoDuration};

/// A duration as Go writes it (`1h30m`).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct DurationText(
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"))] String,
);

impl DurationText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the text means.
    pub fn parse(&self) -> Result<Duration, DurationError> {
        self.0.parse::<GoDuration>().map(GoDuration::get)
    }
}

/// A quantity of Kubernetes (`50Gi`, `500m`).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct SizeText(
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"))]
    String,
);

impl SizeText {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
