//! Everything between a socket and a component: listeners, TLS, limits, tenants, the operator's pages.
//!
//! Components give routes; this module decides on which listener they are served and what stands before them.

pub mod admin;
pub(crate) mod datagrams;
pub mod grpc;
pub mod http;
pub mod metrics;
pub mod middleware;
pub mod status;
pub mod tenant;
pub mod tls;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{from_fn, from_fn_with_state},
};
use prometheus::Registry;
use tempo_config::{TlsMinVersion, TlsServerConfig, ValidConfig};
use tower::ServiceExt as _;

use self::{
    datagrams::BoundReceiver,
    http::{Listener, ListenerOptions, ServeContext},
    status::{Endpoint, StatusPages},
    tenant::Tenancy,
    tls::TlsStore,
};
use crate::{
    app::{Addresses, ReceiverAddresses},
    assemble::{Module, Shared},
    profile::{self, ProfileState},
    services::Services,
};

/// The listeners of every process, bound.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) http: Listener,
    pub(crate) grpc: Listener,
    pub(crate) internal: Option<Listener>,
}

pub(crate) async fn bind(config: &ValidConfig, metrics: &tls::Metrics) -> anyhow::Result<Listeners> {
    let server = &config.server;
    let tls = |name, tls: &TlsServerConfig| open_tls(name, tls, server.tls_min_version, metrics);
    let read = server.http_server_read_timeout.get();
    let header = server.http_server_read_header_timeout.get();

    let address = format!("{}:{}", server.http_listen_address, server.http_listen_port);
    let mut options = ListenerOptions::new("http", address);
    options.tls = tls("http", &server.http_tls_config)?;
    options.most_connections = server.http_listen_conn_limit;
    options.header_timeout = if header.is_zero() { read } else { header };
    let http = Listener::bind(options).await?;

    let address = format!("{}:{}", server.grpc_listen_address, server.grpc_listen_port);
    let mut options = ListenerOptions::new("grpc", address);
    options.tls = tls("grpc", &server.grpc_tls_config)?;
    options.most_connections = server.grpc_listen_conn_limit;
    options.keepalive = server.grpc_server_keepalive_time.get();
    options.keepalive_timeout = server.grpc_server_keepalive_timeout.get();
    if server.grpc_server_max_concurrent_streams > 0 {
        options.most_streams = server.grpc_server_max_concurrent_streams;
    }
    let grpc = Listener::bind(options).await?;

    let internal = &config.internal_server;
    let internal = if internal.enable {
        let address = format!("{}:{}", internal.http_listen_address, internal.http_listen_port);
        let mut options = ListenerOptions::new("internal", address);
        options.tls = tls("internal", &internal.http_tls_config)?;
        options.most_connections = internal.http_listen_conn_limit;
        options.header_timeout = internal.http_server_read_timeout.get();
        Some(Listener::bind(options).await?)
    } else {
        None
    };
    Ok(Listeners { http, grpc, internal })
}

fn open_tls(
    listener: &'static str,
    config: &TlsServerConfig,
    min_version: TlsMinVersion,
    metrics: &tls::Metrics,
) -> anyhow::Result<Option<Arc<TlsStore>>> {
    if !config.is_enabled() {
        return Ok(None);
    }
    let store = TlsStore::open(listener, config.clone(), min_version, metrics.clone())
        .with_context(|| format!("set up TLS of {listener}"))?;
    Ok(Some(Arc::new(store)))
}

/// Binds what the modules want to receive on.
pub(crate) async fn bind_receivers(
    modules: &mut [Module],
    config: &ValidConfig,
    context: &ServeContext,
) -> anyhow::Result<Vec<(Listener, Router)>> {
    let limit = Some(config.server.http_server_read_timeout.get()).filter(|limit| !limit.is_zero());
    let mut bound = Vec::new();
    for (options, routes) in modules.iter_mut().flat_map(|module| module.receivers.drain(..)) {
        let routes = middleware::wrap_receiver(routes, &context.metrics, limit);
        bound.push((Listener::bind(options).await?, routes));
    }
    Ok(bound)
}

/// Binds the sockets of receivers of datagrams.
pub(crate) fn bind_datagrams(modules: &mut [Module]) -> Result<Vec<BoundReceiver>, datagrams::BindError> {
    modules.iter_mut().flat_map(|module| module.datagrams.drain(..)).map(datagrams::bind).collect()
}

impl Listeners {
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses {
            http: self.http.address(),
            grpc: self.grpc.address(),
            internal: self.internal.as_ref().map(Listener::address),
            receivers: ReceiverAddresses::default(),
        }
    }
}

/// The routers of the process's own listeners.
pub(crate) struct Mounted {
    pub(crate) http: Router,
    pub(crate) grpc: Router,
}

