//! Decodes Parquet as blocks use it, from bytes that somebody else fetched: footers, page indexes, pages, levels,
//! values, and one row of many columns into a trace.
//!
//! Own code instead of the `parquet` crate's readers, for two reasons: finding one row among thousands in a hundred
//! columns must skip, not materialise, and every byte here may be damaged or hostile. Nothing in this module panics,
//! loops without progress or allocates by a length it has not checked; `clippy::indexing_slicing` watches it.

pub(crate) mod column;
pub(crate) mod footer;
pub(crate) mod layout;
pub(crate) mod levels;
pub(crate) mod page;
pub(crate) mod page_index;
pub(crate) mod thrift;
pub(crate) mod trace;
pub(crate) mod values;

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

/// What is wrong with bytes, and where in the object they are from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub(crate) struct DecodeError {
    pub(crate) offset: u64,
    pub(crate) problem: Cow<'static, str>,
}

impl DecodeError {
    pub(crate) fn new(offset: u64, problem: impl Into<Cow<'static, str>>) -> DecodeError {
        DecodeError { offset, problem: problem.into() }
    }

    /// The same problem, told of a column.
    pub(crate) fn in_column(self, path: &str) -> DecodeError {
        DecodeError { offset: self.offset, problem: format!("{path}: {}", self.problem).into() }
    }
}

/// Bytes of an object, with the offset of their first byte.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl Section {
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }

    /// The part of the section in `range` of the object; `None` if it is not all here.
    pub(crate) fn part(&self, range: &Range<u64>) -> Option<Section> {
        let start = usize::try_from(range.start.checked_sub(self.offset)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.offset)?).ok()?;
        if start > end || end > self.bytes.len() {
            return None;
        }
        Some(Section { offset: range.start, bytes: self.bytes.slice(start..end) })
    }
}
