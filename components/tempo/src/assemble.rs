//! Which components a target means, and how they are wired to each other in this process.
//!
//! Every `assemble/<component>.rs` picks from [`Shared`] what its component needs and returns a [`Module`]. In
//! `target=all` the distributor calls the ingester and the query-frontend the querier in process, through the same traits
//! that will stand for the network.

mod distributor;
mod ingester;
mod querier;
mod query_frontend;

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use futures::future::BoxFuture;
use jiff::Timestamp;
use prometheus::Registry;
use tempo_backend::{Backend, Blocklist, Poller, PollerOptions};
use tempo_block::BlockCache;
use tempo_config::{Overrides, Target, ValidConfig};
use tempo_distributor::DatagramReceiver;
use tempo_model::Waits;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    server::{http::ListenerOptions, status::Endpoint},
    tasks::Tasks,
};

/// What components of one process share.
pub(crate) struct Shared {
    pub(crate) config: Arc<ValidConfig>,
    pub(crate) registry: Registry,
    pub(crate) overrides: watch::Receiver<Arc<Overrides>>,
    pub(crate) backend: Backend,
    pub(crate) blocklist: Blocklist,
    pub(crate) cache: BlockCache,
    pub(crate) tls_metrics: crate::server::tls::Metrics,
    pub(crate) tasks: Tasks,
    pub(crate) waits: Waits,
    /// Cancelled by `/shutdown` when everything is flushed.
    pub(crate) stop_process: CancellationToken,
}

/// The order of the stop. Each stage has ended before the next one is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Receivers: no new spans; what sockets of datagrams still have is read.
    Receivers,
    /// Requests in flight are acknowledged.
    Distributor,
    /// Heads are in the WAL, which is synced and closed.
    Ingester,
    /// Pollers, reload loops.
    Background,
    /// HTTP and gRPC listeners: readiness and metrics to the last.
    Servers,
}

impl Stage {
    pub(crate) const ALL: [Stage; 5] =
        [Stage::Receivers, Stage::Distributor, Stage::Ingester, Stage::Background, Stage::Servers];
}

/// Something that runs until its token is cancelled.
pub(crate) type Run = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// One component, ready to be mounted and run.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    /// Under `http_api_prefix`, with tenants.
    pub(crate) api: Router,
    /// `/querier<prefix>/...`, with tenants.
    pub(crate) querier_api: Router,
    /// As they are, without a time limit: `/flush`, `/shutdown`, `/ingester/v1/drain`.
    pub(crate) admin: Router,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) receivers: Vec<(ListenerOptions, Router)>,
    pub(crate) datagrams: Vec<DatagramReceiver>,
    pub(crate) run: Option<(Stage, Run)>,
    /// True while nobody should send spans here.
    pub(crate) draining: Option<watch::Receiver<bool>>,
}

impl Module {
    fn new(name: &'static str) -> Module {
        Module {
            name,
            api: Router::new(),
            querier_api: Router::new(),
            admin: Router::new(),
            endpoints: Vec::new(),
            receivers: Vec::new(),
            datagrams: Vec::new(),
            run: None,
            draining: None,
        }
    }
}

/// Opens the components of the target, those that others need first.
pub(crate) async fn modules(shared: &Shared) -> anyhow::Result<Vec<Module>> {
    match shared.config.target {
        Target::All | Target::ScalableSingleBinary => {
            let (ingester, ingester_module) = ingester::assemble(shared).await?;
            let distributor = distributor::assemble(shared, ingester.clone())?;
            let (querier, querier_module) = querier::assemble(shared, ingester)?;
            let query_frontend = query_frontend::assemble(shared, querier)?;
            Ok(vec![ingester_module, distributor, querier_module, query_frontend])
        }
        target @ (Target::Distributor
        | Target::Ingester
        | Target::Querier
        | Target::QueryFrontend
        | Target::Compactor
        | Target::MetricsGenerator) => {
            anyhow::bail!(
                "target {target} works only with others over the network, which this build cannot; use all"
            )
        }
    }
}

/// The poller of the blocklist, and what tells that its first poll has ended: a trace that was flushed before the start
/// is found from then on.
pub(crate) fn poller(shared: &Shared, metrics: tempo_backend::Metrics) -> (Run, oneshot::Receiver<()>) {
    let now = Timestamp::now();
    let seed = u64::from(now.subsec_nanosecond().unsigned_abs());
    let options = PollerOptions::from_config(&shared.config.storage.trace, true, seed);
    let mut poller = Poller::new(shared.backend.clone(), shared.blocklist.clone(), options, metrics);
    let (ended, first_poll) = oneshot::channel();
    let run: Run = Box::new(move |stop| {
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A failure is logged there and tried again soon by the loop.
                _ = poller.poll_once(now) => {}
            }
            // Nobody waits any more if it took too long.
            ended.send(()).ok();
            poller.run(stop).await;
            Ok(())
        })
    });
    (run, first_poll)
}

/// The backend, opened.
pub(crate) async fn backend(
    config: &ValidConfig,
    metrics: tempo_backend::Metrics,
) -> anyhow::Result<Backend> {
    let storage = &config.storage.trace;
    Backend::open(storage, metrics)
        .await
        .with_context(|| format!("open the {} backend", storage.backend.as_str()))
}
