//! Jaeger over gRPC: `CollectorService/PostSpans`, and `SamplingManager` where remote sampling is on.
//!
//! As with OTLP, a message's bytes are handed over undecoded. A batch of which nothing could be taken in is answered with
//! the status that OTLP has for it; the answer has no room for a partial success, which is counted only.

use std::convert::Infallible;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::{Status, server::UnaryService};

use super::{JaegerFormat, sampling, to_request};
use crate::{
    metrics::Transport,
    push::Distributor,
    receiver::{TENANT_HEADER, otlp_grpc::unary, push, rpc_status::RpcStatus, tenant_of},
};

const POST_SPANS: &str = "/jaeger.api_v2.CollectorService/PostSpans";
const GET_SAMPLING_STRATEGY: &str = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy";

/// A service name and nothing else.
const MAX_SAMPLING_REQUEST_BYTES: usize = 64 << 10;

pub(crate) fn routes(distributor: &Distributor) -> Router {
    let routes = Router::new().route(POST_SPANS, post(post_spans)).with_state(distributor.clone());
    match sampling::rate(distributor) {
        None => routes,
        Some(rate) => {
            let get_strategy = async move |request: Request| {
                Ok::<_, Infallible>(unary(GetStrategy { rate }, MAX_SAMPLING_REQUEST_BYTES, request).await)
            };
            routes.route(GET_SAMPLING_STRATEGY, post(get_strategy))
        }
    }
}

async fn post_spans(State(distributor): State<Distributor>, request: Request) -> Response {
    let config = distributor.jaeger_config().and_then(|jaeger| jaeger.protocols.grpc.as_ref());
    let max_bytes = config.map_or(0, |grpc| grpc.max_message().to_usize());
    unary(PostSpans { distributor }, max_bytes, request).await
}

struct PostSpans {
    distributor: Distributor,
}

impl UnaryService<Bytes> for PostSpans {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let distributor = self.distributor.clone();
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let headers = metadata.as_ref().get_all(TENANT_HEADER).iter().map(|value| value.as_bytes());
            let tenant = tenant_of(&distributor, headers);
            let reserved = distributor.inflight().reserve(body.len());
            let reservation = reserved.map_err(|refused| RpcStatus::from(refused).into_grpc())?;
            let (body, reservation) = to_request(JaegerFormat::PostSpans, body, reservation)
                .map_err(|error| RpcStatus::from(error).into_grpc())?;
            match push(&distributor, Transport::JaegerGrpc, tenant, body, reservation).await {
                Ok(_) => Ok(tonic::Response::new(Bytes::new())),
                Err(error) => Err(RpcStatus::from(error).into_grpc()),
            }
        })
    }
}

struct GetStrategy {
    rate: f64,
}

impl UnaryService<Bytes> for GetStrategy {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, _: tonic::Request<Bytes>) -> Self::Future {
        let answer = Bytes::from(sampling::encode(self.rate));
        Box::pin(async move { Ok(tonic::Response::new(answer)) })
    }
}
