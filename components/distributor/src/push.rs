//! A request's way through the distributor: tenant's rate → walk → regroup → ingesters.
//!
//! What the ingester discards (a trace that is too large, too many live traces) is counted and not an error for the
//! client, as in Tempo since 2.4. What the walk rejects is told in the answer's partial success; only when nothing of
//! the request is left it is an error. Bytes of requests are accounted for until the ingester has acknowledged them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::Registry;
use tempo_config::{
    DistributorConfig, JaegerReceiverConfig, OtlpGrpcConfig, OtlpHttpConfig, Overrides, ReceiversConfig,
    ZipkinReceiverConfig,
};
use tempo_model::{PushBatch, TenantId, TraceId};
use tokio::{sync::watch, time::Instant};

use crate::{
    inflight::{Inflight, Refused, Reservation},
    metrics::Metrics,
    rate_limit::{RateLimited, RateLimiter},
    receiver::{self, DatagramReceiver, TenantRefused},
    regroup::{ContextsTooLarge, Regroup},
    validate::{self, RequestWalk, WalkOptions},
    wire::Fault,
};

/// Who takes the regrouped spans: the ingester in this process, or the client of a ring of them.
#[async_trait]
pub trait IngesterPush: Send + Sync {
    /// Returns when the batch is safe.
    async fn push(&self, tenant: &TenantId, batch: PushBatch) -> Result<PushResponse, IngesterPushError>;
}

/// What the ingester did with a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushResponse {
    /// Traces whose spans of this batch were dropped by a limit.
    pub discarded: Vec<Discarded>,
}

/// A trace whose spans of one batch were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discarded {
    pub trace_id: TraceId,
    pub reason: DiscardReason,
    pub spans: u64,
}

/// Limits of the ingester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscardReason {
    TraceTooLarge,
    LiveTracesExceeded,
}

impl DiscardReason {
    /// Tempo's value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            DiscardReason::TraceTooLarge => "trace_too_large",
            DiscardReason::LiveTracesExceeded => "live_traces_exceeded",
        }
    }
}

/// Why an ingester did not take a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngesterPushError {
    /// Full; the client should try again after this time.
    #[error("ingester has no room, try again in {0:?}")]
    ResourceExhausted(Duration),
    /// Not there, or not ready; the client should try again.
    #[error("ingester is not available: {0}")]
    Unavailable(String),
    #[error("ingester failed: {0}")]
    Internal(String),
}

/// What became of a request that was taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushOutcome {
    /// Spans that are safe, or were dropped by a limit of the ingester.
    pub accepted_spans: u64,
    /// Spans that were wrong; the answer's partial success.
    pub rejected_spans: u64,
    /// What was wrong with the first of them.
    pub error_message: String,
}

/// Why nothing of a request was taken in.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Tenant(#[from] TenantRefused),
    /// The bytes cannot be followed, or no span of the request was good.
    #[error(transparent)]
    Invalid(#[from] Fault),
    #[error(transparent)]
    Contexts(#[from] ContextsTooLarge),
    #[error("{limited}")]
    RateLimited { limited: RateLimited, retry_after: Option<Duration> },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Ingester(#[from] IngesterPushError),
}

/// As [`PushError`], with the number of spans that the request had.
pub(crate) struct PushFailure {
    pub(crate) error: PushError,
    pub(crate) spans: u64,
}

/// What a distributor needs from the process.
pub struct Dependencies<'a> {
    pub ingesters: Arc<dyn IngesterPush>,
    pub overrides: watch::Receiver<Arc<Overrides>>,
    pub registry: &'a Registry,
    /// Whether requests must name their tenant; if not, all belong to the single tenant.
    pub multitenancy: bool,
}

/// Takes spans in. Cheap to clone.
#[derive(Clone)]
pub struct Distributor {
    shared: Arc<Shared>,
}

struct Shared {
    receivers: ReceiversConfig,
    udp_tenant: String,
    retry_after: Option<Duration>,
    max_attribute_bytes: usize,
    ingesters: Arc<dyn IngesterPush>,
    overrides: watch::Receiver<Arc<Overrides>>,
    multitenancy: bool,
    limiter: RateLimiter,
    inflight: Inflight,
    metrics: Metrics,
    scratch: Mutex<Vec<Scratch>>,
}

/// Memory that one request at a time uses to be walked and regrouped.
#[derive(Debug, Default)]
struct Scratch {
    walk: RequestWalk,
    regroup: Regroup,
}

/// A scratch that has grown beyond this (a request of some 10 MB) is not kept.
const KEPT_SCRATCH_BYTES: usize = 1 << 20;
const KEPT_SCRATCHES: usize = 8;

/// Largest request that is walked and regrouped on a runtime worker: half a millisecond.
const INLINE_WALK_BYTES: usize = 512 << 10;

/// A request that was walked and regrouped.
struct Prepared {
    batch: PushBatch,
    outcome: PushOutcome,
}

impl std::fmt::Debug for Distributor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Distributor").field("inflight", &self.shared.inflight).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Dependencies<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dependencies").field("multitenancy", &self.multitenancy).finish_non_exhaustive()
    }
}

