//! OTLP over gRPC: `TraceService/Export` on a codec that hands over a message's bytes and decodes nothing.
//!
//! gzip and zstd are accepted. A message larger than allowed is ResourceExhausted without RetryInfo, as Go answers:
//! tonic's OutOfRange would have OTLP exporters send the same message again and again.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use http::HeaderMap;
use tonic::{
    Code, Status,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
};

use super::{TENANT_HEADER, encode_response, rpc_status::RpcStatus, tenant_of};
use crate::{metrics::Transport, push::Distributor};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(crate) fn routes(distributor: &Distributor) -> Router {
    Router::new().route(EXPORT, post(export)).with_state(distributor.clone())
}

async fn export(State(distributor): State<Distributor>, request: Request) -> Response {
    let max_bytes = distributor.otlp_grpc_config().map_or(0, |grpc| grpc.max_message().to_usize());
    unary(Export { distributor }, max_bytes, request).await
}

/// Answers a call whose messages are bytes on both sides.
pub(super) async fn unary<S>(service: S, max_bytes: usize, request: Request) -> Response
where
    S: UnaryService<Bytes, Response = Bytes>,
{
    let response = Grpc::new(BytesCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(max_bytes)
        .unary(service, request)
        .await;
    if is_out_of_range(response.headers()) {
        let message = format!("grpc: received message larger than max ({max_bytes} bytes)");
        return Status::resource_exhausted(message).into_http();
    }
    response.map(Body::new)
}

fn is_out_of_range(headers: &HeaderMap) -> bool {
    Status::from_header_map(headers).is_some_and(|status| status.code() == Code::OutOfRange)
}

struct Export {
    distributor: Distributor,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let distributor = self.distributor.clone();
        Box::pin(async move {
            let (metadata, _, body) = request.into_parts();
            let headers = metadata.as_ref().get_all(TENANT_HEADER).iter().map(|value| value.as_bytes());
            let tenant = tenant_of(&distributor, headers);
            let reservation =
                distributor.inflight().reserve(body.len()).map_err(|r| RpcStatus::from(r).into_grpc())?;
            match super::push(&distributor, Transport::OtlpGrpc, tenant, body, reservation).await {
                Ok(outcome) => Ok(tonic::Response::new(Bytes::from(encode_response(&outcome)))),
                Err(error) => Err(RpcStatus::from(error).into_grpc()),
            }
        })
    }
}

/// Messages are bytes on both sides.
#[derive(Debug, Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = BytesCodec;
    type Decoder = BytesCodec;

    fn encoder(&mut self) -> BytesCodec {
        BytesCodec
    }

    fn decoder(&mut self) -> BytesCodec {
        BytesCodec
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // Shares the receive buffer, no copy.
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
