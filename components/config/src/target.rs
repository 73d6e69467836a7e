//! Targets: which components a process runs, spelled as Tempo's `-target` spells them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The components one process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Target {
    /// Every component in one process.
    #[default]
    All,
    /// Every component in one process, several of which form a cluster.
    ScalableSingleBinary,
    /// Receives spans and hands them to ingesters.
    Distributor,
    /// Keeps recent traces, writes blocks.
    Ingester,
    /// Answers jobs of the query-frontend.
    Querier,
    /// Takes queries and shards them into jobs.
    QueryFrontend,
    /// Merges and deletes blocks.
    Compactor,
    /// Derives metrics from spans.
    MetricsGenerator,
}

/// No target has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no target `{name}`; targets are {}", Target::names())]
pub struct UnknownTarget {
    name: String,
}

impl Target {
    /// All targets, in the order in which they are listed to users.
    pub const ALL: [Self; 8] = [
        Self::All,
        Self::ScalableSingleBinary,
        Self::Distributor,
        Self::Ingester,
        Self::Querier,
        Self::QueryFrontend,
        Self::Compactor,
        Self::MetricsGenerator,
    ];

    /// The name on the command line and in YAML.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::ScalableSingleBinary => "scalable-single-binary",
            Self::Distributor => "distributor",
            Self::Ingester => "ingester",
            Self::Querier => "querier",
            Self::QueryFrontend => "query-frontend",
            Self::Compactor => "compactor",
            Self::MetricsGenerator => "metrics-generator",
        }
    }

    /// Whether processes of this target read a top-level section. Sections that belong to no component are read by all;
    /// `target` itself is not a setting of a target.
    pub(crate) fn reads(self, section: &str) -> bool {
        if section == "target" {
            return false;
        }
        let is_components = Self::All.component_sections().contains(&section);
        !is_components || self.component_sections().contains(&section)
    }

    /// The sections of components that this target reads.
    const fn component_sections(self) -> &'static [&'static str] {
        match self {
            Self::All | Self::ScalableSingleBinary => {
                &["distributor", "ingester", "querier", "query_frontend", "storage", "overrides"]
            }
            Self::Distributor => &["distributor", "overrides"],
            Self::Ingester => &["ingester", "storage", "overrides"],
            Self::Querier => &["querier", "storage", "overrides"],
            Self::QueryFrontend => &["query_frontend", "storage", "overrides"],
            Self::Compactor => &["storage", "overrides"],
            Self::MetricsGenerator => &["overrides"],
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        Self::ALL
            .into_iter()
            .find(|target| target.as_str() == name)
            .ok_or_else(|| UnknownTarget { name: name.to_owned() })
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}
