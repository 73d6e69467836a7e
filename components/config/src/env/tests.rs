//! References to variables: values, defaults, errors with their lines.

use std::collections::BTreeMap;

use super::{Expanded, expand};

fn env() -> BTreeMap<String, String> {
    [("HOST", "tempo-0"), ("EMPTY", ""), ("PORT", "3200")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn expanded(text: &str) -> String {
    let Expanded { text, errors, warnings } = expand(text, &env());
    assert_eq!((errors, warnings), (vec![], vec![]));
    text
}

#[test]
fn references_become_values_or_defaults() {
    let cases = [
        ("a: ${HOST}", "a: tempo-0"),
        ("a: ${HOST}:${PORT}\nb: ${PORT}\n", "a: tempo-0:3200\nb: 3200\n"),
        ("${HOST:-x}", "tempo-0"),
        ("${NONE:-x y}", "x y"),
        ("${NONE:=x}", "x"),
        ("${NONE:x}", "x"),
        ("${NONE:}", ""),
        ("${NONE-x}", "x"),
        ("${NONE=x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${EMPTY}", ""),
        ("${NONE:-http://h:1/p}", "http://h:1/p"),
        ("${NONE:-${OTHER:-${HOST}}!}", "tempo-0!"),
        ("${PORT:?needed}", "3200"),
        ("$${HOST}", "${HOST}"),
        ("cost: 5$ and $HOST", "cost: 5$ and $HOST"),
        ("é${HOST}é", "étempo-0é"),
        ("", ""),
    ];

    for (text, expected) in cases {
        assert_eq!(expanded(text), expected, "{text}");
    }
}

#[test]
fn comments_are_left_alone() {
    let text = "# ${NOT_A_VARIABLE\n  # ${NONE}\na: 1\n";

    assert_eq!(expanded(text), text);
}

#[test]
fn a_variable_that_is_not_set_is_empty_with_a_warning() {
    let out = expand("a: 1\nb: ${NONE}\n", &env());

    assert_eq!(out.text, "a: 1\nb: \n");
    assert_eq!(
        out.warnings[0].to_string(),
        "line 2: variable NONE is not set and has no default: replaced by nothing"
    );
}

#[test]
fn what_is_no_reference_is_an_error_with_its_line() {
    let out = expand("a: 1\nb: ${NONE:?set it}\nc: ${a b}\nd: ${}\ne: ${HOST\n", &env());

    let errors: Vec<_> = out.errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors[0], "line 2: variable NONE is not set: set it");
    assert!(errors[1].starts_with("line 3: `${a b}` is no reference to a variable"), "{}", errors[1]);
    assert!(errors[2].starts_with("line 4: `${}` is no reference"), "{}", errors[2]);
    assert_eq!(errors[3], "line 5: `${` without a closing `}`; write `$${` for a literal one");
    assert_eq!(errors.len(), 4);
}

#[test]
fn defaults_inside_of_defaults_end_somewhere() {
    let text = format!("{}x{}", "${A:-".repeat(200), "}".repeat(200));

    assert_eq!(expand(&text, &env()).errors.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_expansion_panic(text in "[${}:=?#\\-A-Cé \n]{0,60}") {
        let _: Expanded = expand(&text, &env());
    }

    #[test]
    fn text_without_references_stays_as_it_is(text in "[a-z: \n#-]{0,60}") {
        proptest::prop_assert_eq!(expanded(&text), text);
    }
}