impl Distributor {
    /// Registers the metrics; fails if something of the same name is there.
    pub fn open(
        config: &DistributorConfig,
        deps: Dependencies<'_>,
    ) -> Result<Distributor, prometheus::Error> {
        let Dependencies { ingesters, overrides, registry, multitenancy } = deps;
        let retry_after = config.retry_after_on_resource_exhausted.get();
        let metrics = Metrics::register(registry)?;
        Ok(Distributor {
            shared: Arc::new(Shared {
                receivers: config.receivers.clone(),
                udp_tenant: config.tempo_rs.udp_tenant.clone(),
                retry_after: (!retry_after.is_zero()).then_some(retry_after),
                max_attribute_bytes: config.max_attribute_bytes.to_usize(),
                ingesters,
                overrides,
                multitenancy,
                limiter: RateLimiter::new(Instant::now()),
                inflight: Inflight::new(config.tempo_rs.max_inflight_bytes.get(), metrics.inflight().clone()),
                metrics,
                scratch: Mutex::new(Vec::new()),
            }),
        })
    }

    /// Where OTLP over HTTP is to listen; `None` if it is off.
    pub fn otlp_http_config(&self) -> Option<&OtlpHttpConfig> {
        self.shared.receivers.otlp.as_ref()?.protocols.http.as_ref()
    }

    /// Where OTLP over gRPC is to listen; `None` if it is off.
    pub fn otlp_grpc_config(&self) -> Option<&OtlpGrpcConfig> {
        self.shared.receivers.otlp.as_ref()?.protocols.grpc.as_ref()
    }

    /// `POST` on the configured traces path, and nothing else.
    pub fn otlp_http_routes(&self) -> axum::Router {
        receiver::otlp_http::routes(self)
    }

    /// The OTLP trace service, and nothing else.
    pub fn otlp_grpc_routes(&self) -> axum::Router {
        receiver::otlp_grpc::routes(self)
    }

    /// Jaeger's transports, each with where it is to listen; `None` if all are off.
    pub fn jaeger_config(&self) -> Option<&JaegerReceiverConfig> {
        self.shared.receivers.jaeger.as_ref()
    }

    /// Jaeger's collector service, and `SamplingManager` if remote sampling is on.
    pub fn jaeger_grpc_routes(&self) -> axum::Router {
        receiver::jaeger::grpc_routes(self)
    }

    /// `POST /api/traces` with thrift, and `GET /api/sampling` if remote sampling is on.
    pub fn jaeger_thrift_http_routes(&self) -> axum::Router {
        receiver::jaeger::thrift_http_routes(self)
    }

    /// `GET /sampling`, as an agent answers it.
    pub fn jaeger_sampling_routes(&self) -> axum::Router {
        receiver::jaeger::sampling_routes(self)
    }

    /// The receivers of datagrams that are on.
    pub fn datagram_receivers(&self) -> Vec<DatagramReceiver> {
        receiver::jaeger::datagram_receivers(self)
    }

    /// Where Zipkin is to listen; `None` if it is off.
    pub fn zipkin_config(&self) -> Option<&ZipkinReceiverConfig> {
        self.shared.receivers.zipkin.as_ref()
    }

    /// Zipkin's paths.
    pub fn zipkin_routes(&self) -> axum::Router {
        receiver::zipkin::routes(self)
    }

    /// Takes one request in: `body` is an `ExportTraceServiceRequest` in protobuf. Returns when its spans are safe.
    pub async fn push_otlp(&self, tenant: TenantId, body: Bytes) -> Result<PushOutcome, PushError> {
        let reservation = self.inflight().reserve(body.len())?;
        self.push_reserved(tenant, body, reservation).await.map_err(|failure| failure.error)
    }

    /// Refuses new requests and waits for those in flight.
    pub async fn drain(&self) {
        self.inflight().drain().await;
    }

