//! One reconcile: dereference → validate → render → apply → observe → plan → execute → status.
//!
//! Everything is read from the API server in the reconcile that uses it; nothing is remembered between two, and no decision
//! reads `.status`. A step that fails ends the reconcile; what was found until then is still reported if it will last.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::{DeserializeGuard, error_boundary::InvalidObject},
};
use serde_json::json;
use tracing::info;

use crate::{
    apply::{self, Applied, ApplyError, FIELD_MANAGER, Owner},
    crd::{ConditionStatus, ConditionType, DrainPolicy, ManagementState, TempoCluster, TempoClusterStatus},
    dereference::{DereferenceError, dereference},
    events::{Notice, Recorder},
    metrics::Metrics,
    observe::{ObserveError, observe},
    plan::{self, Action, Desired, FINALIZER, Plan, plan},
    pods::PodHttp,
    references::{OperatorDefaults, SecretState},
    render::render,
    rollout::{ExecuteError, Executed, execute},
    status::{self, Description, Findings, Standing, Trouble},
    validate::validate,
};

const STATUS_MANAGER: &str = "tempo-operator-status";
/// A settled cluster is looked at again this often, should a watch have missed something.
const STEADY: Duration = Duration::from_mins(10);

/// What all reconciles share.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Context {
    pub client: Client,
    pub pods: PodHttp,
    pub metrics: Metrics,
    pub events: Recorder,
    pub defaults: OperatorDefaults,
}

/// How a reconcile ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// When to look again if nothing wakes it; `None`: not before something changes.
    pub requeue: Option<Duration>,
    pub is_refused: bool,
    pub is_gone: bool,
}

impl Reconciled {
    const GONE: Reconciled = Reconciled { requeue: None, is_refused: false, is_gone: true };

    fn look_again(requeue: Duration) -> Reconciled {
        Reconciled { requeue: Some(requeue.min(STEADY)), is_refused: false, is_gone: false }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("read the TempoCluster")]
    Read(#[source] kube::Error),
    #[error("set the finalizer")]
    Finalizer(#[source] kube::Error),
    #[error("write the status")]
    Status(#[source] kube::Error),
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
}

/// Brings one TempoCluster closer to its spec.
pub async fn reconcile(context: &Context, namespace: &str, name: &str) -> Result<Reconciled, ReconcileError> {
    let api: Api<DeserializeGuard<TempoCluster>> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(name).await.map_err(ReconcileError::Read)?;
    let Some(DeserializeGuard(found)) = found else {
        return Ok(Reconciled::GONE);
    };
    let cluster = match found {
        Ok(cluster) => cluster,
        Err(invalid) => return report_undecodable(context, namespace, &invalid).await,
    };
    let pass = Pass { context, namespace, cluster: &cluster, now: Timestamp::now() };
    match (cluster.meta().deletion_timestamp.is_some(), cluster.spec.management_state.unwrap_or_default()) {
        (true, _) if !cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER) => {
            Ok(Reconciled { requeue: None, is_refused: false, is_gone: false })
        }
        (true, _) => Box::pin(pass.run(Standing::Deleting)).await,
        (false, ManagementState::Managed) => Box::pin(pass.run(Standing::Managed)).await,
        (false, ManagementState::Paused) => Box::pin(pass.run(Standing::Paused)).await,
        (false, ManagementState::Unmanaged) => Box::pin(pass.run(Standing::Unmanaged)).await,
    }
}

/// One reconcile of one readable cluster.
struct Pass<'a> {
    context: &'a Context,
    namespace: &'a str,
    cluster: &'a TempoCluster,
    now: Timestamp,
}

impl Pass<'_> {
    async fn run(&self, standing: Standing) -> Result<Reconciled, ReconcileError> {
        let mut findings = Findings::new(standing, &self.context.defaults.version);
        let outcome = match standing {
            Standing::Managed | Standing::Paused => self.keep(&mut findings).await,
            Standing::Unmanaged => Ok(Reconciled::look_again(STEADY)),
            Standing::Deleting => self.delete(&mut findings).await,
        };
        match &outcome {
            Ok(reconciled) if reconciled.is_gone => return outcome,
            Ok(_) => {}
            Err(error) => match lasting_trouble(error) {
                Some(trouble) => findings.trouble = Some(trouble),
                None => return outcome,
            },
        }
        if findings.observed.is_none() && standing != Standing::Unmanaged {
            findings.observed = self.observe().await.ok();
        }
        self.report(&findings).await?;
        outcome
    }

