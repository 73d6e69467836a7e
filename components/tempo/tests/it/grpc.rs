//! The gRPC server's health service, on its own port and on the HTTP port.

use std::net::SocketAddr;

use tempo_proto::collector::trace_service_client::TraceServiceClient;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::sandbox::{Sandbox, request};

async fn connect(address: SocketAddr) -> Channel {
    Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn check(address: SocketAddr) -> Result<ServingStatus, Status> {
    let mut client = HealthClient::new(connect(address).await);
    let response = client.check(HealthCheckRequest { service: String::new() }).await?;
    Ok(response.into_inner().status())
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_on_the_http_port_only_if_asked_for() {
    let mut sandbox = Sandbox::new();
    for over_http in [true, false] {
        sandbox.config.stream_over_http_enabled = over_http;
        let running = sandbox.start().await;
        let addresses = running.app.addresses();

        assert_eq!(check(addresses.grpc).await.unwrap(), ServingStatus::Serving);
        assert_eq!(check(addresses.http).await.is_ok(), over_http);
        assert_eq!(running.get("/ready").await.text(), "ready\n");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_service_is_unimplemented() {
    let running = Sandbox::new().start().await;

    let mut client = TraceServiceClient::new(connect(running.app.addresses().grpc).await);
    let status = client.export(request([1; 16], &["x"])).await.unwrap_err();

    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    running.stop().await;
}
