//! Plays the storage driver: makes a volume for a claim that waits for one, grows it, removes it with its claim.
//!
//! Volumes are of type `local`, a folder on the node that the scheduler chose: kubelet gives them the pod's `fsGroup`, which
//! it does not do for host paths. Nothing limits their size; growing one changes the numbers, as a driver would.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::{control_plane::Place, node};

pub(super) const PROVISIONER: &str = "tempo-rs.dev/local";
const STORAGE_CLASS: &str = "local";

/// Follows all claims until the watch breaks; the caller starts it again.
pub(super) async fn serve(place: &Place) -> anyhow::Result<()> {
    let mut command = place.kubectl().command();
    command.args(["get", "persistentvolumeclaims", "-A", "--watch", "--output-watch-events", "-o", "json"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut watch = command.spawn().context("watch claims")?;
    let mut output = watch.stdout.take().context("kubectl has an output")?;
    let mut unread = Vec::new();
    while output.read_buf(&mut unread).await? > 0 {
        while let Some(event) = next_event(&mut unread)? {
            let claim = Claim::of(&event["object"])?;
            // What fails now (the claim changed meanwhile) comes again with the next event.
            let handled = match event["type"].as_str() {
                Some("DELETED") => remove(place, &claim).await,
                Some("ADDED" | "MODIFIED") => serve_claim(place, &claim).await,
                kind => bail!("a watch event of kind {kind:?}"),
            };
            handled.with_context(|| format!("claim {}/{}", claim.namespace, claim.name))?;
        }
    }
    Ok(())
}

/// Takes one whole JSON value off the front; `None` while it is not whole.
fn next_event(unread: &mut Vec<u8>) -> anyhow::Result<Option<Value>> {
    let mut values = serde_json::Deserializer::from_slice(unread).into_iter::<Value>();
    match values.next() {
        Some(Ok(event)) => {
            let read = values.byte_offset();
            unread.drain(..read);
            Ok(Some(event))
        }
        Some(Err(error)) if !error.is_eof() => Err(error).context("a watch event is JSON"),
        Some(Err(_)) | None => Ok(None),
    }
}

#[derive(Debug)]
struct Claim {
    namespace: String,
    name: String,
    uid: String,
    is_ours: bool,
    /// The node where its pod will run; the scheduler writes it.
    node: Option<u8>,
    phase: String,
    volume: Option<String>,
    wanted: String,
    has: Option<String>,
    modes: Value,
}

impl Claim {
    fn of(object: &Value) -> anyhow::Result<Claim> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let node = text("/metadata/annotations/volume.kubernetes.io~1selected-node");
        Ok(Claim {
            namespace: text("/metadata/namespace").context("a claim has a namespace")?,
            name: text("/metadata/name").context("a claim has a name")?,
            uid: text("/metadata/uid").context("a claim has a uid")?,
            is_ours: text("/spec/storageClassName").as_deref() == Some(STORAGE_CLASS),
            node: node.and_then(|node| node.strip_prefix("node")?.parse().ok()),
            phase: text("/status/phase").unwrap_or_default(),
            volume: text("/spec/volumeName"),
            wanted: text("/spec/resources/requests/storage").context("a claim has a size")?,
            has: text("/status/capacity/storage"),
            modes: object["spec"]["accessModes"].clone(),
        })
    }

    fn volume_name(&self) -> String {
        format!("volume-{}", self.uid)
    }
}

async fn serve_claim(place: &Place, claim: &Claim) -> anyhow::Result<()> {
    if !claim.is_ours {
        return Ok(());
    }
    match (claim.node, &claim.volume) {
        (Some(node), None) => provision(place, claim, node).await,
        (_, Some(volume)) if claim.phase == "Bound" && claim.has.as_ref() != Some(&claim.wanted) => {
            grow(place, claim, volume).await
        }
        _ => Ok(()),
    }
}

async fn provision(place: &Place, claim: &Claim, node: u8) -> anyhow::Result<()> {
    let folder = folder_on(place, claim, node);
    std::fs::create_dir_all(&folder)?;
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": claim.volume_name(),
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": claim.wanted},
            "accessModes": claim.modes,
            "storageClassName": STORAGE_CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace, "name": claim.name, "uid": claim.uid},
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [format!("node{node}")]}
            ]}]}},
        },
    });
    place.kubectl().apply(&volume.to_string()).await?;
    Ok(())
}

/// What a driver's resizer does: first the volume, then the claim's status.
async fn grow(place: &Place, claim: &Claim, volume: &str) -> anyhow::Result<()> {
    let kubectl = place.kubectl();
    let size = json!({"capacity": {"storage": claim.wanted}});
    let spec = json!({"spec": size}).to_string();
    kubectl.run(&["patch", "persistentvolume", volume, "--type=merge", "-p", &spec]).await?;
    let status = json!({"status": {"capacity": size["capacity"], "conditions": []}}).to_string();
    let name = format!("persistentvolumeclaim/{}", claim.name);
    kubectl
        .run(&["-n", &claim.namespace, "patch", &name, "--subresource=status", "--type=merge", "-p", &status])
        .await?;
    Ok(())
}

async fn remove(place: &Place, claim: &Claim) -> anyhow::Result<()> {
    if !claim.is_ours {
        return Ok(());
    }
    place.kubectl().run(&["delete", "persistentvolume", &claim.volume_name(), "--ignore-not-found"]).await?;
    for folder in (1..=place.nodes).map(|node| folder_on(place, claim, node)).filter(|folder| folder.exists())
    {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

fn folder_on(place: &Place, claim: &Claim, node: u8) -> PathBuf {
    node::volumes(place, node).join(claim.volume_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_one_by_one_when_they_are_whole() -> anyhow::Result<()> {
        let mut unread = br#"{"type":"ADDED"}
{"type":"DELE"#
            .to_vec();

        assert_eq!(next_event(&mut unread)?, Some(json!({"type": "ADDED"})));
        assert_eq!(next_event(&mut unread)?, None);
        unread.extend_from_slice(b"TED\"}\n");
        assert_eq!(next_event(&mut unread)?, Some(json!({"type": "DELETED"})));
        assert_eq!(next_event(&mut unread)?, None);
        Ok(())
    }
}
