//! What wakes a reconcile: watches, the queue, concurrency, back-off.
//!
//! One controller per watched namespace, or one for the whole cluster. TempoClusters are watched as
//! `DeserializeGuard`s, so that one that cannot be read never hides the others. Children, pods and volumes (by label) and the
//! Secrets and ConfigMaps that specs point at (by name) are watched as metadata only: they are triggers, `reconcile.rs` reads
//! what it needs itself. Nobody's change is hidden by generation alone: finalizers, annotations and deletions wake too.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        controller::{
            Action, Config, Error as ControllerError, ReconcileRequest, applier, trigger_self, trigger_with,
        },
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use parking_lot::Mutex;
use rand::Rng as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    crd::{KeyHolder, TempoCluster},
    dereference::points_at,
    metrics::ReconcileResult,
    observe::CLUSTER_LABEL,
    reconcile::{Context, ReconcileError, Reconciled, reconcile},
    server::{BEAT, Health},
};

pub(crate) type Guarded = DeserializeGuard<TempoCluster>;
type Requests = Pin<Box<dyn Stream<Item = Result<ReconcileRequest<Guarded>, watcher::Error>> + Send>>;

/// Also the smallest pause between two reconciles of one cluster: several changes at once are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(300);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// Which namespaces one controller looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespace(String),
}

impl Scope {
    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Scope::Cluster => Api::all(client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// Runs until `stop`, then finishes the reconciles that are running.
pub async fn run(
    context: Arc<Context>,
    scope: Scope,
    concurrency: u16,
    health: Health,
    stop: CancellationToken,
) {
    let (reader, writer) = reflector::store();
    let clusters = watcher(scope.api::<Guarded>(&context.client), watcher::Config::default())
        .default_backoff()
        .inspect_err(watch_failed(&context, "tempoclusters"))
        .modify(|cluster| cluster.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
        .predicate_filter(fingerprint, kube::runtime::PredicateConfig::default());
    let mut requests: Vec<Requests> = vec![trigger_self::<Guarded, _>(clusters, ()).boxed()];
    requests.extend(child_requests(&context, &scope));
    requests.push(referrers::<Secret>(&context, &scope, KeyHolder::Secret, reader.clone()));
    requests.push(referrers::<ConfigMap>(&context, &scope, KeyHolder::ConfigMap, reader.clone()));
    let queue = stream::select_all(requests)
        .filter(|request| std::future::ready(request.is_ok()))
        .take_until(stop.clone().cancelled_owned());
    let config = Config::default().concurrency(concurrency).debounce(DEBOUNCE);
    let backoffs = Arc::new(Backoffs::default());
    let reconciler = {
        let backoffs = Arc::clone(&backoffs);
        move |cluster: Arc<Guarded>, context: Arc<Context>| {
            Box::pin(observed_reconcile(cluster, context, Arc::clone(&backoffs)))
        }
    };
    let on_error = {
        let backoffs = Arc::clone(&backoffs);
        move |cluster: Arc<Guarded>, _error: &ReconcileError, _context: Arc<Context>| {
            Action::requeue(backoffs.next(&key_of(cluster.as_ref())))
        }
    };
    let mut outcomes =
        applier(reconciler, on_error, Arc::clone(&context), reader.clone(), queue, config).boxed();
    let mut ready = Box::pin(reader.wait_until_ready());
    let mut is_ready = false;
    let mut beat = tokio::time::interval(BEAT);
    info!(?scope, "controller started");
    loop {
        tokio::select! {
            outcome = outcomes.next() => match outcome {
                None => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => log_failure(&error, &context, &backoffs),
            },
            _ = &mut ready, if !is_ready => {
                is_ready = true;
                health.set_ready(true);
            }
            _ = beat.tick() => {}
        }
        health.beat(Instant::now());
    }
    info!(?scope, "controller stopped");
}

async fn observed_reconcile(
    cluster: Arc<Guarded>,
    context: Arc<Context>,
    backoffs: Arc<Backoffs>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let key = key_of(cluster.as_ref());
    context.metrics.reconcile_began();
    let result = reconcile(&context, &key.0, &key.1).await;
    let label = match &result {
        Ok(Reconciled { is_refused: true, .. }) => ReconcileResult::Refused,
        Ok(Reconciled { is_refused: false, .. }) => ReconcileResult::Success,
        Err(_) => ReconcileResult::Failed,
    };
    context.metrics.reconcile_ended(label, started.elapsed(), Timestamp::now());
    debug!(namespace = key.0, cluster = key.1, took = ?started.elapsed(), ?label, "reconciled");
    let reconciled = result?;
    backoffs.forget(&key);
    if reconciled.is_gone {
        context.metrics.forget((&key.0, &key.1));
    }
    Ok(reconciled.requeue.map_or_else(Action::await_change, |pause| Action::requeue(jittered(pause))))
}

fn log_failure(
    error: &ControllerError<ReconcileError, watcher::Error>,
    context: &Context,
    backoffs: &Backoffs,
) {
    match error {
        // A requeue of a cluster that was deleted meanwhile.
        ControllerError::ObjectNotFound(cluster) => {
            let key = (cluster.namespace.clone().unwrap_or_default(), cluster.name.clone());
            backoffs.forget(&key);
            context.metrics.forget((&key.0, &key.1));
        }
        ControllerError::ReconcilerFailed(error, cluster) => {
            warn!(
                %cluster,
                error = %display_error_chain::DisplayErrorChain::new(error),
                "reconcile failed, it will be tried again"
            );
        }
        ControllerError::QueueError(error) => {
            warn!(error = %display_error_chain::DisplayErrorChain::new(error), "watch failed");
        }
        ControllerError::RunnerError(error) => {
            warn!(error = %display_error_chain::DisplayErrorChain::new(error), "the TempoClusters could not be read");
        }
    }
}

fn watch_failed(
    context: &Arc<Context>,
    resource: &'static str,
) -> impl FnMut(&watcher::Error) + Send + 'static {
    let context = Arc::clone(context);
    move |error| {
        context.metrics.watch_failed(resource);
        warn!(resource, error = %display_error_chain::DisplayErrorChain::new(error), "watch failed, it will be started again");
    }
}

/// Watches of what carries the label of a cluster.
fn child_requests(context: &Arc<Context>, scope: &Scope) -> [Requests; 7] {
    [
        children::<StatefulSet>(context, scope),
        children::<Pod>(context, scope),
        children::<PersistentVolumeClaim>(context, scope),
        children::<Service>(context, scope),
        children::<ConfigMap>(context, scope),
        children::<PodDisruptionBudget>(context, scope),
        children::<ServiceAccount>(context, scope),
    ]
}

fn children<K>(context: &Arc<Context>, scope: &Scope) -> Requests
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let labelled = watcher::Config::default().labels(CLUSTER_LABEL);
    let objects = watcher(scope.api::<PartialObjectMeta<K>>(&context.client), labelled)
        .default_backoff()
        .inspect_err(watch_failed(context, plural::<K>()))
        .touched_objects();
    trigger_with(objects, |object: PartialObjectMeta<K>| cluster_of(&object.metadata)).boxed()
}

/// Watches of objects that specs may point at.
fn referrers<K>(context: &Arc<Context>, scope: &Scope, kind: KeyHolder, clusters: Store<Guarded>) -> Requests
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let objects = watcher(scope.api::<PartialObjectMeta<K>>(&context.client), watcher::Config::default())
        .default_backoff()
        .inspect_err(watch_failed(context, plural::<K>()))
        .touched_objects();
    trigger_with(objects, move |object: PartialObjectMeta<K>| {
        let points_here = |cluster: &Arc<Guarded>| {
            cluster.namespace() == object.namespace()
                && cluster.0.as_ref().is_ok_and(|cluster| points_at(&cluster.spec, kind, &object.name_any()))
        };
        let referring = clusters.state().into_iter().filter(points_here);
        referring.map(|cluster| ObjectRef::from_obj(cluster.as_ref())).collect::<Vec<_>>()
    })
    .boxed()
}

