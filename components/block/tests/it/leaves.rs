//! All leaf columns of a Parquet file, read by the parquet crate: levels and values, row by row.

use std::fmt::Debug;

use bytes::Bytes;
use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::DataType,
    file::reader::{FileReader as _, SerializedFileReader},
};

/// One entry of a leaf: repetition level, definition level, and the value as text if there is one.
pub(crate) type Entry = (i16, i16, Option<String>);

/// One leaf of the whole file.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) rows: Vec<Vec<Entry>>,
}

/// Reads a file; panics if it is not in order.
pub(crate) fn read(file: Bytes) -> Vec<Leaf> {
    let reader = SerializedFileReader::new(file).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let paths = schema.columns().iter().map(|column| column.path().string());
    let mut leaves: Vec<Leaf> = paths.map(|path| Leaf { path, rows: Vec::new() }).collect();
    for number in 0..reader.num_row_groups() {
        let row_group = reader.get_row_group(number).unwrap();
        let rows = usize::try_from(row_group.metadata().num_rows()).unwrap();
        for (index, leaf) in leaves.iter_mut().enumerate() {
            let column = schema.column(index);
            let (max_def, max_rep) = (column.max_def_level(), column.max_rep_level());
            let levels = (rows, max_def, max_rep);
            let is_text = column.converted_type() == parquet::basic::ConvertedType::UTF8;
            let entries = match row_group.get_column_reader(index).unwrap() {
                ColumnReader::BoolColumnReader(column) => entries(column, levels, |v| v.to_string()),
                ColumnReader::Int32ColumnReader(column) => entries(column, levels, |v| v.to_string()),
                ColumnReader::Int64ColumnReader(column) => entries(column, levels, |v| v.to_string()),
                ColumnReader::DoubleColumnReader(column) => entries(column, levels, |v| format!("{v:?}")),
                ColumnReader::ByteArrayColumnReader(column) => entries(column, levels, |v| {
                    if is_text { String::from_utf8(v.data().to_vec()).unwrap() } else { hex(v.data()) }
                }),
                _ => panic!("no leaf has this type"),
            };
            leaf.rows.extend(by_row(entries));
        }
    }
    leaves
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entries<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    (rows, max_def, max_rep): (usize, i16, i16),
    text: impl Fn(&T::T) -> String,
) -> Vec<Entry>
where
    T::T: Debug,
{
    let (mut defs, mut reps, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (more, _, _) =
            column.read_records(rows - read, Some(&mut defs), Some(&mut reps), &mut values).unwrap();
        assert!(more > 0, "the column ends too early");
        read += more;
    }
    let entries = if max_def == 0 { values.len() } else { defs.len() };
    let mut values = values.iter();
    let entry = |at: usize| {
        let def = if max_def == 0 { 0 } else { defs[at] };
        let rep = if max_rep == 0 { 0 } else { reps[at] };
        (rep, def, (def == max_def).then(|| text(values.next().unwrap())))
    };
    (0..entries).map(entry).collect()
}

fn by_row(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    for entry in entries {
        if entry.0 == 0 {
            rows.push(Vec::new());
        }
        rows.last_mut().unwrap().push(entry);
    }
    rows
}
