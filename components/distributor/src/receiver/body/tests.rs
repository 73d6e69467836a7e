use std::io::Write;

use super::*;
use crate::inflight::Inflight;

const LIMIT: usize = 1 << 20;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

fn inflate_all(encoding: Encoding, body: Vec<u8>) -> Result<Bytes, BodyError> {
    let mut reservation = Inflight::unobserved(64 << 20).reserve(0).unwrap();
    inflate(encoding, Bytes::from(body), LIMIT, &mut reservation)
}

fn every_encoding(data: &[u8]) -> [(Encoding, Vec<u8>); 4] {
    [
        (Encoding::Gzip, gzip(data)),
        (Encoding::Zstd, zstd(data)),
        (Encoding::Deflate, zlib(data)),
        (Encoding::Deflate, raw_deflate(data)),
    ]
}

fn noise(len: usize) -> Vec<u8> {
    (0u32..).take(len).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn every_encoding_inflates() {
    let data = noise(300_000);

    for (encoding, body) in every_encoding(&data) {
        assert_eq!(inflate_all(encoding, body).unwrap(), data, "{encoding:?}");
    }
    for (encoding, body) in every_encoding(b"") {
        assert_eq!(inflate_all(encoding, body).unwrap(), "", "{encoding:?}");
    }
}

#[test]
fn a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() {
    for (encoding, body) in every_encoding(&noise(LIMIT)) {
        assert_eq!(inflate_all(encoding, body).unwrap().len(), LIMIT, "{encoding:?}");
    }
    for (encoding, body) in every_encoding(&noise(LIMIT + 1)) {
        assert!(matches!(inflate_all(encoding, body), Err(BodyError::TooLarge)), "{encoding:?}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let zeros = vec![0; 200 << 20];

    for (encoding, body) in every_encoding(&zeros) {
        assert!(body.len() < LIMIT);
        assert!(matches!(inflate_all(encoding, body), Err(BodyError::TooLarge)), "{encoding:?}");
    }
}

#[test]
fn a_zstd_frame_that_wants_a_huge_window_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&noise(1000)).unwrap();
    let body = encoder.finish().unwrap();

    assert!(matches!(inflate_all(Encoding::Zstd, body), Err(BodyError::Inflate { .. })));
}

#[test]
fn truncated_and_damaged_bodies_are_errors() {
    for (encoding, body) in every_encoding(&noise(10_000)) {
        for len in [0, 1, 10, body.len() / 2, body.len() - 1] {
            let cut = inflate_all(encoding, body[..len].to_vec());
            // gzip and zstd read nothing as no frames: an empty body.
            assert!(cut.is_err() || len == 0 && cut.unwrap().is_empty(), "{encoding:?} {len}");
        }
    }
    assert!(inflate_all(Encoding::Gzip, b"hello, not gzip".to_vec()).is_err());
    assert!(inflate_all(Encoding::Zstd, b"hello, not zstd".to_vec()).is_err());
    let mut damaged = gzip(&noise(1000));
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    assert!(inflate_all(Encoding::Gzip, damaged).is_err());
}

#[test]
fn inflated_bytes_are_reserved() {
    let inflight = Inflight::unobserved(500_000);
    let mut reservation = inflight.reserve(0).unwrap();

    let full = inflate(Encoding::Gzip, Bytes::from(gzip(&noise(600_000))), LIMIT, &mut reservation);

    assert!(matches!(full, Err(BodyError::Refused(Refused::Full))));
}

#[tokio::test]
async fn a_body_larger_than_the_limit_is_refused_before_it_is_kept() {
    let inflight = Inflight::unobserved(64 << 20);
    let mut reservation = inflight.reserve(0).unwrap();

    let announced = read(axum::body::Body::from(vec![0; LIMIT + 1]), LIMIT, &mut reservation).await;
    assert!(matches!(announced, Err(BodyError::TooLarge)));
    assert_eq!(inflight.used_bytes(), 1);

    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; 50_000])));
    let streamed = axum::body::Body::from_stream(futures::stream::iter(chunks));
    assert!(matches!(read(streamed, LIMIT, &mut reservation).await, Err(BodyError::TooLarge)));
    assert!(inflight.used_bytes() <= LIMIT + 1);
}

#[tokio::test]
async fn pieces_are_put_together() {
    let inflight = Inflight::unobserved(64 << 20);
    let mut reservation = inflight.reserve(0).unwrap();
    let chunks =
        ["ab", "", "c", "def"].map(|text| Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes())));

    let body = axum::body::Body::from_stream(futures::stream::iter(chunks));

    assert_eq!(read(body, LIMIT, &mut reservation).await.unwrap(), "abcdef");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_is_given_up() {
    let inflight = Inflight::unobserved(1000);
    let mut reservation = inflight.reserve(0).unwrap();
    let stalled = axum::body::Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>());

    assert!(matches!(read(stalled, LIMIT, &mut reservation).await, Err(BodyError::Idle)));
}
