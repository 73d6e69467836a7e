//! The actions that empty and end a cluster: begin and take back a pod's drain, stop all pods, take the finalizer off.
//!
//! A pod that does not answer is not an error here: the plan looks at it again, and gives up when the time is up.

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    apply::FIELD_MANAGER,
    crd::TempoCluster,
    plan::{FINALIZER, Farewell, PodRef, Step},
    pods::PodCallError,
    rollout::{ExecuteError, Executed, Notice, Place, farewell, is_gone},
};

pub(crate) async fn begin(place: &Place<'_>, pod: &PodRef) -> Executed {
    let Some(ip) = pod.ip else { return Executed::default() };
    match place.http.begin_drain(ip).await {
        Ok(_) => {
            let message = format!("draining {}: it takes no spans and flushes what it has", pod.name);
            Executed::told(Notice::normal("Draining", message).about(pod))
        }
        Err(error) => not_answering("DrainFailed", &error, Step::Draining, pod),
    }
}

pub(crate) async fn cancel(place: &Place<'_>, pod: &PodRef) -> Executed {
    let Some(ip) = pod.ip else { return Executed::default() };
    match place.http.cancel_drain(ip).await {
        Ok(_) => {
            let message = format!("took back the drain of {}: it takes spans again", pod.name);
            Executed::told(Notice::normal("DrainCancelled", message).about(pod))
        }
        Err(error) => not_answering("DrainFailed", &error, Step::CancellingDrain, pod),
    }
}

fn not_answering(reason: &'static str, error: &PodCallError, step: Step, pod: &PodRef) -> Executed {
    let why = display_error_chain::DisplayErrorChain::new(error);
    Executed::blocked(step, Notice::warning(reason, format!("{}: {why}", pod.name)).about(pod))
}

pub(crate) async fn scale_to_zero(
    place: &Place<'_>,
    name: &str,
    uid: &str,
) -> Result<Executed, ExecuteError> {
    let sets: Api<StatefulSet> = Api::namespaced(place.client.clone(), place.namespace);
    let patch = json!({ "metadata": { "uid": uid }, "spec": { "replicas": 0 } });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match sets.patch(name, &parameters, &Patch::Merge(patch)).await {
        Ok(_) => Ok(Executed::told(Notice::normal("Stopping", format!("stopping all pods of {name}")))),
        Err(error) if is_gone(&error) => Ok(Executed::default()),
        Err(source) => Err(ExecuteError { doing: format!("scale StatefulSet {name} to zero"), source }),
    }
}

/// Others' finalizers stay; one that was added a moment ago makes the patch fail, and the next reconcile sees it.
pub(crate) async fn remove_finalizer(
    place: &Place<'_>,
    last_words: &Farewell,
) -> Result<Executed, ExecuteError> {
    let clusters: Api<TempoCluster> = Api::namespaced(place.client.clone(), place.namespace);
    let name = place.cluster.name_any();
    let failed = |source| ExecuteError { doing: format!("take the finalizer off {name}"), source };
    let Some(live) = clusters.get_metadata_opt(&name).await.map_err(failed)? else {
        return Ok(Executed::default());
    };
    if live.metadata.uid != place.cluster.metadata.uid {
        return Ok(Executed::default());
    }
    let kept: Vec<&String> = live.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = json!({ "metadata": {
        "finalizers": kept, "resourceVersion": live.metadata.resource_version, "uid": live.metadata.uid,
    }});
    match clusters.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(Executed::told(farewell(last_words))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Executed::default()),
        Err(source) => Err(failed(source)),
    }
}
