//! Changes of a running cluster: nothing acknowledged is lost, a bad change breaks one pod, and going back heals it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempo_e2e::{eventually, operator::VERSION};

use super::{
    bucket::{self, Bucket},
    ledger::Ledger,
    scene::{
        CRASHING_VERSION, Condition, DEADLINE, DYING_VERSION, MISSING_VERSION, NEXT_VERSION, Scene, Spec,
    },
};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "how long nothing was taken in is a figure worth seeing")]
async fn b1_a_new_version_under_load_loses_no_acknowledged_span() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("b1-version").await?.filter(Scene::has_test_images) else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    let (pod, claim) = (scene.uid("pod/traces-0").await?, scene.uid("pvc/data-traces-0").await?);
    let ledger = Ledger::new(scene.service().await?)?;
    let load = ledger.start_load();
    load.flows(20).await?;

    scene.deploy(&Spec { version: NEXT_VERSION, ..Spec::default() }).await?;
    load.flows(20).await?;
    let seen = load.stop().await?;

    let traces = ledger.check().await?;
    eprintln!("{traces} traces acknowledged and found during a version change: {seen:?}");
    ensure!(scene.uid("pod/traces-0").await? != pod, "the pod was not replaced");
    ensure!(scene.uid("pvc/data-traces-0").await? == claim, "the volume was replaced");
    let image = scene.field("pod/traces-0", ".spec.containers[0].image").await?;
    ensure!(image.ends_with(&format!(":{NEXT_VERSION}")), "{image}");
    let current = scene.field("tempocluster/traces", ".status.version.current").await?;
    ensure!(current == NEXT_VERSION, "{current}");
    let events = scene.events().await?;
    let told = |reason: &str| events.iter().any(|event| event.starts_with(&format!("{reason}: ")));
    ensure!(told("Flushed") && told("Evicted"), "{events:#?}");
    scene.clear().await
}

/// What a bad version does to the pod, and that the old one comes back without a human.
struct BadVersion {
    version: &'static str,
    /// One of these is the reason that the conditions give.
    reasons: &'static [&'static str],
}

