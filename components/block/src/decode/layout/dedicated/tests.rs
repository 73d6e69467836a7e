use tempo_config::DedicatedColumnOption;

use super::*;

fn column(scope: DedicatedColumnScope, name: &str, kind: DedicatedColumnType) -> DedicatedColumn {
    DedicatedColumn { scope, name: name.to_owned(), kind, options: Vec::new() }
}

fn pairs(assigned: &[(String, String)]) -> Vec<(&str, &str)> {
    assigned.iter().map(|(key, leaf)| (key.as_str(), leaf.as_str())).collect()
}

#[test]
fn spares_are_counted_by_scope_and_type() {
    use DedicatedColumnScope::{Event, Resource, Span};
    use DedicatedColumnType::{Int, String};
    let mut blob = column(Span, "blob", String);
    blob.options = vec![DedicatedColumnOption::Blob];
    let columns = [
        column(Span, "a", String),
        column(Resource, "r", String),
        column(Span, "i", Int),
        blob,
        column(Event, "e", String),
        column(Span, "b", String),
    ];

    let v5 = assign_v5(&columns, Span);
    let v4 = assign_v4(&columns, Span);

    assert_eq!(pairs(&v5), [("a", "String01"), ("i", "Int01"), ("blob", "String02"), ("b", "String03")]);
    assert_eq!(pairs(&v4), [("a", "String01"), ("b", "String02")]);
    assert_eq!(pairs(&assign_v5(&columns, Event)), [("e", "String01")]);
    assert_eq!(pairs(&assign_v4(&columns, Event)), []);
}

#[test]
fn entries_beyond_the_spares_have_no_column() {
    let columns: Vec<DedicatedColumn> = (0..30)
        .map(|n| column(DedicatedColumnScope::Span, &format!("s{n}"), DedicatedColumnType::String))
        .chain(
            (0..30).map(|n| column(DedicatedColumnScope::Span, &format!("i{n}"), DedicatedColumnType::Int)),
        )
        .collect();

    let v5 = assign_v5(&columns, DedicatedColumnScope::Span);
    let v4 = assign_v4(&columns, DedicatedColumnScope::Span);

    assert_eq!((v4.len(), v5.len()), (10, 25));
    assert_eq!(v5.last().unwrap(), &("i4".to_owned(), "Int05".to_owned()));
}
