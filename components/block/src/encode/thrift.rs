//! Parquet's page headers in Thrift's compact protocol: the few fields that we write.
//!
//! A field is a byte (distance to the last field's number, type) and its value; integers are zigzag varints. The footer
//! and the page index are written by the parquet crate.

use super::bits::put_varint;

const INT32: u8 = 5;
const STRUCT: u8 = 12;
const FALSE: u8 = 2;
const STOP: u8 = 0;

/// Parquet's numbers of the encodings in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Encoding {
    Plain = 0,
    DeltaBinaryPacked = 5,
    DeltaLengthByteArray = 6,
    RleDictionary = 8,
}

/// Of the levels.
const RLE: i64 = 3;
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;

#[derive(Debug, Clone, Copy)]
pub(super) struct PageSizes<'a> {
    pub(super) uncompressed: usize,
    /// As stored.
    pub(super) body: &'a [u8],
}

/// `PageHeader` with a `DataPageHeader` (version 1: levels are part of the compressed body).
pub(super) fn data_page_header(out: &mut Vec<u8>, sizes: PageSizes<'_>, values: usize, encoding: Encoding) {
    put_common(out, DATA_PAGE, sizes);
    // Field 5 after field 4.
    out.push(1 << 4 | STRUCT);
    put_int(out, 1, values as i64);
    put_int(out, 1, i64::from(encoding as u8));
    put_int(out, 1, RLE);
    put_int(out, 1, RLE);
    out.push(STOP);
    out.push(STOP);
}

/// `PageHeader` with a `DictionaryPageHeader`: plain values, in no order.
pub(super) fn dictionary_page_header(out: &mut Vec<u8>, sizes: PageSizes<'_>, values: usize) {
    put_common(out, DICTIONARY_PAGE, sizes);
    // Field 7 after field 4.
    out.push(3 << 4 | STRUCT);
    put_int(out, 1, values as i64);
    put_int(out, 1, i64::from(Encoding::Plain as u8));
    out.push(1 << 4 | FALSE);
    out.push(STOP);
    out.push(STOP);
}

fn put_common(out: &mut Vec<u8>, page_type: i64, sizes: PageSizes<'_>) {
    put_int(out, 1, page_type);
    put_int(out, 1, sizes.uncompressed as i64);
    put_int(out, 1, sizes.body.len() as i64);
    put_int(out, 1, i64::from(crc32fast::hash(sizes.body).cast_signed()));
}

fn put_int(out: &mut Vec<u8>, distance: u8, value: i64) {
    out.push(distance << 4 | INT32);
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}