fn plural<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::plural(&()) {
        std::borrow::Cow::Borrowed(plural) => plural,
        std::borrow::Cow::Owned(_) => "other",
    }
}

fn cluster_of(metadata: &ObjectMeta) -> Option<ObjectRef<Guarded>> {
    let name = metadata.labels.as_ref()?.get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(name).within(metadata.namespace.as_deref()?))
}

/// What of a TempoCluster wakes its reconcile: not its status, unless somebody removed that.
fn fingerprint(cluster: &Guarded) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let metadata = cluster.meta();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    metadata.finalizers.hash(&mut hasher);
    let annotations = metadata.annotations.iter().flatten();
    for annotation in annotations.filter(|(name, _)| name.starts_with("tempo-rs.dev/")) {
        annotation.hash(&mut hasher);
    }
    match &cluster.0 {
        Ok(cluster) => cluster.status.is_none().hash(&mut hasher),
        Err(error) => error.error.hash(&mut hasher),
    }
    Some(hasher.finish())
}

fn key_of(cluster: &Guarded) -> (String, String) {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// Up to a tenth longer, so that many clusters do not wake together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(1.0..1.1))
}

/// Failures in a row of each cluster: kube's controller does not count them.
#[derive(Debug, Default)]
struct Backoffs {
    failures: Mutex<HashMap<(String, String), u32>>,
}

impl Backoffs {
    fn next(&self, key: &(String, String)) -> Duration {
        let mut failures = self.failures.lock();
        let count = failures.entry(key.clone()).or_default();
        let pause = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_BACKOFF);
        *count = count.saturating_add(1);
        jittered(pause)
    }

    fn forget(&self, key: &(String, String)) {
        self.failures.lock().remove(key);
    }
}

#[cfg(test)]
mod tests;
