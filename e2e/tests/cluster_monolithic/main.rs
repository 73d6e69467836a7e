//! The operator on a real Kubernetes, mode Monolithic: installed by its chart, with the real images, under load.
//!
//! Tests share one cluster and have a namespace each. Names that begin with a letter and a number are acceptance cases
//! of the operator's design.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod bucket;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod scene;
