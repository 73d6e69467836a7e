//! Names, ports and paths: what the objects of a cluster and the processes in its pods know each other by.

/// Port of the HTTP API.
pub const HTTP_PORT: u16 = 3200;
/// Port of the gRPC server between processes.
pub const GRPC_PORT: u16 = 9095;
/// The container that runs Tempo.
pub const CONTAINER: &str = "tempo";
/// The claim of a pod's volume is named `data-<pod>`.
pub const DATA_VOLUME: &str = "data";
/// Where the volume is mounted: Tempo's own default.
pub const DATA_PATH: &str = "/var/tempo";

pub(super) const CONFIG_KEY: &str = "tempo.yaml";
pub(super) const CONFIG_PATH: &str = "/etc/tempo";
pub(super) const OVERRIDES_KEY: &str = "overrides.yaml";
pub(super) const OVERRIDES_PATH: &str = "/etc/tempo-overrides";
pub(super) const STORAGE_CA_PATH: &str = "/etc/tempo-storage-ca";
pub(super) const INGEST_TLS_PATH: &str = "/etc/tempo-ingest-tls";
pub(super) const INGEST_CLIENT_CA_PATH: &str = "/etc/tempo-ingest-client-ca";

/// The StatefulSet, and the Service that clients use.
pub fn stateful_set(cluster: &str) -> String {
    cluster.to_owned()
}

/// The Service that gives pods their names.
pub fn headless_service(cluster: &str) -> String {
    format!("{cluster}-headless")
}

/// The limits, read again by running pods.
pub fn overrides_config_map(cluster: &str) -> String {
    format!("{cluster}-overrides")
}

/// The configuration; `hash` is of its content.
pub fn config_map(cluster: &str, hash: &str) -> String {
    format!("{cluster}-config-{hash}")
}
