//! Jaeger: batches in Thrift and protobuf become an OTLP export request; the transports that they come on.
//!
//! Readers (`thrift_batch`, `proto_batch`) walk a batch once and hand what they find to `translation`, which writes OTLP
//! bytes and whose header has the table of what becomes what. Transports: `grpc` (collector), `thrift_http` (collector),
//! `udp` (agent, two encodings); `sampling` answers clients that ask how much to sample.

mod attributes;
mod grpc;
mod proto_batch;
mod sampling;
mod thrift_batch;
mod thrift_http;
mod translation;
mod udp;

pub(crate) use grpc::routes as grpc_routes;
pub(crate) use sampling::agent_routes as sampling_routes;
pub(crate) use thrift_http::routes as thrift_http_routes;
pub use udp::DatagramReceiver;
pub(crate) use udp::receivers as datagram_receivers;

use bytes::Bytes;

use super::{
    offload,
    rpc_status::RpcStatus,
    thrift::{BinaryReader, CompactReader, ThriftFault},
};
use crate::{
    inflight::{Refused, Reservation},
    wire::Fault,
};
use translation::{Scratch, Translation};

/// Largest batch that is translated on a runtime worker: half a millisecond.
const INLINE_BYTES: usize = 192 << 10;

/// What Jaeger batches come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JaegerFormat {
    /// A `Batch` in the binary encoding, as the collector takes it over HTTP.
    ThriftBatch,
    /// An `emitBatch` message in the compact encoding, as the agent takes it.
    CompactMessage,
    /// An `emitBatch` message in the binary encoding.
    BinaryMessage,
    /// A `PostSpansRequest`.
    PostSpans,
}

/// Bytes that are no batch of Jaeger spans: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct JaegerFault(#[from] BatchFault);

/// As [`JaegerFault`], for those who treat them differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum BatchFault {
    #[error(transparent)]
    Thrift(#[from] ThriftFault),
    #[error(transparent)]
    Protobuf(#[from] Box<Fault>),
    #[error("thrift method {0:?} is not emitBatch")]
    Method(String),
    #[error("trace and span ids have at most 16 and 8 bytes, one at byte {offset} has {len}")]
    IdLength { len: usize, offset: usize },
    /// Not more than a few spans' worth of memory for each span's bytes.
    #[error("{0} bytes of spans would take far more memory than they have")]
    Expands(usize),
}

/// Converts Jaeger batches to OTLP. Keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub struct JaegerToOtlp {
    scratch: Scratch,
}

impl JaegerToOtlp {
    /// Appends a batch to `out` as an `ExportTraceServiceRequest` and returns how many spans it had. Several batches may
    /// be appended to one request. After a fault `out` is as it was.
    pub fn append(
        &mut self,
        format: JaegerFormat,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, JaegerFault> {
        let start = out.len();
        let appended = self.append_to(format, input, out);
        if appended.is_err() {
            out.truncate(start);
        }
        Ok(appended?)
    }

    fn append_to(
        &mut self,
        format: JaegerFormat,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<u64, BatchFault> {
        let mut translation = Translation::new(&mut self.scratch, out, input.len());
        match format {
            JaegerFormat::ThriftBatch => {
                thrift_batch::read_batch(&mut BinaryReader::new(input), &mut translation)?;
            }
            JaegerFormat::CompactMessage => {
                thrift_batch::read_message(CompactReader::new(input), &mut translation)?;
            }
            JaegerFormat::BinaryMessage => {
                thrift_batch::read_message(BinaryReader::new(input), &mut translation)?;
            }
            JaegerFormat::PostSpans => proto_batch::read_request(input, &mut translation)?,
        }
        Ok(translation.finish())
    }
}

/// Why a batch did not become a request.
#[derive(Debug, thiserror::Error)]
enum ConvertError {
    #[error(transparent)]
    Fault(#[from] JaegerFault),
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<ConvertError> for RpcStatus {
    fn from(error: ConvertError) -> RpcStatus {
        match error {
            ConvertError::Fault(fault) => RpcStatus::invalid_argument(fault),
            ConvertError::Refused(refused) => refused.into(),
        }
    }
}

/// Converts the batch of one request, for which `reservation` holds its own bytes.
fn to_request(
    format: JaegerFormat,
    batch: &[u8],
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), ConvertError> {
    let mut out = Vec::with_capacity(batch.len() + batch.len() / 2);
    offload(batch.len(), INLINE_BYTES, || JaegerToOtlp::default().append(format, batch, &mut out))?;
    if let Some(more) = out.len().checked_sub(batch.len()) {
        reservation.grow(more)?;
    }
    Ok((Bytes::from(out), reservation))
}
