//! F3, deletion: it ends in bounded time whatever is dead, and what is not flushed is kept and named.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use anyhow::ensure;

use super::{
    bucket::{self, Bucket},
    ledger::Ledger,
    scene::{Scene, Spec, gone},
};

const RECORD_DRAINED: &str = ".metadata.annotations.tempo-rs\\.dev/drained-at";
const RECORD_UNFLUSHED: &str = ".metadata.annotations.tempo-rs\\.dev/unflushed";
const CLAIM: &str = "pvc/data-traces-0";

/// A pod has half a minute to stop, and everything here is slow when tests run side by side.
const SLACK: Duration = Duration::from_secs(60);

/// The shortest that the API takes.
const TIMEOUT: Duration = Duration::from_mins(1);

fn deletion(policy: &str) -> String {
    format!("  deletionPolicy: {{{policy}}}\n")
}

fn on_bucket(policy: &str) -> Spec {
    Spec { storage: bucket::STORAGE.into(), more: deletion(policy), ..Spec::default() }
}

async fn children_are_gone(scene: &Scene) -> anyhow::Result<()> {
    for child in ["statefulset/traces", "service/traces", "service/traces-headless", "pod/traces-0"] {
        gone(scene, child, SLACK).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_flush_and_retain_leaves_a_volume_that_a_new_cluster_takes_over() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-retain").await? else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    let claim = scene.uid(CLAIM).await?;

    scene.delete(SLACK).await?;
    children_are_gone(&scene).await?;

    ensure!(
        !scene.field(CLAIM, RECORD_DRAINED).await?.is_empty(),
        "the volume does not say that it is flushed"
    );
    let events = scene.events().await?;
    ensure!(events.iter().any(|event| event.starts_with("DrainFinished: ")), "{events:#?}");
    scene.deploy(&Spec::default()).await?;
    ensure!(scene.uid(CLAIM).await? == claim, "the volume was replaced");
    let again = ledger.at(scene.service().await?);
    ensure!(again.check().await? == 50, "traces");
    again.write(5).await?;
    ensure!(
        scene.field(CLAIM, RECORD_DRAINED).await?.is_empty(),
        "a volume in use still says that it is flushed"
    );
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_flush_and_delete_removes_the_volume_when_everything_is_in_the_bucket() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-delete").await? else { return Ok(()) };
    let Some(bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    scene.apply(&bucket.secret()).await?;
    scene.deploy(&on_bucket("volumes: Delete")).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;

    scene.delete(SLACK).await?;
    children_are_gone(&scene).await?;
    gone(&scene, CLAIM, SLACK).await?;

    scene.deploy(&on_bucket("volumes: Delete")).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_with_the_bucket_dead_deletion_ends_at_its_timeout_and_keeps_the_volume() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-bucket-dead").await? else { return Ok(()) };
    let Some(mut bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    scene.apply(&bucket.secret()).await?;
    let spec = on_bucket("volumes: Delete, timeout: 1m");
    scene.deploy(&spec).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    bucket.stop().await?;

    let took = scene.delete(TIMEOUT + SLACK).await?;
    children_are_gone(&scene).await?;

    ensure!(took >= TIMEOUT - Duration::from_secs(2), "it did not try for its timeout: {took:?}");
    it_is_kept_and_named(&scene).await?;
    bucket.run().await?;
    scene.deploy(&spec).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}

async fn it_is_kept_and_named(scene: &Scene) -> anyhow::Result<()> {
    ensure!(
        scene.field(CLAIM, ".metadata.deletionTimestamp").await?.is_empty(),
        "unflushed spans are deleted"
    );
    ensure!(
        !scene.field(CLAIM, RECORD_UNFLUSHED).await?.is_empty(),
        "the volume does not say that it is not flushed"
    );
    let events = scene.events().await?;
    let told = |event: &String| event.starts_with("DrainIncomplete: ") && event.contains("data-traces-0");
    ensure!(events.iter().any(told), "{events:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_with_the_disk_dead_deletion_ends_at_its_timeout_and_keeps_the_volume() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-disk-dead").await?.filter(Scene::has_test_images) else { return Ok(()) };
    let spec = Spec { more: deletion("timeout: 1m"), ..Spec::default() };
    scene.deploy(&spec).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;
    let volume = scene.volume_folder().await?;
    let modes = set_modes(&volume, 0)?;

    scene.delete(TIMEOUT + SLACK).await?;
    children_are_gone(&scene).await?;

    it_is_kept_and_named(&scene).await?;
    for (path, mode) in modes.into_iter().rev() {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    scene.deploy(&spec).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}

/// Nobody but root gets at anything below the folder; gives what the modes were, the folder last.
fn set_modes(folder: &Path, mode: u32) -> anyhow::Result<Vec<(std::path::PathBuf, u32)>> {
    let mut before = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            before.extend(set_modes(&path, mode)?);
        }
    }
    before.push((folder.to_owned(), std::fs::metadata(folder)?.permissions().mode()));
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode))?;
    Ok(before)
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_with_the_secret_gone_first_a_running_pod_still_flushes() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-secret-gone").await? else { return Ok(()) };
    let Some(bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    scene.apply(&bucket.secret()).await?;
    scene.deploy(&on_bucket("volumes: Delete")).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;

    scene.run(&["delete", "secret", "bucket"]).await?;
    scene.delete(SLACK).await?;
    children_are_gone(&scene).await?;

    gone(&scene, CLAIM, SLACK).await?;
    scene.apply(&bucket.secret()).await?;
    scene.deploy(&on_bucket("volumes: Delete")).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_with_secret_and_pod_gone_deletion_does_not_wait_for_its_timeout() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-secret-pod-gone").await? else { return Ok(()) };
    let Some(bucket) = Bucket::start(&scene).await? else { return Ok(()) };
    scene.apply(&bucket.secret()).await?;
    // The default timeout is a quarter of an hour.
    let spec = on_bucket("volumes: Delete");
    scene.deploy(&spec).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;

    scene.run(&["delete", "secret", "bucket"]).await?;
    scene.run(&["delete", "pod", "traces-0", "--grace-period=0", "--force"]).await?;
    scene.delete(SLACK).await?;
    children_are_gone(&scene).await?;

    it_is_kept_and_named(&scene).await?;
    scene.apply(&bucket.secret()).await?;
    scene.deploy(&spec).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_a_namespace_that_goes_is_not_held_up() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-namespace").await? else { return Ok(()) };
    scene.deploy(&Spec::default()).await?;
    Ledger::new(scene.service().await?)?.write(5).await?;

    let timeout = format!("--timeout={}s", SLACK.as_secs());
    scene.kubectl().run(&["delete", "namespace", &scene.namespace, &timeout]).await?;

    ensure!(scene.kubectl().find(&["namespace", &scene.namespace]).await?.is_none(), "it is there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_skip_deletes_at_once_and_keeps_the_volume() -> anyhow::Result<()> {
    let Some(scene) = Scene::set("f3-skip").await? else { return Ok(()) };
    let spec = Spec { more: deletion("drain: Skip"), ..Spec::default() };
    scene.deploy(&spec).await?;
    let ledger = Ledger::new(scene.service().await?)?;
    ledger.write(50).await?;

    let took = scene.delete(SLACK).await?;
    children_are_gone(&scene).await?;

    ensure!(took < Duration::from_secs(5), "{took:?}");
    ensure!(scene.field(CLAIM, RECORD_DRAINED).await?.is_empty(), "nobody has looked, and it says flushed");
    // What was not flushed is in the WAL on the volume.
    scene.deploy(&spec).await?;
    ensure!(ledger.at(scene.service().await?).check().await? == 50, "traces");
    scene.clear().await
}
