//! What the footer and the page index say of a chunk, in the parquet crate's types.

use parquet::{
    basic::{BoundaryOrder, Compression, Encoding as ParquetEncoding, Type, ZstdLevel},
    column::writer::ColumnCloseResult,
    data_type::{ByteArray, Int96},
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder},
        statistics::Statistics,
    },
    schema::types::ColumnDescPtr,
};

use super::{
    page::{Chunk, Page},
    thrift::Encoding,
};
use crate::trace_index::PageCodec;

/// Describes a chunk; positions are those in its row group's bytes, which the parquet crate moves.
pub(crate) fn close_chunk(chunk: &Chunk, column: ColumnDescPtr) -> Result<ColumnCloseResult, ParquetError> {
    let Chunk { codec, dictionary, pages, uncompressed_bytes, encoding } = chunk;
    let physical_type = column.physical_type();
    let is_float = physical_type == Type::DOUBLE;
    let mut column_index = ColumnIndexBuilder::new(physical_type);
    let mut offset_index = OffsetIndexBuilder::new();
    for Page { bytes, rows, entries, nulls, bounds, nans } in pages {
        let is_null = nulls == entries;
        let (min, max) = bounds.clone().unwrap_or_default();
        if bounds.is_none() && !is_null {
            column_index.to_invalid();
        }
        column_index.append(is_null, min, max, signed(*nulls), is_float.then(|| signed(*nans)));
        offset_index.append_offset_and_size(signed(bytes.start), small(bytes.len())?);
        offset_index.append_row_count(signed(*rows));
    }
    column_index.set_boundary_order(BoundaryOrder::UNORDERED);

    let start = dictionary.as_ref().map(|range| range.start);
    let data_start = pages.first().map_or(0, |page| page.bytes.start);
    let end = pages.last().map_or(0, |page| page.bytes.end);
    let bytes_written = end - start.unwrap_or(data_start);
    let entries: usize = pages.iter().map(|page| page.entries).sum();
    let mut encodings = vec![ParquetEncoding::RLE, parquet_encoding(*encoding)];
    if dictionary.is_some() {
        encodings.push(ParquetEncoding::PLAIN);
    }
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(compression(*codec))
        .set_encodings(encodings)
        .set_num_values(signed(entries))
        .set_total_compressed_size(signed(bytes_written))
        .set_total_uncompressed_size(signed(*uncompressed_bytes))
        .set_data_page_offset(signed(data_start))
        .set_dictionary_page_offset(start.map(signed))
        .set_statistics(statistics(physical_type, pages))
        .build()?;
    Ok(ColumnCloseResult {
        bytes_written: bytes_written as u64,
        rows_written: pages.iter().map(|page| page.rows as u64).sum(),
        metadata,
        bloom_filter: None,
        column_index: if column_index.valid() { Some(column_index.build()?) } else { None },
        offset_index: Some(offset_index.build()),
    })
}

/// Null count and, for numbers, the bounds. Byte strings have theirs, cut, in the column index only.
fn statistics(physical_type: Type, pages: &[Page]) -> Statistics {
    let nulls = Some(pages.iter().map(|page| page.nulls as u64).sum());
    match physical_type {
        Type::BOOLEAN => Statistics::boolean(None, None, None, nulls, false),
        Type::INT32 => Statistics::int32(None, None, None, nulls, false),
        Type::INT64 => Statistics::int64(None, None, None, nulls, false),
        Type::INT96 => Statistics::int96(None::<Int96>, None, None, nulls, false),
        Type::FLOAT => Statistics::float(None, None, None, nulls, false),
        Type::DOUBLE => Statistics::double(None, None, None, nulls, false),
        Type::BYTE_ARRAY => Statistics::byte_array(None::<ByteArray>, None, None, nulls, false),
        Type::FIXED_LEN_BYTE_ARRAY => Statistics::fixed_len_byte_array(None, None, None, nulls, false),
    }
}

fn compression(codec: PageCodec) -> Compression {
    match codec {
        PageCodec::Uncompressed => Compression::UNCOMPRESSED,
        PageCodec::Snappy => Compression::SNAPPY,
        PageCodec::Zstd => Compression::ZSTD(ZstdLevel::default()),
    }
}

fn parquet_encoding(encoding: Encoding) -> ParquetEncoding {
    match encoding {
        Encoding::Plain => ParquetEncoding::PLAIN,
        Encoding::DeltaBinaryPacked => ParquetEncoding::DELTA_BINARY_PACKED,
        Encoding::DeltaLengthByteArray => ParquetEncoding::DELTA_LENGTH_BYTE_ARRAY,
        Encoding::RleDictionary => ParquetEncoding::RLE_DICTIONARY,
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn small(number: usize) -> Result<i32, ParquetError> {
    i32::try_from(number).map_err(|_| ParquetError::General("a page has 2 GiB".to_owned()))
}
