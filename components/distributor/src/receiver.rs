//! The receivers: one file per transport, and what they share.
//!
//! A receiver turns a request into protobuf bytes whose room is reserved, finds out who sent it, and turns the outcome
//! into the transport's answer. Everything behind that is `push`.

use bytes::Bytes;
use tempo_model::{TenantError, TenantId};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::{
    inflight::Reservation,
    metrics::Transport,
    push::{Distributor, PushError, PushFailure, PushOutcome},
    validate, wire,
};

mod body;
pub(crate) mod jaeger;
pub(crate) mod otlp_grpc;
pub(crate) mod otlp_http;
mod otlp_json;
mod otlp_writer;
mod rpc_status;
mod thrift;
pub(crate) mod zipkin;

pub use jaeger::{DatagramReceiver, JaegerFault, JaegerFormat, JaegerToOtlp};

/// Names the tenant, in HTTP headers and gRPC metadata.
const TENANT_HEADER: &str = "x-scope-orgid";

/// What OpenTelemetry's exporters of Jaeger and Zipkin put where a service's name has to be and there is none.
const NO_SERVICE_NAME: &str = "OTLPResourceNoServiceName";

/// Why a request has no tenant. The texts are Tempo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantRefused {
    #[error(transparent)]
    Invalid(#[from] TenantError),
    #[error("multiple org IDs present")]
    Several,
}

/// The tenant of a request, from all values of its tenant header.
fn tenant_of<'a>(
    distributor: &Distributor,
    mut headers: impl Iterator<Item = &'a [u8]>,
) -> Result<TenantId, TenantRefused> {
    if !distributor.is_multitenant() {
        return Ok(TenantId::single());
    }
    let first = headers.next().unwrap_or_default();
    if headers.next().is_some() {
        return Err(TenantRefused::Several);
    }
    let text = String::from_utf8_lossy(first);
    let mut tenants = text.split('|').map(TenantId::parse);
    let tenant = tenants.next().unwrap_or(Err(TenantError::Empty))?;
    match tenants.next() {
        None => Ok(tenant),
        Some(other) => other.map_err(TenantRefused::Invalid).and(Err(TenantRefused::Several)),
    }
}

/// Pushes what a receiver has read, and counts it. A request without spans is a success whoever sent it.
async fn push(
    distributor: &Distributor,
    transport: Transport,
    tenant: Result<TenantId, TenantRefused>,
    body: Bytes,
    reservation: Reservation,
) -> Result<PushOutcome, PushError> {
    let tenant = match tenant {
        Ok(tenant) => tenant,
        Err(_) if !validate::has_spans(&body) => return Ok(PushOutcome::default()),
        Err(refused) => {
            distributor.metrics().receiver_refused(transport, validate::count_spans(&body));
            return Err(refused.into());
        }
    };
    match distributor.push_reserved(tenant, body, reservation).await {
        Ok(outcome) => {
            distributor.metrics().receiver_accepted(transport, outcome.accepted_spans);
            distributor.metrics().receiver_refused(transport, outcome.rejected_spans);
            Ok(outcome)
        }
        Err(PushFailure { error, spans }) => {
            distributor.metrics().receiver_refused(transport, spans);
            Err(error)
        }
    }
}

/// Encodes an `ExportTraceServiceResponse`. Partial success is always there, as in Tempo's answers.
fn encode_response(outcome: &PushOutcome) -> Vec<u8> {
    let mut partial = Vec::new();
    if outcome.rejected_spans > 0 {
        wire::put_tag(&mut partial, wire::tag(1, wire::VARINT));
        wire::put_varint(&mut partial, outcome.rejected_spans);
        wire::put_bytes(&mut partial, 2, outcome.error_message.as_bytes());
    }
    let mut response = Vec::with_capacity(partial.len() + 4);
    wire::put_bytes(&mut response, 1, &partial);
    response
}

/// Runs work whose cost goes with `bytes`; above `inline_bytes` (chosen to be about half a millisecond) it is not done
/// on a runtime worker that others wait for.
pub(crate) fn offload<T>(bytes: usize, inline_bytes: usize, work: impl FnOnce() -> T) -> T {
    let is_multi_thread =
        || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > inline_bytes && is_multi_thread() { tokio::task::block_in_place(work) } else { work() }
}
