//! Byte sizes: spellings, and what is refused.

use super::{ByteSize, ByteSizeError};

fn parse(text: &str) -> Result<u64, ByteSizeError> {
    text.parse::<ByteSize>().map(ByteSize::get)
}

#[test]
fn numbers_and_units_are_read() {
    let cases = [
        ("0", 0),
        ("524288000", 524_288_000),
        ("15_000_000", 15_000_000),
        ("10KB", 10_000),
        ("10 MB", 10_000_000),
        ("10MiB", 10 << 20),
        ("64Mi", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("2gb", 2_000_000_000),
        ("1TiB", 1 << 40),
        ("12B", 12),
        ("5e+06", 5_000_000),
        ("1.073741824e+09", 1 << 30),
        ("18446744073709551615", u64::MAX),
    ];

    for (text, expected) in cases {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_the_reason() {
    assert_eq!(parse("-1"), Err(ByteSizeError::Negative("-1".to_owned())));
    assert_eq!(
        parse("18446744073709551616"),
        Err(ByteSizeError::TooLarge("18446744073709551616".to_owned()))
    );
    assert_eq!(parse("99999999TiB"), Err(ByteSizeError::TooLarge("99999999TiB".to_owned())));
    for text in ["", "MB", "5 parsecs", "1.5", "1..5MB", "0x10", "nan", "inf", "1e300"] {
        assert_eq!(parse(text), Err(ByteSizeError::Malformed(text.to_owned())), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn printed_sizes_parse_back(bytes: u64) {
        let size = ByteSize::from_bytes(bytes);

        proptest::prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9.eEkmgtib_+ -]{0,24}") {
        let _parsed = text.parse::<ByteSize>().is_ok();
    }
}
