//! The public query API: parses a request, cuts it into jobs, queues them fairly per tenant, retries what failed and
//! combines the answers.
//!
//! A request for a trace becomes, per tenant, one job for recent data and a few for ranges of the block id space
//! (`shard.rs`). Jobs wait for a free querier in `queue.rs`, are tried again by `retry.rs`, and their partial traces
//! are merged in `find_trace.rs`. `api/` turns HTTP into queries and answers into HTTP. Who executes a job is behind
//! [`Queriers`]: a querier of the same process, or later one that pulls its jobs over the network.

mod api;
mod find_trace;
mod metrics;
mod queriers;
mod query_frontend;
mod queue;
mod retry;
mod shard;

pub use crate::{
    queriers::{JobError, Queriers},
    query_frontend::{Dependencies, QueryFrontend},
};
