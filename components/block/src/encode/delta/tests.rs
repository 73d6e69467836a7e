use bytes::Bytes;
use parquet::{
    basic::{Encoding, Type},
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
};
use proptest::prelude::*;

use super::*;