impl BadVersion {
    async fn comes_and_goes(self, namespace: &str) -> anyhow::Result<()> {
        let Some(scene) = Scene::set(namespace).await?.filter(Scene::has_test_images) else { return Ok(()) };
        scene.deploy(&Spec::default()).await?;
        let claim = scene.uid("pvc/data-traces-0").await?;
        let ledger = Ledger::new(scene.service().await?)?;
        ledger.write(100).await?;

        scene.apply(&Spec { version: self.version, ..Spec::default() }.yaml()).await?;
        let is_named = |degraded: &Condition| {
            degraded.status == "True" && self.reasons.contains(&degraded.reason.as_str())
        };
        scene.condition("Degraded", DEADLINE, is_named).await?;
        let names_the_pod = |progressing: &Condition| progressing.message.contains("traces-0");
        let progressing = scene.condition("Progressing", DEADLINE, names_the_pod).await?;
        ensure!(
            progressing.status == "True" || progressing.reason == "ProgressDeadlineExceeded",
            "{progressing:?}"
        );
        let pods = scene.get("pods").await?;
        ensure!(pods["items"].as_array().context("pods")?.len() == 1, "more than the one pod: {pods}");
        let bad = scene.uid("pod/traces-0").await?;

        scene.deploy(&Spec::default()).await?;

        ensure!(scene.uid("pod/traces-0").await? != bad, "the bad pod was not replaced");
        ensure!(scene.uid("pvc/data-traces-0").await? == claim, "the volume was replaced");
        let current = scene.field("tempocluster/traces", ".status.version.current").await?;
        ensure!(current == VERSION, "{current}");
        let degraded = scene.condition("Degraded", DEADLINE, |degraded| degraded.status == "False").await?;
        ensure!(ledger.check().await? == 100, "{degraded:?}");
        scene.clear().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_version_that_crashes_at_once_breaks_one_pod_and_the_revert_heals_it() -> anyhow::Result<()> {
    let reasons = &["CrashLoopBackOff", "Crashed"];
    BadVersion { version: CRASHING_VERSION, reasons }.comes_and_goes("b4-crash").await
}

#[tokio::test(flavor = "multi_thread")]
async fn b4_a_version_that_crashes_inside_the_soak_is_not_called_ready() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("b4-soak").await?.filter(Scene::has_test_images) else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    let dying = Spec { version: DYING_VERSION, ..Spec::default() }.yaml().replace("soak: 2s", "soak: 60s");

    scene.apply(&dying).await?;
    let mut early = None;
    eventually("the new pod has died", DEADLINE, async || {
        let object = scene.get("tempocluster/traces").await?;
        if Condition::of(&object, "Ready").is_ok_and(|ready| ready.status == "True") {
            early = Some(object);
        }
        let pod = scene.get("pod/traces-0").await?;
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
        ensure!(image.ends_with(DYING_VERSION) && restarts > Some(0), "{image} {restarts:?}");
        Ok(())
    })
    .await?;
    scene.deploy(&Spec::default()).await?;

    ensure!(early.is_none(), "called Ready before the soak was over: {early:?}");
    ensure!(ledger.check().await? == 50, "traces");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_an_image_that_is_nowhere_breaks_one_pod_and_the_revert_heals_it() -> anyhow::Result<()> {
    let reasons = &["ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "ProgressDeadlineExceeded"];
    BadVersion { version: MISSING_VERSION, reasons }.comes_and_goes("b5-image").await
}

#[tokio::test(flavor = "multi_thread")]
async fn b5_a_pod_that_no_node_takes_is_replaced_first_by_the_revert() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("b5-pending").await? else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    let greedy = Spec::default().yaml().replace(
        "monolithic: {persistence: {size: 1Gi}}",
        "monolithic: {persistence: {size: 1Gi}, resources: {requests: {cpu: '500'}}}",
    );

    scene.apply(&greedy).await?;
    let is_unschedulable =
        |degraded: &Condition| degraded.status == "True" && degraded.reason == "Unschedulable";
    scene.condition("Degraded", DEADLINE, is_unschedulable).await?;
    scene.deploy(&Spec::default()).await?;

    ensure!(ledger.check().await? == 50, "traces");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_a_volume_grows_while_its_pod_runs() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("e3-grow").await? else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    let (pod, claim) = (scene.uid("pod/traces-0").await?, scene.uid("pvc/data-traces-0").await?);

    scene.apply(&Spec::default().yaml().replace("size: 1Gi", "size: 3Gi")).await?;
    eventually("the volume and the template have grown", DEADLINE, async || {
        let capacity = scene.field("pvc/data-traces-0", ".status.capacity.storage").await?;
        let template = ".spec.volumeClaimTemplates[0].spec.resources.requests.storage";
        let template = scene.field("statefulset/traces", template).await?;
        ensure!(capacity == "3Gi" && template == "3Gi", "{capacity} {template}");
        Ok(())
    })
    .await?;
    scene.ready().await?;

    ensure!(scene.uid("pod/traces-0").await? == pod, "the pod was restarted");
    ensure!(scene.uid("pvc/data-traces-0").await? == claim, "the volume was replaced");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_wait_for_a_bucket_that_is_away_and_loses_nothing() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("restart-without-bucket").await? else { return Ok(()) };
    let Some(mut bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    scene.apply(&bucket.secret()).await?;
    let spec = Spec { storage: bucket::STORAGE.into(), ..Spec::default() };
    scene.deploy(&spec).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    bucket.stop().await?;

    scene.apply(&Spec { version: NEXT_VERSION, ..spec }.yaml()).await?;
    // The flush that cannot succeed has its time first.
    scene.condition("Ready", Duration::from_secs(180), |ready| ready.status == "True").await?;
    let live = ledger.check().await?;
    bucket.run().await?;
    let service = scene.service().await?;
    let url = format!("http://{service}:3200/flush?wait=true");
    let flushed = tokio::time::timeout(DEADLINE, scene.client.get(&url, &[])).await??;

    ensure!(flushed.status.is_success(), "{} {}", flushed.status, flushed.text());
    ensure!(live == 50 && ledger.check().await? == 50, "traces");
    scene.clear().await
}
