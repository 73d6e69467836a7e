//! Who may write: leadership by a `coordination.k8s.io` Lease.
//!
//! `decide` is pure. Other holders are judged by how long *this* process has seen the same record, never by comparing clocks.
//! Every change of the lease carries the resource version it was decided on, so two candidates cannot both win.
//! `Leadership` is the fence: it holds only until the last confirmed renewal, counted from the moment that renewal was
//! *sent*, plus `renew_deadline`, which is shorter than the lease itself; the client refuses writes once it is gone.
//! A leader that cannot renew stops the process (fail-stop); on a clean stop the lease is released.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where the lease is and who we are; the times are those of client-go.
#[derive(Debug, Clone)]
pub struct LeaderOptions {
    pub namespace: String,
    pub name: String,
    /// Unique per process, for example the pod's name and a random part.
    pub identity: String,
    /// After this long without a change another candidate may take the lease.
    pub lease_duration: Duration,
    pub renew_every: Duration,
    /// A leader that could not renew for this long stops; the rest of the lease is the margin for clocks and slow calls.
    pub renew_deadline: Duration,
}

impl LeaderOptions {
    pub fn new(namespace: String, name: String, identity: String) -> LeaderOptions {
        LeaderOptions {
            namespace,
            name,
            identity,
            lease_duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            renew_deadline: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("lost the lease {namespace}/{name}: not renewed for {unrenewed:?}")]
pub struct LostLease {
    namespace: String,
    name: String,
    unrenewed: Duration,
    source: Option<kube::Error>,
}

/// The fence that every write passes. Clones share one state.
#[derive(Debug, Clone)]
pub struct Leadership {
    held_until: Arc<Mutex<Held>>,
}

#[derive(Debug, Clone, Copy)]
enum Held {
    No,
    Until(Instant),
    Always,
}

impl Leadership {
    pub fn none() -> Leadership {
        Leadership { held_until: Arc::new(Mutex::new(Held::No)) }
    }

    /// For a process that runs without election.
    pub fn unconditional() -> Leadership {
        Leadership { held_until: Arc::new(Mutex::new(Held::Always)) }
    }

    pub fn is_held(&self, now: Instant) -> bool {
        match *self.held_until.lock() {
            Held::No => false,
            Held::Until(deadline) => now < deadline,
            Held::Always => true,
        }
    }

    fn extend(&self, deadline: Instant) {
        *self.held_until.lock() = Held::Until(deadline);
    }

    fn end(&self) {
        *self.held_until.lock() = Held::No;
    }
}

/// The lease as last read, and since when this process has seen it unchanged.
#[derive(Debug, Clone, PartialEq)]
struct Sighting {
    lease: Lease,
    unchanged_since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// There is no lease: create it.
    Create,
    /// Free, released or expired: take it over.
    Acquire,
    /// Ours: write the time.
    Renew,
    /// Somebody else's: look again after this long.
    Yield(Duration),
}

fn decide(sighting: Option<&Sighting>, me: &str, now: Instant, fallback: Duration) -> Decision {
    let Some(sighting) = sighting else {
        return Decision::Create;
    };
    let spec = sighting.lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    if holder == me {
        return Decision::Renew;
    }
    if holder.is_empty() {
        return Decision::Acquire;
    }
    let duration = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(fallback, Duration::from_secs);
    let unchanged = now.saturating_duration_since(sighting.unchanged_since);
    match duration.checked_sub(unchanged) {
        None | Some(Duration::ZERO) => Decision::Acquire,
        Some(rest) => Decision::Yield(rest),
    }
}

/// One candidate. `acquire`, then `hold` for as long as the work runs, then `release`.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    options: LeaderOptions,
    leadership: Leadership,
    sighting: Option<Sighting>,
}

impl Candidate {
    /// `client` must not be fenced by `leadership` itself.
    pub fn new(client: Client, options: LeaderOptions, leadership: Leadership) -> Candidate {
        Candidate { api: Api::namespaced(client, &options.namespace), options, leadership, sighting: None }
    }

