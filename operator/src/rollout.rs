//! Carries out one action of the plan. Every action may be done again after an operator died in it: what is gone already,
//! or was replaced in the meantime, is no error.
//!
//! A restart flushes first, so that little is replayed, but does not depend on it: acknowledged spans are in the WAL on
//! the pod's volume, and the successor flushes what the storage did not take. So a dead bucket delays a restart by the
//! flush timeout and stops nothing; the Event says so. Working pods are taken away with the Eviction API, which honours
//! budgets; only pods that serve nothing are deleted plainly. Both name the pod by uid.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, EvictParams, PostParams},
};

use crate::{
    crd::TempoCluster,
    drain,
    observe::Record,
    plan::{Action, Farewell, PodRef, Progress, Step},
    pods::PodHttp,
    volumes::{self, VolumeRef},
};

/// Something to tell the user, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub is_warning: bool,
    pub reason: &'static str,
    pub message: String,
    /// Name and uid.
    pub pod: Option<(String, String)>,
}

impl Notice {
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Notice {
        Notice { is_warning: false, reason, message: message.into(), pod: None }
    }

    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Notice {
        Notice { is_warning: true, ..Notice::normal(reason, message) }
    }

    pub(crate) fn about(mut self, pod: &PodRef) -> Notice {
        self.pod = Some((pod.name.clone(), pod.uid.clone()));
        self
    }
}

/// What came of an action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executed {
    pub notices: Vec<Notice>,
    /// Somebody else is in the way: this is where the cluster is, in place of the plan's progress.
    pub blocked: Option<Progress>,
}

impl Executed {
    pub(crate) fn told(notice: Notice) -> Executed {
        Executed { notices: vec![notice], blocked: None }
    }

    pub(crate) fn blocked(step: Step, notice: Notice) -> Executed {
        let progress = Progress::new(step, notice.message.clone());
        Executed { notices: vec![notice], blocked: Some(progress) }
    }
}

/// An action that the API server did not carry out; to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct ExecuteError {
    pub(crate) doing: String,
    pub(crate) source: kube::Error,
}

/// Carries out one action.
pub async fn execute(
    action: &Action,
    client: &Client,
    http: &PodHttp,
    cluster: &TempoCluster,
) -> Result<Executed, ExecuteError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let place = Place { client, http, cluster, namespace: &namespace };
    match action {
        Action::None | Action::Hold => Ok(Executed::default()),
        Action::FlushAndEvict { pod } => place.flush_and_evict(pod).await,
        Action::DeletePod { pod, why } => place.delete_pod(pod, why).await,
        Action::ForgetRecord { volume } => place.forget_record(volume).await,
        Action::CancelDrain { pod } => Ok(drain::cancel(&place, pod).await),
        Action::GrowVolumes { volumes, size } => place.grow_volumes(volumes, size).await,
        Action::RecreateStatefulSet { name, uid } => place.recreate_stateful_set(name, uid).await,
        Action::Drain { pod } => Ok(drain::begin(&place, pod).await),
        Action::WriteRecord { volume, pod, record, at } => {
            place.write_record(volume, pod.as_ref(), record, *at).await
        }
        Action::ScaleToZero { name, uid } => drain::scale_to_zero(&place, name, uid).await,
        Action::DeleteVolumes { volumes } => place.delete_volumes(volumes).await,
        Action::RemoveFinalizer { farewell } => drain::remove_finalizer(&place, farewell).await,
    }
}

/// What came of a request to evict a pod.
enum Eviction {
    Done,
    /// There is no such pod any more.
    Gone,
    Refused(String),
}

fn refused(pod: &PodRef, why: &str) -> Executed {
    let message = format!("{} cannot be evicted now: {why}", pod.name);
    Executed::blocked(Step::EvictionRefused, Notice::warning("EvictionRefused", message).about(pod))
}

/// Where an action takes place.
pub(crate) struct Place<'a> {
    pub(crate) client: &'a Client,
    pub(crate) http: &'a PodHttp,
    pub(crate) cluster: &'a TempoCluster,
    pub(crate) namespace: &'a str,
}

