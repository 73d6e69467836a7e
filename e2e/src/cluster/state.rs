//! The folder of a cluster: who owns it, which slot it has, and the removal of what a dead owner left behind.
//!
//! A cluster is alive while its supervisor holds the lock on `owner` in `/tmp/tempo-rs-clusters/<name>`; the kernel lets go of
//! it however the supervisor ends. Folders are made, taken over and removed under a lock on the parent folder.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{
    addresses::{Addresses, SLOTS},
    network, node,
};

/// Outside of `/run` and `/var`, which are empty inside of the machines, and short: socket paths end after 107 bytes.
const ROOT: &str = "/tmp/tempo-rs-clusters";

#[derive(Debug)]
pub(super) struct State {
    addresses: Addresses,
    nodes: u8,
    folder: PathBuf,
    /// Locked as long as this lives.
    _owner: File,
}

impl State {
    /// Makes the folder of a new cluster, after removing what dead ones left.
    pub(super) async fn claim(name: &str, nodes: u8) -> anyhow::Result<State> {
        let _root = lock_root()?;
        let used = remove_dead().await?;
        for slot in (0..SLOTS).filter(|slot| !used.contains(slot)) {
            let addresses = Addresses::new(name, slot)?;
            if network::is_taken(&addresses).await? {
                continue;
            }
            let folder = folder_of(name);
            if folder.exists() {
                bail!("a cluster of the name {name} is up; stop it with `cluster down --name {name}`");
            }
            std::fs::create_dir(&folder)?;
            std::fs::write(folder.join("slot"), format!("{slot} {nodes}"))?;
            let owner = File::create(folder.join("owner"))?;
            owner.lock()?;
            return Ok(State { addresses, nodes, folder, _owner: owner });
        }
        bail!("all {SLOTS} address ranges for test clusters are in use")
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the namespaces, cgroups and files; the machines' plugs have been pulled.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        let _root = lock_root()?;
        remove(&self.addresses, self.nodes, &self.folder).await?;
        remove_root()
    }
}

/// Whether a supervisor holds the cluster of this name.
pub(super) fn is_alive(name: &str) -> anyhow::Result<bool> {
    is_held(&folder_of(name))
}

/// Removes what dead clusters left. Also what `down` does when the supervisor is gone.
pub(super) async fn clean() -> anyhow::Result<()> {
    let _root = lock_root()?;
    remove_dead().await?;
    remove_root()
}

pub(super) fn folder_of(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// The folder itself is locked. Another process may have removed it meanwhile: then it is made and locked again.
fn lock_root() -> anyhow::Result<File> {
    use std::os::unix::fs::MetadataExt as _;
    loop {
        std::fs::create_dir_all(ROOT)?;
        let root = File::open(ROOT)?;
        root.lock()?;
        if std::fs::metadata(ROOT).is_ok_and(|now| root.metadata().is_ok_and(|ours| ours.ino() == now.ino()))
        {
            return Ok(root);
        }
    }
}

/// Leaves it when other clusters are in it.
fn remove_root() -> anyhow::Result<()> {
    match std::fs::remove_dir(ROOT) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes the leavings of dead clusters and gives the slots of the living.
async fn remove_dead() -> anyhow::Result<Vec<u8>> {
    let mut used = Vec::new();
    for entry in std::fs::read_dir(ROOT)? {
        let folder = entry?.path();
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Without these the owner died before it made anything else.
        let slot = std::fs::read_to_string(folder.join("slot")).ok();
        let slot = slot.as_deref().and_then(|text| text.split_once(' '));
        let numbers = slot.and_then(|(slot, nodes)| Some((slot.parse().ok()?, nodes.parse().ok()?)));
        let Some((slot, nodes)) = numbers else {
            std::fs::remove_dir_all(&folder)?;
            continue;
        };
        if is_held(&folder)? {
            used.push(slot);
        } else {
            remove(&Addresses::new(&name, slot)?, nodes, &folder).await?;
        }
    }
    Ok(used)
}

fn is_held(folder: &Path) -> anyhow::Result<bool> {
    let owner = match File::open(folder.join("owner")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match owner.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

async fn remove(addresses: &Addresses, nodes: u8, folder: &Path) -> anyhow::Result<()> {
    network::remove(addresses, nodes).await?;
    for node in 1..=nodes {
        node::remove_cgroups(&addresses.machine_name(node)).await?;
    }
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}
