//! The operator against a real API server without nodes (`E2E_KUBECONFIG`), and what it renders against golden files.
//! (`cfg(test)` tells clippy that functions beside the tests may unwrap as well.)

#[cfg(test)]
mod calls;
#[cfg(test)]
mod control_plane;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod creation;
#[cfg(test)]
mod election;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gitops;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod ingester;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod pausing;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod undecodable;
