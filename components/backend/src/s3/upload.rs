//! Files to objects: small ones in one request, larger ones in parts that are read from disk as they are sent.
//!
//! At most [`PARTS_AT_ONCE`] parts are in memory for one file. An upload that fails is aborted, one whose caller goes
//! away too, by a task of its own; what a crash leaves behind only the bucket's lifecycle rule for incomplete uploads
//! removes. Nothing is visible before the upload is completed.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tracing::debug;

use super::{
    Shared,
    failure::{Failure, Kind},
};

/// The size of a part when the configuration does not say.
const DEFAULT_PART_BYTES: u64 = 8 << 20;

/// Parts of one file that are under way at once.
const PARTS_AT_ONCE: usize = 2;

/// S3 takes no more parts than that.
const MAX_PARTS: u64 = 10_000;

/// A local file that is open and does not change.
struct Source {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl Source {
    async fn open(path: &Path) -> Result<Source, Failure> {
        let path = path.to_owned();
        let opened = {
            let path = path.clone();
            blocking(move || {
                let file = File::open(path)?;
                let size = file.metadata()?.len();
                Ok((Arc::new(file), size))
            })
            .await
        };
        let (file, size) = opened.map_err(|error| local(&path, error))?;
        Ok(Source { file, path, size })
    }

    async fn read(&self, start: u64, length: u64) -> Result<Bytes, Failure> {
        let file = Arc::clone(&self.file);
        let read = blocking(move || {
            let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut data, start)?;
            Ok(Bytes::from(data))
        })
        .await;
        read.map_err(|error| local(&self.path, error))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn local(path: &Path, error: io::Error) -> Failure {
    Failure::caused(Kind::Other, format!("read '{}'", path.display()), error)
}

/// Uploads a file under a full key.
pub(super) async fn file(store: &Arc<Shared>, key: &str, path: &Path) -> Result<(), Failure> {
    let source = Source::open(path).await?;
    let part_bytes = part_bytes(store.config.part_size.get(), source.size);
    if source.size <= part_bytes {
        let data = source.read(0, source.size).await?;
        return store.put_whole(key, data).await;
    }
    let id = create(store, key).await?;
    let mut upload = Upload { store: Arc::clone(store), key: key.to_owned(), id, is_ended: false };
    let result = upload.run(&source, part_bytes).await;
    upload.is_ended = true;
    if result.is_err() {
        upload.abort().await;
    }
    result
}

/// The configured size, or more if the file would have too many parts.
fn part_bytes(configured: u64, file_bytes: u64) -> u64 {
    let configured = if configured == 0 { DEFAULT_PART_BYTES } else { configured };
    configured.max(file_bytes.div_ceil(MAX_PARTS))
}

/// The parts' numbers, starts and lengths.
fn parts(file_bytes: u64, part_bytes: u64) -> Vec<(i32, u64, u64)> {
    let starts = (0..file_bytes).step_by(usize::try_from(part_bytes).unwrap_or(usize::MAX));
    (1..).zip(starts).map(|(number, start)| (number, start, part_bytes.min(file_bytes - start))).collect()
}

async fn create(store: &Shared, key: &str) -> Result<String, Failure> {
    store
        .call(|client| {
            let request = client.create_multipart_upload().bucket(&store.config.bucket).key(key);
            let request = store.objects.create(request);
            Box::pin(async move {
                let answer = request.send().await.map_err(|error| store.failure(error))?;
                answer.upload_id.ok_or_else(|| Failure::unavailable("the service gave no id for the upload"))
            })
        })
        .await
}

/// An upload that was begun; dropped before its end, it is aborted behind the scenes.
struct Upload {
    store: Arc<Shared>,
    key: String,
    id: String,
    is_ended: bool,
}

impl Upload {
    async fn run(&self, source: &Source, part_bytes: u64) -> Result<(), Failure> {
        let mut sent: Vec<CompletedPart> = futures::stream::iter(parts(source.size, part_bytes))
            .map(|(number, start, length)| self.part(source, number, start, length))
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        sent.sort_unstable_by_key(|part| part.part_number);
        self.complete(sent, source.size).await
    }

    async fn part(
        &self,
        source: &Source,
        number: i32,
        start: u64,
        length: u64,
    ) -> Result<CompletedPart, Failure> {
        let data = source.read(start, length).await?;
        let Upload { store, key, id, .. } = self;
        let answer = store
            .call(|client| {
                let request = client.upload_part().bucket(&store.config.bucket).key(key).upload_id(id);
                let request = request.part_number(number).body(ByteStream::from(data.clone()));
                let request = store.objects.part(request).customize();
                let request = if store.signs_bodies() { request } else { request.disable_payload_signing() };
                Box::pin(async move { request.send().await.map_err(|error| store.failure(error)) })
            })
            .await?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
    }

    /// Makes the object appear. When the answer got lost and the upload is gone at the next try, it may be because it
    /// is complete: then the object is there and has the file's size.
    async fn complete(&self, parts: Vec<CompletedPart>, size: u64) -> Result<(), Failure> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let Upload { store, key, id, .. } = self;
        let completed = store
            .call(|client| {
                let request = client.complete_multipart_upload().bucket(&store.config.bucket).key(key);
                let request = request.upload_id(id).multipart_upload(parts.clone());
                Box::pin(async move { request.send().await.map_err(|error| store.failure(error)) })
            })
            .await;
        match completed {
            Ok(_) => Ok(()),
            Err(failure)
                if failure.kind == Kind::NoUpload && store.head(key).await.is_ok_and(|s| s == size) =>
            {
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn abort(&self) {
        let Upload { store, key, id, .. } = self;
        let aborted = store
            .call(|client| {
                let request =
                    client.abort_multipart_upload().bucket(&store.config.bucket).key(key).upload_id(id);
                Box::pin(async move { request.send().await.map_err(|error| store.failure(error)) })
            })
            .await;
        if let Err(failure) = aborted
            && failure.kind != Kind::NoUpload
        {
            debug!(key, %failure, "could not abort an upload, its parts stay until the bucket's lifecycle removes them");
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let ended = Upload {
            store: Arc::clone(&self.store),
            key: std::mem::take(&mut self.key),
            id: std::mem::take(&mut self.id),
            is_ended: true,
        };
        self.store.spawn_abort(async move { ended.abort().await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_exactly() {
        assert_eq!(parts(25, 10), [(1, 0, 10), (2, 10, 10), (3, 20, 5)]);
        assert_eq!(parts(20, 10), [(1, 0, 10), (2, 10, 10)]);
    }

    #[test]
    fn huge_files_get_larger_parts() {
        let five_tib = 5 << 40;

        let bytes = part_bytes(0, five_tib);

        assert!(parts(five_tib, bytes).len() as u64 <= MAX_PARTS);
        assert_eq!(part_bytes(0, 1 << 30), DEFAULT_PART_BYTES);
        assert_eq!(part_bytes(16 << 20, 1 << 30), 16 << 20);
    }
}
