//! The Service that clients use, with a port for the HTTP API and one for every protocol that is on; and the headless one
//! that gives pods their names, also before they are ready.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{labels, names, owned};
use crate::validate::{Protocol, ValidatedCluster};

pub(super) const HTTP_PORT_NAME: &str = "http";
/// Tells a ServiceMonitor which of the two Services is meant, or pods would be scraped twice.
pub(super) const ROLE_LABEL: (&str, &str) = ("tempo-rs.dev/service", "clients");

pub(super) fn clients(cluster: &ValidatedCluster) -> Service {
    let mut metadata = owned(cluster, names::stateful_set(&cluster.name));
    metadata.annotations =
        Some(cluster.pod.service_annotations.clone()).filter(|annotations| !annotations.is_empty());
    metadata.labels.get_or_insert_default().insert(ROLE_LABEL.0.to_owned(), ROLE_LABEL.1.to_owned());
    let has_tls = cluster.receivers.tls.is_some();
    let mut ports = vec![http()];
    ports.extend(cluster.receivers.on.iter().map(|(protocol, port)| receiver(*protocol, *port, has_tls)));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(cluster.pod.service_kind.as_str().to_owned()),
            selector: Some(labels::selector(cluster)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn headless(cluster: &ValidatedCluster) -> Service {
    Service {
        metadata: owned(cluster, names::headless_service(&cluster.name)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::selector(cluster)),
            ports: Some(vec![http()]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn http() -> ServicePort {
    port(HTTP_PORT_NAME, names::HTTP_PORT, "TCP")
}

fn receiver(protocol: Protocol, number: u16, has_tls: bool) -> ServicePort {
    let mut port = port(protocol.port_name(), number, if protocol.is_udp() { "UDP" } else { "TCP" });
    // Meshes and gateways speak HTTP/1 to a port unless they are told.
    port.app_protocol = (protocol.is_grpc() && !has_tls).then(|| "kubernetes.io/h2c".to_owned());
    port
}

fn port(name: &str, number: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
