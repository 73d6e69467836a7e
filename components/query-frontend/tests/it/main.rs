//! The query-frontend from outside: HTTP requests against queriers written for the test.
//!
//! `cfg(test)` on each module tells clippy that its helpers, too, are test code.

#[cfg(test)]
mod dispatch;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod traces;
