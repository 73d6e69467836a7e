//! gRPC: the health service, the fallback for unknown services, and sending gRPC that arrives on the HTTP port to the gRPC
//! routes (`stream_over_http_enabled`; Grafana streams only this way).

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Version, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tonic::{Status, service::Routes};
use tower::ServiceExt as _;

/// The standard health service: `SERVING` for the whole server as long as it is reached at all, since the listener accepts
/// only between ready and stopped.
pub fn health() -> Routes {
    let (_, service) = tonic_health::server::health_reporter();
    Routes::new(service)
}

/// Tonic's routes as an axum router with our own answer to unknown services.
///
/// Tonic installs a fallback that answers `200` and `grpc-status: 12` to every unknown path, which would swallow the 404 of
/// the HTTP routes it is merged with.
pub fn router(routes: Routes) -> Router {
    routes.prepare().into_axum_router().reset_fallback().fallback(unknown_service)
}

async fn unknown_service(request: Request) -> Response {
    let path = request.uri().path();
    Status::unimplemented(format!("unknown service or method {path}")).into_http::<Body>().into_response()
}

/// Whether a request is gRPC: HTTP/2 and a gRPC content type.
pub fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && content_type.and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/grpc"))
}

/// Middleware for the HTTP port: gRPC goes to the gRPC router, everything else on.
pub async fn over_http(State(grpc): State<Router>, request: Request, next: Next) -> Response {
    if is_grpc(&request) {
        return grpc.oneshot(request).await.unwrap_or_else(|never| match never {});
    }
    next.run(request).await
}
