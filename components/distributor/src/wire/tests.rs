use super::*;

fn problem<T: fmt::Debug>(result: Walked<T>) -> (Problem, usize) {
    let fault = *result.unwrap_err();
    (fault.problem, fault.offset)
}

#[test]
fn numbers_have_at_most_64_bits() {
    let mut max = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    let mut tenth_byte = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
    let mut eleven = Reader::new(&[0x80; 11]);
    let mut cut_off = Reader::new(&[0x80, 0x80]);

    assert_eq!(max.varint(1).unwrap(), u64::MAX);
    assert_eq!(problem(tenth_byte.varint(1)), (Problem::LongNumber { field: 1 }, 0));
    assert_eq!(problem(eleven.varint(1)), (Problem::LongNumber { field: 1 }, 0));
    assert_eq!(problem(cut_off.varint(1)), (Problem::CutOff { field: 1 }, 2));
}

#[test]
fn tags_have_a_field_number_and_32_bits() {
    assert_eq!(problem(Reader::new(&[0x02]).tag()), (Problem::BadTag, 0));
    assert_eq!(problem(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).tag()), (Problem::BadTag, 0));
    assert_eq!(problem(Reader::new(&[0x80]).tag()), (Problem::TagCutOff, 1));
    assert_eq!(Reader::new(&[0x85, 0x01]).tag().unwrap(), tag(16, FIXED32));
}

#[test]
fn offsets_count_from_the_start_of_the_request() {
    let mut outer = Reader::new(&[0x0a, 3, 0x12, 5, 1, 0x18]);
    outer.tag().unwrap();
    let mut inner = outer.message(1).unwrap();
    inner.tag().unwrap();

    assert_eq!(problem(inner.message(2)), (Problem::CutOff { field: 2 }, 5));
}

#[test]
fn groups_and_unknown_wire_types_are_refused() {
    let skip = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let tag = reader.tag().unwrap();
        problem(reader.skip(tag))
    };

    assert_eq!(skip(&[0x0b]), (Problem::Group { field: 1 }, 1));
    assert_eq!(skip(&[0x0c]), (Problem::Group { field: 1 }, 1));
    assert_eq!(skip(&[0x0e]), (Problem::BadTag, 1));
    assert_eq!(skip(&[0x0d, 1, 2, 3]), (Problem::CutOff { field: 1 }, 4));
}
