//! The distributor: its receivers' listeners as configured, and the ingester of this process behind it.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use display_error_chain::DisplayErrorChain;
use tempo_config::{ClientAuthType, ReceiverTlsConfig, ReceiverTlsVersion, TlsMinVersion, TlsServerConfig};
use tempo_distributor::{
    Dependencies, DiscardReason, Discarded, Distributor, IngesterPush, IngesterPushError, PushResponse,
};
use tempo_ingester::{Ingester, PushError};
use tempo_model::{PushBatch, TenantId};
use tracing::error;

use super::{Module, Shared, Stage};
use crate::server::{http::ListenerOptions, tls::TlsStore};

pub(super) fn assemble(shared: &Shared, ingester: Ingester) -> anyhow::Result<Module> {
    let dependencies = Dependencies {
        ingesters: Arc::new(LocalIngester(ingester)),
        overrides: shared.overrides.clone(),
        registry: &shared.registry,
        multitenancy: shared.config.multitenancy_enabled,
    };
    let distributor = Distributor::open(&shared.config.distributor, dependencies)
        .context("register metrics of the distributor")?;
    let mut module = Module::new("distributor");
    otlp_listeners(shared, &distributor, &mut module)?;
    jaeger_listeners(shared, &distributor, &mut module)?;
    if let Some(config) = distributor.zipkin_config() {
        let mut options = ListenerOptions::new("zipkin", config.endpoint.clone());
        options.tls = receiver_tls(shared, "zipkin", &config.tls)?;
        module.receivers.push((options, distributor.zipkin_routes()));
    }
    module.datagrams = distributor.datagram_receivers();
    module.run = Some((
        Stage::Distributor,
        Box::new(move |stop| {
            Box::pin(async move {
                stop.cancelled().await;
                distributor.drain().await;
                Ok(())
            })
        }),
    ));
    Ok(module)
}

fn otlp_listeners(shared: &Shared, distributor: &Distributor, module: &mut Module) -> anyhow::Result<()> {
    if let Some(config) = distributor.otlp_grpc_config() {
        let mut options = ListenerOptions::new("otlp_grpc", config.endpoint.clone());
        options.tls = receiver_tls(shared, "otlp_grpc", &config.tls)?;
        if config.max_concurrent_streams > 0 {
            options.most_streams = config.max_concurrent_streams;
        }
        module.receivers.push((options, distributor.otlp_grpc_routes()));
    }
    if let Some(config) = distributor.otlp_http_config() {
        let mut options = ListenerOptions::new("otlp_http", config.endpoint.clone());
        options.tls = receiver_tls(shared, "otlp_http", &config.tls)?;
        module.receivers.push((options, distributor.otlp_http_routes()));
    }
    Ok(())
}

fn jaeger_listeners(shared: &Shared, distributor: &Distributor, module: &mut Module) -> anyhow::Result<()> {
    let Some(config) = distributor.jaeger_config() else { return Ok(()) };
    if let Some(grpc) = &config.protocols.grpc {
        let mut options = ListenerOptions::new("jaeger_grpc", grpc.endpoint.clone());
        options.tls = receiver_tls(shared, "jaeger_grpc", &grpc.tls)?;
        if grpc.max_concurrent_streams > 0 {
            options.most_streams = grpc.max_concurrent_streams;
        }
        module.receivers.push((options, distributor.jaeger_grpc_routes()));
    }
    if let Some(http) = &config.protocols.thrift_http {
        let mut options = ListenerOptions::new("jaeger_thrift_http", http.endpoint.clone());
        options.tls = receiver_tls(shared, "jaeger_thrift_http", &http.tls)?;
        module.receivers.push((options, distributor.jaeger_thrift_http_routes()));
    }
    if let Some(sampling) = &config.remote_sampling {
        let options = ListenerOptions::new("jaeger_sampling", sampling.host_endpoint.clone());
        module.receivers.push((options, distributor.jaeger_sampling_routes()));
    }
    Ok(())
}

/// The collector's TLS keys in the words of the other listeners.
fn receiver_tls(
    shared: &Shared,
    listener: &'static str,
    tls: &ReceiverTlsConfig,
) -> anyhow::Result<Option<Arc<TlsStore>>> {
    if !tls.is_enabled() {
        return Ok(None);
    }
    let client_auth_type = match tls.client_ca_file.as_str() {
        "" => ClientAuthType::NoClientCert,
        _ => ClientAuthType::RequireAndVerifyClientCert,
    };
    let config = TlsServerConfig {
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        client_auth_type,
        client_ca_file: tls.client_ca_file.clone(),
    };
    let min_version = match tls.min_version {
        ReceiverTlsVersion::Tls12 => TlsMinVersion::Tls12,
        ReceiverTlsVersion::Tls13 => TlsMinVersion::Tls13,
    };
    let store = TlsStore::open(listener, config, min_version, shared.tls_metrics.clone())
        .with_context(|| format!("set up TLS of {listener}"))?;
    Ok(Some(Arc::new(store)))
}

/// The ingester in this process, as the distributor sees it.
struct LocalIngester(Ingester);

/// What a client is told when the ingester does not say when to come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[async_trait]
impl IngesterPush for LocalIngester {
    async fn push(&self, tenant: &TenantId, batch: PushBatch) -> Result<PushResponse, IngesterPushError> {
        let outcome = self.0.push(tenant, batch).await.map_err(push_error)?;
        let discarded = |discarded: tempo_ingester::Discarded| Discarded {
            trace_id: discarded.trace_id,
            reason: match discarded.reason {
                tempo_ingester::DiscardReason::TraceTooLarge => DiscardReason::TraceTooLarge,
                tempo_ingester::DiscardReason::LiveTracesExceeded => DiscardReason::LiveTracesExceeded,
            },
            spans: u64::from(discarded.spans),
        };
        Ok(PushResponse { discarded: outcome.discarded.into_iter().map(discarded).collect() })
    }
}

fn push_error(error: PushError) -> IngesterPushError {
    match error {
        PushError::ShuttingDown => IngesterPushError::Unavailable(error.to_string()),
        PushError::Busy(after) => IngesterPushError::ResourceExhausted(after.max(RETRY_AFTER)),
        // The log has reported it, and tries a new segment for the next push: the client may come back.
        PushError::Wal(_) => IngesterPushError::Unavailable(DisplayErrorChain::new(&error).to_string()),
        PushError::Decode(_) => {
            let text = DisplayErrorChain::new(&error).to_string();
            error!(error = text, "a push failed in the ingester");
            IngesterPushError::Internal(text)
        }
    }
}
