//! Queriers that answer from a function, a frontend around them, and traces to answer with.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};
use tempo_backend::Blocklist;
use tempo_config::{ByteSize, Overrides, QueryFrontendConfig};
use tempo_model::{TenantId, Tenants, Waits, trace::Trace};
use tempo_proto::{
    frontend::{TraceByIdJob, TraceByIdMode},
    resource::Resource,
    tempopb::{TraceByIdMetrics, TraceByIdResponse},
    trace::{ResourceSpans, ScopeSpans, Span},
};
use tempo_query_frontend::{Dependencies, JobError, Queriers, QueryFrontend};
use tokio::{sync::watch, time::Duration};
use tower::ServiceExt;

pub(crate) type Answer = Result<TraceByIdResponse, JobError>;

type Respond = Box<dyn Fn(&TraceByIdJob, usize) -> Answer + Send + Sync>;

/// Answers the `n`th job (from 0) by `respond(job, n)`, after a while.
pub(crate) struct FakeQueriers {
    respond: Respond,
    takes: Duration,
    pub(crate) jobs: Mutex<Vec<TraceByIdJob>>,
}

#[async_trait]
impl Queriers for FakeQueriers {
    async fn trace_by_id(&self, job: TraceByIdJob) -> Answer {
        let count = {
            let mut jobs = self.jobs.lock();
            jobs.push(job.clone());
            jobs.len() - 1
        };
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        (self.respond)(&job, count)
    }
}

pub(crate) struct Setup {
    pub(crate) config: QueryFrontendConfig,
    pub(crate) max_bytes_per_trace: u64,
    pub(crate) multitenancy: bool,
    pub(crate) takes: Duration,
    pub(crate) concurrent_jobs: usize,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            config: QueryFrontendConfig::default(),
            max_bytes_per_trace: 0,
            multitenancy: false,
            takes: Duration::ZERO,
            concurrent_jobs: 20,
        }
    }
}

/// A frontend and what is behind it.
pub(crate) struct Frontend {
    pub(crate) queriers: Arc<FakeQueriers>,
    registry: Registry,
    router: Router,
}

/// One HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, content type and body, to compare at once.
    pub(crate) fn parts(&self) -> (u16, &str, &str) {
        (self.status.as_u16(), self.header("content-type"), self.text())
    }
}

impl Setup {
    pub(crate) fn start(
        self,
        respond: impl Fn(&TraceByIdJob, usize) -> Answer + Send + Sync + 'static,
    ) -> Frontend {
        let Setup { config, max_bytes_per_trace, multitenancy, takes, concurrent_jobs } = self;
        let queriers = Arc::new(FakeQueriers { respond: Box::new(respond), takes, jobs: Mutex::default() });
        let mut overrides = Overrides::default();
        overrides.defaults.global.max_bytes_per_trace = ByteSize::from_bytes(max_bytes_per_trace);
        let registry = Registry::new();
        let deps = Dependencies {
            queriers: Arc::clone(&queriers) as Arc<dyn Queriers>,
            concurrent_jobs,
            blocklist: Blocklist::new(),
            overrides: watch::channel(Arc::new(overrides)).1,
            multitenancy,
            waits: Waits::default(),
            registry: &registry,
        };
        let router = QueryFrontend::new(&config, deps).unwrap().http_routes();
        Frontend { queriers, registry, router }
    }
}

impl Frontend {
    pub(crate) async fn get(&self, uri: &str, accept: &str) -> Reply {
        self.send(Request::get(uri).header("accept", accept).body(String::new()).unwrap()).await
    }

    pub(crate) async fn get_for(&self, uri: &str, tenants: &[&str]) -> Reply {
        let mut request = Request::get(uri).body(String::new()).unwrap();
        let tenants = tenants.iter().map(|name| TenantId::parse(name).unwrap());
        if let Some(tenants) = Tenants::new(tenants) {
            request.extensions_mut().insert(tenants);
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: Request<String>) -> Reply {
        let response = self.router.clone().oneshot(request.map(axum::body::Body::from)).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// Lines of the metrics text that begin so.
    pub(crate) fn metrics(&self, prefix: &str) -> Vec<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|line| line.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// Mode of every job so far.
    pub(crate) fn modes(&self) -> Vec<TraceByIdMode> {
        self.queriers.jobs.lock().iter().map(TraceByIdJob::mode).collect()
    }
}

pub(crate) fn span(id: u8, parent: u8, start: u64) -> Span {
    Span {
        trace_id: vec![9; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: format!("s{id}"),
        start_time_unix_nano: start,
        ..Span::default()
    }
}

pub(crate) fn trace(spans: Vec<Span>) -> Trace {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    Trace {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource::default()),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

pub(crate) fn found(trace: Trace, inspected_bytes: u64) -> Answer {
    let metrics = Some(TraceByIdMetrics { inspected_bytes });
    Ok(TraceByIdResponse { trace: Some(trace), metrics, ..TraceByIdResponse::default() })
}

pub(crate) fn nothing() -> Answer {
    Ok(TraceByIdResponse { metrics: Some(TraceByIdMetrics::default()), ..TraceByIdResponse::default() })
}
