//! Stands before every store: bounds every call in time, counts and times it
//! (`tempodb_backend_request_duration_seconds{operation,status_code}`), and remembers why the last one failed.
//!
//! Stores have shorter limits of their own where they can; the ones here are the last resort against a disk or a
//! server that never answers, so that nothing that waits for a store waits for ever.

use std::{future::Future, ops::Range, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    store::{ObjectEntry, Store, StoreError, one_line},
};

/// Longest call about one object that is small or read in part.
const OBJECT_LIMIT: Duration = Duration::from_secs(120);

/// Longest listing, and longest upload of a file.
const LONG_LIMIT: Duration = Duration::from_secs(1_800);

/// Since when, and why, calls to a store fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub since: Timestamp,
    pub reason: String,
}

/// The trouble a store is in, if any. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl Health {
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().clone()
    }

    /// An absent object and an object that is there already are answers like any other.
    fn call_ended<T>(&self, result: &Result<T, StoreError>) -> bool {
        let reason = match result {
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Denied { .. })) => one_line(error),
            // What is wrong with one object says nothing about the others.
            Ok(_)
            | Err(
                StoreError::NotFound { .. } | StoreError::AlreadyExists { .. } | StoreError::Other { .. },
            ) => {
                self.trouble.lock().take();
                return true;
            }
        };
        let mut trouble = self.trouble.lock();
        let since = trouble.as_ref().map_or_else(Timestamp::now, |trouble| trouble.since);
        *trouble = Some(Trouble { since, reason });
        false
    }
}

/// The store it wraps, bounded and measured.
#[derive(Debug)]
pub(crate) struct MeteredStore {
    inner: Arc<dyn Store>,
    metrics: Metrics,
    health: Health,
}

impl MeteredStore {
    pub(crate) fn new(inner: Arc<dyn Store>, metrics: Metrics) -> MeteredStore {
        MeteredStore { inner, metrics, health: Health::default() }
    }

    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Operations are labelled by the HTTP method they are on an object store, as Tempo does.
    async fn measure<T>(
        &self,
        operation: &'static str,
        key: &str,
        limit: Duration,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
            let source = format!("no answer within {limit:?}").into();
            Err(StoreError::Unavailable { key: key.to_owned(), source })
        });
        let status_code = result.as_ref().map_or_else(StoreError::status_code, |_| "200");
        self.metrics.request_ended(operation, status_code, started.elapsed());
        self.metrics.available(self.health.call_ended(&result));
        result
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.measure("GET", key, OBJECT_LIMIT, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.measure("GET", key, OBJECT_LIMIT, self.inner.get_range(key, range)).await
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        self.measure("HEAD", key, OBJECT_LIMIT, self.inner.size(key)).await
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.measure("PUT", key, OBJECT_LIMIT, self.inner.put(key, data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.measure("PUT", key, OBJECT_LIMIT, self.inner.put_if_absent(key, data)).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.measure("PUT", key, LONG_LIMIT, self.inner.put_file(key, file)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        self.measure("LIST", folder, LONG_LIMIT, self.inner.list(folder)).await
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.measure("LIST", folder, LONG_LIMIT, self.inner.list_folders(folder)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.measure("DELETE", key, OBJECT_LIMIT, self.inner.delete(key)).await
    }
}