    /// The steps of a cluster that is to be there. Paused: nothing but the status is written.
    async fn keep(&self, findings: &mut Findings) -> Result<Reconciled, ReconcileError> {
        let references = dereference(&self.context.client, self.cluster, &self.context.defaults).await?;
        let valid = validate(self.cluster, &references);
        let rendered = valid.and_then(|valid| {
            findings.description = Some(Description {
                target_version: valid.version().to_owned(),
                effective: valid.effective(),
                storage: valid.storage_status(),
                endpoints: valid.endpoints(),
            });
            render(&valid)
        });
        let resources = match rendered {
            Ok(resources) => resources,
            Err(refusal) => {
                let is_missing = matches!(references.storage_secret, SecretState::Missing { .. });
                let observed = self.observe().await?;
                findings.plan = Some(plan(&Desired::of(self.cluster, None, is_missing), &observed));
                findings.observed = Some(observed);
                findings.refusal = Some(refusal);
                return Ok(Reconciled { requeue: Some(STEADY), is_refused: true, is_gone: false });
            }
        };
        if findings.standing == Standing::Managed {
            self.keep_finalizer().await?;
            let owner = Owner {
                namespace: self.namespace,
                name: &self.cluster.name_any(),
                uid: self.cluster.meta().uid.as_deref().unwrap_or_default(),
            };
            let applied = apply::apply(&self.context.client, owner, resources.in_apply_order()).await?;
            self.tell_applied(&applied, &resources.warnings).await;
            findings.missing_kinds = applied.missing_kinds;
        }
        let observed = self.observe().await?;
        let mut plan = plan(&Desired::of(self.cluster, Some(&resources.stateful_set), false), &observed);
        findings.observed = Some(observed);
        if findings.standing == Standing::Managed {
            self.execute(&mut plan).await?;
        }
        let requeue = plan.requeue;
        findings.plan = Some(plan);
        Ok(Reconciled::look_again(requeue))
    }

    /// The steps of a cluster that is to go: nothing is rendered or applied any more.
    async fn delete(&self, findings: &mut Findings) -> Result<Reconciled, ReconcileError> {
        // A Secret that cannot be read must not keep the deletion from going on: the plan's deadline bounds it.
        let references = dereference(&self.context.client, self.cluster, &self.context.defaults).await;
        let is_secret_missing = references
            .is_ok_and(|references| matches!(references.storage_secret, SecretState::Missing { .. }));
        let observed = self.observe().await?;
        let mut plan = plan(&Desired::of(self.cluster, None, is_secret_missing), &observed);
        findings.observed = Some(observed);
        let is_released = matches!(plan.action, Action::RemoveFinalizer { .. });
        self.execute(&mut plan).await?;
        if is_released {
            return Ok(Reconciled::GONE);
        }
        let requeue = plan.requeue;
        findings.plan = Some(plan);
        Ok(Reconciled::look_again(requeue))
    }

    async fn observe(&self) -> Result<crate::observe::Observed, ObserveError> {
        observe(&self.context.client, &self.context.pods, self.cluster, self.now).await
    }

    async fn execute(&self, plan: &mut Plan) -> Result<(), ReconcileError> {
        let Executed { notices, blocked } =
            execute(&plan.action, &self.context.client, &self.context.pods, self.cluster).await?;
        for notice in notices {
            info!(
                namespace = self.namespace,
                cluster = self.cluster.name_any(),
                reason = notice.reason,
                message = notice.message,
                "acted"
            );
            let notice = Notice {
                is_warning: notice.is_warning,
                reason: notice.reason.to_owned(),
                action: notice.reason,
                note: notice.message,
                pod: notice.pod,
            };
            self.context.events.record(&self.reference(), notice).await;
        }
        if let Some(progress) = blocked {
            plan.progress = progress;
            plan.requeue = plan::LOOK_AGAIN;
        }
        Ok(())
    }

