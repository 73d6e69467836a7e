//! Where blocks live in object storage: stores, keys, block metas, the tenant index, and the list of blocks that a
//! poller keeps current.
//!
//! Nothing here knows what is inside `data.parquet`; that is `block`'s. Layout and encodings are Grafana Tempo's, so a
//! bucket can be shared with it. What comes from a bucket is foreign: one broken block costs exactly that block.

mod backend;
mod block_meta;
mod blocklist;
mod faulty;
pub mod keys;
mod local;
mod memory;
mod metered;
mod metrics;
mod poller;
mod s3;
mod store;
mod tenant_index;

pub use backend::{Backend, BlockFiles, OpenBackendError, ReadMetaError, WriteBlockError};
pub use block_meta::{BlockFormat, BlockMeta, CompactedBlockMeta};
pub use blocklist::{Blocklist, QuarantinedBlock, Snapshot, TenantBlocks};
pub use faulty::{Fault, FaultyStore, Operation, When};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use metered::Trouble;
pub use metrics::Metrics;
pub use poller::{PollReport, Poller, PollerOptions};
pub use s3::{OpenS3Error, S3ObjectsError, S3Store, S3TlsError};
pub use store::{BoxError, ObjectEntry, Store, StoreError};
pub use tenant_index::{DecodeIndexError, EncodeIndexError, ReadIndex, TenantIndex};
