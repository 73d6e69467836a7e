//! Names and headers of segments.

use super::*;

fn header() -> SegmentHeader {
    SegmentHeader { number: 42, salt: u64::MAX - 1, previous: Link { number: 40, end: 9999 } }
}

#[test]
fn names_are_read_as_they_are_written() {
    let path = segment_path(Path::new("/wal"), 42);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();

    assert_eq!(path, Path::new("/wal/00000000000000000042.wal"));
    assert_eq!(parse_name(&name(&path)), Some((42, SegmentName::Segment)));
    assert_eq!(parse_name(&name(&aside_path(&path, "damaged"))), Some((42, SegmentName::Damaged)));
    assert_eq!(parse_name(&name(&aside_path(&path, "abandoned"))), Some((42, SegmentName::Abandoned)));
    for other in
        ["LOCK", "42.wal", "00000000000000000042", "+0000000000000000042.wal", "99999999999999999999.wal"]
    {
        assert_eq!(parse_name(other), None, "{other}");
    }
}

#[test]
fn either_copy_of_a_header_is_enough() {
    let bytes = header().encode();
    for lost in [0..64, 64..128] {
        let mut damaged = bytes;
        damaged[lost].fill(0xff);

        assert_eq!(SegmentHeader::decode(&damaged), HeaderState::Valid(header()));
    }
    assert_eq!(SegmentHeader::decode(&bytes[..64]), HeaderState::Valid(header()));
    assert_eq!(SegmentHeader::decode(&bytes[..63]), HeaderState::Unreadable);
    assert_eq!(SegmentHeader::decode(&[]), HeaderState::Unreadable);
}

#[test]
fn a_header_that_looks_newer_is_newer_even_if_its_checksum_is_wrong() {
    let mut bytes = header().encode();
    for copy in bytes.chunks_exact_mut(64) {
        copy[8] = 3;
    }

    assert_eq!(SegmentHeader::decode(&bytes), HeaderState::Newer(3));
}