    /// Sets the finalizer if a deletion is to be drained, takes it away if not, and touches nothing else.
    async fn keep_finalizer(&self) -> Result<(), ReconcileError> {
        let policy =
            self.cluster.spec.deletion_policy.as_ref().and_then(|policy| policy.drain).unwrap_or_default();
        let is_wanted = policy == DrainPolicy::Flush;
        if is_wanted == self.cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let finalizers: &[&str] = if is_wanted { &[FINALIZER] } else { &[] };
        let api: Api<TempoCluster> = Api::namespaced(self.context.client.clone(), self.namespace);
        let patch = json!({
            "apiVersion": TempoCluster::api_version(&()),
            "kind": TempoCluster::kind(&()),
            "metadata": {"name": self.cluster.name_any(), "uid": self.cluster.uid(), "finalizers": finalizers},
        });
        api.patch(&self.cluster.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(patch))
            .await
            .map_err(ReconcileError::Finalizer)?;
        Ok(())
    }

    async fn tell_applied(&self, applied: &Applied, warnings: &[String]) {
        if !applied.has_written() {
            return;
        }
        let mut parts = Vec::new();
        for (verb, titles) in
            [("created", &applied.created), ("updated", &applied.updated), ("deleted", &applied.deleted)]
        {
            if !titles.is_empty() {
                let titles: Vec<String> = titles.iter().map(ToString::to_string).collect();
                parts.push(format!("{verb} {}", titles.join(", ")));
            }
        }
        let note = parts.join("; ");
        info!(namespace = self.namespace, cluster = self.cluster.name_any(), note, "applied");
        let notice =
            Notice { is_warning: false, reason: "Applied".to_owned(), action: "Apply", note, pod: None };
        self.context.events.record(&self.reference(), notice).await;
        for warning in warnings {
            let notice = Notice {
                is_warning: true,
                reason: "IgnoredConfig".to_owned(),
                action: "Apply",
                note: warning.clone(),
                pod: None,
            };
            self.context.events.record(&self.reference(), notice).await;
        }
    }

    /// Writes the status if it says something new, and tells what became better or worse.
    async fn report(&self, findings: &Findings) -> Result<(), ReconcileError> {
        let status = status::status(self.cluster, findings, self.now);
        let name = self.cluster.name_any();
        let key = (self.namespace, name.as_str());
        for condition in &status.conditions {
            self.context.metrics.condition(
                key,
                &condition.type_,
                condition.status == ConditionStatus::True.as_str(),
            );
        }
        if let Some(plan) = &findings.plan {
            self.context.metrics.rollout_step(key, plan.progress.step.as_str());
        }
        if self.cluster.status.as_ref() == Some(&status) {
            return Ok(());
        }
        write_status(&self.context.client, self.namespace, &name, self.cluster.uid(), &status).await?;
        for notice in changes(self.cluster.status.as_ref(), &status) {
            self.context.events.record(&self.reference(), notice).await;
        }
        Ok(())
    }

    fn reference(&self) -> ObjectReference {
        self.cluster.object_ref(&())
    }
}

/// Conditions that turned to the worse, or `Ready` that turned to the better.
fn changes(before: Option<&TempoClusterStatus>, after: &TempoClusterStatus) -> Vec<Notice> {
    let told = [
        (ConditionType::StorageReady, ConditionStatus::False),
        (ConditionType::ConfigValid, ConditionStatus::False),
        (ConditionType::Stalled, ConditionStatus::True),
        (ConditionType::Degraded, ConditionStatus::True),
        (ConditionType::DataAtRisk, ConditionStatus::True),
        (ConditionType::Ready, ConditionStatus::True),
    ];
    let before = before.map_or(&[][..], |status| &status.conditions);
    let is_news = |condition: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        let is_told = told
            .iter()
            .any(|(kind, status)| condition.type_ == kind.as_str() && condition.status == status.as_str());
        let was_told = before.iter().any(|before| {
            before.type_ == condition.type_
                && before.status == condition.status
                && before.reason == condition.reason
        });
        is_told && !was_told
    };
    let mut notices: Vec<Notice> = Vec::new();
    for condition in after.conditions.iter().filter(is_news) {
        // The same refusal shows in several conditions.
        if notices.iter().all(|notice| notice.note != condition.message) {
            notices.push(Notice {
                is_warning: condition.type_ != ConditionType::Ready.as_str(),
                reason: condition.reason.clone(),
                action: "Report",
                note: condition.message.clone(),
                pod: None,
            });
        }
    }
    notices
}

