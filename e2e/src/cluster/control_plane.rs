//! etcd, API server, controller manager and scheduler on a machine of their own.

use std::{net::IpAddr, path::PathBuf};

use super::{
    addresses::Addresses,
    certificates::{Authority, Subject},
    kubectl::Kubectl,
    machine::Machine,
    state::State,
};

/// Where things are; shared by everything that starts programs of the cluster.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) addresses: Addresses,
    pub(super) folder: PathBuf,
    /// Holds `kube-apiserver`, `kubelet`, `kubectl`, `coredns` and the others.
    pub(super) programs: PathBuf,
    pub(super) authority: Authority,
    pub(super) nodes: u8,
}

impl Place {
    pub(super) fn new(state: &State, programs: PathBuf, nodes: u8) -> anyhow::Result<Place> {
        let folder = state.folder().to_owned();
        std::fs::create_dir_all(folder.join("log"))?;
        let authority = Authority::create(&folder.join("pki"))?;
        Ok(Place { addresses: state.addresses().clone(), folder, programs, authority, nodes })
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(super) fn kubectl(&self) -> Kubectl {
        Kubectl { program: self.programs.join("kubectl"), kubeconfig: self.folder.join("admin.kubeconfig") }
    }

    /// Writes a kubeconfig for a program and gives its path.
    pub(super) fn kubeconfig(&self, name: &str, subject: &Subject<'_>) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        self.authority.kubeconfig(&path, &format!("https://{}:6443", self.addresses.api()), subject)?;
        Ok(path)
    }

    pub(super) fn user(&self, name: &str, user: &str) -> anyhow::Result<PathBuf> {
        self.kubeconfig(name, &Subject { user, group: None, names: &[], addresses: &[] })
    }
}

/// Boots the machine and starts the programs; does not wait for the API.
pub(super) async fn start(place: &Place) -> anyhow::Result<Machine> {
    let mut machine = Machine::boot(&place.addresses.control_plane_name(), &place.logs()).await?;
    let admin = Subject { user: "admin", group: Some("system:masters"), names: &[], addresses: &[] };
    place.kubeconfig("admin", &admin)?;
    let service_accounts = place.authority.key("service-accounts")?;

    // The state is thrown away, so nothing is worth a sync.
    machine.start(
        "etcd".as_ref(),
        &[
            format!("--data-dir={}", place.folder.join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".into(),
            "--advertise-client-urls=http://127.0.0.1:2379".into(),
            "--listen-peer-urls=http://127.0.0.1:2380".into(),
            "--unsafe-no-fsync".into(),
        ],
    )?;
    machine.start(
        &place.programs.join("kube-apiserver"),
        &api_server_arguments(place, &service_accounts.certificate, &service_accounts.key)?,
    )?;
    machine.start(
        &place.programs.join("kube-controller-manager"),
        &[
            format!(
                "--kubeconfig={}",
                place.user("controllers", "system:kube-controller-manager")?.display()
            ),
            format!("--root-ca-file={}", place.authority.certificate().display()),
            format!("--service-account-private-key-file={}", service_accounts.key.display()),
            "--use-service-account-credentials".into(),
            "--leader-elect=false".into(),
            "--node-monitor-grace-period=15s".into(),
            // Its own limit of 20 requests a second makes tests with hundreds of objects wait for minutes.
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
            // Otherwise it makes a folder under /usr/libexec.
            format!("--flex-volume-plugin-dir={}", place.folder.join("flex").display()),
        ],
    )?;
    if place.nodes > 0 {
        machine.start(
            &place.programs.join("kube-scheduler"),
            &[
                format!("--kubeconfig={}", place.user("scheduler", "system:kube-scheduler")?.display()),
                "--leader-elect=false".into(),
            ],
        )?;
    }
    Ok(machine)
}

fn api_server_arguments(
    place: &Place,
    token_verifier: &std::path::Path,
    token_signer: &std::path::Path,
) -> anyhow::Result<Vec<String>> {
    let Place { addresses, authority, .. } = place;
    let server = authority.sign(
        "apiserver",
        &Subject {
            user: "kube-apiserver",
            group: None,
            names: &["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            addresses: &[IpAddr::V4(addresses.api()), IpAddr::V4(addresses.api_service())],
        },
    )?;
    let to_kubelets = authority.sign(
        "to-kubelets",
        &Subject { user: "kube-apiserver", group: Some("system:masters"), names: &[], addresses: &[] },
    )?;
    let file = |flag: &str, path: &std::path::Path| format!("--{flag}={}", path.display());
    Ok(vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--bind-address={}", addresses.api()),
        format!("--advertise-address={}", addresses.api()),
        "--secure-port=6443".into(),
        file("tls-cert-file", &server.certificate),
        file("tls-private-key-file", &server.key),
        file("client-ca-file", &authority.certificate()),
        file("service-account-key-file", token_verifier),
        file("service-account-signing-key-file", token_signer),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-cluster-ip-range={}", addresses.services()),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        // Otherwise logs and exec look up the node's name.
        "--kubelet-preferred-address-types=InternalIP".into(),
        file("kubelet-certificate-authority", &authority.certificate()),
        file("kubelet-client-certificate", &to_kubelets.certificate),
        file("kubelet-client-key", &to_kubelets.key),
    ])
}