    pub(crate) fn inflight(&self) -> &Inflight {
        &self.shared.inflight
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Who sends datagrams while requests have to name their tenant; may be empty.
    pub(crate) fn udp_tenant(&self) -> &str {
        &self.shared.udp_tenant
    }

    pub(crate) fn is_multitenant(&self) -> bool {
        self.shared.multitenancy
    }

    /// As [`Distributor::push_otlp`], for a body whose bytes are accounted for.
    pub(crate) async fn push_reserved(
        &self,
        tenant: TenantId,
        body: Bytes,
        mut reservation: Reservation,
    ) -> Result<PushOutcome, PushFailure> {
        let started = Instant::now();
        let metrics = self.metrics();
        if !validate::has_spans(&body) {
            return Ok(PushOutcome::default());
        }
        metrics.request_came(&tenant, body.len());
        let overrides = Arc::clone(&self.shared.overrides.borrow());
        let limits = &overrides.for_tenant(tenant.as_str()).ingestion;
        if let Err(limited) = self.shared.limiter.take(&tenant, body.len(), limits, started) {
            let spans = validate::count_spans(&body);
            metrics.spans_discarded("rate_limited", &tenant, spans);
            let retry_after = self.shared.retry_after.filter(|_| limits.retry_info_enabled != Some(false));
            return Err(PushFailure { error: PushError::RateLimited { limited, retry_after }, spans });
        }
        metrics.request_passed_limits(&tenant, body.len());
        let max_attribute_bytes = match limits.max_attribute_bytes {
            Some(bytes) if bytes.get() > 0 => bytes.to_usize(),
            Some(_) | None => self.shared.max_attribute_bytes,
        };

        let size = body.len();
        let options = WalkOptions { max_attribute_bytes };
        let prepared = receiver::offload(size, INLINE_WALK_BYTES, || self.prepare(&tenant, &body, options));
        let Prepared { batch, outcome } =
            prepared.map_err(|error| PushFailure { error, spans: validate::count_spans(&body) })?;
        drop(body);
        let failed = |error| PushFailure { error, spans: outcome.accepted_spans + outcome.rejected_spans };
        // The batch takes the place of the body, and may be larger.
        if let Some(more) = batch.size_bytes().checked_sub(size) {
            reservation.grow(more).map_err(|refused| failed(refused.into()))?;
        }
        self.send(&tenant, batch).await.map_err(failed)?;
        metrics.pushed(started.elapsed().as_secs_f64());
        Ok(outcome)
    }

    fn prepare(&self, tenant: &TenantId, body: &[u8], options: WalkOptions) -> Result<Prepared, PushError> {
        let mut scratch = self.shared.scratch.lock().pop().unwrap_or_default();
        let prepared = self.prepare_in(&mut scratch, tenant, body, options);
        if scratch.walk.capacity_bytes() + scratch.regroup.capacity_bytes() <= KEPT_SCRATCH_BYTES {
            let mut kept = self.shared.scratch.lock();
            if kept.len() < KEPT_SCRATCHES {
                kept.push(scratch);
            }
        }
        prepared
    }

    fn prepare_in(
        &self,
        scratch: &mut Scratch,
        tenant: &TenantId,
        body: &[u8],
        options: WalkOptions,
    ) -> Result<Prepared, PushError> {
        let Scratch { walk, regroup } = scratch;
        walk.walk(body, options)?;
        let mut outcome = PushOutcome::default();
        for (reason, spans) in walk.take_rejected() {
            self.metrics().spans_discarded(reason.as_str(), tenant, spans);
            outcome.rejected_spans += spans;
        }
        if let Some(fault) = walk.first_fault() {
            if walk.span_count() == 0 {
                return Err(PushError::Invalid(fault.clone()));
            }
            outcome.error_message = fault.to_string();
        }
        self.metrics().attributes_truncated(tenant, walk.truncated());
        outcome.accepted_spans = walk.span_count() as u64;
        self.metrics().spans_came(tenant, outcome.accepted_spans);
        let batch = regroup.regroup(walk, body)?;
        self.metrics().batch_built(batch.trace_count());
        Ok(Prepared { batch, outcome })
    }

    async fn send(&self, tenant: &TenantId, batch: PushBatch) -> Result<(), PushError> {
        self.metrics().batch_sent();
        match self.shared.ingesters.push(tenant, batch).await {
            Ok(PushResponse { discarded }) => {
                for Discarded { trace_id: _, reason, spans } in discarded {
                    self.metrics().spans_discarded(reason.as_str(), tenant, spans);
                }
                Ok(())
            }
            Err(error) => {
                self.metrics().batch_failed(match &error {
                    IngesterPushError::ResourceExhausted(_) => "resource_exhausted",
                    IngesterPushError::Unavailable(_) => "unavailable",
                    IngesterPushError::Internal(_) => "internal",
                });
                Err(error.into())
            }
        }
    }
}
