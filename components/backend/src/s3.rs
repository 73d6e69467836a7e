//! Object store on S3 and what speaks its protocol.
//!
//! * Opening makes no request: a bucket that is absent or out of reach fails calls, not the start, and everything
//!   works as soon as it is there. Wrong or expired credentials are read again from where they came.
//! * `http.rs` is the client below the SDK, `connect.rs` its configuration, `retry.rs` how often a call is tried,
//!   `failure.rs` what an answer means, `read.rs` bodies and hedging, `list.rs` pages, `upload.rs` files.
//! * A conditional put is `If-None-Match: *`. A server that answers that with "not implemented" gets a look before the
//!   put instead, with a warning: two writers at the same moment may then both succeed.
//! * An answer that got lost leaves open whether a put has happened. Puts of the same bytes may be repeated; a
//!   conditional put that finds the object after that compares its bytes.

mod connect;
mod failure;
mod http;
mod list;
mod objects;
mod read;
mod retry;
mod upload;

use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tempo_config::S3Config;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::{
    metrics::Metrics,
    store::{ObjectEntry, Store, StoreError, check_folder, check_key, range_error},
};

use failure::{Failure, Kind};
use objects::Objects;
use read::Hedging;
use retry::Retries;

pub use http::S3TlsError;
pub use objects::S3ObjectsError;

/// Credentials are not read again sooner than this after the last time.
const RENEWAL_PAUSE: Duration = Duration::from_secs(10);

/// The largest range that is asked for by number; some servers count in signed 64 bits.
const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// Why a store could not be set up. Always a matter of the configuration or of local files.
#[derive(Debug, thiserror::Error)]
pub enum OpenS3Error {
    #[error(transparent)]
    Tls(#[from] S3TlsError),
    #[error(transparent)]
    Objects(#[from] S3ObjectsError),
}

/// A [`Store`] in a bucket. Clones share everything.
#[derive(Debug, Clone)]
pub struct S3Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: S3Config,
    /// Empty, or with a slash at its end.
    prefix: String,
    client: Mutex<Client>,
    /// Held while credentials are read again.
    renewed: tokio::sync::Mutex<Option<Instant>>,
    objects: Objects,
    retries: Retries,
    hedging: Hedging,
    metrics: Metrics,
    /// The server does not know conditional puts.
    lacks_conditions: AtomicBool,
    /// Uploads that are being aborted because nobody waits for them any more.
    aborts: TaskTracker,
}

impl S3Store {
    pub async fn open(config: &S3Config, metrics: Metrics) -> Result<S3Store, OpenS3Error> {
        let prefix = config.prefix.trim_matches('/');
        let hedge_after = config.hedge_requests_at.get();
        let shared = Shared {
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            client: Mutex::new(connect::connect(config).await?),
            renewed: tokio::sync::Mutex::new(None),
            objects: Objects::new(config)?,
            retries: Retries::new(config.tempo_rs.max_attempts, metrics.clone()),
            hedging: Hedging {
                after: (!hedge_after.is_zero()).then_some(hedge_after),
                up_to: config.hedge_requests_up_to,
            },
            metrics,
            lacks_conditions: AtomicBool::new(false),
            aborts: TaskTracker::new(),
            config: config.clone(),
        };
        Ok(S3Store { shared: Arc::new(shared) })
    }

    fn full_key(&self, key: &str) -> Result<String, StoreError> {
        let full = format!("{}{key}", self.shared.prefix);
        check_key(key)?;
        check_key(&full).map(|()| full)
    }

    /// What all keys below a folder begin with.
    fn full_prefix(&self, folder: &str) -> Result<String, StoreError> {
        check_folder(folder)?;
        let slash = if folder.is_empty() { "" } else { "/" };
        Ok(format!("{}{folder}{slash}", self.shared.prefix))
    }
}

impl Shared {
    /// Makes a request, again if its failure may pass, once more with new credentials if they were refused.
    async fn call<'a, T>(
        &'a self,
        request: impl Fn(Client) -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let attempt = |_| request(self.client());
        match self.retries.run(attempt).await {
            Err(failure) if failure.kind == Kind::Credentials && self.renew().await => {
                self.retries.run(attempt).await
            }
            result => result,
        }
    }

