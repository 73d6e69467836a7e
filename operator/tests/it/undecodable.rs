//! Acceptance case G2 in part: an object that this version cannot read is reported and stands in nobody's way.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::DeserializeGuard,
};
use serde_json::{Value, json};
use tempo_operator::crd::{TempoCluster, definition};

use crate::{
    control_plane::{DEADLINE, Playground, minimal, within},
    kubelet::Kubelet,
    operator::Operator,
};

/// A newer version's mode. The definition of all tests is shared: it is widened until the object is in.
async fn create_from_the_future(playground: &Playground) {
    let mut wide = serde_json::to_value(definition()).expect("JSON");
    let modes =
        wide.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum");
    *modes.expect("an enum of modes") = json!(["Monolithic", "Distributed"]);
    let definitions: Api<CustomResourceDefinition> = Api::all(playground.client.clone());
    let parameters = PatchParams::apply("tests").force();
    let mut spec = minimal();
    spec["mode"] = json!("Distributed");
    let object = json!({
        "apiVersion": "tempo-rs.dev/v1alpha1", "kind": "TempoCluster",
        "metadata": {"name": "future", "finalizers": ["tempo-rs.dev/drain"]}, "spec": spec,
    });
    let made = within(DEADLINE, async || {
        let name = definition().name_any();
        definitions
            .patch(&name, &parameters, &Patch::Apply(&wide))
            .await
            .expect("the API server takes the CRD");
        objects(playground).patch("future", &parameters, &Patch::Apply(&object)).await.ok()
    });
    made.await.expect("the object is taken");
    let usual = definition();
    definitions
        .patch(&usual.name_any(), &parameters, &Patch::Apply(&usual))
        .await
        .expect("the API server takes the CRD");
}

fn objects(playground: &Playground) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<TempoCluster>(&());
    Api::namespaced_with(playground.client.clone(), &playground.namespace, &resource)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_an_object_that_cannot_be_read_is_stalled_and_does_not_stop_the_others() {
    let Some(playground) = Playground::open("g2").await else { return };
    let _kubelet = Kubelet::start(&playground).await;
    create_from_the_future(&playground).await;
    let operator = Operator::running(&playground);

    playground.apply_cluster("traces", minimal()).await;
    let stalled = within(DEADLINE, async || {
        let object = objects(&playground).get("future").await.ok()?;
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array)?.clone();
        conditions
            .into_iter()
            .find(|condition| condition["type"] == "Stalled" && condition["status"] == "True")
    });
    let stalled = stalled.await.expect("it is reported");
    playground.wait_condition_guarded("traces").await;

    assert_eq!(stalled["reason"], "Undecodable");
    assert!(stalled["message"].as_str().is_some_and(|message| message.contains("Distributed")), "{stalled}");
    operator.settle().await;
    operator.calls.clear();
    operator.pass("future").await.expect("a refusal is no error");
    assert!(operator.calls.writes().is_empty(), "{:?}", operator.calls.writes());

    objects(&playground).delete("future", &DeleteParams::default()).await.expect("a delete");
    let gone =
        within(DEADLINE, async || objects(&playground).get_opt("future").await.ok()?.is_none().then_some(()));
    gone.await.expect("it can be deleted");
    operator.stop().await;
}

impl Playground {
    /// As `wait_condition`, in a namespace with objects that cannot be read.
    async fn wait_condition_guarded(&self, name: &str) {
        let api: Api<DeserializeGuard<TempoCluster>> = self.api();
        let ready = within(DEADLINE, async || {
            let status = api.get(name).await.ok()?.0.ok()?.status?;
            let is_ready =
                status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
            is_ready.then_some(())
        });
        ready.await.unwrap_or_else(|| panic!("{name} did not become ready"));
    }
}