impl Place<'_> {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Asks first whether the pod may go: a flush for nothing would leave one small block after the other.
    async fn flush_and_evict(&self, pod: &PodRef) -> Result<Executed, ExecuteError> {
        match self.evict(pod, true).await? {
            Eviction::Done => {}
            Eviction::Gone => return Ok(Executed::default()),
            Eviction::Refused(why) => return Ok(refused(pod, &why)),
        }
        let flushed = self.flush(pod).await;
        if !self.is_still_wanted().await? {
            return Ok(Executed::told(flushed));
        }
        let mut executed = match self.evict(pod, false).await? {
            Eviction::Done => {
                let message = format!("evicted {}: it is made anew from the newest template", pod.name);
                Executed::told(Notice::normal("Evicted", message).about(pod))
            }
            Eviction::Gone => Executed::default(),
            Eviction::Refused(why) => refused(pod, &why),
        };
        executed.notices.insert(0, flushed);
        Ok(executed)
    }

    async fn evict(&self, pod: &PodRef, dry_run: bool) -> Result<Eviction, ExecuteError> {
        let parameters = EvictParams {
            delete_options: Some(DeleteParams { dry_run, ..volumes::this_one(&pod.uid) }),
            post_options: PostParams { dry_run, ..PostParams::default() },
        };
        match self.pods().evict(&pod.name, &parameters).await {
            Ok(_) => Ok(Eviction::Done),
            Err(error) if is_gone(&error) => Ok(Eviction::Gone),
            // 429: a budget allows no disruption now. 500: more than one budget covers the pod.
            Err(kube::Error::Api(status)) if matches!(status.code, 429 | 500) => {
                Ok(Eviction::Refused(status.message))
            }
            Err(source) => Err(ExecuteError { doing: format!("evict pod {}", pod.name), source }),
        }
    }

    async fn flush(&self, pod: &PodRef) -> Notice {
        let why = match pod.ip {
            None => "it has no address".to_owned(),
            Some(ip) => match self.http.flush(ip).await {
                Ok(()) => return Notice::normal("Flushed", format!("flushed {}", pod.name)).about(pod),
                Err(error) => display_error_chain::DisplayErrorChain::new(&error).to_string(),
            },
        };
        let message = format!(
            "restarting {} without a complete flush; its spans are safe in the WAL on its volume: {why}",
            pod.name
        );
        Notice::warning("FlushFailed", message).about(pod)
    }

    /// A flush takes time in which the user may have thought better of it.
    async fn is_still_wanted(&self) -> Result<bool, ExecuteError> {
        let clusters: Api<TempoCluster> = Api::namespaced(self.client.clone(), self.namespace);
        let name = self.cluster.name_any();
        let found = clusters.get_metadata_opt(&name).await;
        let found = found.map_err(|source| ExecuteError { doing: format!("read {name} again"), source })?;
        Ok(found.is_some_and(|found| {
            found.metadata.uid == self.cluster.metadata.uid
                && found.metadata.generation == self.cluster.metadata.generation
        }))
    }

    async fn delete_pod(&self, pod: &PodRef, why: &str) -> Result<Executed, ExecuteError> {
        match self.pods().delete(&pod.name, &volumes::this_one(&pod.uid)).await {
            Ok(_) => {
                let message = format!("deleted {}, which served nothing: {why}", pod.name);
                Ok(Executed::told(Notice::normal("ReplacedStuckPod", message).about(pod)))
            }
            Err(error) if is_gone(&error) => Ok(Executed::default()),
            Err(source) => Err(ExecuteError { doing: format!("delete pod {}", pod.name), source }),
        }
    }

    async fn forget_record(&self, volume: &VolumeRef) -> Result<Executed, ExecuteError> {
        let written =
            volumes::write_record(self.client, self.namespace, volume, None, Timestamp::UNIX_EPOCH).await;
        self.on_volume("take the record off", volume, written).map(|_| Executed::default())
    }

    async fn write_record(
        &self,
        volume: &VolumeRef,
        pod: Option<&PodRef>,
        record: &Record,
        at: Timestamp,
    ) -> Result<Executed, ExecuteError> {
        let written = volumes::write_record(self.client, self.namespace, volume, Some(record), at).await;
        if !self.on_volume("write a record on", volume, written)? {
            return Ok(Executed::default());
        }
        let notice = match record {
            Record::Drained { .. } => {
                Notice::normal("Drained", format!("everything on volume {} is flushed", volume.name))
            }
            Record::Unflushed { reason, .. } => {
                let message =
                    format!("volume {} is kept with spans that are not flushed: {reason}", volume.name);
                Notice::warning("NotFlushed", message)
            }
        };
        Ok(Executed::told(match pod {
            Some(pod) => notice.about(pod),
            None => notice,
        }))
    }

    async fn grow_volumes(&self, volumes: &[VolumeRef], size: &str) -> Result<Executed, ExecuteError> {
        let mut notices = Vec::new();
        for volume in volumes {
            let name = &volume.name;
            match volumes::grow(self.client, self.namespace, volume, size).await {
                Ok(()) => {
                    notices.push(Notice::normal("VolumeGrown", format!("growing volume {name} to {size}")))
                }
                // The storage class does not allow it, or a quota.
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                    let message = format!("volume {name} cannot grow to {size}: {}", status.message);
                    return Ok(Executed::blocked(
                        Step::VolumeNotExpandable,
                        Notice::warning("VolumeNotExpandable", message),
                    ));
                }
                Err(error) => drop(self.on_volume("grow", volume, Err(error))?),
            }
        }
        Ok(Executed { notices, blocked: None })
    }

    async fn delete_volumes(&self, volumes: &[VolumeRef]) -> Result<Executed, ExecuteError> {
        let mut notices = Vec::new();
        for volume in volumes {
            let deleted = volumes::delete(self.client, self.namespace, volume).await;
            if self.on_volume("delete", volume, deleted)? {
                let message = format!("deleted volume {}: everything on it was flushed", volume.name);
                notices.push(Notice::normal("VolumeDeleted", message));
            }
        }
        Ok(Executed { notices, blocked: None })
    }

    async fn recreate_stateful_set(&self, name: &str, uid: &str) -> Result<Executed, ExecuteError> {
        match volumes::orphan_pods(self.client, self.namespace, name, uid).await {
            Ok(()) => {
                let message =
                    format!("making StatefulSet {name} anew with other volume templates; its pods go on");
                Ok(Executed::told(Notice::normal("StatefulSetRecreated", message)))
            }
            Err(error) if is_gone(&error) => Ok(Executed::default()),
            Err(source) => {
                Err(ExecuteError { doing: format!("delete StatefulSet {name}, not its pods"), source })
            }
        }
    }

    /// False when there is no such volume any more.
    fn on_volume(
        &self,
        doing: &str,
        volume: &VolumeRef,
        result: Result<(), kube::Error>,
    ) -> Result<bool, ExecuteError> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if is_gone(&error) => Ok(false),
            Err(source) => Err(ExecuteError { doing: format!("{doing} volume {}", volume.name), source }),
        }
    }
}

/// There is no such object, or the one of that name is another.
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// What is said when a cluster goes.
pub(crate) fn farewell(farewell: &Farewell) -> Notice {
    match farewell {
        Farewell::Drained => Notice::normal("DrainFinished", "everything was flushed"),
        Farewell::Skipped(why) => {
            Notice::warning("DrainSkipped", format!("deleted without a drain, volumes are kept: {why}"))
        }
        Farewell::Unflushed(volumes) => {
            let lines: Vec<String> =
                volumes.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
            let message = format!("volumes kept with spans that are not flushed: {}", lines.join(", "));
            Notice::warning("DrainIncomplete", message)
        }
    }
}
