//! Object store in memory, for tests and for a process that shall keep nothing.

use std::{collections::BTreeMap, fs, ops::Range, path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::store::{ObjectEntry, Store, StoreError, check_folder, check_key, range_error};

/// A [`Store`] that is gone with its last clone.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Object>>>,
}

#[derive(Debug, Clone)]
struct Object {
    data: Bytes,
    modified: Timestamp,
}

impl MemoryStore {
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    fn find(&self, key: &str) -> Result<Bytes, StoreError> {
        check_key(key)?;
        match self.objects.lock().get(key) {
            Some(object) => Ok(object.data.clone()),
            None => Err(StoreError::NotFound { key: key.to_owned() }),
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.find(key)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let data = self.find(key)?;
        let start = usize::try_from(range.start).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end).unwrap_or(usize::MAX);
        if start > end || end > data.len() {
            return Err(range_error(key, &range, data.len() as u64));
        }
        Ok(data.slice(start..end))
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        Ok(self.find(key)?.len() as u64)
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        check_key(key)?;
        self.objects.lock().insert(key.to_owned(), Object { data, modified: Timestamp::now() });
        Ok(())
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        check_key(key)?;
        let mut objects = self.objects.lock();
        if objects.contains_key(key) {
            return Err(StoreError::AlreadyExists { key: key.to_owned() });
        }
        objects.insert(key.to_owned(), Object { data, modified: Timestamp::now() });
        Ok(())
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await;
        let data = match read {
            Ok(Ok(data)) => data,
            Ok(Err(error)) => return Err(StoreError::Other { key: key.to_owned(), source: Box::new(error) }),
            Err(error) => return Err(StoreError::Other { key: key.to_owned(), source: Box::new(error) }),
        };
        self.put(key, data.into()).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        check_folder(folder)?;
        let objects = self.objects.lock();
        Ok(below(&objects, folder)
            .map(|(key, _, object)| ObjectEntry {
                key: key.to_owned(),
                size: object.data.len() as u64,
                modified: object.modified,
            })
            .collect())
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        check_folder(folder)?;
        let objects = self.objects.lock();
        let mut names: Vec<String> = below(&objects, folder)
            .filter_map(|(_, name, _)| name.split_once('/'))
            .map(|(name, _)| name.to_owned())
            .collect();
        // Keys are sorted, but "a-b/x" comes before "a/x".
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        check_key(key)?;
        self.objects.lock().remove(key);
        Ok(())
    }
}

/// The objects below a folder: key, the part of the key below the folder, object.
fn below<'a>(
    objects: &'a BTreeMap<String, Object>,
    folder: &str,
) -> impl Iterator<Item = (&'a str, &'a str, &'a Object)> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    objects
        .range(prefix.clone()..)
        .map_while(move |(key, object)| Some((key.as_str(), key.strip_prefix(&prefix)?, object)))
}
