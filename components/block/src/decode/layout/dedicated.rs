//! Which spare column holds which dedicated attribute: the columns of `meta.json`, walked in order, take the spares
//! of their scope and type one after the other.

use tempo_config::{DedicatedColumn, DedicatedColumnScope, DedicatedColumnType};

/// Spare columns per scope in vParquet3 and 4: strings only, none for events.
const STRINGS_V4: usize = 10;
const STRINGS_V5: usize = 20;
const INTS_V5: usize = 5;

/// Pairs of attribute key and spare column for vParquet3 and 4. Entries that these formats cannot hold take no spare.
pub(super) fn assign_v4(columns: &[DedicatedColumn], scope: DedicatedColumnScope) -> Vec<(String, String)> {
    if scope == DedicatedColumnScope::Event {
        return Vec::new();
    }
    let fits = |c: &&DedicatedColumn| {
        c.scope == scope && c.kind == DedicatedColumnType::String && c.options.is_empty()
    };
    let fitting = columns.iter().filter(fits).take(STRINGS_V4);
    fitting.enumerate().map(|(index, c)| (c.name.clone(), format!("String{:02}", index + 1))).collect()
}

/// The same for vParquet5, where options do not matter to the layout.
pub(super) fn assign_v5(columns: &[DedicatedColumn], scope: DedicatedColumnScope) -> Vec<(String, String)> {
    let (mut strings, mut ints) = (0, 0);
    let mut assigned = Vec::new();
    for column in columns.iter().filter(|c| c.scope == scope) {
        let (used, limit, prefix) = match column.kind {
            DedicatedColumnType::String => (&mut strings, STRINGS_V5, "String"),
            DedicatedColumnType::Int => (&mut ints, INTS_V5, "Int"),
        };
        if *used < limit {
            *used += 1;
            assigned.push((column.name.clone(), format!("{prefix}{used:02}")));
        }
    }
    assigned
}

#[cfg(test)]
mod tests;
