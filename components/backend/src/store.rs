//! The seam to object storage: one narrow trait, its error, and the rules every implementation keeps
//! (`tests/it/conformance.rs` runs them all).
//!
//! A key is one or more components joined by `/`, built by `keys.rs` only. A *folder* is every key below
//! `<folder>/`; it exists as long as an object is in it; the root folder is the empty string. An object appears
//! whole or not at all, and when `put*` returns it survives a crash. Listings are sorted by key and show everything
//! that was put before they began. An object name and a folder name must not be the same.

use std::{error::Error, fmt::Debug, ops::Range, path::Path};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    pub key: String,
    pub size: u64,
    pub modified: Timestamp,
}

/// Where blocks live. Every method is cancel-safe: a dropped `put` has either happened as a whole or not at all.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError>;

    /// Exactly the bytes of `range`; a range that reaches past the end of the object is an error.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    async fn size(&self, key: &str) -> Result<u64, StoreError>;

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError>;

    /// Like `put`, but fails with [`StoreError::AlreadyExists`] instead of overwriting; atomic among all writers.
    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError>;

    /// Puts the content of a local file that nobody changes any more. The file stays where it is, but may from now
    /// on share its bytes with the object (hard link).
    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError>;

    /// Every object below a folder, at any depth, sorted by key. A folder that does not exist is empty.
    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError>;

    /// Names (not keys) of the folders directly in a folder, sorted.
    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; one that does not exist is fine.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// What the store, or the layer below it, said.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a call to the store failed. A variant per thing a caller does differently.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("object '{key}' does not exist")]
    NotFound { key: String },
    #[error("object '{key}' exists already")]
    AlreadyExists { key: String },
    /// Worth trying again: throttled, timed out, connection cut, disk full.
    #[error("object store is unavailable for '{key}'")]
    Unavailable { key: String, source: BoxError },
    /// Trying again helps only after somebody changed permissions.
    #[error("access to '{key}' is denied")]
    Denied { key: String, source: BoxError },
    #[error("object store failed on '{key}'")]
    Other { key: String, source: BoxError },
}

impl StoreError {
    /// The key (or folder) the failed call was about.
    pub fn key(&self) -> &str {
        match self {
            StoreError::NotFound { key }
            | StoreError::AlreadyExists { key }
            | StoreError::Unavailable { key, .. }
            | StoreError::Denied { key, .. }
            | StoreError::Other { key, .. } => key,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::NotFound { .. })
    }

    /// True if the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. })
    }

    /// The status an HTTP object store would have answered; label of the request metric.
    pub(crate) fn status_code(&self) -> &'static str {
        match self {
            StoreError::NotFound { .. } => "404",
            StoreError::AlreadyExists { .. } => "409",
            StoreError::Unavailable { .. } => "503",
            StoreError::Denied { .. } => "403",
            StoreError::Other { .. } => "500",
        }
    }
}

/// An error and all its causes on one line.
pub(crate) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Why a key was refused before any store saw it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid object key: {0}")]
pub(crate) struct InvalidKey(&'static str);

/// Longest key every object store takes.
const MAX_KEY_BYTES: usize = 1024;

/// Refuses keys that could leave the store's folder or mean two things: empty or absolute keys, empty components,
/// `.` and `..`, backslashes and control characters.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    let problem = if key.len() > MAX_KEY_BYTES {
        Some("longer than 1024 bytes")
    } else if key.contains(|c: char| c == '\\' || c.is_control()) {
        Some("backslash or control character")
    } else if key.split('/').any(|component| matches!(component, "" | "." | "..")) {
        Some("empty, '.' or '..' component")
    } else {
        None
    };
    match problem {
        Some(problem) => {
            Err(StoreError::Other { key: key.to_owned(), source: Box::new(InvalidKey(problem)) })
        }
        None => Ok(()),
    }
}

/// Like [`check_key`], but also takes the root folder.
pub(crate) fn check_folder(folder: &str) -> Result<(), StoreError> {
    if folder.is_empty() { Ok(()) } else { check_key(folder) }
}

/// The error for a range that is reversed or reaches past the end of an object of `size` bytes.
pub(crate) fn range_error(key: &str, range: &Range<u64>, size: u64) -> StoreError {
    let problem = format!("range {}..{} of an object of {size} bytes", range.start, range.end);
    StoreError::Other { key: key.to_owned(), source: problem.into() }
}
