//! Counts and times every call to a store: `tempodb_backend_request_duration_seconds{operation,status_code}`.

use std::{future::Future, ops::Range, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    store::{ObjectEntry, Store, StoreError},
};

/// The store it wraps, measured.
#[derive(Debug)]
pub(crate) struct MeteredStore {
    inner: Arc<dyn Store>,
    metrics: Metrics,
}

impl MeteredStore {
    pub(crate) fn new(inner: Arc<dyn Store>, metrics: Metrics) -> MeteredStore {
        MeteredStore { inner, metrics }
    }

    /// Operations are labelled by the HTTP method they are on an object store, as Tempo does.
    async fn measure<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = call.await;
        let status_code = result.as_ref().map_or_else(StoreError::status_code, |_| "200");
        self.metrics.request_ended(operation, status_code, started.elapsed());
        result
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.measure("GET", self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.measure("GET", self.inner.get_range(key, range)).await
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        self.measure("HEAD", self.inner.size(key)).await
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.measure("PUT", self.inner.put(key, data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.measure("PUT", self.inner.put_if_absent(key, data)).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.measure("PUT", self.inner.put_file(key, file)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        self.measure("LIST", self.inner.list(folder)).await
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.measure("LIST", self.inner.list_folders(folder)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.measure("DELETE", self.inner.delete(key)).await
    }
}
