//! Executes one job of a query against recent data and blocks.
//!
//! A job arrives as a typed message from a query-frontend, or over HTTP on `/querier/api/...` from those who address
//! one querier (`http.rs`). Recent data is behind [`RecentTraces`]; blocks come from the shared blocklist, chosen in
//! `select.rs` and read through `tempo-block`. `find_trace.rs` puts the parts of a trace together.

mod find_trace;
mod http;
mod job;
mod metrics;
mod params;
mod querier;
mod recent;
mod select;

pub use crate::{
    job::JobError,
    querier::{Dependencies, Querier},
    recent::{RecentError, RecentTraces},
};
