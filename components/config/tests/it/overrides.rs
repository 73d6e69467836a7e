//! The per-tenant file, in both of Tempo's formats.

use tempo_config::{ByteSize, Limits, Overrides, RateStrategy, parse_overrides};

use crate::print;

fn read(text: &str) -> (Overrides, Vec<String>) {
    let (overrides, warnings) = parse_overrides(text, &Limits::default()).expect("the file is valid");
    (overrides, print(warnings))
}

const NESTED: &str = "\
overrides:
  big:
    ingestion:
      rate_limit_bytes: 100MB
      rate_strategy: global
      retry_info_enabled: off
    global:
      max_bytes_per_trace: 0
  \"*\":
    ingestion:
      max_traces_per_user: 1
  123:
    storage:
      parquet_dedicated_columns:
        - {scope: span, name: a, type: string}
  idle:
";

const FLAT: &str = "\
overrides:
  big:
    ingestion_rate_limit_bytes: 100MB
    ingestion_rate_strategy: global
    ingestion_retry_info_enabled: off
    max_bytes_per_trace: 0
  '*':
    max_traces_per_user: 1
  123:
    parquet_dedicated_columns:
      - {scope: span, name: a, type: string}
  idle: {}
";

#[test]
fn both_formats_say_the_same() {
    let (nested, _) = read(NESTED);
    let (flat, warnings) = read(FLAT);

    assert_eq!(flat.for_tenant("big"), nested.for_tenant("big"));
    assert_eq!(flat.for_tenant("*"), nested.for_tenant("*"));
    assert_eq!(flat.for_tenant("123"), nested.for_tenant("123"));
    assert_eq!(warnings, Vec::<String>::new());
    let big = &nested.for_tenant("big").ingestion;
    assert_eq!(big.rate_limit_bytes, ByteSize::from_bytes(100_000_000));
    assert_eq!((big.rate_strategy, big.retry_info_enabled), (RateStrategy::Global, Some(false)));
    assert_eq!(nested.for_tenant("123").storage.parquet_dedicated_columns.len(), 1);
}

#[test]
fn keys_that_an_entry_does_not_set_keep_their_defaults() {
    let mut defaults = Limits::default();
    defaults.ingestion.burst_size_bytes = ByteSize::from_bytes(7);
    let (overrides, _) = parse_overrides(NESTED, &defaults).unwrap();

    assert_eq!(overrides.for_tenant("big").ingestion.burst_size_bytes, ByteSize::from_bytes(7));
    assert_eq!(overrides.for_tenant("123").ingestion, defaults.ingestion);
}

#[test]
fn a_tenant_without_an_entry_has_the_wildcards_limits_or_else_the_defaults() {
    let (with_wildcard, _) = read(NESTED);
    let (without, _) = read("overrides:\n  a:\n    max_traces_per_user: 5\n");

    assert_eq!(with_wildcard.for_tenant("nobody").ingestion.max_traces_per_user, 1);
    assert_eq!(with_wildcard.for_tenant("big").ingestion.max_traces_per_user, 10_000);
    assert_eq!(without.for_tenant("a").ingestion.max_traces_per_user, 5);
    assert_eq!(without.for_tenant("nobody"), &Limits::default());
}

#[test]
fn empty_files_have_no_tenants() {
    for text in ["", "overrides:\n", "overrides: {}\n", "# nothing\n"] {
        assert_eq!(read(text), (Overrides::new(Limits::default()), vec![]), "{text:?}");
    }
}

#[test]
fn keys_that_are_not_implemented_are_warned_about() {
    let (_, warnings) = read(
        "overrides:\n  a:\n    compaction:\n      block_retention: 1h\n  b:\n    block_retention: 1h\n    \
         metrics_generator_processors: [span-metrics]\n",
    );

    let text = "Tempo has this key, this build does not implement it yet: it has no effect";
    assert_eq!(
        warnings,
        [
            format!("overrides.a.compaction (line 3): {text}"),
            format!("overrides.b.block_retention (line 6): {text}"),
            format!("overrides.b.metrics_generator_processors (line 7): {text}"),
        ]
    );
}

#[test]
fn what_is_wrong_is_found_with_tenant_and_line() {
    let text = "\
overrides:
  a.b:
    ingestion:
      rate_limit_bites: 1
      max_traces_per_user: lots
  c:
    ingestion_burst_size_byte: 1
    ingestion_rate_strategy: galactic
    parquet_dedicated_columns:
      - {scope: event, name: x, type: string}
  d:
    max_traces_per_user: 1
    ingestion: {max_traces_per_user: 2}
other: 1
";

    let found = print(parse_overrides(text, &Limits::default()).unwrap_err());

    assert_eq!(
        found,
        [
            "overrides.a.b.ingestion.rate_limit_bites (line 4): Tempo has no such key; did you mean \
             `overrides.a.b.ingestion.rate_limit_bytes`?",
            "overrides.a.b.ingestion.max_traces_per_user (line 5): invalid type: string \"lots\", expected usize",
            "overrides.c.ingestion_burst_size_byte (line 7): Tempo has no such key; did you mean \
             `overrides.c.ingestion_burst_size_bytes`?",
            "overrides.c.ingestion_rate_strategy (line 8): unknown variant `galactic`, expected `local` or `global`",
            "overrides.d.max_traces_per_user (line 12): sets the same as \
             `overrides.d.ingestion.max_traces_per_user`, which is also set: remove one",
            "other (line 14): Tempo has no such key; keys here are overrides",
        ]
    );
}

#[test]
fn limits_that_no_block_can_hold_are_refused() {
    let text =
        "overrides:\n  a:\n    parquet_dedicated_columns:\n      - {scope: event, name: x, type: string}\n";

    let found = print(parse_overrides(text, &Limits::default()).unwrap_err());

    assert_eq!(
        found,
        [
            "overrides.a.parquet_dedicated_columns[0] (line 4): vParquet4 has no columns for attributes of events; \
          scope is span or resource"
        ]
    );
}

#[test]
fn overrides_are_printed_whole_and_as_difference() {
    let (overrides, _) = read("overrides:\n  a:\n    max_traces_per_user: 5\n");

    let whole = overrides.to_yaml();
    assert!(whole.starts_with("defaults:\n  ingestion:\n    rate_strategy: local\n"), "{whole}");
    assert!(whole.contains("overrides:\n  a:\n    ingestion:\n"), "{whole}");
    assert_eq!(
        overrides.diff_to_yaml(),
        "defaults: {}\noverrides:\n  a:\n    ingestion:\n      max_traces_per_user: 5\n"
    );
}
