//! Integration tests of the backend: every store by one suite, real files of Tempo, and a store that fails.
//!
//! `cfg(test)` on each module tells clippy that its helpers, too, are test code.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod local_store;
#[cfg(test)]
mod poller;
#[cfg(test)]
mod s3_server;
#[cfg(test)]
mod s3_store;
#[cfg(test)]
mod s3_tls;
#[cfg(test)]
mod write_block;
