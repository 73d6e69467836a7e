//! A sealed head becomes a block on local disk.
//!
//! Files go to `<wal>/blocks/<tenant>/<block id>/`, `meta.json` last: a folder with it is complete and is taken over after
//! a restart, a folder without it is a leftover and is removed, its spans are still in the WAL.

use std::{fs, io, path::Path, sync::Arc};

use tempo_backend::BlockMeta;
use tempo_block::{WriteError, WriteOptions, write_block};
use tokio::time::Instant;
use tracing::info;

use crate::{head::Head, instance::Instance, open::Shared};

/// Why a sealed head did not become a block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompleteError {
    #[error("write block {0} to local disk")]
    Io(tempo_model::BlockId, #[source] io::Error),
    #[error("encode block {0}")]
    Encode(tempo_model::BlockId, #[source] WriteError),
    #[error("the encoder of block {0} panicked")]
    Panicked(tempo_model::BlockId),
}

impl CompleteError {
    /// A full or failing disk may recover; a head that cannot be encoded will not.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            CompleteError::Io(..) | CompleteError::Encode(_, WriteError::Io { .. }) => true,
            CompleteError::Encode(..) | CompleteError::Panicked(_) => false,
        }
    }
}

impl Shared {
    pub(crate) async fn complete(
        &self,
        instance: &Instance,
        head: &Arc<Head>,
    ) -> Result<Arc<BlockMeta>, CompleteError> {
        let started = Instant::now();
        let options = self.write_options(instance, head);
        let dir = self.local_block_dir(&instance.tenant, head.block);
        let block = head.block;
        let encoded = Arc::clone(head);
        let write = tokio::task::spawn_blocking(move || {
            make_block(&encoded, &options, &dir).inspect_err(|_| {
                // What is left is removed at the next try or at the next start.
                fs::remove_dir_all(&dir).ok();
            })
        });
        let meta = write.await.map_err(|_| CompleteError::Panicked(block))??;
        self.metrics.completed(started.elapsed());
        info!(
            tenant = %instance.tenant, block = %block, traces = meta.total_objects, size_bytes = meta.size,
            "completed block"
        );
        Ok(Arc::new(meta))
    }

    fn write_options(&self, instance: &Instance, head: &Head) -> WriteOptions {
        let overrides = self.overrides.borrow();
        let tenant = overrides.for_tenant(instance.tenant.as_str());
        let own = &tenant.storage.parquet_dedicated_columns;
        let mut options = self.write_template.clone();
        options.block_id = head.block;
        options.tenant = instance.tenant.clone();
        if !own.is_empty() {
            options.dedicated_columns.clone_from(own);
        }
        options
    }
}

fn make_block(head: &Head, options: &WriteOptions, dir: &Path) -> Result<BlockMeta, CompleteError> {
    let io_error = |error| CompleteError::Io(head.block, error);
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir_all(dir).map_err(io_error)?;
    let columns = head.columns.read();
    let meta =
        write_block(&columns, options, dir).map_err(|error| CompleteError::Encode(head.block, error))?;
    write_meta(&meta, dir).map_err(io_error)?;
    Ok(meta)
}

/// Writes `meta.json` so that it is there whole or not at all.
fn write_meta(meta: &BlockMeta, dir: &Path) -> Result<(), io::Error> {
    let temporary = dir.join("meta.json.tmp");
    fs::write(&temporary, meta.to_json())?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, dir.join(tempo_backend::keys::META))?;
    fs::File::open(dir)?.sync_all()
}

/// The block's objects on local disk: everything in its folder but the meta.
pub(crate) fn list_block_files(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(tempo_backend::keys::META) {
            names.push(name);
        }
    }
    Ok(names)
}