    fn client(&self) -> Client {
        self.client.lock().clone()
    }

    /// Reads credentials and certificates again, unless that was done a moment ago; true if the client is a new one.
    async fn renew(&self) -> bool {
        let mut renewed = self.renewed.lock().await;
        if renewed.is_some_and(|at| at.elapsed() < RENEWAL_PAUSE) {
            // Whoever waited here while another call did it has a new client, too.
            return renewed.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        }
        *renewed = Some(Instant::now());
        match connect::connect(&self.config).await {
            Ok(client) => {
                *self.client.lock() = client;
                info!("read the credentials for object storage again");
                true
            }
            Err(error) => {
                warn!(%error, "could not read the credentials for object storage again");
                false
            }
        }
    }

    fn failure<E>(&self, error: SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Failure::from_sdk(error, &self.config.bucket)
    }

    /// TLS protects bodies already, and signing them keeps a worker busy for milliseconds: SHA-256 of a whole part.
    fn signs_bodies(&self) -> bool {
        self.config.insecure
    }

    fn idle(&self) -> Duration {
        self.config.tempo_rs.request_timeout.get()
    }

    async fn get_whole<'a>(&'a self, key: &'a str) -> Result<Bytes, Failure> {
        self.call(|client| {
            Box::pin(async move {
                let read = || async {
                    let request = client.get_object().bucket(&self.config.bucket).key(key);
                    let answer =
                        self.objects.get(request).send().await.map_err(|error| self.failure(error))?;
                    read::whole(answer, self.idle()).await
                };
                self.hedging.run(&self.metrics, read).await
            })
        })
        .await
    }

    async fn get_part<'a>(&'a self, key: &'a str, range: &'a Range<u64>) -> Result<Bytes, Failure> {
        self.call(|client| {
            Box::pin(async move {
                let header = format!("bytes={}-{}", range.start, (range.end - 1).min(MAX_OFFSET));
                let read = || async {
                    let request = client.get_object().bucket(&self.config.bucket).key(key).range(&header);
                    let answer =
                        self.objects.get(request).send().await.map_err(|error| self.failure(error))?;
                    read::part(answer, range, self.idle()).await
                };
                self.hedging.run(&self.metrics, read).await
            })
        })
        .await
    }

    /// The size of an object. The answer to a `HEAD` has no body, so that a missing bucket looks like a missing object:
    /// the bucket is asked for, too.
    async fn head<'a>(&'a self, key: &'a str) -> Result<u64, Failure> {
        let found = self
            .call(|client| {
                Box::pin(async move {
                    let request = client.head_object().bucket(&self.config.bucket).key(key);
                    self.objects.head(request).send().await.map_err(|error| self.failure(error))
                })
            })
            .await;
        let missing = match found {
            Ok(answer) => {
                let size = answer.content_length().and_then(|length| u64::try_from(length).ok());
                return size
                    .ok_or_else(|| Failure::other("the service does not say how large the object is"));
            }
            Err(failure) if failure.kind == Kind::NotFound => failure,
            Err(failure) => return Err(failure),
        };
        let bucket = self
            .call(|client| {
                Box::pin(async move {
                    let request = client.head_bucket().bucket(&self.config.bucket);
                    request.send().await.map_err(|error| self.failure(error))
                })
            })
            .await;
        match bucket {
            Err(failure) if failure.kind == Kind::NotFound => {
                let text = format!(
                    "there is no bucket '{}': create it or correct storage.trace.s3.bucket",
                    self.config.bucket
                );
                Err(Failure::caused(Kind::NoBucket, text, failure))
            }
            Err(failure) if failure.may_pass() => Err(failure),
            // Who may read objects need not be allowed to ask for the bucket.
            Ok(_) | Err(_) => Err(missing),
        }
    }

    async fn put_whole<'a>(&'a self, key: &'a str, data: Bytes) -> Result<(), Failure> {
        self.call(|client| Box::pin(self.put_once(client, key, data.clone(), false))).await
    }

    async fn put_once(&self, client: Client, key: &str, data: Bytes, if_absent: bool) -> Result<(), Failure> {
        let request = client.put_object().bucket(&self.config.bucket).key(key);
        let request = request.set_if_none_match(if_absent.then(|| "*".to_owned()));
        let request = self.objects.put(request).body(ByteStream::from(data)).customize();
        let request = if self.signs_bodies() { request } else { request.disable_payload_signing() };
        request.send().await.map(drop).map_err(|error| self.failure(error))
    }

    async fn put_absent<'a>(&'a self, key: &'a str, data: Bytes) -> Result<(), Failure> {
        if self.lacks_conditions.load(Ordering::Relaxed) {
            return self.look_and_put(key, data).await;
        }
        // Set once an answer got lost, after which the object that is found may be ours.
        let is_unsure = Arc::new(AtomicBool::new(false));
        let put = self
            .call(|client| {
                let (is_unsure, data) = (Arc::clone(&is_unsure), data.clone());
                Box::pin(async move {
                    let put = self.put_once(client, key, data, true).await;
                    if put.as_ref().is_err_and(Failure::may_pass) {
                        is_unsure.store(true, Ordering::Relaxed);
                    }
                    put
                })
            })
            .await;
        match put {
            Err(failure) if failure.kind == Kind::NotImplemented => {
                if !self.lacks_conditions.swap(true, Ordering::Relaxed) {
                    warn!(
                        "this object storage has no conditional puts: two writers at once may overwrite each other"
                    );
                }
                self.look_and_put(key, data).await
            }
            Err(failure) if failure.kind == Kind::Exists && is_unsure.load(Ordering::Relaxed) => {
                if self.get_whole(key).await? == data { Ok(()) } else { Err(failure) }
            }
            result => result,
        }
    }

    async fn look_and_put<'a>(&'a self, key: &'a str, data: Bytes) -> Result<(), Failure> {
        match self.head(key).await {
            Ok(_) => Err(Failure::caused(Kind::Exists, "the object exists", "found before the put")),
            Err(failure) if failure.kind == Kind::NotFound => self.put_whole(key, data).await,
            Err(failure) => Err(failure),
        }
    }

    /// Runs what nobody waits for; without a runtime there is nothing to run it on, and no connection either.
    fn spawn_abort(&self, abort: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.aborts.spawn_on(abort, &runtime);
        }
    }
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let full = self.full_key(key)?;
        self.shared.get_whole(&full).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let full = self.full_key(key)?;
        if range.start >= range.end || range.start > MAX_OFFSET {
            // The protocol has no word for an empty range.
            let size = self.shared.head(&full).await.map_err(|failure| failure.into_store_error(key))?;
            let is_empty = range.start == range.end && range.end <= size;
            return if is_empty { Ok(Bytes::new()) } else { Err(range_error(key, &range, size)) };
        }
        self.shared.get_part(&full, &range).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let full = self.full_key(key)?;
        self.shared.head(&full).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        let full = self.full_key(key)?;
        self.shared.put_whole(&full, data).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        let full = self.full_key(key)?;
        self.shared.put_absent(&full, data).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        let full = self.full_key(key)?;
        upload::file(&self.shared, &full, file).await.map_err(|failure| failure.into_store_error(key))
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let prefix = self.full_prefix(folder)?;
        let listed = list::objects(&self.shared, &prefix).await;
        let mut entries = listed.map_err(|failure| failure.into_store_error(folder))?;
        for entry in &mut entries {
            if let Some(key) = entry.key.strip_prefix(&self.shared.prefix) {
                entry.key = key.to_owned();
            }
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        entries.dedup_by(|a, b| a.key == b.key);
        Ok(entries)
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = self.full_prefix(folder)?;
        let listed = list::folders(&self.shared, &prefix).await;
        let mut names = listed.map_err(|failure| failure.into_store_error(folder))?;
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let full = &self.full_key(key)?;
        let shared = &self.shared;
        let deleted = shared
            .call(|client| {
                Box::pin(async move {
                    let request = client.delete_object().bucket(&shared.config.bucket).key(full);
                    request.send().await.map_err(|error| shared.failure(error))
                })
            })
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(failure) if failure.kind == Kind::NotFound => Ok(()),
            Err(failure) => Err(failure.into_store_error(key)),
        }
    }
}
