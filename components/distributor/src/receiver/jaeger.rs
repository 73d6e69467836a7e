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

/// Converts the batch of one request, for which `reservation` holds its own bytes; those of what it becomes take their
/// place. Only what is more than usual is reserved after it was written, and that is bounded by the translation.
fn to_request(
    format: JaegerFormat,
    batch: Bytes,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation), ConvertError> {
    let usual = batch.len() + batch.len() / 2;
    reservation.grow(usual)?;
    let mut out = Vec::with_capacity(usual);
    offload(batch.len(), INLINE_BYTES, || JaegerToOtlp::default().append(format, &batch, &mut out))?;
    if let Some(more) = out.capacity().checked_sub(usual) {
        reservation.grow(more)?;
    }
    drop(batch);
    reservation.shrink_to(out.capacity());
    Ok((Bytes::from(out), reservation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inflight::Inflight;

    #[test]
    fn what_a_batch_becomes_takes_the_place_of_its_bytes() {
        let inflight = Inflight::unobserved(1_000);
        // A span id and nothing else, in a list of one span behind no process.
        let batch = Bytes::from_static(b"\x0f\0\x02\x0c\0\0\0\x01\x0a\0\x03\0\0\0\0\0\0\0\x01\0\0");
        let reservation = inflight.reserve(batch.len()).unwrap();

        let (out, reservation) = to_request(JaegerFormat::ThriftBatch, batch.clone(), reservation).unwrap();

        assert!((out.len()..=2 * batch.len()).contains(&(inflight.used_bytes() - 1)));
        drop((out, reservation));
        assert_eq!(inflight.used_bytes(), 0);
    }

    #[test]
    fn room_for_what_a_batch_becomes_is_taken_before_it_is_used() {
        let inflight = Inflight::unobserved(100);
        let batch = Bytes::from(vec![0; 60]);
        let reservation = inflight.reserve(batch.len()).unwrap();

        let refused = to_request(JaegerFormat::ThriftBatch, batch, reservation);

        assert!(matches!(refused, Err(ConvertError::Refused(Refused::Full))));
        assert_eq!(inflight.used_bytes(), 0);
    }
}
