//! The nouns everyone shares: ids, tenants, time ranges, the batch of spans that travels from distributor to ingester,
//! one trace assembled from several partial ones, and the time that components wait for each other.
//!
//! Nothing here does I/O or is async. A type is admitted if three crates need it and it is a word of the domain.

mod ids;
pub mod json;
pub mod push_batch;
mod tenant;
mod time_range;
pub mod trace;
mod waits;

pub use ids::{BlockId, IdError, SpanId, TraceId};
pub use push_batch::{PushBatch, PushBatchBuilder};
pub use tenant::{TenantError, TenantId, Tenants};
pub use time_range::TimeRange;
pub use waits::{WaitKind, WaitTotal, Waits};
