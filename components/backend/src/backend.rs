//! Blocks in object storage: written so that a reader sees a whole block or none, read by name and range.
//!
//! The order of a write is the durability argument. `data.parquet`, then the other objects, `index` last of them;
//! then every size is compared with the local files, and the tail of `data.parquet` (footer length and `PAR1`) is
//! read back; only then `meta.json`, which makes the block visible, and which is read back too. When `write_block`
//! returns, the block is durable and the write-ahead log of its spans may go. After a failure the same call may be
//! repeated: it overwrites. Deletion goes the other way: metas first.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use tempo_config::{BackendKind, TraceStorageConfig};
use tempo_model::{BlockId, TenantId};

use crate::{
    block_meta::BlockMeta,
    keys,
    local::LocalStore,
    metered::{Health, MeteredStore, Trouble},
    metrics::Metrics,
    s3::{OpenS3Error, S3Store},
    store::{Store, StoreError},
};

/// What follows the Thrift footer of a Parquet file: its length (u32, little endian) and `PAR1`.
const TAIL_BYTES: usize = 8;
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Object storage with Tempo's layout. Clones share everything.
#[derive(Debug, Clone)]
pub struct Backend {
    store: Arc<dyn Store>,
    health: Health,
}

/// The local files of a block that is ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFiles {
    pub dir: PathBuf,
    /// Names of files in `dir`, which become the names of objects. `meta.json` is not among them.
    pub objects: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenBackendError {
    #[error("storage.trace.backend '{}' is not supported yet, only 's3' and 'local' are", .0.as_str())]
    NotSupported(BackendKind),
    #[error("open bucket '{bucket}'")]
    S3 {
        bucket: String,
        #[source]
        source: OpenS3Error,
    },
    #[error("open storage.trace.local.path '{path}'")]
    Local {
        path: String,
        #[source]
        source: StoreError,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum WriteBlockError {
    /// The local files are missing, unreadable or contradict the meta. Writing again cannot help.
    #[error("block file '{}' cannot be uploaded: {problem}", path.display())]
    LocalFile { path: PathBuf, problem: String },
    #[error("write block")]
    Store(#[from] StoreError),
    /// The store said yes to everything, but does not hold what was written. Writing again may help.
    #[error("object '{key}' is not in the store as it was written: {problem}")]
    NotAsWritten { key: String, problem: String },
}

#[derive(Debug, thiserror::Error)]
pub enum ReadMetaError {
    #[error("read block meta")]
    Store(#[from] StoreError),
    /// Costs this block and nothing else.
    #[error("block meta '{key}' makes no sense: {problem}")]
    Broken { key: String, problem: String },
}

impl Backend {
    pub fn new(store: Arc<dyn Store>, metrics: Metrics) -> Backend {
        let store = MeteredStore::new(store, metrics);
        Backend { health: store.health(), store: Arc::new(store) }
    }

    /// Why calls fail at the moment; `None` if the last one was answered.
    pub fn trouble(&self) -> Option<Trouble> {
        self.health.trouble()
    }

    /// Opens the store that the configuration names. A bucket that is absent or out of reach is no error here: calls
    /// fail until it is there.
    pub async fn open(config: &TraceStorageConfig, metrics: Metrics) -> Result<Backend, OpenBackendError> {
        match config.backend {
            BackendKind::Local => {
                let path = &config.local.path;
                let store = LocalStore::open(Path::new(path))
                    .await
                    .map_err(|source| OpenBackendError::Local { path: path.clone(), source })?;
                Ok(Backend::new(Arc::new(store), metrics))
            }
            BackendKind::S3 => {
                let bucket = config.s3.bucket.clone();
                let store = S3Store::open(&config.s3, metrics.clone())
                    .await
                    .map_err(|source| OpenBackendError::S3 { bucket, source })?;
                Ok(Backend::new(Arc::new(store), metrics))
            }
            kind @ (BackendKind::Gcs | BackendKind::Azure) => Err(OpenBackendError::NotSupported(kind)),
        }
    }

    /// Writes a block durably and verifies it. Cancel-safe: a block that was not written to its end is invisible.
    pub async fn write_block(&self, meta: &BlockMeta, files: &BlockFiles) -> Result<(), WriteBlockError> {
        let files = in_write_order(files)?;
        let data = files.first().map(|(_, path)| path.clone()).unwrap_or_default();
        let expected = Expected::read(meta, &data, files.clone()).await?;
        if self.trouble().is_some() {
            // While the store fails, many blocks wait to be written: ask it something small before it is sent them all.
            self.has_block(&meta.tenant, meta.block_id).await?;
        }
        for (name, path) in &files {
            self.store.put_file(&self.key(meta, name), path).await?;
        }
        self.verify_objects(meta, &expected).await?;
        self.write_meta(meta).await
    }

    /// A whole object of a block.
    pub async fn read_object(&self, meta: &BlockMeta, name: &str) -> Result<Bytes, StoreError> {
        self.store.get(&self.key(meta, name)).await
    }

    /// Exactly the bytes of a range of an object of a block.
    pub async fn read_range(
        &self,
        meta: &BlockMeta,
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        let key = self.key(meta, name);
        let bytes = self.store.get_range(&key, range).await?;
        if bytes.len() as u64 != wanted {
            let problem = format!("got {} of {wanted} bytes", bytes.len());
            return Err(StoreError::Unavailable { key, source: problem.into() });
        }
        Ok(bytes)
    }

    /// The meta of a live block, `None` if there is no such block.
    pub async fn read_meta(
        &self,
        tenant: &TenantId,
        block_id: BlockId,
    ) -> Result<Option<BlockMeta>, ReadMetaError> {
        self.read_meta_object(tenant, block_id, keys::META).await
    }

    /// True if the block was written to its end, even if it was compacted since.
    pub async fn has_block(&self, tenant: &TenantId, block_id: BlockId) -> Result<bool, StoreError> {
        for name in [keys::META, keys::META_COMPACTED] {
            match self.store.size(&keys::block_object(tenant, block_id, name)).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Deletes every object of a block, metas first: it is invisible from the first step on. May be repeated.
    pub async fn delete_block(&self, tenant: &TenantId, block_id: BlockId) -> Result<(), StoreError> {
        for name in [keys::META, keys::META_COMPACTED] {
            self.store.delete(&keys::block_object(tenant, block_id, name)).await?;
        }
        for entry in self.store.list(&keys::block_folder(tenant, block_id)).await? {
            self.store.delete(&entry.key).await?;
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Reads `meta.json` or `meta.compacted.json` and checks that it belongs to where it lies: keys are built from
    /// it, so a meta with another tenant's name would open that tenant's blocks.
    pub(crate) async fn read_meta_object(
        &self,
        tenant: &TenantId,
        block_id: BlockId,
        name: &str,
    ) -> Result<Option<BlockMeta>, ReadMetaError> {
        let key = keys::block_object(tenant, block_id, name);
        let data = match self.store.get(&key).await {
            Ok(data) => data,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let meta = match BlockMeta::from_json(&data) {
            Ok(meta) => meta,
            Err(error) => return Err(ReadMetaError::Broken { key, problem: error.to_string() }),
        };
        if meta.tenant != *tenant || meta.block_id != block_id {
            let problem = format!("it names block {} of tenant '{}'", meta.block_id, meta.tenant);
            return Err(ReadMetaError::Broken { key, problem });
        }
        Ok(Some(meta))
    }

    fn key(&self, meta: &BlockMeta, name: &str) -> String {
        keys::block_object(&meta.tenant, meta.block_id, name)
    }

    async fn verify_objects(&self, meta: &BlockMeta, expected: &Expected) -> Result<(), WriteBlockError> {
        let listed = self.store.list(&keys::block_folder(&meta.tenant, meta.block_id)).await?;
        let listed: BTreeMap<&str, u64> =
            listed.iter().map(|entry| (entry.key.as_str(), entry.size)).collect();
        for (name, &size) in &expected.sizes {
            let key = self.key(meta, name);
            match listed.get(key.as_str()) {
                Some(&found) if found == size => {}
                Some(found) => {
                    let problem = format!("it has {found} bytes instead of {size}");
                    return Err(WriteBlockError::NotAsWritten { key, problem });
                }
                None => {
                    let problem = "it is missing".to_owned();
                    return Err(WriteBlockError::NotAsWritten { key, problem });
                }
            }
        }
        let tail_start = meta.size.saturating_sub(TAIL_BYTES as u64);
        let tail = self.read_range(meta, keys::DATA, tail_start..meta.size).await?;
        if tail != expected.tail.as_slice() {
            let key = self.key(meta, keys::DATA);
            let problem = format!("it ends with {tail:?}");
            return Err(WriteBlockError::NotAsWritten { key, problem });
        }
        Ok(())
    }

    async fn write_meta(&self, meta: &BlockMeta) -> Result<(), WriteBlockError> {
        let key = self.key(meta, keys::META);
        self.store.put(&key, meta.to_json().into()).await?;
        let problem = match self.read_meta(&meta.tenant, meta.block_id).await {
            Ok(Some(found)) if found == *meta => return Ok(()),
            Ok(Some(_)) => "it holds another meta".to_owned(),
            Ok(None) => "it is missing".to_owned(),
            Err(ReadMetaError::Broken { problem, .. }) => problem,
            Err(ReadMetaError::Store(error)) => return Err(error.into()),
        };
        Err(WriteBlockError::NotAsWritten { key, problem })
    }
}

/// Names and paths with `data.parquet` first and `index` last.
fn in_write_order(files: &BlockFiles) -> Result<Vec<(String, PathBuf)>, WriteBlockError> {
    let BlockFiles { dir, objects } = files;
    let refuse = |name: &str, problem: &str| {
        Err(WriteBlockError::LocalFile { path: dir.join(name), problem: problem.to_owned() })
    };
    if !objects.iter().any(|name| name == keys::DATA) {
        return refuse(keys::DATA, "it is not among the block's objects");
    }
    for name in objects {
        if name == keys::META || name == keys::META_COMPACTED {
            return refuse(name, "the meta is written from the block meta, not from a file");
        }
    }
    let mut names = objects.clone();
    names.sort_by_key(|name| match name.as_str() {
        keys::DATA => 0,
        keys::INDEX => 2,
        _ => 1,
    });
    Ok(names.into_iter().map(|name| (name.clone(), dir.join(name))).collect())
}

/// What must be in the store once the files are uploaded.
struct Expected {
    sizes: BTreeMap<String, u64>,
    tail: [u8; TAIL_BYTES],
}

impl Expected {
    async fn read(
        meta: &BlockMeta,
        data: &Path,
        files: Vec<(String, PathBuf)>,
    ) -> Result<Expected, WriteBlockError> {
        let refuse =
            |path: &Path, problem: String| WriteBlockError::LocalFile { path: path.to_owned(), problem };
        let of_data = data.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut sizes = BTreeMap::new();
            for (name, path) in files {
                let size = fs::metadata(&path).map_err(|error| (path, error))?.len();
                sizes.insert(name, size);
            }
            let tail = read_tail(&of_data).map_err(|error| (of_data, error))?;
            Ok(Expected { sizes, tail })
        })
        .await;
        let expected = match read {
            Ok(Ok(expected)) => expected,
            Ok(Err((path, error))) => {
                let error: io::Error = error;
                return Err(refuse(&path, error.to_string()));
            }
            Err(error) => return Err(refuse(data, error.to_string())),
        };
        let size = expected.sizes.get(keys::DATA).copied().unwrap_or_default();
        if size != meta.size {
            return Err(refuse(data, format!("it has {size} bytes, the meta says {}", meta.size)));
        }
        let (footer_size, magic) = expected.tail.split_at(4);
        if magic != PARQUET_MAGIC {
            return Err(refuse(data, "it does not end like a Parquet file".to_owned()));
        }
        if meta.footer_size != 0 && meta.footer_size.to_le_bytes() != *footer_size {
            let problem = format!("its footer does not have {} bytes as the meta says", meta.footer_size);
            return Err(refuse(data, problem));
        }
        Ok(expected)
    }
}

fn read_tail(path: &Path) -> io::Result<[u8; TAIL_BYTES]> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-(TAIL_BYTES as i64)))?;
    let mut tail = [0; TAIL_BYTES];
    file.read_exact(&mut tail)?;
    Ok(tail)
}
