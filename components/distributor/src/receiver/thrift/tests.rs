use super::*;

fn skip_compact(bytes: &[u8]) -> String {
    CompactReader::new(bytes).skip_struct().unwrap_err().to_string()
}

fn skip_binary(bytes: &[u8]) -> String {
    BinaryReader::new(bytes).skip_struct().unwrap_err().to_string()
}

#[test]
fn fields_of_every_kind_are_skipped() {
    // 1: true, 2: byte, 3: i16, 4: i32, 5: i64, 6: double, 7: binary, 8: list of bools, 9: map, 10: struct, 20: set
    let compact = [
        0x11, 0x13, 9, 0x14, 2, 0x15, 2, 0x16, 2, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0x18, 2, b'a', b'b', 0x19,
        0x21, 1, 2, 0x1b, 1, 0x55, 2, 4, 0x1c, 0, 0x0a, 40, 0x18, 0, 0,
    ];
    let binary = [
        2, 0, 1, 1, 3, 0, 2, 9, 6, 0, 3, 0, 1, 8, 0, 4, 0, 0, 0, 1, 10, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 4, 0,
        6, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 7, 0, 0, 0, 2, b'a', b'b', 15, 0, 8, 2, 0, 0, 0, 2, 1, 0, 13, 0, 9,
        8, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 12, 0, 10, 0, 14, 0, 20, 11, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0,
        21, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let (mut compact_reader, mut binary_reader) = (CompactReader::new(&compact), BinaryReader::new(&binary));

    compact_reader.skip_struct().unwrap();
    binary_reader.skip_struct().unwrap();

    assert_eq!(compact_reader.position(), compact.len());
    assert_eq!(binary_reader.position(), binary.len());
}

#[test]
fn values_are_read_as_they_were_written() {
    let mut compact = CompactReader::new(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0f, 3, b'a', b'b', b'c']);
    let mut binary = BinaryReader::new(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'a']);

    assert_eq!(compact.i64().unwrap(), -1);
    assert_eq!(compact.i32().unwrap(), i32::MIN);
    assert_eq!(compact.i64().unwrap(), -8);
    assert_eq!(compact.binary().unwrap(), b"abc");
    assert_eq!(binary.i32().unwrap(), -1);
    assert_eq!(binary.binary().unwrap(), b"a");
    let double = 0.1f64;
    assert_eq!(CompactReader::new(&double.to_le_bytes()).double().unwrap().to_bits(), double.to_bits());
    assert_eq!(BinaryReader::new(&double.to_be_bytes()).double().unwrap().to_bits(), double.to_bits());
}

#[test]
fn bools_are_read_from_heads_and_from_bytes() {
    let mut compact = CompactReader::new(&[0x11, 0x12]);
    let first = compact.field(0).unwrap().unwrap();
    let second = compact.field(first.id).unwrap().unwrap();
    let mut binary = BinaryReader::new(&[2, 0, 5, 1]);
    let field = binary.field(0).unwrap().unwrap();

    assert_eq!((compact.bool(first), compact.bool(second)), (Ok(true), Ok(false)));
    assert_eq!((field.id, binary.bool(field)), (5, Ok(true)));
}

#[test]
fn messages_are_recognised() {
    let strict = [0x80, 1, 0, 4, 0, 0, 0, 1, b'm', 0, 0, 0, 7];
    let old = [0, 0, 0, 1, b'm', 4, 0, 0, 0, 7];
    let compact = [0x82, 0x81, 7, 1, b'm'];

    for bytes in [&strict[..], &old] {
        assert_eq!(BinaryReader::new(bytes).message().unwrap().name, b"m");
    }
    assert_eq!(CompactReader::new(&compact).message().unwrap().name, b"m");
    for bytes in [&strict[..], &old, b"", &[0x82, 0x82, 0, 0]] {
        CompactReader::new(bytes).message().unwrap_err();
    }
    for bytes in [&compact[..], &[0, 0, 0, 0, 0], &[0x80, 2, 0, 4, 0, 0]] {
        BinaryReader::new(bytes).message().unwrap_err();
    }
}

#[test]
fn hostile_lengths_are_refused_with_their_place() {
    for (found, wanted) in [
        (skip_compact(&[0x18, 100, 0]), "thrift length 100 is not possible at byte 2"),
        (
            skip_compact(&[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            "thrift length 9223372036854775807 is not possible at byte 11",
        ),
        (
            skip_compact(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            "thrift list of 4294967295 elements is longer than what holds it at byte 7",
        ),
        (skip_binary(&[11, 0, 1, 0xff, 0xff, 0xff, 0xff]), "thrift length -1 is not possible at byte 7"),
        (
            skip_binary(&[15, 0, 1, 12, 0, 1, 0, 0, 0]),
            "thrift list of 65536 elements is longer than what holds it at byte 8",
        ),
        (
            skip_binary(&[13, 0, 1, 12, 12, 0, 0, 0, 2, 0, 0]),
            "thrift list of 2 elements is longer than what holds it at byte 9",
        ),
        (skip_compact(&[0x16, 0xff]), "thrift is cut off at byte 2"),
        (skip_compact(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), {
            "thrift number is too long at byte 1"
        }),
        (skip_compact(&[0x15]), "thrift is cut off at byte 1"),
        (skip_compact(&[0x1e]), "thrift type 14 is not known at byte 1"),
        (skip_binary(&[5, 0, 1]), "thrift type 5 is not known at byte 1"),
        (skip_compact(&[0x12]), "thrift is cut off at byte 1"),
    ] {
        assert_eq!(found, wanted);
    }
}

#[test]
fn deep_nesting_is_refused() {
    let structs = vec![0x1c; 10_000];
    let lists: Vec<u8> = std::iter::once(0x19).chain(vec![0x19; 10_000]).collect();

    assert_eq!(skip_compact(&structs), "thrift is nested deeper than 32 at byte 32");
    assert_eq!(skip_compact(&lists), "thrift is nested deeper than 32 at byte 32");
}

#[test]
fn field_ids_stay_in_range() {
    let mut reader = CompactReader::new(&[0xf1]);

    let fault = reader.field(i16::MAX - 3).unwrap_err();

    assert_eq!(fault.problem, ThriftProblem::FieldId);
}
