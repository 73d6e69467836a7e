//! The page index tells the truth: Tempo and others skip pages by it.

use bytes::Bytes;
use parquet::{
    basic::ConvertedType,
    file::{
        page_index::column_index::ColumnIndexMetaData,
        reader::{FileReader as _, SerializedFileReader},
        serialized_reader::ReadOptionsBuilder,
    },
};

use crate::{
    leaves::{self, hex},
    traces::{columns, data, odd_traces, options, write},
};

/// Where texts of numbers sort as the column says.
fn key(text: &str, is_unsigned: bool) -> i128 {
    let number: i64 = text.parse().unwrap();
    if is_unsigned { i128::from(number.cast_unsigned()) } else { i128::from(number) }
}

/// Asserts that the values of a page are within its bounds; bounds of strings may be cut.
fn assert_bounds(index: &ColumnIndexMetaData, page: usize, values: &[&str], kind: ConvertedType) {
    let is_text = kind == ConvertedType::UTF8;
    match index {
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let (min, max) = (index.min_value(page).unwrap(), index.max_value(page).unwrap());
            let as_shown = |bytes: &[u8]| if is_text { bytes.to_vec() } else { hex(bytes).into_bytes() };
            let (min, max) = (as_shown(min), as_shown(max));
            assert!(values.iter().all(|v| *min <= *v.as_bytes() && v.as_bytes() <= &*max), "{values:?}");
            assert!(!is_text || (String::from_utf8(min).is_ok() && String::from_utf8(max).is_ok()));
        }
        ColumnIndexMetaData::INT64(index) => {
            let bounds = [index.min_value(page).unwrap(), index.max_value(page).unwrap()];
            assert_numbers(values, bounds.map(|b| b.to_string()), kind == ConvertedType::UINT_64);
        }
        ColumnIndexMetaData::INT32(index) => {
            let bounds = [index.min_value(page).unwrap(), index.max_value(page).unwrap()];
            // Only counts are unsigned here, and small.
            assert_numbers(values, bounds.map(|b| b.to_string()), false);
        }
        ColumnIndexMetaData::DOUBLE(index) => {
            let (min, max) = (index.min_value(page).unwrap(), index.max_value(page).unwrap());
            let numbers = values.iter().map(|v| v.parse::<f64>().unwrap()).filter(|v| !v.is_nan());
            assert!(numbers.into_iter().all(|v| *min <= v && v <= *max), "{values:?}");
        }
        ColumnIndexMetaData::BOOLEAN(index) => {
            let (min, max) = (index.min_value(page).unwrap(), index.max_value(page).unwrap());
            assert_eq!(*min, values.iter().all(|v| *v == "true"));
            assert_eq!(*max, values.contains(&"true"));
        }
        _ => panic!("no leaf has this type"),
    }
}

fn assert_numbers(values: &[&str], bounds: [String; 2], is_unsigned: bool) {
    let keys: Vec<i128> = values.iter().map(|v| key(v, is_unsigned)).collect();
    let want = [*keys.iter().min().unwrap(), *keys.iter().max().unwrap()];
    assert_eq!(bounds.map(|b| key(&b, is_unsigned)), want);
}

#[test]
fn bounds_null_counts_and_first_rows_are_those_of_the_pages() {
    let columns = columns(&odd_traces(20, 200, 20));
    let small = tempo_block::WriteOptions {
        spans_per_row_group: 900,
        spans_per_page: 100,
        choose_dedicated: true,
        ..options()
    };
    let file: Bytes = data(&write(&columns, &small));
    let leaves = leaves::read(file.clone());
    let with_index = ReadOptionsBuilder::new().with_page_index().build();
    let reader = SerializedFileReader::new_with_options(file, with_index).unwrap();
    let metadata = reader.metadata();

    let mut first_row = 0;
    let mut bounded_pages = 0;
    for group in 0..metadata.num_row_groups() {
        let rows = usize::try_from(metadata.row_group(group).num_rows()).unwrap();
        let page_index = metadata.page_index_for_row_group(group);
        for (number, leaf) in leaves.iter().enumerate() {
            let kind = metadata.file_metadata().schema_descr().column(number).converted_type();
            let offsets = page_index.offset_index(number).unwrap().page_locations();
            let mut starts: Vec<usize> =
                offsets.iter().map(|page| usize::try_from(page.first_row_index).unwrap()).collect();
            starts.push(rows);
            assert_eq!(starts[0], 0, "{}", leaf.path);
            // Pages whose numbers are all NaN have no bounds, and then the chunk has no column index.
            let Some(index) = page_index.column_index(number) else {
                assert!(leaf.path.contains("ValueDouble"), "{}", leaf.path);
                continue;
            };
            assert_eq!(index.num_pages(), starts.len() as u64 - 1);
            for page in 0..starts.len() - 1 {
                let entries: Vec<_> =
                    leaf.rows[first_row + starts[page]..first_row + starts[page + 1]].concat();
                let values: Vec<&str> = entries.iter().filter_map(|entry| entry.2.as_deref()).collect();
                assert_eq!(
                    index.null_count(page),
                    Some((entries.len() - values.len()) as i64),
                    "{}",
                    leaf.path
                );
                assert_eq!(index.is_null_page(page), values.is_empty());
                if !values.is_empty() {
                    assert_bounds(index, page, &values, kind);
                    bounded_pages += 1;
                }
            }
        }
        first_row += rows;
    }
    assert!(bounded_pages > 1000);
}
