//! Opens a block's sidecar and turns a location in it into page ranges.

use bytes::Bytes;
use tempo_backend::{BlockFormat, keys};
use tracing::warn;

use crate::{
    decode::layout::{Plan, leaves},
    reader::{BlockReader, Inspected, ReadError},
    trace_index::TraceIndex,
};

/// Roughly what a plan takes: a hundred leaves with their paths.
pub(super) const PLAN_BYTES: usize = 24 << 10;

/// A sidecar that fits its block.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) index: TraceIndex,
    pub(crate) plan: Plan,
}

impl Sidecar {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.index.bytes() + PLAN_BYTES
    }
}

impl BlockReader {
    /// The block's sidecar. A block without one is read through its footer, and so is a block whose sidecar is
    /// damaged, of a newer version, or made for another file: it is an accelerator, not the data.
    pub(crate) async fn load_sidecar(&self, inspected: &Inspected) -> Result<Option<Sidecar>, ReadError> {
        let bytes = match self.read_object(keys::SIDECAR, inspected).await {
            Ok(bytes) => bytes,
            Err(ReadError::Store { source, .. }) if source.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.parse_sidecar(bytes) {
            Ok(sidecar) => Ok(Some(sidecar)),
            Err(problem) => {
                warn!(tenant = %self.meta.tenant, block_id = %self.meta.block_id, problem, "ignored sidecar of a block");
                Ok(None)
            }
        }
    }

    fn parse_sidecar(&self, bytes: Bytes) -> Result<Sidecar, String> {
        let index = TraceIndex::parse(bytes).map_err(|error| error.to_string())?;
        if self.meta.format != BlockFormat::VParquet4 {
            return Err("sidecars exist for vParquet4 only".to_owned());
        }
        let leaves = leaves::vparquet4();
        if index.data_size() != self.meta.size || index.leaf_count() != leaves.len() {
            return Err("it was made for another data.parquet".to_owned());
        }
        let plan = Plan::new(&self.meta.format, &self.meta.dedicated_columns, &leaves);
        Ok(Sidecar { index, plan: plan.map_err(|error| error.to_string())? })
    }
}
