//! One app on temporary directories and free ports, and requests to it.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{Method, StatusCode};
use bytes::Bytes;
use prost::Message as _;
use tempfile::TempDir;
use tempo::{App, Outcome};
use tempo_config::{Config, JaegerProtocols, OtlpProtocols, ReceiversConfig};
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span},
};

use crate::http_client::{self, Answer};

/// Directories and configuration that outlive an app, so that it can be started again.
pub(crate) struct Sandbox {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) config: Config,
}

impl Sandbox {
    pub(crate) fn new() -> Sandbox {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config::embedded_default();
        config.server.http_listen_address = "127.0.0.1".to_owned();
        config.server.http_listen_port = 0;
        config.server.grpc_listen_address = "127.0.0.1".to_owned();
        config.server.grpc_listen_port = 0;
        config.storage.trace.local.path = dir.path().join("blocks").to_str().unwrap().to_owned();
        config.storage.trace.wal.path = dir.path().join("wal").to_str().unwrap().to_owned();
        receivers_on_free_ports(&mut config.distributor.receivers);
        Sandbox { dir, config }
    }

    pub(crate) async fn start(&self) -> Running {
        let config = self.config.clone().validate().unwrap_or_else(|findings| panic!("{findings}"));
        // Boxed: the future of a whole start is large.
        let app = Box::pin(App::start(config)).await.unwrap_or_else(|error| panic!("{error:#}"));
        Running { app, _dir: Arc::clone(&self.dir) }
    }
}

/// Every receiver is on in the embedded default.
fn receivers_on_free_ports(receivers: &mut ReceiversConfig) {
    let free = "127.0.0.1:0".to_owned();
    let OtlpProtocols { grpc, http } = &mut receivers.otlp.as_mut().unwrap().protocols;
    grpc.as_mut().unwrap().endpoint.clone_from(&free);
    http.as_mut().unwrap().endpoint.clone_from(&free);
    let jaeger = receivers.jaeger.as_mut().unwrap();
    let JaegerProtocols { grpc, thrift_http, thrift_compact, thrift_binary } = &mut jaeger.protocols;
    grpc.as_mut().unwrap().endpoint.clone_from(&free);
    thrift_http.as_mut().unwrap().endpoint.clone_from(&free);
    thrift_compact.as_mut().unwrap().endpoint.clone_from(&free);
    thrift_binary.as_mut().unwrap().endpoint.clone_from(&free);
    jaeger.remote_sampling.as_mut().unwrap().host_endpoint.clone_from(&free);
    receivers.zipkin.as_mut().unwrap().endpoint = free;
}

pub(crate) struct Running {
    pub(crate) app: App,
    /// The directories stay as long as somebody runs on them.
    _dir: Arc<TempDir>,
}

impl Running {
    pub(crate) fn http(&self) -> SocketAddr {
        self.app.addresses().http
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http_client::get(self.http(), path).await
    }

    pub(crate) async fn get_as(&self, tenant: &str, path: &str) -> Answer {
        http_client::get_with(self.http(), path, &[("x-scope-orgid", tenant)]).await
    }

    /// Sends one request with a span per name, as one trace; fails unless it was acknowledged.
    pub(crate) async fn push(&self, trace_id: [u8; 16], names: &[&str]) {
        let answer = self.push_with(&[], trace_id, names).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    }

    pub(crate) async fn push_with(
        &self,
        headers: &[(&str, &str)],
        trace_id: [u8; 16],
        names: &[&str],
    ) -> Answer {
        let address = self.app.addresses().receivers.otlp_http.unwrap();
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/x-protobuf"));
        let body = Bytes::from(request(trace_id, names).encode_to_vec());
        http_client::send(address, Method::POST, "/v1/traces", &headers, body).await
    }

    pub(crate) async fn stop(self) {
        let outcome = self.app.stop().await;
        assert!(matches!(outcome, Outcome::Clean), "{outcome:?}");
    }
}

pub(crate) fn request(trace_id: [u8; 16], names: &[&str]) -> ExportTraceServiceRequest {
    let spans = names.iter().enumerate().map(|(index, name)| Span {
        trace_id: trace_id.to_vec(),
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        name: (*name).to_owned(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000 + index as u64,
        end_time_unix_nano: 1_700_000_000_100_000_000,
        ..Span::default()
    });
    let service = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue("sandbox".to_owned())) }),
        ..KeyValue::default()
    };
    let resource = Resource { attributes: vec![service], ..Resource::default() };
    let scope_spans = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

pub(crate) fn hex(trace_id: [u8; 16]) -> String {
    trace_id.iter().map(|byte| format!("{byte:02x}")).collect()
}
