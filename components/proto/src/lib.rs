//! The bytes between processes: OTLP, the part of `tempopb` that clients read, and our own internal messages.
//!
//! OTLP types come from the `opentelemetry-proto` crate; everything else is generated from `proto/` and checked in
//! (`tests/it` regenerates and compares, nobody needs protoc). No logic lives here.

pub use opentelemetry_proto::tonic::{
    collector::trace::v1 as collector, common::v1 as common, resource::v1 as resource, trace::v1 as trace,
};

mod generated;

pub use generated::{frontend, jaeger, push, tempopb};
