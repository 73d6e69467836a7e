//! Reads an HTTP request's body and inflates it, never holding more than its limit twice (as sent and inflated).
//!
//! Every byte is reserved before it is kept, so many large bodies at once are refused rather than held. A bomb is
//! noticed when its output passes the limit, not when it ends. Truncated streams are errors, whatever the encoding.

use std::{io, io::Read, time::Duration};

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use http_body_util::BodyExt;

use super::offload;
use crate::inflight::{Inflight, Refused, Reservation};

/// Largest body that is inflated on a runtime worker: half a millisecond.
const INLINE_COMPRESSED_BYTES: usize = 32 << 10;

/// A client that sends nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(30);

/// First allocation for a body of announced length; more only as bytes arrive.
const FIRST_BYTES: usize = 1 << 20;

const CHUNK_BYTES: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("http: request body too large")]
    TooLarge,
    #[error("unsupported Content-Encoding: {0}")]
    Encoding(String),
    #[error("request body cannot be read: {0}")]
    Broken(String),
    #[error("request body stopped arriving")]
    Idle,
    #[error("request body is not valid {encoding}: {problem}")]
    Inflate { encoding: &'static str, problem: io::Error },
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// With a zlib header as it should be, or without.
    Deflate,
}

impl Encoding {
    pub(super) fn parse(header: &[u8]) -> Result<Encoding, BodyError> {
        let text = String::from_utf8_lossy(header);
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Encoding::Identity),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            "deflate" | "zlib" => Ok(Encoding::Deflate),
            other => Err(BodyError::Encoding(other.to_owned())),
        }
    }
}

/// Reads a body and inflates it as its headers say.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: axum::body::Body,
    limit: usize,
    inflight: &Inflight,
) -> Result<(Bytes, Reservation), BodyError> {
    let encoding = Encoding::parse(headers.get(CONTENT_ENCODING).map_or(&[][..], |value| value.as_bytes()))?;
    let mut reservation = inflight.reserve(0)?;
    let sent = read(body, limit, &mut reservation).await?;
    let body = match encoding {
        Encoding::Identity => sent,
        Encoding::Gzip | Encoding::Zstd | Encoding::Deflate => {
            offload(sent.len(), INLINE_COMPRESSED_BYTES, || inflate(encoding, sent, limit, &mut reservation))?
        }
    };
    Ok((body, reservation))
}

/// Reads a body as it was sent. One that comes in one piece is not copied.
pub(super) async fn read(
    mut body: axum::body::Body,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, BodyError> {
    use http_body::Body as _;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(BodyError::TooLarge);
    }
    let mut first: Option<Bytes> = None;
    let mut whole: Vec<u8> = Vec::new();
    let mut len = 0usize;
    loop {
        let frame = tokio::time::timeout(IDLE, body.frame()).await.map_err(|_| BodyError::Idle)?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len > limit {
            return Err(BodyError::TooLarge);
        }
        reservation.grow(data.len())?;
        match &first {
            None => first = Some(data),
            Some(start) => {
                if whole.is_empty() {
                    whole.reserve(announced.min(FIRST_BYTES).max(start.len() + data.len()));
                    whole.extend_from_slice(start);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    if whole.is_empty() { Ok(first.unwrap_or_default()) } else { Ok(Bytes::from(whole)) }
}

/// Inflates a body.
pub(super) fn inflate(
    encoding: Encoding,
    body: Bytes,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, BodyError> {
    let mut output = Output { bytes: Vec::new(), limit, reservation };
    match encoding {
        Encoding::Identity => return Ok(body),
        Encoding::Gzip => output.read_all("gzip", MultiGzDecoder::new(body.as_ref()))?,
        Encoding::Zstd => {
            let problem = |problem| BodyError::Inflate { encoding: "zstd", problem };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body.as_ref()).map_err(problem)?;
            decoder.window_log_max(window_log(limit)).map_err(problem)?;
            output.read_all("zstd", decoder)?;
        }
        Encoding::Deflate => output.deflate(&body)?,
    }
    Ok(Bytes::from(output.bytes))
}

/// The largest zstd window worth its memory: as large as the largest body, 8 MiB at least (RFC 8878 asks for that),
/// 128 MiB at most (the decoder's own default).
fn window_log(limit: usize) -> u32 {
    limit.checked_next_power_of_two().map_or(27, usize::trailing_zeros).clamp(23, 27)
}

struct Output<'a> {
    bytes: Vec<u8>,
    limit: usize,
    reservation: &'a mut Reservation,
}

impl Output<'_> {
    fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        if self.bytes.len() + chunk.len() > self.limit {
            return Err(BodyError::TooLarge);
        }
        self.reservation.grow(chunk.len())?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn read_all(&mut self, encoding: &'static str, mut decoder: impl Read) -> Result<(), BodyError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match decoder.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(len) => self.push(chunk.get(..len).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(problem) => return Err(BodyError::Inflate { encoding, problem }),
            }
        }
    }

    /// flate2's reader takes a cut-off zlib stream for a complete one, so the stream's end is looked for here.
    fn deflate(&mut self, body: &[u8]) -> Result<(), BodyError> {
        let problem = |problem| BodyError::Inflate { encoding: "deflate", problem };
        let has_zlib_header = matches!(body, [cmf, flags, ..]
            if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0);
        let mut inflater = Decompress::new(has_zlib_header);
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut rest = body;
        loop {
            let (read, written) = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(rest, &mut chunk, FlushDecompress::None)
                .map_err(|error| problem(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let len = usize::try_from(inflater.total_out() - written).unwrap_or(0);
            let read = usize::try_from(inflater.total_in() - read).unwrap_or(0);
            rest = rest.get(read..).unwrap_or_default();
            self.push(chunk.get(..len).unwrap_or_default())?;
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                Status::StreamEnd => return Err(problem(io::Error::other("bytes after its end"))),
                Status::Ok | Status::BufError if len == 0 && read == 0 => {
                    return Err(problem(io::ErrorKind::UnexpectedEof.into()));
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
