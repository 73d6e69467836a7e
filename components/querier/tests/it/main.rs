//! The querier from outside: jobs and HTTP requests against fake recent data and blocks that Tempo wrote.
//!
//! `cfg(test)` on each module tells clippy that its helpers, too, are test code.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod http;
#[cfg(test)]
mod jobs;
