//! The operator under test, in this process: driven step by step (`pass`), or running with all its watches (`run`).

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{Client, client::ClientBuilder};
use prometheus::Registry;
use tempo_operator::{
    api_calls::ApiCallsLayer,
    controller::{self, Scope},
    events::Recorder,
    leader::Leadership,
    metrics::Metrics,
    pods::{PodHttp, PodHttpOptions},
    reconcile::{Context, ReconcileError, Reconciled, reconcile},
    references::OperatorDefaults,
    server::Health,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::buffer::BufferLayer;

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground, within},
};

pub(crate) struct Operator {
    pub(crate) context: Arc<Context>,
    pub(crate) calls: Calls,
    namespace: String,
    registry: Registry,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Operator {
    pub(crate) fn new(playground: &Playground, calls: Calls) -> Operator {
        Operator::with_config(playground, playground.config.clone(), calls)
    }

    /// With the rights of another user, for example.
    pub(crate) fn with_config(playground: &Playground, config: kube::Config, calls: Calls) -> Operator {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, "test").expect("a fresh registry");
        let client = client(config, &metrics, &calls);
        let context = Context {
            events: Recorder::new(client.clone(), "test".to_owned(), metrics.clone()),
            client,
            pods: PodHttp::new(PodHttpOptions::default()),
            metrics,
            defaults: OperatorDefaults {
                image_repository: "tempo-rs/tempo".to_owned(),
                image_tag: None,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        };
        Operator {
            context: Arc::new(context),
            calls,
            namespace: playground.namespace.clone(),
            registry,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Starts the watches and the queue.
    pub(crate) fn run(&mut self) {
        let scope = Scope::Namespace(self.namespace.clone());
        let health = Health::new(Instant::now());
        self.tasks.spawn(controller::run(Arc::clone(&self.context), scope, 4, health, self.stop.clone()));
    }

    pub(crate) fn running(playground: &Playground) -> Operator {
        let mut operator = Operator::new(playground, Calls::new());
        operator.run();
        operator
    }

    /// One reconcile.
    pub(crate) async fn pass(&self, name: &str) -> Result<Reconciled, ReconcileError> {
        reconcile(&self.context, &self.namespace, name).await
    }

    /// Reconciles so far.
    pub(crate) fn reconciles(&self) -> u64 {
        self.counted("tempo_operator_reconcile_total")
    }

    fn counted(&self, metric: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == metric);
        let values = family
            .iter()
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let count = values.sum::<f64>() as u64;
        count
    }

    /// Waits until there was no reconcile for a while.
    pub(crate) async fn settle(&self) {
        let (mut seen, mut since) = (self.reconciles(), Instant::now());
        let settled = within(DEADLINE, async || {
            let now = self.reconciles();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_millis(1500)).then_some(())
        })
        .await;
        settled.expect("the operator comes to rest");
    }

    /// As SIGTERM does it.
    pub(crate) async fn stop(mut self) {
        self.stop_and_keep().await;
    }

    /// The same, for those who want to look at its calls afterwards.
    pub(crate) async fn stop_and_keep(&mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn client(config: kube::Config, metrics: &Metrics, calls: &Calls) -> Client {
    let layer = ApiCallsLayer { leadership: Leadership::unconditional(), metrics: metrics.clone() };
    ClientBuilder::try_from(config)
        .expect("a client")
        .with_layer(calls)
        .with_layer(&BufferLayer::new(64))
        .with_layer(&layer)
        .build()
}

/// Reconciles until the cluster is ready, as the watches would make it, but without their pauses.
pub(crate) async fn drive_until_ready(operator: &Operator, playground: &Playground, name: &str) -> bool {
    let ready = within(DEADLINE, async || {
        if operator.calls.is_dead() {
            return Some(false);
        }
        // Errors are what the faults are for: the next pass has to cope.
        drop(operator.pass(name).await);
        let status = playground.get_status(name).await;
        let is_ready = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            condition.type_ == "Ready" && condition.status == "True"
        };
        status.conditions.iter().any(is_ready).then_some(true)
    })
    .await;
    ready.unwrap_or_else(|| panic!("{name} did not become ready"))
}

/// The StatefulSet of a cluster.
pub(crate) async fn stateful_set(playground: &Playground, name: &str) -> Option<StatefulSet> {
    playground.api::<StatefulSet>().get_opt(name).await.expect("read the StatefulSet")
}
