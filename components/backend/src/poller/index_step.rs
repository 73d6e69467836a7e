//! A tenant's index: read by everybody, written by its builder.

use std::time::Duration;

use display_error_chain::DisplayErrorChain;
use jiff::Timestamp;
use tokio::task::JoinError;
use tracing::{debug, warn};

use crate::{
    blocklist::{Source, TenantBlocks},
    keys,
    store::StoreError,
    tenant_index::{DecodeIndexError, EncodeIndexError, ReadIndex, TenantIndex},
};

use super::{TenantPoll, TenantState, age, listing_step::Listed};

/// What this process last wrote to both index objects.
#[derive(Debug)]
pub(super) struct WrittenIndex {
    blocks: TenantBlocks,
    at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    #[error("access tenant index")]
    Store(#[from] StoreError),
    #[error("read tenant index")]
    Decode(#[from] DecodeIndexError),
    #[error("write tenant index")]
    Encode(#[from] EncodeIndexError),
    #[error("tenant index task failed")]
    Task(#[from] JoinError),
}

impl TenantPoll<'_> {
    /// The index, if it can be had and is not stale.
    pub(super) async fn read_usable_index(&self) -> Option<ReadIndex> {
        let read = match self.read_index().await {
            Ok(Some(read)) => read,
            Ok(None) => {
                debug!(tenant = %self.tenant, "tenant has no index");
                self.metrics.tenant_index_failed(self.tenant);
                return None;
            }
            Err(error) => {
                let error = DisplayErrorChain::new(&error);
                warn!(tenant = %self.tenant, %error, "failed to read tenant index");
                self.metrics.tenant_index_failed(self.tenant);
                return None;
            }
        };
        let age = age(self.now, read.index.created_at);
        self.metrics.tenant_index_used(self.tenant, false, age);
        let stale_after = self.options.stale_index_after;
        if !stale_after.is_zero() && age > stale_after {
            warn!(tenant = %self.tenant, age_secs = age.as_secs(), "did not use stale tenant index");
            return None;
        }
        Some(read)
    }

    /// Makes an index the list of the tenant.
    pub(super) fn take_index(&self, read: ReadIndex) {
        let created_at = read.index.created_at;
        // Its builder may have begun to list a poll earlier.
        let source = Source::Index { created_at, slack: self.options.interval };
        let blocks = self.blocklist.replace(self.tenant, self.blocks_of(read), source);
        self.metrics.tenant_has(self.tenant, blocks.live.len(), 0);
    }

    /// Protobuf; JSON only if there is no protobuf.
    pub(super) async fn read_index(&self) -> Result<Option<ReadIndex>, IndexError> {
        for name in keys::TENANT_INDEXES {
            let data = match self.backend.store().get(&keys::tenant_index(self.tenant, name)).await {
                Ok(data) => data,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let decode = move || match name {
                keys::TENANT_INDEX_PB => TenantIndex::from_pb_zst(&data),
                _ => TenantIndex::from_json_gz(&data),
            };
            return Ok(Some(tokio::task::spawn_blocking(decode).await??));
        }
        Ok(None)
    }

    /// The blocks of an index in the order of the list, without those that name another tenant.
    pub(super) fn blocks_of(&self, read: ReadIndex) -> TenantBlocks {
        let ReadIndex { index, mut refused } = read;
        let TenantIndex { created_at: _, blocks: mut live, mut compacted } = index;
        let before = live.len() + compacted.len();
        live.retain(|meta| meta.tenant == *self.tenant);
        compacted.retain(|block| block.meta.tenant == *self.tenant);
        let foreign = before - live.len() - compacted.len();
        if foreign > 0 {
            refused.push(format!("{foreign} blocks of other tenants"));
        }
        if let Some(example) = refused.first() {
            warn!(tenant = %self.tenant, refused = refused.len(), example, "left out entries of tenant index");
        }
        live.sort_by_key(|meta| meta.block_id);
        live.dedup_by_key(|meta| meta.block_id);
        compacted.sort_by_key(|block| block.meta.block_id);
        compacted.dedup_by_key(|block| block.meta.block_id);
        TenantBlocks {
            live: live.into(),
            recently_compacted: self.recent_of(&compacted),
            compacted: compacted.into(),
            quarantined: [].into(),
        }
    }

    /// Writes the index if it changed, or would soon be stale for its readers; deletes it if there are no blocks.
    pub(super) async fn update_index(&self, state: &mut TenantState, listed: &Listed) {
        let since_written = state.written.as_ref().map_or(Duration::ZERO, |index| age(self.now, index.at));
        self.metrics.tenant_index_used(self.tenant, true, since_written);
        let blocks = &listed.blocks;
        if listed.is_incomplete {
            // Blocks that only could not be read now would vanish for every reader of the index.
            return;
        }
        let result = if *blocks == TenantBlocks::default() {
            state.written = None;
            self.delete_index(listed).await
        } else if self.must_write(state, listed) {
            state.written = None;
            let result = self.write_index(blocks).await;
            if result.is_ok() {
                state.written = Some(WrittenIndex { blocks: blocks.clone(), at: self.now });
                self.metrics.tenant_index_used(self.tenant, true, Duration::ZERO);
            }
            result
        } else {
            Ok(())
        };
        if let Err(error) = result {
            self.metrics.tenant_index_failed(self.tenant);
            warn!(tenant = %self.tenant, error = %DisplayErrorChain::new(&error), "failed to write tenant index");
        }
    }

    fn must_write(&self, state: &TenantState, listed: &Listed) -> bool {
        let Some(written) = &state.written else { return true };
        let stale_after = self.options.stale_index_after;
        written.blocks.live != listed.blocks.live
            || written.blocks.compacted != listed.blocks.compacted
            || listed.index_objects.len() < keys::TENANT_INDEXES.len()
            || (!stale_after.is_zero() && age(self.now, written.at) >= stale_after / 2)
    }

    async fn write_index(&self, blocks: &TenantBlocks) -> Result<(), IndexError> {
        let index = TenantIndex {
            created_at: self.now,
            blocks: blocks.live.to_vec(),
            compacted: blocks.compacted.to_vec(),
        };
        let encode = move || Ok::<_, EncodeIndexError>([index.to_pb_zst()?, index.to_json_gz()?]);
        let objects = tokio::task::spawn_blocking(encode).await??;
        for (name, data) in keys::TENANT_INDEXES.into_iter().zip(objects) {
            self.backend.store().put(&keys::tenant_index(self.tenant, name), data.into()).await?;
        }
        Ok(())
    }

    async fn delete_index(&self, listed: &Listed) -> Result<(), IndexError> {
        for name in &listed.index_objects {
            self.backend.store().delete(&keys::tenant_index(self.tenant, name)).await?;
        }
        Ok(())
    }
}
