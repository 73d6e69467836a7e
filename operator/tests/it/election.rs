//! The lease on a real API server: one leads, the next takes over, and who does not lead writes nothing.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Client,
    api::{Patch, PatchParams},
    client::ClientBuilder,
};
use prometheus::Registry;
use serde_json::json;
use tempo_operator::{
    api_calls::ApiCallsLayer,
    leader::{Candidate, LeaderOptions, Leadership},
    metrics::Metrics,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tower::buffer::BufferLayer;

use crate::{
    calls::Calls,
    control_plane::{DEADLINE, Playground},
};

fn candidate(playground: &Playground, identity: &str) -> (Candidate, Leadership) {
    let mut options =
        LeaderOptions::new(playground.namespace.clone(), "operator".to_owned(), identity.to_owned());
    options.lease_duration = Duration::from_secs(3);
    options.renew_every = Duration::from_millis(200);
    options.renew_deadline = Duration::from_secs(2);
    let leadership = Leadership::none();
    (Candidate::new(playground.client.clone(), options, leadership.clone()), leadership)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_the_second_candidate_waits_until_the_first_gives_the_lease_back() {
    let Some(playground) = Playground::open("d2").await else { return };
    let (mut first, first_leads) = candidate(&playground, "first");
    let (mut second, second_leads) = candidate(&playground, "second");
    first.acquire().await;
    let stop = CancellationToken::new();

    let too_early = tokio::select! {
        held = first.hold(&stop) => panic!("the first holds: {held:?}"),
        early = timeout(Duration::from_secs(4), second.acquire()) => early,
    };
    assert!(
        too_early.is_err() && first_leads.is_held(Instant::now()) && !second_leads.is_held(Instant::now())
    );
    first.release().await.expect("a release");

    timeout(Duration::from_secs(2), second.acquire()).await.expect("taken over at once, not when it expires");
    assert!(second_leads.is_held(Instant::now()) && !first_leads.is_held(Instant::now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_leader_that_stopped_renewing_is_replaced_and_one_that_was_replaced_stops() {
    let Some(playground) = Playground::open("d2-lost").await else { return };
    let (mut first, first_leads) = candidate(&playground, "first");
    let (mut second, _) = candidate(&playground, "second");
    first.acquire().await;

    // The first sleeps: its fence falls before the second may lead.
    timeout(DEADLINE, second.acquire()).await.expect("an expired lease is taken");
    assert!(!first_leads.is_held(Instant::now()));

    let lost = timeout(DEADLINE, first.hold(&CancellationToken::new())).await.expect("it notices");
    assert!(lost.is_err(), "a leader that was replaced stops");
    let lease = playground.api::<Lease>().get("operator").await.expect("the lease");
    assert_eq!(lease.spec.and_then(|spec| spec.holder_identity).as_deref(), Some("second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_leadership_reads_and_does_not_write() {
    let Some(playground) = Playground::open("fence").await else { return };
    let calls = Calls::new();
    let layer = ApiCallsLayer {
        leadership: Leadership::none(),
        metrics: Metrics::register(&Registry::new(), "test").expect("a fresh registry"),
    };
    let client: Client = ClientBuilder::try_from(playground.config.clone())
        .expect("a client")
        .with_layer(&calls)
        .with_layer(&BufferLayer::new(8))
        .with_layer(&layer)
        .build();
    let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
        kube::Api::namespaced(client, &playground.namespace);

    api.list(&kube::api::ListParams::default()).await.expect("a read");
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    let refused = api.patch("x", &PatchParams::apply("tests"), &Patch::Apply(patch)).await;

    assert!(refused.is_err());
    assert!(calls.writes().is_empty(), "the API server never sees it");
}
