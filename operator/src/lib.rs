//! The Kubernetes operator of tempo-rs: TempoCluster in, a running Tempo out. `README.md` beside this crate has the map.
//!
//! The pure half (crd, references, validate, render) does no I/O; the other half reads the API server and the pods,
//! decides with a pure planner, and writes.

#![warn(missing_debug_implementations)]

pub mod api_calls;
pub mod apply;
pub mod cli;
pub mod controller;
pub mod crd;
pub mod dereference;
mod drain;
pub mod events;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod pods;
pub mod process;
pub mod reconcile;
pub mod references;
pub mod render;
pub mod rollout;
pub mod server;
pub mod status;
pub mod validate;
pub mod volumes;
