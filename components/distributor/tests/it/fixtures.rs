//! A distributor on a fake ingester, and requests for it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus::Registry;
use prost::Message;
use tempo_config::{DistributorConfig, GoDuration, Limits, Overrides};
use tempo_distributor::{Dependencies, Distributor, IngesterPush, IngesterPushError, PushResponse};
use tempo_model::{PushBatch, TenantId};
use tempo_proto::{
    collector::ExportTraceServiceRequest,
    common::{AnyValue, KeyValue, any_value::Value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span},
};
use tokio::sync::{Notify, watch};

/// Keeps what it is given and answers as it is told.
#[derive(Default)]
pub(crate) struct FakeIngester {
    pub(crate) batches: Mutex<Vec<(TenantId, PushBatch)>>,
    pub(crate) answer: Mutex<Option<Result<PushResponse, IngesterPushError>>>,
    /// If set, a push waits until it is notified.
    pub(crate) gate: Mutex<Option<Arc<Notify>>>,
}

#[async_trait]
impl IngesterPush for FakeIngester {
    async fn push(&self, tenant: &TenantId, batch: PushBatch) -> Result<PushResponse, IngesterPushError> {
        let gate = self.gate.lock().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        self.batches.lock().push((tenant.clone(), batch));
        self.answer.lock().clone().unwrap_or_else(|| Ok(PushResponse::default()))
    }
}

impl FakeIngester {
    /// Spans it has, over all batches.
    pub(crate) fn span_count(&self) -> u64 {
        self.batches.lock().iter().map(|(_, batch)| batch.span_count()).sum()
    }
}

pub(crate) struct Fixture {
    pub(crate) distributor: Distributor,
    pub(crate) ingester: Arc<FakeIngester>,
    pub(crate) registry: Registry,
    pub(crate) overrides: watch::Sender<Arc<Overrides>>,
}

#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) config: DistributorConfig,
    pub(crate) limits: Limits,
    pub(crate) multitenancy: bool,
}

impl Setup {
    pub(crate) fn retry_after(mut self, duration: Duration) -> Setup {
        self.config.retry_after_on_resource_exhausted = GoDuration::from(duration);
        self
    }

    pub(crate) fn build(self) -> Fixture {
        let ingester = Arc::new(FakeIngester::default());
        let registry = Registry::new();
        let (overrides, receiver) = watch::channel(Arc::new(Overrides::new(self.limits)));
        let distributor = Distributor::open(
            &self.config,
            Dependencies {
                ingesters: Arc::<FakeIngester>::clone(&ingester),
                overrides: receiver,
                registry: &registry,
                multitenancy: self.multitenancy,
            },
        )
        .unwrap();
        Fixture { distributor, ingester, registry, overrides }
    }
}

impl Fixture {
    /// The value of a counter with exactly these label values, 0 if it is not there.
    pub(crate) fn counter(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let metrics = families.iter().filter(|f| f.name() == name).flat_map(|f| f.get_metric());
        metrics
            .filter(|m| {
                m.get_label().len() == labels.len()
                    && m.get_label().iter().all(|l| labels.contains(&(l.name(), l.value())))
            })
            .map(|m| m.get_counter().get_value())
            .sum()
    }
}

pub(crate) fn span(trace: u8, n: u8) -> Span {
    Span { trace_id: vec![trace; 16], span_id: vec![n; 8], name: "op".to_owned(), ..Span::default() }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

pub(crate) fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans,
            schema_url: String::new(),
        }],
    }
}

pub(crate) fn encoded(spans: Vec<Span>) -> Vec<u8> {
    request(spans).encode_to_vec()
}