impl Mounted {
    pub(crate) fn build(
        shared: &Shared,
        services: &Services,
        context: &ServeContext,
        modules: Vec<Module>,
    ) -> Mounted {
        let config = &shared.config;
        let prefix = config.http_api_prefix.trim_end_matches('/');
        let mut endpoints = own_endpoints(prefix);
        let (mut api, mut querier_api, mut untimed) = (Router::new(), Router::new(), Router::new());
        for module in modules {
            api = api.merge(module.api);
            querier_api = querier_api.merge(module.querier_api);
            untimed = untimed.merge(module.admin);
            endpoints.extend(module.endpoints);
        }
        let tenancy = Tenancy {
            is_enabled: config.multitenancy_enabled,
            allows_several: config.query_frontend.multi_tenant_queries_enabled,
        };
        let api = nest(prefix, api)
            .merge(querier_api)
            .layer(from_fn(middleware::trace_request))
            .layer(from_fn_with_state(tenancy, tenant::authenticate))
            .layer(from_fn_with_state(services.watch_stopping(), middleware::refuse_when_stopping));
        let pages = StatusPages {
            services: services.clone(),
            endpoints: endpoints.into(),
            config: Arc::clone(config),
            overrides: shared.overrides.clone(),
            blocklist: Some(shared.blocklist.clone()),
        };
        let timed = api.merge(admin::routes(services.clone(), shared.registry.clone(), pages, prefix));
        if config.server.tempo_rs.debug_endpoints {
            let state = ProfileState::new(shared.tasks.clone(), shared.waits.clone());
            untimed = untimed.merge(profile::routes(state));
        }
        let limit = Some(config.server.http_server_write_timeout.get()).filter(|limit| !limit.is_zero());
        let http = middleware::wrap_http(timed, untimed, &context.metrics, limit);

        let grpc = middleware::wrap_any(grpc::router(grpc::health()), &context.metrics);
        let http = if config.stream_over_http_enabled {
            http.layer(from_fn_with_state(grpc.clone(), grpc::over_http))
        } else {
            http
        };
        Mounted { http, grpc }
    }
}

/// What the internal server has.
pub(crate) fn probes(services: &Services, registry: &Registry, context: &ServeContext) -> Router {
    let probes = admin::probe_routes(services.clone(), registry.clone());
    middleware::wrap_any(probes.fallback(middleware::not_found), &context.metrics)
}

/// The routes of a listener that serves before everything is there: first the probes, in the end all of them.
#[derive(Clone)]
pub(crate) struct LateRoutes(Arc<ArcSwap<Router>>);

impl LateRoutes {
    pub(crate) fn starting(services: &Services, registry: &Registry) -> LateRoutes {
        let probes = admin::probe_routes(services.clone(), registry.clone());
        LateRoutes(Arc::new(ArcSwap::from_pointee(probes.fallback(async || admin::starting()))))
    }

    pub(crate) fn router(&self) -> Router {
        let current = async |State(LateRoutes(routes)): State<LateRoutes>, request: Request| {
            let routes = Router::clone(&routes.load());
            routes.oneshot(request).await.unwrap_or_else(|never| match never {})
        };
        Router::new().fallback(current).with_state(self.clone())
    }

    pub(crate) fn replace(&self, routes: Router) {
        self.0.store(Arc::new(routes));
    }
}

/// What every process has, for `/status/endpoints`.
fn own_endpoints(prefix: &str) -> Vec<Endpoint> {
    let plain = [
        ("ready", "/ready"),
        ("metrics", "/metrics"),
        ("config", "/config"),
        ("services", "/services"),
        ("status", "/status"),
        ("status_endpoint", "/status/{endpoint}"),
        ("status_overrides", "/status/overrides"),
        ("status_overrides_tenant", "/status/overrides/{tenant}"),
        ("runtime_config", "/runtime_config"),
        ("memberlist", "/memberlist"),
    ];
    let prefixed =
        [("api_status_buildinfo", "/api/status/buildinfo"), ("status_usage_stats", "/status/usage-stats")];
    let plain = plain.map(|(name, path)| Endpoint { name, path: path.to_owned() });
    let prefixed = prefixed.map(|(name, path)| Endpoint { name, path: format!("{prefix}{path}") });
    plain.into_iter().chain(prefixed).collect()
}

/// The addresses of a name in the order in which they are tried: IPv4 first, as in Go. Whoever sends to `localhost` often
/// means 127.0.0.1, and a datagram finds no second address by itself.
fn ipv4_first(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

fn nest(prefix: &str, routes: Router) -> Router {
    if prefix.is_empty() { routes } else { Router::new().nest(prefix, routes) }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Request, StatusCode},
        routing::get,
    };

    use super::*;
    use crate::services::ServiceState;

    #[test]
    fn a_name_with_addresses_of_both_families_means_the_older_one() {
        let [v6, v4] = ["[::1]:6831", "127.0.0.1:6831"].map(|text| text.parse().unwrap());

        assert_eq!(ipv4_first([v6, v4].into_iter()), [v4, v6]);
    }

    #[tokio::test]
    async fn until_everything_is_there_probes_answer_and_all_else_has_to_wait() {
        let services = Services::default();
        services.set("components", ServiceState::Starting);
        let late = LateRoutes::starting(&services, &Registry::new());
        let router = late.router();
        let status = async |path| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status()
        };

        let early = [status("/ready").await, status("/metrics").await, status("/api/echo").await];
        services.set("components", ServiceState::Running);
        let probes = admin::probe_routes(services, Registry::new());
        late.replace(probes.route("/api/echo", get(async || "echo\n")));
        let at_last = [status("/ready").await, status("/api/echo").await];

        let (unavailable, ok) = (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK);
        assert_eq!(early, [unavailable, ok, unavailable]);
        assert_eq!(at_last, [ok, ok]);
    }
}
