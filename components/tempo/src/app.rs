//! One running set of components: start, run, stop.
//!
//! Start: overrides, backend, components (the ingester replays its WAL), first look at the blocklist, listeners, ready.
//! The HTTP port answers `/ready` and `/metrics` during the replay; receivers listen when everything behind them is there.
//! Stop: `/ready` says no for `shutdown_delay`, then stage by stage in the direction of the data ([`Stage`]), all within
//! one deadline. What a stage has not finished by then is cut off and makes the outcome [`Outcome::Unfinished`].

use std::{
    collections::BTreeMap, future::Future, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use prometheus::Registry;
use tempo_backend::Blocklist;
use tempo_block::BlockCache;
use tempo_config::ValidConfig;
use tempo_model::Waits;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    assemble::{self, Run, Shared, Stage},
    overrides,
    server::{
        self, LateRoutes, Mounted,
        datagrams::BoundReceiver,
        http::{Listener, ServeContext},
        tls,
    },
    services::{ServiceState, Services},
    tasks::Tasks,
    telemetry,
};

/// How long the start waits for the first look at the blocklist. A large bucket takes a few seconds; one that hangs
/// must not keep the receivers shut.
const FIRST_POLL_LIMIT: Duration = Duration::from_secs(15);

/// Where an app listens; `None` is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub internal: Option<SocketAddr>,
    pub receivers: ReceiverAddresses,
}

/// Where receivers listen; `None` is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiverAddresses {
    pub otlp_grpc: Option<SocketAddr>,
    pub otlp_http: Option<SocketAddr>,
    pub jaeger_grpc: Option<SocketAddr>,
    pub jaeger_thrift_http: Option<SocketAddr>,
    pub jaeger_thrift_compact: Option<SocketAddr>,
    pub jaeger_thrift_binary: Option<SocketAddr>,
    pub jaeger_sampling: Option<SocketAddr>,
    pub zipkin: Option<SocketAddr>,
}

