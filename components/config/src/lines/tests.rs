//! Lines of keys in the forms of YAML that people write.

use super::Lines;

fn line(text: &str, path: &[&str]) -> Option<usize> {
    let path: Vec<String> = path.iter().map(|name| (*name).to_owned()).collect();
    Lines::of(text).find(&path)
}

const BLOCK: &str = "\
# comment: not a key
server:
  http_listen_port: 3200   # comment: neither
  'log_level': info

storage:
    trace:
        block:
            columns:
            - scope: span
              name: a
            -
              name: b
            version: vParquet4
  # a comment at another depth: yes
ingester:
\ttab: x
";

#[test]
fn keys_of_block_style_are_found() {
    assert_eq!(line(BLOCK, &["server"]), Some(2));
    assert_eq!(line(BLOCK, &["server", "http_listen_port"]), Some(3));
    assert_eq!(line(BLOCK, &["server", "log_level"]), Some(4));
    assert_eq!(line(BLOCK, &["storage", "trace", "block"]), Some(8));
    assert_eq!(line(BLOCK, &["storage", "trace", "block", "version"]), Some(14));
    assert_eq!(line(BLOCK, &["ingester"]), Some(16));
}

#[test]
fn items_of_lists_are_found() {
    let columns = ["storage", "trace", "block", "columns"];

    assert_eq!(line(BLOCK, &columns), Some(9));
    assert_eq!(line(BLOCK, &[columns.as_slice(), &["[0]"]].concat()), Some(10));
    assert_eq!(line(BLOCK, &[columns.as_slice(), &["[0]", "name"]].concat()), Some(11));
    assert_eq!(line(BLOCK, &[columns.as_slice(), &["[1]"]].concat()), Some(12));
    assert_eq!(line(BLOCK, &[columns.as_slice(), &["[1]", "name"]].concat()), Some(13));
    assert_eq!(line("- a: 1\n- a: 2\n- - b: 3\n", &["[2]", "[0]", "b"]), Some(3));
}

#[test]
fn text_inside_of_scalars_is_no_key() {
    let text = "a: |\n  b: 1\n\n  c: 2\nd: \"x\n  e: 1\n  y\"\nf: {\n  g: 1,\n}\nh: &anchor >-\n  i: 1\nj:\n";

    for (key, expected) in [("a", Some(1)), ("d", Some(5)), ("f", Some(8)), ("h", Some(11)), ("j", Some(13))]
    {
        assert_eq!(line(text, &[key]), expected, "{key}");
    }
    for key in ["b", "c", "e", "g", "i"] {
        assert_eq!(line(text, &[key]), None, "{key}");
    }
}

#[test]
fn keys_in_flow_style_have_the_line_of_what_they_stand_in() {
    assert_eq!(line("a:\n  b: {c: {d: 1}}\n", &["a", "b", "c", "d"]), Some(2));
    assert_eq!(line("{a: 1}", &["a"]), None);
}

#[test]
fn a_key_that_is_set_twice_has_two_lines() {
    let lines = Lines::of("a:\n  b: 1\n  b: 2\n");
    let path = ["a".to_owned(), "b".to_owned()];

    assert_eq!(lines.find_first(&path), Some(2));
    assert_eq!(lines.find(&path), Some(3));
}

#[test]
fn lines_are_added_to_findings() {
    let lines = Lines::of("a:\n  b:\n    - c: 1\n");
    let findings = vec![crate::Finding::new("a.b[0]", "x"), crate::Finding::new("z", "y")];

    let located = lines.locate(crate::Findings::check(findings, ()).unwrap_err());

    assert_eq!(located.iter().map(|finding| finding.line).collect::<Vec<_>>(), [Some(3), None]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_scanner_panic(text in "[a-c:\\-#\"'{}\\[\\]|> \n\t&é]{0,80}") {
        let _: Lines = Lines::of(&text);
    }
}
