//! Every kind of bad input gives its finding: path, line, what to write instead; and all of them at once.

use std::collections::BTreeMap;

use tempo_config::{Config, ParseOptions};

use crate::{errors, print};

#[test]
fn a_misspelt_key_names_the_nearest_valid_one() {
    assert_eq!(
        errors("ingester:\n  max_blok_bytes: 1\n"),
        ["ingester.max_blok_bytes (line 2): Tempo has no such key; did you mean `ingester.max_block_bytes`?"]
    );
    assert_eq!(
        errors("ingster: {}\n"),
        ["ingster (line 1): Tempo has no such key; did you mean `ingester`?"]
    );
    assert_eq!(
        errors("storage:\n  trace:\n    s3:\n      hedge_request_at: 1s\n"),
        ["storage.trace.s3.hedge_request_at (line 4): Tempo has no such key; did you mean \
          `storage.trace.s3.hedge_requests_at`?"]
    );
}

#[test]
fn a_misspelt_key_in_a_section_that_is_not_implemented_is_found_too() {
    assert_eq!(
        errors("memberlist:\n  join_member: [a]\n"),
        ["memberlist.join_member (line 2): Tempo has no such key; did you mean `memberlist.join_members`?"]
    );
}

#[test]
fn a_key_in_the_wrong_section_is_told_its_place() {
    assert_eq!(
        errors("blocklist_poll: 5m\n"),
        ["blocklist_poll (line 1): Tempo has no such key; did you mean `storage.trace.blocklist_poll`?"]
    );
}

#[test]
fn a_key_that_is_nowhere_gets_the_list_of_its_section() {
    assert_eq!(
        errors("storage:\n  trace:\n    local:\n      colour: red\n"),
        ["storage.trace.local.colour (line 4): Tempo has no such key; keys here are path"]
    );
}

#[test]
fn flat_overrides_are_named_as_they_were_written() {
    assert_eq!(
        errors("overrides:\n  ingestion_rate_limit_byte: 1\n  max_traces_per_user: many\n"),
        [
            "overrides.ingestion_rate_limit_byte (line 2): Tempo has no such key; did you mean \
             `overrides.ingestion_rate_limit_bytes`?",
            "overrides.max_traces_per_user (line 3): invalid type: string \"many\", expected usize",
        ]
    );
    assert_eq!(
        errors(
            "overrides:\n  max_bytes_per_trace: 1\n  defaults:\n    global:\n      max_bytes_per_trace: 2\n"
        ),
        ["overrides.max_bytes_per_trace (line 2): sets the same as \
          `overrides.defaults.global.max_bytes_per_trace`, which is also set: remove one"]
    );
}

#[test]
fn wrong_values_say_what_is_expected() {
    let cases = [
        ("ingester:\n  max_block_duration: 30\n", "`30` has no unit: write it as 30s, 30m or 30h"),
        (
            "ingester:\n  max_block_duration: soon\n",
            "`soon` is not a duration: write numbers with units, such as 90s, 1h30m or 7d",
        ),
        (
            "ingester:\n  max_block_bytes: much\n",
            "`much` is not a size: write a number of bytes, or a number with a unit such as 500MB or 64MiB",
        ),
        ("ingester:\n  max_block_bytes: -1\n", "`-1` is negative"),
        ("ingester:\n  flush_all_on_shutdown: maybe\n", "invalid type: string \"maybe\", expected a boolean"),
        ("ingester:\n  max_block_bytes: [1]\n", "takes one value, not a list"),
        ("ingester:\n  max_block_bytes:\n    a: 1\n", "takes a value, there are no keys below it"),
        ("server:\n  http_listen_port: 70000\n", "invalid value: integer `70000`, expected u16"),
        (
            "server:\n  log_level: loud\n",
            "unknown variant `loud`, expected one of `debug`, `info`, `warn`, `warning`, `error`",
        ),
    ];

    for (text, message) in cases {
        let found = errors(text);

        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(" (line 2): ") && found[0].ends_with(message), "{text}: {found:?}");
    }
    assert_eq!(errors("ingester: 3\n"), ["ingester (line 1): has keys below it, it takes no value itself"]);
    assert_eq!(
        errors("target: live-store\n"),
        [
            "target (line 1): there is no target `live-store`; targets are all, scalable-single-binary, distributor, \
          ingester, querier, query-frontend, compactor, metrics-generator"
        ]
    );
}

#[test]
fn the_wrong_item_of_a_list_is_named() {
    let text = "\
storage:
  trace:
    block:
      parquet_dedicated_columns:
        - {scope: span, name: a, type: string}
        - {scope: galaxy, name: b, type: string}
        - {scope: span, nme: c, type: string}
";

    let found = errors(text);

    assert_eq!(found.len(), 2, "{found:?}");
    let path = "storage.trace.block.parquet_dedicated_columns";
    assert!(found[0].starts_with(&format!("{path}[1] (line 6): unknown variant `galaxy`")), "{found:?}");
    assert!(found[1].starts_with(&format!("{path}[2] (line 7): unknown field `nme`")), "{found:?}");
}

#[test]
fn a_key_that_is_set_twice_is_refused() {
    assert_eq!(
        errors("server:\n  log_level: info\n  log_format: json\n  log_level: warn\n"),
        ["server.log_level (line 4): is set twice (first on line 2)"]
    );
    assert_eq!(errors("a: 1\na: 2\n").len(), 2);
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    let found = errors("server:\n  log_level: [\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("line "), "{found:?}");

    assert_eq!(errors("- a\n- b\n"), ["configuration: has keys below it, it takes no value itself"]);
    assert_eq!(errors("server: !secret x\n").len(), 1);
    assert!(errors("a: 1\n---\nb: 1\n")[0].contains("more than one document"));
    assert_eq!(errors("server:\n\tlog_level: info\n").len(), 1);
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let list = vec![format!("*a{}", i - 1); 10].join(", ");
        text += &format!("a{i}: &a{i} [{list}]\n");
    }

    assert!(errors(&text)[0].contains("repetition limit exceeded"));
}

#[test]
fn nesting_without_end_is_refused() {
    assert!(errors(&format!("server: {}", "[".repeat(500)))[0].contains("recursion limit"));
    assert_eq!(
        errors(&format!("server: {}", "[".repeat(100_000))),
        ["configuration: lists and maps are nested too deep"]
    );
}

#[test]
fn everything_is_reported_at_once_in_the_order_of_the_text() {
    let text = "\
target: everything
serve:
  http_listen_port: 1
ingester:
  max_block_bytes: -5
  max_block_duration: 10
  colour: red
overrides:
  block_retentio: 1h
storage:
  trace:
    backend: tape
    backend: s3
    wal:
      path: ${UNCLOSED
";

    let found = print(
        Config::from_yaml(text, &BTreeMap::new(), ParseOptions { expand_env: true })
            .expect_err("must be refused"),
    );

    let starts: Vec<_> = found.iter().map(|finding| finding.split(": ").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "target (line 1)",
            "serve (line 2)",
            "ingester.max_block_bytes (line 5)",
            "ingester.max_block_duration (line 6)",
            "ingester.colour (line 7)",
            "overrides.block_retentio (line 9)",
            "storage.trace.backend (line 13)",
            "line 15",
        ]
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-c0-9:\\-#\"'{}\\[\\]|> \n&*<~!]{0,60}") {
        let _ignored = Config::from_yaml(&text, &BTreeMap::new(), ParseOptions { expand_env: true }).is_ok();
    }
}