impl ReceiverAddresses {
    fn of(listeners: &[(Listener, axum::Router)], sockets: &[BoundReceiver]) -> ReceiverAddresses {
        let listener = |name| listeners.iter().find(|(l, _)| l.name() == name).map(|(l, _)| l.address());
        let socket = |name| sockets.iter().find(|s| s.receiver.name() == name).map(|s| s.address);
        ReceiverAddresses {
            otlp_grpc: listener("otlp_grpc"),
            otlp_http: listener("otlp_http"),
            jaeger_grpc: listener("jaeger_grpc"),
            jaeger_thrift_http: listener("jaeger_thrift_http"),
            jaeger_thrift_compact: socket("jaeger_thrift_compact"),
            jaeger_thrift_binary: socket("jaeger_thrift_binary"),
            jaeger_sampling: listener("jaeger_sampling"),
            zipkin: listener("zipkin"),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was acknowledged is synced to disk, everything stopped.
    Clean,
    /// A part ended by itself; the others were stopped.
    Failed(anyhow::Error),
    /// These parts had not stopped at the deadline.
    Unfinished(Vec<&'static str>),
}

/// What ended, and how.
struct Ended {
    stage: Stage,
    name: &'static str,
    result: anyhow::Result<()>,
}

/// A running set of components. Dropping it without [`App::stop`] aborts everything, as a crash would.
#[derive(Debug)]
pub struct App {
    addresses: Addresses,
    config: Arc<ValidConfig>,
    registry: Registry,
    services: Services,
    runner: Runner,
    stop_process: CancellationToken,
}

impl App {
    /// Starts everything that the configuration's target names; returns when it is ready.
    pub async fn start(config: ValidConfig) -> anyhow::Result<App> {
        let config = Arc::new(config);
        let registry = telemetry::registry().context("register process metrics")?;
        let services = Services::default();
        let (tasks, waits) = (Tasks::default(), Waits::default());
        let context = ServeContext {
            tasks: tasks.clone(),
            waits: waits.clone(),
            metrics: server::metrics::Metrics::register(&registry).context("register server metrics")?,
            grace: config.server.graceful_shutdown_timeout.get(),
        };
        let tls_metrics = tls::Metrics::register(&registry).context("register TLS metrics")?;
        let listeners = server::bind(&config, &tls_metrics).await?;

        let reloader = overrides::Reloader::open(&config.overrides, &registry).await?;
        let backend_metrics =
            tempo_backend::Metrics::register(&registry).context("register backend metrics")?;
        let shared = Shared {
            backend: assemble::backend(&config, backend_metrics.clone()).await?,
            config: Arc::clone(&config),
            registry: registry.clone(),
            overrides: reloader.subscribe(),
            blocklist: Blocklist::new(),
            cache: BlockCache::new(config.storage.trace.tempo_rs.cache_bytes.get()),
            tls_metrics,
            tasks,
            waits,
            stop_process: CancellationToken::new(),
        };
        services.set_backend(shared.backend.clone());
        let mut runner = Runner::new(shared.tasks.clone(), services.clone());
        let addresses = listeners.addresses();
        let server::Listeners { http, grpc, internal } = listeners;
        // Before the first listener: /ready must not say yes while it knows of nothing that could be missing.
        services.set("components", ServiceState::Starting);
        let routes = LateRoutes::starting(&services, &registry);
        runner.spawn_listener(Stage::Servers, http, routes.router(), &context);
        if let Some(internal) = internal {
            let probes = server::probes(&services, &registry, &context);
            runner.spawn_listener(Stage::Servers, internal, probes, &context);
        }
        let mut modules = assemble::modules(&shared).await?;
        let receivers = server::bind_receivers(&mut modules, &config, &context).await?;
        let sockets = server::bind_datagrams(&mut modules)?;
        let (poller, first_poll) = assemble::poller(&shared, backend_metrics);

        runner.spawn(
            Stage::Background,
            "overrides",
            Box::new(move |stop| Box::pin(ends(reloader.run(stop)))),
        );
        runner.spawn(Stage::Background, "blocklist-poller", poller);
        if tokio::time::timeout(FIRST_POLL_LIMIT, first_poll).await.is_err() {
            warn!("started before the first look at the blocklist ended, older traces are found later");
        }
        for module in &mut modules {
            services.set(module.name, ServiceState::Starting);
            if let Some(draining) = module.draining.take() {
                services.set_draining(draining);
            }
            match module.run.take() {
                Some((stage, run)) => runner.spawn(stage, module.name, run),
                None => services.set(module.name, ServiceState::Running),
            }
        }
        let addresses = Addresses { receivers: ReceiverAddresses::of(&receivers, &sockets), ..addresses };
        let mounted = Mounted::build(&shared, &services, &context, modules);
        for (listener, router) in receivers {
            runner.spawn_listener(Stage::Receivers, listener, router, &context);
        }
        for BoundReceiver { receiver, socket, address: _ } in sockets {
            let name = receiver.name();
            let run: Run = Box::new(move |stop| {
                Box::pin(async move { Ok(receiver.run(socket, stop.cancelled_owned()).await?) })
            });
            runner.spawn(Stage::Receivers, name, run);
        }
        runner.spawn_listener(Stage::Servers, grpc, mounted.grpc, &context);
        routes.replace(mounted.http);
        services.set("components", ServiceState::Running);
        Ok(App { addresses, config, registry, services, runner, stop_process: shared.stop_process })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Runs until `signal`, `/shutdown` or the end of any part; then stops.
    pub async fn run(mut self, signal: impl Future<Output = ()>) -> Outcome {
        let stop_process = self.stop_process.clone();
        let failure = tokio::select! {
            () = signal => None,
            () = stop_process.cancelled() => None,
            ended = self.runner.next_ended() => ended.map(|Ended { name, result, .. }| match result {
                Ok(()) => anyhow::anyhow!("{name} ended by itself"),
                Err(error) => error.context(format!("{name} failed")),
            }),
        };
        // `/shutdown` ends the ingester before it says so.
        let failure = failure.filter(|_| !stop_process.is_cancelled());
        if let Some(error) = &failure {
            error!(error = format!("{error:#}"), "stopping because a part of the process ended");
        }
        match (failure, self.stop().await) {
            (Some(error), Outcome::Clean | Outcome::Failed(_)) => Outcome::Failed(error),
            (_, outcome) => outcome,
        }
    }

    /// Stops in data order; what takes longer than the deadline is cut off.
    pub async fn stop(mut self) -> Outcome {
        let start = Instant::now();
        self.services.begin_stop();
        info!("stopping");
        tokio::time::sleep(self.config.shutdown_delay.get()).await;

        let deadline = Instant::now() + self.config.server.tempo_rs.shutdown_deadline.get();
        let mut failure = None;
        for stage in Stage::ALL {
            match tokio::time::timeout_at(deadline, self.runner.stop(stage)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failure = Some(error),
                Err(_) => {
                    let left = self.runner.running();
                    error!(parts = ?left, "not everything had stopped at the deadline");
                    return Outcome::Unfinished(left);
                }
            }
        }
        info!(seconds = start.elapsed().as_secs_f64(), "stopped");
        failure.map_or(Outcome::Clean, Outcome::Failed)
    }
}

async fn ends(future: impl Future<Output = ()>) -> anyhow::Result<()> {
    future.await;
    Ok(())
}

/// Owns every task of the app.
#[derive(Debug)]
struct Runner {
    tasks: Tasks,
    services: Services,
    set: JoinSet<Ended>,
    tokens: BTreeMap<Stage, CancellationToken>,
    running: Vec<(Stage, &'static str)>,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ended").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Runner {
    fn new(tasks: Tasks, services: Services) -> Runner {
        let tokens = Stage::ALL.map(|stage| (stage, CancellationToken::new())).into();
        Runner { tasks, services, set: JoinSet::new(), tokens, running: Vec::new() }
    }

    fn token(&self, stage: Stage) -> CancellationToken {
        self.tokens.get(&stage).cloned().unwrap_or_default()
    }

    #[track_caller]
    fn spawn(&mut self, stage: Stage, name: &'static str, run: Run) {
        let stop = self.token(stage);
        let task = async move {
            let outcome = AssertUnwindSafe(run(stop)).catch_unwind().await;
            let result = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("{name} panicked")));
            Ended { stage, name, result }
        };
        self.set.spawn(self.tasks.track(name, task));
        self.running.push((stage, name));
        self.services.set(name, ServiceState::Running);
    }

    fn spawn_listener(
        &mut self,
        stage: Stage,
        listener: Listener,
        router: axum::Router,
        context: &ServeContext,
    ) {
        let name = listener.name();
        if let Some(tls) = listener.tls() {
            self.spawn(Stage::Background, tls.name(), Box::new(move |stop| Box::pin(ends(tls.run(stop)))));
        }
        let context = context.clone();
        let run: Run = Box::new(move |stop| {
            Box::pin(async move {
                let cut_off = listener.serve(router, context, stop).await;
                if cut_off > 0 {
                    warn!(
                        listener = name,
                        connections = cut_off,
                        "cut off connections that did not end in time"
                    );
                }
                Ok(())
            })
        });
        self.spawn(stage, name, run);
    }

    /// The next part that ends; `None` if there is none left.
    async fn next_ended(&mut self) -> Option<Ended> {
        let ended = self.set.join_next().await?.ok()?;
        self.running.retain(|&(stage, name)| (stage, name) != (ended.stage, ended.name));
        match &ended.result {
            Ok(()) => self.services.set(ended.name, ServiceState::Terminated),
            Err(error) => self.services.failed(ended.name, format!("{error:#}")),
        }
        Some(ended)
    }

    /// Tells the parts of one stage to stop and waits until they have.
    async fn stop(&mut self, stage: Stage) -> anyhow::Result<()> {
        for &(_, name) in self.running.iter().filter(|(s, _)| *s == stage) {
            self.services.set(name, ServiceState::Stopping);
        }
        self.token(stage).cancel();
        let mut outcome = Ok(());
        while self.running.iter().any(|&(s, _)| s == stage) {
            let Some(ended) = self.next_ended().await else { break };
            if let Err(error) = ended.result {
                error!(part = ended.name, error = format!("{error:#}"), "a part failed while stopping");
                outcome = Err(error);
            }
        }
        outcome
    }

    fn running(&self) -> Vec<&'static str> {
        self.running.iter().map(|&(_, name)| name).collect()
    }
}
