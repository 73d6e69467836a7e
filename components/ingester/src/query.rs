//! A trace by id from everything this ingester holds: heads, sealed heads, blocks on local disk.

use std::sync::{Arc, atomic::Ordering};

use tempo_block::{BlockReader, ReadError};
use tempo_model::{
    BlockId, TenantId, TraceId,
    trace::{Combiner, Trace},
};

use crate::open::Ingester;

/// Why recent data could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read block {block} on local disk")]
pub struct FindError {
    block: BlockId,
    #[source]
    source: ReadError,
}

impl Ingester {
    /// The spans of a trace that this ingester holds, or `None`. Spans that were pushed twice are still one.
    pub async fn find_trace(&self, tenant: &TenantId, id: &TraceId) -> Result<Option<Trace>, FindError> {
        let instance = self.shared.instances.read().get(tenant).cloned();
        let Some(instance) = instance else { return Ok(None) };
        let snapshot = instance.snapshot();
        // No limit here: whoever asked knows the tenant's, and counts all parts.
        let mut combiner = Combiner::new(0);
        let mut add = |part: Option<Trace>| part.map_or(Ok(()), |part| combiner.add(part)).ok();
        for head in &snapshot.heads {
            add(head.columns.read().find_trace(id));
        }
        for block in snapshot.blocks.iter().filter(|block| !block.is_listed.load(Ordering::Acquire)) {
            let error = |source| FindError { block: block.meta.block_id, source };
            let (backend, cache) = (self.shared.local.clone(), self.shared.cache.clone());
            let reader = BlockReader::open(backend, Arc::clone(&block.meta), cache).map_err(error)?;
            match reader.find_trace(id).await {
                Ok(found) => add(found.trace),
                // Flushed meanwhile, and the local copy is gone: whoever asked finds it in the blocklist next.
                Err(_) if block.is_listed.load(Ordering::Acquire) => None,
                Err(source) => return Err(error(source)),
            };
        }
        Ok(combiner.finish())
    }
}
