//! The distributor from outside: its walk against prost, and its answers over HTTP and gRPC with a fake ingester.
//!
//! `cfg(test)` on each module tells clippy that its helpers, too, are test code.

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod http;
#[cfg(test)]
mod jaeger;
#[cfg(test)]
mod jaeger_batch;
#[cfg(test)]
mod jaeger_translation;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod walk_against_prost;
#[cfg(test)]
mod zipkin;
