//! Durations: both grammars, printing, and what is refused.

use std::time::Duration;

use super::{DurationError, GoDuration};

fn parse(text: &str) -> Result<Duration, DurationError> {
    text.parse::<GoDuration>().map(GoDuration::get)
}

#[test]
fn go_and_prometheus_spellings_are_read() {
    let cases = [
        ("0", Duration::ZERO),
        ("0s", Duration::ZERO),
        ("1h30m", Duration::from_secs(5_400)),
        ("1h30m0s", Duration::from_secs(5_400)),
        ("1.5h", Duration::from_secs(5_400)),
        (".5s", Duration::from_millis(500)),
        ("1.s", Duration::from_secs(1)),
        ("250ms", Duration::from_millis(250)),
        ("3us", Duration::from_micros(3)),
        ("3µs", Duration::from_micros(3)),
        ("7ns", Duration::from_nanos(7)),
        ("1d", Duration::from_secs(86_400)),
        ("2w", Duration::from_secs(1_209_600)),
        ("1y", Duration::from_secs(31_536_000)),
        ("1d12h", Duration::from_secs(129_600)),
        ("+5s", Duration::from_secs(5)),
        ("336h0m0s", Duration::from_secs(1_209_600)),
    ];

    for (text, expected) in cases {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused_with_the_reason() {
    assert_eq!(parse("30"), Err(DurationError::NoUnit("30".to_owned())));
    assert_eq!(parse("1.5"), Err(DurationError::NoUnit("1.5".to_owned())));
    assert_eq!(parse("-5s"), Err(DurationError::Negative("-5s".to_owned())));
    assert_eq!(parse("600y"), Err(DurationError::TooLong("600y".to_owned())));
    assert_eq!(
        parse("99999999999999999999s"),
        Err(DurationError::TooLong("99999999999999999999s".to_owned()))
    );
    for text in ["", "s", ".s", "5 s", "5x", "1h30", "1..5s", "1.2.3s", "five"] {
        assert_eq!(parse(text), Err(DurationError::Malformed(text.to_owned())), "{text}");
    }
}

#[test]
fn durations_print_as_go_prints_them() {
    let cases = [
        (Duration::ZERO, "0s"),
        (Duration::from_nanos(7), "7ns"),
        (Duration::from_nanos(1_500), "1.5µs"),
        (Duration::from_millis(250), "250ms"),
        (Duration::from_micros(2_050), "2.05ms"),
        (Duration::from_secs(1), "1s"),
        (Duration::from_millis(1_500), "1.5s"),
        (Duration::from_secs(90), "1m30s"),
        (Duration::from_secs(3_600), "1h0m0s"),
        (Duration::from_secs(1_209_600), "336h0m0s"),
        (Duration::new(3_600, 5_000_000), "1h0m0.005s"),
    ];

    for (duration, expected) in cases {
        assert_eq!(GoDuration::from(duration).to_string(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn printed_durations_parse_back(nanos: u64) {
        let duration = GoDuration::from(Duration::from_nanos(nanos));

        proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9.a-zµ+ -]{0,24}") {
        let _parsed = text.parse::<GoDuration>().is_ok();
    }
}
