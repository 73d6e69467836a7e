//! Encoding and decoding of single records.

use proptest::prelude::*;
use tempo_model::TenantId;

use super::*;

const SALT: u64 = 0x0102_0304_0506_0708;

fn record(tenant: &str, payload: Vec<u8>) -> Record {
    Record {
        block: BlockId::from_bytes([7; 16]),
        tenant: TenantId::parse(tenant).unwrap(),
        payload: Bytes::from(payload),
    }
}

fn header(bytes: &[u8], offset: u64) -> Option<RecordHeader> {
    RecordHeader::decode(bytes.first_chunk().unwrap(), SALT, offset)
}

#[test]
fn a_record_is_laid_out_as_the_crate_says() {
    let mut buffer = BatchBuffer::default();
    buffer.begin(SALT, 128);

    buffer.push_data(&record("ab", b"payload".to_vec()));

    let bytes = buffer.as_slice();
    assert_eq!(bytes[..8], [0xf5, b'W', b'R', 0xf6, 1, 2, 0, 0]);
    assert_eq!(bytes[8..16], [7, 0, 0, 0, 7, 0, 0, 0]);
    assert_eq!(bytes[16..32], [7; 16]);
    assert_eq!(bytes[32..36], crc32c::crc32c(b"abpayload").to_le_bytes());
    let checked = [&SALT.to_le_bytes()[..], &128_u64.to_le_bytes(), &bytes[..36]].concat();
    assert_eq!(bytes[36..40], crc32c::crc32c(&checked).to_le_bytes());
    assert_eq!(bytes[40..], *b"abpayload");
}

#[test]
fn release_and_trim_are_bare_headers() {
    let mut buffer = BatchBuffer::default();
    buffer.begin(SALT, 1000);
    let block = BlockId::from_bytes([9; 16]);

    let release = buffer.push_release(block);
    let trim = buffer.push_trim(u64::MAX);

    assert_eq!((release, trim), (1000, 1040));
    assert_eq!(buffer.as_slice().len(), 80);
    assert_eq!(header(buffer.as_slice(), 1000).unwrap().kind, Kind::Release { block });
    assert_eq!(header(&buffer.as_slice()[40..], 1040).unwrap().kind, Kind::Trim { oldest_needed: u64::MAX });
}

#[test]
fn a_header_is_only_valid_at_its_own_offset_and_salt() {
    let mut buffer = BatchBuffer::default();
    buffer.begin(SALT, 128);
    buffer.push_release(BlockId::MIN);
    let bytes = buffer.as_slice();

    assert!(header(bytes, 128).is_some());
    assert!(header(bytes, 129).is_none());
    assert!(RecordHeader::decode(bytes.first_chunk().unwrap(), SALT + 1, 128).is_none());
}

#[test]
fn what_lz4_does_not_shrink_is_stored_as_it_is() {
    let noise: Vec<u8> = (0..1000_u32).flat_map(|n| crc32c::crc32c(&n.to_le_bytes()).to_le_bytes()).collect();
    let mut buffer = BatchBuffer::default();
    buffer.begin(SALT, 0);

    buffer.push_data(&record("t", noise.clone()));

    let header = header(buffer.as_slice(), 0).unwrap();
    assert!(!header.is_compressed);
    assert_eq!(header.stored_bytes as usize, noise.len());
    assert_eq!(header.decode_body(&buffer.as_slice()[40..]).unwrap(), ("t", Bytes::from(noise)));
}

#[test]
fn a_large_batch_does_not_keep_its_memory() {
    let mut buffer = BatchBuffer::default();
    buffer.begin(SALT, 0);
    buffer.push_data(&record("t", vec![0; 100_000]));

    buffer.shrink_to(1000);

    assert!(buffer.bytes.is_empty());
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        payloads in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..500), 1..6),
        tenant in "[a-z]{1,150}",
        base in any::<u32>(),
    ) {
        let mut buffer = BatchBuffer::default();
        buffer.begin(SALT, base.into());
        let records: Vec<_> = payloads.into_iter().map(|payload| record(&tenant, payload)).collect();
        let offsets: Vec<_> = records.iter().map(|record| buffer.push_data(record)).collect();

        let mut rest = buffer.as_slice();
        for (record, offset) in records.iter().zip(offsets) {
            let header = header(rest, offset).unwrap();
            let end = usize::try_from(header.record_bytes()).unwrap();
            let body = &rest[RECORD_HEADER_BYTES..end];
            prop_assert_eq!(crc32c::crc32c(body), header.body_crc);
            prop_assert_eq!(header.kind, Kind::Data { block: record.block });
            prop_assert_eq!(header.decode_body(body).unwrap(), (tenant.as_str(), record.payload.clone()));
            rest = &rest[end..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_body_of_random_bytes_is_refused_or_read_without_panic(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        tenant_bytes in any::<u8>(),
        is_compressed in any::<bool>(),
        payload_bytes in 0..10_000_u32,
    ) {
        let header = RecordHeader {
            kind: Kind::Data { block: BlockId::MIN },
            tenant_bytes,
            is_compressed,
            stored_bytes: 0,
            payload_bytes,
            body_crc: 0,
        };

        if let Some((_, payload)) = header.decode_body(&body) {
            prop_assert_eq!(payload.len(), payload_bytes as usize);
        }
    }
}
