//! Files written by the `parquet` crate in every way it can, read row by row with this module.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding as ParquetEncoding, Repetition, Type as PhysicalType, ZstdLevel},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    file::{
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::types::Type,
};
use proptest::prelude::*;

use super::*;
use crate::decode::{footer::Footer, page_index::PageLocations};

/// One row of `list<optional string>`: a null list is an empty one.
type Row = Vec<Option<String>>;

#[derive(Debug, Clone)]
struct Way {
    is_v2: bool,
    codec: Compression,
    encoding: Option<ParquetEncoding>,
    rows_per_page: usize,
}

fn ways() -> impl Strategy<Value = Way> {
    let codec = prop_oneof![
        Just(Compression::UNCOMPRESSED),
        Just(Compression::SNAPPY),
        Just(Compression::ZSTD(ZstdLevel::default()))
    ];
    let encoding = prop_oneof![
        Just(None),
        Just(Some(ParquetEncoding::PLAIN)),
        Just(Some(ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY))
    ];
    (any::<bool>(), codec, encoding, 1usize..20).prop_map(|(is_v2, codec, encoding, rows_per_page)| Way {
        is_v2,
        codec,
        encoding,
        rows_per_page,
    })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let value = prop_oneof![1 => Just(None), 4 => "[a-d]{0,3}".prop_map(Some)];
    prop::collection::vec(prop::collection::vec(value, 0..12), 1..60)
}

/// Writes the rows as the only column, two levels deep.
fn write(rows: &[Row], way: &Way) -> Bytes {
    let leaf = Type::primitive_type_builder("leaf", PhysicalType::BYTE_ARRAY)
        .with_repetition(Repetition::OPTIONAL)
        .build()
        .unwrap();
    let list = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(leaf)])
        .build()
        .unwrap();
    let schema = Type::group_type_builder("root").with_fields(vec![Arc::new(list)]).build().unwrap();
    let version = if way.is_v2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
    let mut properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_compression(way.codec)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(way.rows_per_page)
        .set_write_batch_size(1)
        .set_dictionary_enabled(way.encoding.is_none());
    if let Some(encoding) = way.encoding {
        properties = properties.set_encoding(encoding);
    }
    let (mut values, mut defs, mut reps) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        if row.is_empty() {
            defs.push(0);
            reps.push(0);
        }
        for (index, value) in row.iter().enumerate() {
            defs.push(if value.is_some() { 2 } else { 1 });
            reps.push(i16::from(index > 0));
            values.extend(value.as_ref().map(|v| ByteArray::from(v.as_str())));
        }
    }
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, Arc::new(schema), Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let ColumnWriter::ByteArrayColumnWriter(typed) = column.untyped() else { panic!("not a byte array") };
    typed.write_batch(&values, Some(&defs), Some(&reps)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file.into()
}

fn section(file: &Bytes, range: &Range<u64>) -> Section {
    Section { offset: 0, bytes: file.clone() }.part(range).unwrap()
}

fn read_row(row: &LeafRow) -> Row {
    let mut values = match &row.values {
        Values::Strings { buffer, ranges } => ranges
            .iter()
            .map(|r| String::from_utf8(buffer[r.start as usize..r.end as usize].to_vec()).unwrap())
            .collect::<Vec<_>>(),
        Values::None => Vec::new(),
        other => panic!("not strings: {other:?}"),
    }
    .into_iter();
    assert_eq!(row.reps[0], 0);
    assert!(row.reps[1..].iter().all(|rep| *rep == 1));
    let present = row.defs.iter().filter(|def| **def > 0);
    present.map(|def| (*def == 2).then(|| values.next().unwrap())).collect()
}

proptest! {
    #[test]
    fn each_row_is_read_as_it_was_written(rows in rows(), way in ways()) {
        let file = write(&rows, &way);
        let length = u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
        let start = file.len() - 8 - length;
        let footer = Footer::parse(&file[start..file.len() - 8], start as u64).unwrap();
        let chunk = &footer.row_groups[0].chunks[0];
        let leaf = &footer.leaves[0];
        let index = section(&file, chunk.offset_index.as_ref().unwrap());
        let pages = PageLocations::parse(&index.bytes, index.offset, &chunk.data).unwrap();
        let dictionary = chunk.dictionary.as_ref().map(|range| section(&file, range));

        prop_assert_eq!((leaf.max_def, leaf.max_rep, footer.row_groups[0].rows), (2, 1, rows.len() as u64));
        let mut scratch = Scratch::default();
        for (number, expected) in rows.iter().enumerate() {
            let row = number as u64;
            // By page, and by walking all pages as if there was no index.
            let page = pages.page_of(row).unwrap();
            let located = ChunkRow { codec: chunk.codec, dictionary: dictionary.clone().map(DictionaryPage::Fetched), pages: section(&file, &page.range()), row: row - page.first_row };
            let walked = ChunkRow { codec: chunk.codec, dictionary: dictionary.clone().map(DictionaryPage::Fetched), pages: section(&file, &chunk.data), row };

            prop_assert_eq!(&read_row(&located.decode(leaf, &mut scratch).unwrap()), expected);
            prop_assert_eq!(&read_row(&walked.decode(leaf, &mut scratch).unwrap()), expected);
        }
    }
}
