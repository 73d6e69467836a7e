//! Plays the kubelet and the process in each pod of one namespace: writes pod statuses as the test decides, and answers
//! HTTP on the pod's address (one loopback address per namespace, port 3200, as mode Monolithic has one pod).

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use futures::StreamExt as _;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet, time::Instant};

use crate::control_plane::Playground;

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ready,
    NotReady,
    CrashLoop,
    ImageMissing,
    Unschedulable,
}

type Decide = Box<dyn FnMut(&Pod) -> Fate + Send>;
type Answer = Box<dyn FnMut(&Method, &str) -> (u16, String) + Send>;

/// Runs until it is dropped.
pub(crate) struct Kubelet {
    state: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    decide: Mutex<Decide>,
    answer: Mutex<Answer>,
    again: Notify,
    budgets: Api<PodDisruptionBudget>,
}

impl Kubelet {
    /// Every pod becomes ready, every request is answered by 204.
    pub(crate) async fn start(playground: &Playground) -> Kubelet {
        let state = Arc::new(Shared {
            decide: Mutex::new(Box::new(|_| Fate::Ready)),
            answer: Mutex::new(Box::new(|_, _| (204, String::new()))),
            again: Notify::new(),
            budgets: playground.api(),
        });
        let (listener, address) = listen().await;
        let mut tasks = JoinSet::new();
        let router = Router::new().fallback(respond).with_state(Arc::clone(&state));
        tasks.spawn(async move { axum::serve(listener, router).await.expect("the pod's server runs") });
        tasks.spawn(play(playground.api(), address, Arc::clone(&state)));
        Kubelet { state, _tasks: tasks }
    }

    /// Changes what becomes of pods, those that are there included.
    pub(crate) fn decide(&self, decide: impl FnMut(&Pod) -> Fate + Send + 'static) {
        *self.state.decide.lock() = Box::new(decide);
        self.state.again.notify_one();
    }

    /// Changes what pods answer to method and path (with query).
    pub(crate) fn answer(&self, answer: impl FnMut(&Method, &str) -> (u16, String) + Send + 'static) {
        *self.state.answer.lock() = Box::new(answer);
    }
}

/// A loopback address that no other test of this machine uses now.
async fn listen() -> (TcpListener, Ipv4Addr) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(251);
    loop {
        let [_, b, c, d] = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
        let address = Ipv4Addr::new(127, b.max(1), c, d.clamp(1, 254));
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((address, 3200))).await {
            return (listener, address);
        }
    }
}

async fn respond(State(state): State<Arc<Shared>>, method: Method, uri: Uri) -> (StatusCode, String) {
    let path = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    let (code, body) = (state.answer.lock())(&method, &path);
    (StatusCode::from_u16(code).expect("a status code"), body)
}

async fn play(pods: Api<Pod>, address: Ipv4Addr, state: Arc<Shared>) {
    loop {
        let mut changes =
            watcher(pods.clone(), watcher::Config::default()).default_backoff().applied_objects().boxed();
        loop {
            tokio::select! {
                () = state.again.notified() => break,
                change = changes.next() => match change {
                    Some(Ok(pod)) => write_status(&pods, &pod, address, &state).await,
                    Some(Err(_)) => {}
                    None => return,
                },
            }
        }
    }
}

async fn write_status(pods: &Api<Pod>, pod: &Pod, address: Ipv4Addr, state: &Shared) {
    if pod.metadata.deletion_timestamp.is_some() {
        return let_go(pods, pod, state).await;
    }
    if !pod.finalizers().iter().any(|finalizer| finalizer == STOPPING) {
        let patch = json!({"metadata": {"uid": pod.uid(), "finalizers": [STOPPING]}});
        drop(pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
    }
    let fate = (state.decide.lock())(pod);
    let marker = format!("{fate:?}");
    if pod.status.as_ref().and_then(|status| status.message.as_ref()) == Some(&marker) {
        return;
    }
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": status_of(pod, fate, address, &marker)});
    // The pod may be gone or another one by now: then its successor comes through the watch.
    drop(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await);
}

/// A pod without a node is gone the moment it is deleted, and the controller of budgets takes its successor of the same name
/// for the evicted one, for two minutes. On a node it stops first, and the controller sees that; so here.
const STOPPING: &str = "tests.tempo-rs.dev/stopping";

async fn let_go(pods: &Api<Pod>, pod: &Pod, state: &Shared) {
    if !pod.finalizers().iter().any(|finalizer| finalizer == STOPPING) {
        return;
    }
    let name = pod.name_any();
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end && is_counted_as_disrupted(&state.budgets, &name).await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let patch = json!({"metadata": {"uid": pod.uid(), "finalizers": null}});
    drop(pods.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await);
}

async fn is_counted_as_disrupted(budgets: &Api<PodDisruptionBudget>, pod: &str) -> bool {
    let Ok(budgets) = budgets.list(&ListParams::default()).await else { return true };
    let mut counted = budgets.into_iter().filter_map(|budget| budget.status?.disrupted_pods);
    counted.any(|pods| pods.contains_key(pod))
}

fn status_of(pod: &Pod, fate: Fate, address: Ipv4Addr, marker: &str) -> Value {
    let now = jiff::Timestamp::now();
    let second = jiff::Timestamp::from_second(now.as_second()).expect("now");
    let is_ready = fate == Fate::Ready;
    let truth = if is_ready { "True" } else { "False" };
    let state = match fate {
        Fate::Ready | Fate::NotReady => json!({"running": {"startedAt": second}}),
        Fate::CrashLoop => {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}})
        }
        Fate::ImageMissing => {
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "image not found"}})
        }
        Fate::Unschedulable => return unschedulable(&second, marker),
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container.name, "image": container.image.clone().unwrap_or_default(), "imageID": "sha256:0",
                "ready": is_ready, "started": is_ready, "restartCount": i32::from(fate == Fate::CrashLoop) * 3, "state": state,
            })
        })
        .collect();
    json!({
        "phase": if fate == Fate::ImageMissing { "Pending" } else { "Running" },
        "message": marker,
        "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}],
        "startTime": second,
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": second},
            {"type": "ContainersReady", "status": truth, "lastTransitionTime": second},
            {"type": "Ready", "status": truth, "lastTransitionTime": second},
        ],
        "containerStatuses": statuses,
    })
}

fn unschedulable(second: &jiff::Timestamp, marker: &str) -> Value {
    json!({
        "phase": "Pending",
        "message": marker,
        "podIP": null,
        "podIPs": null,
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": second,
            "message": "0/3 nodes are available",
        }],
        "containerStatuses": null,
    })
}
