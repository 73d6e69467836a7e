//! Tests from outside: the built `tempo` binary, real clients, real signals.
//!
//! This library starts a server in a directory of its own on free ports, or a whole Kubernetes ([`cluster`]), speaks HTTP to
//! it, and makes spans whose every field can be checked later. What is tested is in `tests/`; how to run all of it is in
//! `run`.

pub mod argocd;
mod client;
pub mod cluster;
mod collector;
mod image;
pub mod operator;
mod server;
mod spans;
mod tools;
mod wait;

pub use client::{Client, Response};
pub use collector::{Collector, Way};
pub use image::Image;
pub use server::{Server, ServerOptions};
pub use spans::{Batch, SpanMaker};
pub use tools::{
    go_clients, jaeger_java, jaeger_javascript, jaeger_python, java, javascript, post_file, pprof_tool,
    python, run_tool, telemetrygen, versitygw,
};
pub use wait::eventually;