    /// Returns when this process leads. Cancel-safe: a lease that was taken and forgotten expires.
    pub async fn acquire(&mut self) {
        loop {
            let pause = match self.step().await {
                Ok(None) => {
                    info!(identity = %self.options.identity, lease = %self.options.name, "became leader");
                    return;
                }
                Ok(Some(rest)) => rest.min(self.options.renew_every),
                Err(error) => {
                    warn!(error = %display_error_chain::DisplayErrorChain::new(&error), "could not read or take the lease");
                    self.options.renew_every
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews until `stop`; an error means that the process must end at once.
    pub async fn hold(&mut self, stop: &CancellationToken) -> Result<(), LostLease> {
        let mut renewed = Instant::now();
        let mut pause = self.options.renew_every;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            let deadline = renewed + self.options.renew_deadline;
            let started = Instant::now();
            let failure = match tokio::time::timeout_at(deadline, self.step()).await {
                Ok(Ok(None)) => {
                    renewed = started;
                    pause = self.options.renew_every;
                    continue;
                }
                // Somebody else holds it now: there is nothing to wait for.
                Ok(Ok(Some(_))) => return Err(self.lost(renewed, None)),
                Ok(Err(error)) => Some(error),
                Err(_elapsed) => None,
            };
            if Instant::now() >= deadline {
                return Err(self.lost(renewed, failure));
            }
            warn!("could not renew the lease, trying again");
            pause = Duration::from_secs(1).min(deadline.saturating_duration_since(Instant::now()));
        }
    }

    /// Gives the lease back so that the next process need not wait for it to expire.
    pub async fn release(mut self) -> Result<(), kube::Error> {
        self.leadership.end();
        let Some(Sighting { mut lease, .. }) = self.sighting.take() else {
            return Ok(());
        };
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        self.api.replace(&self.options.name, &PostParams::default(), &lease).await?;
        info!(lease = %self.options.name, "released the lease");
        Ok(())
    }

    fn lost(&self, renewed: Instant, source: Option<kube::Error>) -> LostLease {
        self.leadership.end();
        LostLease {
            namespace: self.options.namespace.clone(),
            name: self.options.name.clone(),
            unrenewed: renewed.elapsed(),
            source,
        }
    }

    /// One look and at most one write. `None`: the lease is ours, and the fence was moved.
    async fn step(&mut self) -> Result<Option<Duration>, kube::Error> {
        let started = Instant::now();
        self.look(started).await?;
        let me = &self.options.identity;
        let written = match decide(self.sighting.as_ref(), me, started, self.options.lease_duration) {
            Decision::Yield(rest) => return Ok(Some(rest)),
            Decision::Create => self.api.create(&PostParams::default(), &self.claim(None)).await,
            Decision::Acquire | Decision::Renew => {
                let lease = self.claim(self.sighting.as_ref().map(|sighting| &sighting.lease));
                self.api.replace(&self.options.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.sighting = Some(Sighting { lease, unchanged_since: started });
                self.leadership.extend(started + self.options.renew_deadline);
                Ok(None)
            }
            // Another candidate was faster; the next look tells who.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Some(Duration::from_secs(1))),
            Err(error) => Err(error),
        }
    }

    async fn look(&mut self, now: Instant) -> Result<(), kube::Error> {
        let lease = self.api.get_opt(&self.options.name).await?;
        let before = self.sighting.take();
        self.sighting = lease.map(|lease| {
            let unchanged_since = before
                .filter(|before| before.lease.metadata.resource_version == lease.metadata.resource_version)
                .map_or(now, |before| before.unchanged_since);
            Sighting { lease, unchanged_since }
        });
        Ok(())
    }

    fn claim(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let spec = current.and_then(|lease| lease.spec.as_ref());
        let is_ours =
            spec.and_then(|spec| spec.holder_identity.as_deref()) == Some(self.options.identity.as_str());
        let acquire_time = spec.filter(|_| is_ours).and_then(|spec| spec.acquire_time.clone());
        let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        Lease {
            metadata: current.map_or_else(
                || ObjectMeta {
                    name: Some(self.options.name.clone()),
                    namespace: Some(self.options.namespace.clone()),
                    ..ObjectMeta::default()
                },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.options.identity.clone()),
                lease_duration_seconds: i32::try_from(self.options.lease_duration.as_secs()).ok(),
                acquire_time: acquire_time.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(if is_ours || current.is_none() {
                    transitions
                } else {
                    transitions.saturating_add(1)
                }),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests;