/// Errors that stay until somebody does something: shown in the status. The others are only tried again.
fn lasting_trouble(error: &ReconcileError) -> Option<Trouble> {
    if let ReconcileError::Apply(ApplyError::Foreign { .. }) = error {
        return Some(Trouble { reason: "NameTaken", message: error.to_string() });
    }
    let mut source = std::error::Error::source(error);
    let answer = loop {
        match source?.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(answer)) => break answer,
            Some(_) => return None,
            None => source = source?.source(),
        }
    };
    let reason = match answer.code {
        403 => "Forbidden",
        422 => "Rejected",
        _ => return None,
    };
    Some(Trouble { reason, message: format!("{error}: {}", answer.message) })
}

async fn write_status(
    client: &Client,
    namespace: &str,
    name: &str,
    uid: Option<String>,
    status: &TempoClusterStatus,
) -> Result<(), ReconcileError> {
    let api: Api<DeserializeGuard<TempoCluster>> = Api::namespaced(client.clone(), namespace);
    let patch = json!({
        "apiVersion": TempoCluster::api_version(&()),
        "kind": TempoCluster::kind(&()),
        "metadata": {"name": name, "uid": uid},
        "status": status,
    });
    let parameters = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(name, &parameters, &Patch::Apply(patch)).await {
        Ok(_) => Ok(()),
        // Deleted meanwhile; the uid keeps the status off its successor.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(()),
        Err(error) => Err(ReconcileError::Status(error)),
    }
}

/// An object that the API server took and that these types do not: say so, and stay out of the way of its deletion.
async fn report_undecodable(
    context: &Context,
    namespace: &str,
    invalid: &InvalidObject,
) -> Result<Reconciled, ReconcileError> {
    let metadata = &invalid.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let reference = ObjectReference {
        api_version: Some(TempoCluster::api_version(&()).into_owned()),
        kind: Some(TempoCluster::kind(&()).into_owned()),
        name: Some(name.clone()),
        namespace: Some(namespace.to_owned()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note = format!("the object cannot be read: {}", invalid.error);
    let is_ours = metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    if metadata.deletion_timestamp.is_some() && is_ours {
        let left: Vec<&String> =
            metadata.finalizers.iter().flatten().filter(|finalizer| *finalizer != FINALIZER).collect();
        let api: Api<DeserializeGuard<TempoCluster>> = Api::namespaced(context.client.clone(), namespace);
        let patch = json!({"metadata": {"resourceVersion": metadata.resource_version, "finalizers": left}});
        api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(ReconcileError::Finalizer)?;
        let notice = Notice {
            is_warning: true,
            reason: "DrainSkipped".to_owned(),
            action: "Release",
            note,
            pod: None,
        };
        context.events.record(&reference, notice).await;
        return Ok(Reconciled::GONE);
    }
    let before = read_conditions(context, namespace, &name).await?;
    let status =
        status::undecodable(&invalid.error, metadata.generation, &before.conditions, Timestamp::now());
    if before != status {
        write_status(&context.client, namespace, &name, metadata.uid.clone(), &status).await?;
    }
    let notice =
        Notice { is_warning: true, reason: "Undecodable".to_owned(), action: "Report", note, pod: None };
    context.events.record(&reference, notice).await;
    Ok(Reconciled { requeue: None, is_refused: true, is_gone: false })
}

/// The status of an object whose spec cannot be read.
async fn read_conditions(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<TempoClusterStatus, ReconcileError> {
    let resource = kube::api::ApiResource::erase::<TempoCluster>(&());
    let api: Api<kube::api::DynamicObject> =
        Api::namespaced_with(context.client.clone(), namespace, &resource);
    let object = api.get(name).await.map_err(ReconcileError::Read)?;
    let status = object.data.get("status").cloned().unwrap_or_default();
    Ok(serde_json::from_value(status).unwrap_or_default())
}

#[cfg(test)]
mod tests;
