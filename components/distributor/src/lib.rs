//! Takes spans in: receivers, limits, validation, regrouping by trace, and the way to the ingesters.
//!
//! A request's protobuf is walked, not decoded (`validate`, on `wire`); JSON is converted to protobuf at the edge, so
//! that everything behind the receivers has one form. Spans leave regrouped by trace, as the sender's bytes, in a
//! `tempo_model::PushBatch` (`regroup`), and the client is answered once an ingester has them safe (`push`). What is in
//! flight is bounded in bytes (`inflight`); nothing is dropped without a counter or an answer that says so.

mod inflight;
mod metrics;
mod push;
mod rate_limit;
mod receiver;
pub mod regroup;
mod truncate;
pub mod validate;
mod wire;

pub use inflight::Refused;
pub use push::{
    Dependencies, DiscardReason, Discarded, Distributor, IngesterPush, IngesterPushError, PushError,
    PushOutcome, PushResponse,
};
pub use rate_limit::RateLimited;
pub use receiver::{
    DatagramReceiver, JaegerFault, JaegerFormat, JaegerToOtlp, TenantRefused,
    zipkin::{ZipkinFault, ZipkinFormat, zipkin_to_otlp},
};
pub use truncate::Truncated;
pub use wire::Fault;
