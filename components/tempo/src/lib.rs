//! The tempo binary as a library: loads configuration, chooses parts by target, assembles, serves, stops in order.
//!
//! `process` is the story of a process from arguments to exit code; `App` is one running set of components, of which a
//! test may start several. Nothing here knows what a span is, except the demo that sends some.

mod app;
mod assemble;
pub mod demo;
pub mod flags;
pub mod overrides;
pub mod process;
pub mod profile;
pub mod server;
pub mod services;
pub mod tasks;
pub mod telemetry;

pub use app::{Addresses, App, Outcome, ReceiverAddresses};
