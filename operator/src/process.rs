//! The operator as one process: server, leadership, controllers, and the order in which they stop.
//!
//! Stop: no new reconciles, at most `STOP_DEADLINE` for those that run, then the lease is released, then the server ends.
//! A lost lease, or a part that ends by itself, ends the process with an error.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::{Client, client::ClientBuilder};
use prometheus::Registry;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::buffer::BufferLayer;
use tracing::{info, warn};

use crate::{
    api_calls::ApiCallsLayer,
    controller::{self, Scope},
    events::Recorder,
    leader::{Candidate, LeaderOptions, Leadership},
    metrics::Metrics,
    pods::PodHttp,
    reconcile::Context,
    references::OperatorDefaults,
    server::{self, Health},
};

/// Calls that wait for the connection before callers do.
const CALLS_IN_LINE: usize = 64;
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// What the flags of `run` say.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Namespaces with TempoClusters; empty means all.
    pub watch_namespaces: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are answered.
    pub listen: SocketAddr,
    /// Without it the process leads at once.
    pub leader_election: Option<LeaderOptions>,
    /// Reconciles at once, per controller.
    pub concurrency: u16,
    pub defaults: OperatorDefaults,
}

/// Runs until `stop`; an error means that the process must end with a code that makes Kubernetes start it again.
pub async fn run(
    options: RunOptions,
    mut config: kube::Config,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // The client's own retries would hold an eviction that a PDB refuses for minutes; the controller has its own back-off.
    config.default_retry = false;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry, &options.defaults.version).context("register metrics")?;
    let health = Health::new(Instant::now());
    let leadership =
        if options.leader_election.is_some() { Leadership::none() } else { Leadership::unconditional() };
    let fenced = ClientBuilder::try_from(config.clone())
        .context("make a client")?
        .with_layer(&BufferLayer::new(CALLS_IN_LINE))
        .with_layer(&ApiCallsLayer { leadership: leadership.clone(), metrics: metrics.clone() })
        .build();
    let listener = server::bind(options.listen).await?;
    info!(address = %listener.local_addr().context("address of the server")?, "serving probes and metrics");
    let stop_server = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(listener, health.clone(), registry, stop_server.clone()));
    let work = work(&options, Clients { fenced, config }, Parts { metrics, health, leadership }, &stop);
    let outcome = tokio::select! {
        outcome = work => outcome,
        ended = tasks.join_next() => Err(anyhow::anyhow!("the server of probes ended: {ended:?}")),
    };
    stop_server.cancel();
    if tokio::time::timeout(Duration::from_secs(5), tasks.join_all()).await.is_err() {
        warn!("connections to the server of probes did not end in time");
    }
    outcome
}

struct Clients {
    fenced: Client,
    config: kube::Config,
}

struct Parts {
    metrics: Metrics,
    health: Health,
    leadership: Leadership,
}

async fn work(
    options: &RunOptions,
    clients: Clients,
    parts: Parts,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Parts { metrics, health, leadership } = parts;
    let Some(election) = options.leader_election.clone() else {
        metrics.lead(true);
        return control(options, clients.fenced, &metrics, &health, stop).await;
    };
    // Leases are written without the fence: it is what they are for.
    let unfenced = Client::try_from(clients.config).context("make a client for the lease")?;
    let mut candidate = Candidate::new(unfenced, election, leadership);
    health.set_ready(true);
    if !wait_for_leadership(&mut candidate, &health, stop).await {
        return Ok(());
    }
    health.set_ready(false);
    metrics.lead(true);
    let stop_holding = CancellationToken::new();
    let stop_working = stop.child_token();
    let outcome = {
        let mut working = Box::pin(control(options, clients.fenced, &metrics, &health, &stop_working));
        let holding = candidate.hold(&stop_holding);
        tokio::select! {
            outcome = &mut working => outcome,
            lost = holding => lost.map_err(anyhow::Error::from),
        }
    };
    metrics.lead(false);
    if outcome.is_ok() {
        candidate.release().await.context("release the lease")?;
    }
    outcome
}

async fn wait_for_leadership(candidate: &mut Candidate, health: &Health, stop: &CancellationToken) -> bool {
    let mut acquired = Box::pin(candidate.acquire());
    let mut beat = tokio::time::interval(server::BEAT);
    loop {
        tokio::select! {
            () = &mut acquired => return true,
            () = stop.cancelled() => return false,
            _ = beat.tick() => health.beat(Instant::now()),
        }
    }
}

/// Runs all controllers until `stop` or until one of them ends.
async fn control(
    options: &RunOptions,
    client: Client,
    metrics: &Metrics,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let instance =
        options.leader_election.as_ref().map_or("tempo-operator", |election| election.identity.as_str());
    let context = Arc::new(Context {
        events: Recorder::new(client.clone(), instance.to_owned(), metrics.clone()),
        client,
        pods: PodHttp::new(crate::pods::PodHttpOptions::default()),
        metrics: metrics.clone(),
        defaults: options.defaults.clone(),
    });
    let scopes = if options.watch_namespaces.is_empty() {
        vec![Scope::Cluster]
    } else {
        options.watch_namespaces.iter().cloned().map(Scope::Namespace).collect()
    };
    let mut controllers = JoinSet::new();
    for scope in scopes {
        controllers.spawn(controller::run(
            Arc::clone(&context),
            scope,
            options.concurrency,
            health.clone(),
            stop.clone(),
        ));
    }
    let ended = tokio::select! {
        ended = controllers.join_next() => ended,
        () = stop.cancelled() => None,
    };
    if !stop.is_cancelled() {
        anyhow::bail!("a controller ended: {ended:?}");
    }
    if tokio::time::timeout(STOP_DEADLINE, async { while controllers.join_next().await.is_some() {} })
        .await
        .is_err()
    {
        warn!("reconciles did not end in time");
        controllers.abort_all();
    }
    Ok(())
}
