//! What the cluster gets besides its programs: the images of pause and CoreDNS, and the objects of `addons.yaml`.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::Image;

use super::{control_plane::Place, node, volumes::PROVISIONER};

/// The sandbox of every pod. Holds `/bin/busybox`, so tests use it as a pod with a shell.
pub(super) const PAUSE_IMAGE: &str = "localhost/pause:1";
const COREDNS_IMAGE: &str = "localhost/coredns:1";
const BUSYBOX: &str = "/bin/busybox";

/// Writes both archives; one of them may be loaded on every node.
pub(super) async fn images(place: &Place) -> anyhow::Result<[PathBuf; 2]> {
    let busybox = ["/usr/bin/busybox", BUSYBOX].into_iter().map(PathBuf::from).find(|path| path.exists());
    let wait = "trap exit TERM; while :; do sleep 3600 & wait; done";
    let pause = Image {
        name: PAUSE_IMAGE.into(),
        binary: busybox.context("busybox is not there")?,
        path: BUSYBOX.into(),
        entrypoint: [BUSYBOX, "sh", "-c", wait].map(str::to_owned).to_vec(),
    };
    let coredns = Image::of(COREDNS_IMAGE, &place.programs.join("coredns"));
    let archives = [place.folder.join("pause.tar"), place.folder.join("coredns.tar")];
    for (image, archive) in [pause, coredns].iter().zip(&archives) {
        image.write(archive).await?;
    }
    Ok(archives)
}

pub(super) async fn load_images(place: &Place, archives: &[PathBuf; 2]) -> anyhow::Result<()> {
    for node in 1..=place.nodes {
        for archive in archives {
            node::load(place, node, archive).await?;
        }
    }
    Ok(())
}

pub(super) async fn apply(place: &Place) -> anyhow::Result<()> {
    let manifest = include_str!("addons.yaml")
        .replace("DNS_SERVICE", &place.addresses.dns_service().to_string())
        .replace("COREDNS_IMAGE", COREDNS_IMAGE)
        .replace("PROVISIONER", PROVISIONER);
    place.kubectl().apply(&manifest).await.context("apply the add-ons")?;
    Ok(())
}

/// Waits until every node is Ready and names resolve on it.
pub(super) async fn wait(place: &Place) -> anyhow::Result<()> {
    let kubectl = place.kubectl();
    for node in (1..=place.nodes).map(|node| format!("node/node{node}")) {
        kubectl.run(&["wait", &node, "--for=create", "--timeout=60s"]).await?;
        kubectl.run(&["wait", &node, "--for=condition=Ready", "--timeout=60s"]).await?;
    }
    let all = format!("--for=jsonpath={{.status.numberReady}}={}", place.nodes);
    kubectl.run(&["-n", "kube-system", "wait", "daemonset/coredns", &all, "--timeout=60s"]).await?;
    Ok(())
}
