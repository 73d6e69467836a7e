//! What is known of a block without opening it: `meta.json`.
//!
//! The JSON is Tempo's, key by key, in Tempo's order: `format, blockID, tenantID, startTime, endTime, totalObjects,
//! size, compactionLevel, indexPageSize, totalRecords, bloomShards, footerSize, dedicatedColumns,
//! replicationFactor`; `size`, `dedicatedColumns` and `replicationFactor` are left out when empty. A dedicated column
//! is `{"s": scope, "n": name, "t": type, "o": [options]}`, where no `s` means span and no `t` means string.
//! Unknown keys are ignored. Times are as Tempo wrote them: not the exact range of the spans, and
//! `startTime > endTime` occurs.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use tempo_config::{DedicatedColumn, DedicatedColumnOption, DedicatedColumnScope, DedicatedColumnType};
use tempo_model::{BlockId, TenantId};

/// Go's zero time, year 1: what Tempo reads where a time is missing.
pub(crate) const ZERO_TIME: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Which encoding a block's `data.parquet` has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockFormat {
    VParquet3,
    VParquet4,
    VParquet5,
    /// Older or newer than we know. Such a block is listed, but cannot be opened.
    Unknown(String),
}

impl BlockFormat {
    pub fn as_str(&self) -> &str {
        match self {
            BlockFormat::VParquet3 => "vParquet3",
            BlockFormat::VParquet4 => "vParquet4",
            BlockFormat::VParquet5 => "vParquet5",
            BlockFormat::Unknown(name) => name,
        }
    }
}

impl From<String> for BlockFormat {
    fn from(name: String) -> BlockFormat {
        match name.as_str() {
            "vParquet3" => BlockFormat::VParquet3,
            "vParquet4" => BlockFormat::VParquet4,
            "vParquet5" => BlockFormat::VParquet5,
            _ => BlockFormat::Unknown(name),
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for BlockFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for BlockFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
}

/// A block's `meta.json`. Immutable once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    pub format: BlockFormat,
    #[serde(rename = "blockID")]
    pub block_id: BlockId,
    #[serde(rename = "tenantID", with = "tenant_text")]
    pub tenant: TenantId,
    #[serde(default = "zero_time")]
    pub start_time: Timestamp,
    #[serde(default = "zero_time")]
    pub end_time: Timestamp,
    /// Number of traces (rows).
    #[serde(default)]
    pub total_objects: u64,
    /// Bytes of `data.parquet`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    #[serde(default)]
    pub compaction_level: u32,
    #[serde(default)]
    pub index_page_size: u32,
    /// Number of row groups.
    #[serde(default)]
    pub total_records: u32,
    #[serde(default)]
    pub bloom_shards: u32,
    /// Bytes of the Thrift footer, without the eight bytes behind it. 0: unknown.
    #[serde(default)]
    pub footer_size: u32,
    /// Shared, since thousands of blocks have the same columns.
    #[serde(default, with = "columns", skip_serializing_if = "<[DedicatedColumn]>::is_empty")]
    pub dedicated_columns: Arc<[DedicatedColumn]>,
    #[serde(default, skip_serializing_if = "is_zero_u32")]
    pub replication_factor: u32,
}

impl BlockMeta {
    /// The object `meta.json`.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every field of a block meta has a JSON form")
    }

    pub fn from_json(data: &[u8]) -> Result<BlockMeta, serde_json::Error> {
        serde_json::from_slice(data)
    }
}

/// A block that was merged into another one, or has expired, and waits for its deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactedBlockMeta {
    #[serde(flatten)]
    pub meta: Arc<BlockMeta>,
    /// When it was marked. Not in `meta.compacted.json`, only in the tenant index.
    #[serde(rename = "compactedTime", default = "zero_time")]
    pub compacted_time: Timestamp,
}

/// The distinct sets of dedicated columns seen so far: metas that have the same share one.
#[derive(Debug, Default)]
pub(crate) struct ColumnSets(Vec<Arc<[DedicatedColumn]>>);

impl ColumnSets {
    /// More distinct sets than this are not shared; a tenant has a handful.
    const MAX: usize = 64;

    pub(crate) fn share(&mut self, meta: &mut BlockMeta) {
        match self.0.iter().find(|known| **known == meta.dedicated_columns) {
            Some(known) => meta.dedicated_columns = Arc::clone(known),
            None if self.0.len() < Self::MAX => self.0.push(Arc::clone(&meta.dedicated_columns)),
            None => {}
        }
    }
}

fn zero_time() -> Timestamp {
    ZERO_TIME
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero_u32(value: &u32) -> bool {
    *value == 0
}

/// The JSON text of dedicated columns, also a field of the protobuf tenant index; no bytes if there are none.
pub(crate) fn columns_to_json(columns: &[DedicatedColumn]) -> Vec<u8> {
    if columns.is_empty() {
        return Vec::new();
    }
    let columns: Vec<columns::Column> = columns.iter().map(columns::Column::from).collect();
    serde_json::to_vec(&columns).expect("dedicated columns have a JSON form")
}

pub(crate) fn columns_from_json(data: &[u8]) -> Result<Arc<[DedicatedColumn]>, serde_json::Error> {
    if data.is_empty() {
        return Ok(Arc::default());
    }
    columns::deserialize(&mut serde_json::Deserializer::from_slice(data))
}

mod tenant_text {
    use super::{Deserialize, Deserializer, Serializer, TenantId};

    pub(super) fn serialize<S: Serializer>(tenant: &TenantId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(tenant.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TenantId, D::Error> {
        TenantId::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The short keys of dedicated columns. Scopes, types and options are spelt as in YAML.
mod columns {
    use super::{
        Arc, DedicatedColumn, DedicatedColumnOption, DedicatedColumnScope, DedicatedColumnType, Deserialize,
        Deserializer, Serialize, Serializer,
    };

    #[derive(Serialize, Deserialize)]
    pub(super) struct Column {
        /// Span if absent.
        #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
        scope: Option<DedicatedColumnScope>,
        #[serde(rename = "n")]
        name: String,
        /// String if absent.
        #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
        kind: Option<DedicatedColumnType>,
        #[serde(rename = "o", default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<DedicatedColumnOption>,
    }

    pub(super) fn serialize<S: Serializer>(
        columns: &[DedicatedColumn],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(columns.iter().map(Column::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[DedicatedColumn]>, D::Error> {
        // Go writes null for an empty list in some places.
        let columns: Option<Vec<Column>> = Option::deserialize(deserializer)?;
        Ok(columns.unwrap_or_default().into_iter().map(DedicatedColumn::from).collect())
    }

    impl From<&DedicatedColumn> for Column {
        fn from(column: &DedicatedColumn) -> Column {
            let DedicatedColumn { scope, name, kind, options } = column;
            Column {
                scope: (*scope != DedicatedColumnScope::Span).then_some(*scope),
                name: name.clone(),
                kind: (*kind != DedicatedColumnType::String).then_some(*kind),
                options: options.clone(),
            }
        }
    }

    impl From<Column> for DedicatedColumn {
        fn from(column: Column) -> DedicatedColumn {
            let Column { scope, name, kind, options } = column;
            DedicatedColumn {
                scope: scope.unwrap_or(DedicatedColumnScope::Span),
                name,
                kind: kind.unwrap_or(DedicatedColumnType::String),
                options,
            }
        }
    }
}
