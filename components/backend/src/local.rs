//! Object store on a local folder; one object is one file.
//!
//! A put is durable when it returns: the bytes go to a temporary name in the same folder (`<name>.<uuid>~tmp`), are
//! synced, renamed into place, and the folder is synced; so are the parents of folders that this process has not
//! synced before. Names that end in `~tmp` are not objects: never listed, refused as keys, and what a crash left of
//! them is removed by a later listing once it is an hour old. File I/O runs on the blocking pool.
//! Symbolic links below the root are not followed by listings.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::debug;
use uuid::Uuid;

use crate::store::{ObjectEntry, Store, StoreError, check_folder, check_key, range_error};

const TEMPORARY_SUFFIX: &str = "~tmp";

/// A temporary file this old belongs to nobody: writing one touches it all the time.
const TEMPORARY_LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// How many folders are remembered as synced; past that all are forgotten and synced again.
const MAX_SYNCED_FOLDERS: usize = 4096;

/// A put whose folder is removed under it (by the deletion of the last other object) makes it again this often.
const PUT_ATTEMPTS: u32 = 5;

/// A [`Store`] below one folder.
#[derive(Debug, Clone)]
pub struct LocalStore {
    folders: Arc<Folders>,
}

/// The root, and which folders below it are known to survive a crash.
#[derive(Debug)]
struct Folders {
    root: PathBuf,
    /// Held while folders are made and synced, so that nobody relies on a folder whose maker has not synced it yet.
    synced: Mutex<HashSet<PathBuf>>,
}

impl LocalStore {
    /// Makes the folder if it does not exist.
    pub async fn open(root: &Path) -> Result<LocalStore, StoreError> {
        let root = root.to_owned();
        blocking(root.display().to_string(), move || {
            make_durable_folder(&root)?;
            let root = fs::canonicalize(&root)?;
            Ok(LocalStore { folders: Arc::new(Folders { root, synced: Mutex::default() }) })
        })
        .await
    }

    fn object_path(&self, key: &str) -> Result<PathBuf, StoreError> {
        check_key(key)?;
        if key.split('/').any(|component| component.ends_with(TEMPORARY_SUFFIX)) {
            let source = "names that end in '~tmp' are reserved".into();
            return Err(StoreError::Other { key: key.to_owned(), source });
        }
        Ok(self.folders.root.join(key))
    }

    fn folder_path(&self, folder: &str) -> Result<PathBuf, StoreError> {
        check_folder(folder)?;
        Ok(self.folders.root.join(folder))
    }

    /// Runs `publish`, which is to make the synced file of the first path appear as the second.
    async fn write(
        &self,
        key: &str,
        content: Content,
        publish: fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        let folders = Arc::clone(&self.folders);
        blocking(key.to_owned(), move || {
            let mut attempt = 1;
            loop {
                match folders.write(&path, &content, publish) {
                    Err(error) if is_missing(&error) && !content.exists() => {
                        return Err(io::Error::other(format!("source file does not exist: {error}")));
                    }
                    Err(error) if is_missing(&error) && attempt < PUT_ATTEMPTS => attempt += 1,
                    result => return result,
                }
            }
        })
        .await
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let path = self.object_path(key)?;
        blocking(key.to_owned(), move || fs::read(path).map(Bytes::from)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.object_path(key)?;
        let wanted = range.clone();
        let read = blocking(key.to_owned(), move || {
            let file = File::open(path)?;
            let size = file_size(&file)?;
            if wanted.start > wanted.end || wanted.end > size {
                return Ok(Err(size));
            }
            let length = usize::try_from(wanted.end - wanted.start).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, wanted.start)?;
            Ok(Ok(Bytes::from(bytes)))
        })
        .await?;
        read.map_err(|size| range_error(key, &range, size))
    }

    async fn size(&self, key: &str) -> Result<u64, StoreError> {
        let path = self.object_path(key)?;
        blocking(key.to_owned(), move || file_size(&File::open(path)?)).await
    }

    async fn put(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.write(key, Content::Bytes(data), rename).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<(), StoreError> {
        self.write(key, Content::Bytes(data), link_absent).await
    }

    async fn put_file(&self, key: &str, file: &Path) -> Result<(), StoreError> {
        self.write(key, Content::File(file.to_owned()), rename).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let path = self.folder_path(folder)?;
        let folder = folder.to_owned();
        blocking(folder.clone(), move || {
            let mut entries = Vec::new();
            let mut open = vec![(folder, path)];
            while let Some((folder, path)) = open.pop() {
                list_one(&folder, &path, &mut entries, &mut open)?;
            }
            entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            Ok(entries)
        })
        .await
    }

    async fn list_folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.folder_path(folder)?;
        blocking(folder.to_owned(), move || {
            let mut names = Vec::new();
            for entry in read_folder(&path)? {
                let entry = entry?;
                // A name that is not UTF-8 was not made by a key.
                if let Ok(name) = entry.file_name().into_string()
                    && entry.file_type()?.is_dir()
                {
                    names.push(name);
                }
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        let folders = Arc::clone(&self.folders);
        blocking(key.to_owned(), move || folders.delete(&path)).await
    }
}

/// What a put writes.
enum Content {
    Bytes(Bytes),
    File(PathBuf),
}

impl Content {
    /// False if a "not found" is about the source file, and not about the folder it goes to.
    fn exists(&self) -> bool {
        match self {
            Content::Bytes(_) => true,
            Content::File(file) => file.exists(),
        }
    }

    /// Makes `temporary`, which does not exist yet, hold the content, synced.
    fn write_to(&self, temporary: &Path) -> io::Result<()> {
        match self {
            Content::Bytes(bytes) => {
                let mut file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
                file.write_all(bytes)?;
                file.sync_all()
            }
            Content::File(source) => {
                // Whoever wrote the file may not have synced it.
                File::open(source)?.sync_all()?;
                if fs::hard_link(source, temporary).is_ok() {
                    return Ok(());
                }
                // Another filesystem, or one without links.
                fs::copy(source, temporary)?;
                File::open(temporary)?.sync_all()
            }
        }
    }
}

impl Folders {
    fn write(
        &self,
        path: &Path,
        content: &Content,
        publish: fn(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        self.make_durable(folder)?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}{TEMPORARY_SUFFIX}", Uuid::new_v4()));
        let temporary = folder.join(temporary);

        let published = content.write_to(&temporary).and_then(|()| publish(&temporary, path));
        // Gone after a rename, except when both names were links to the same file: then rename does nothing.
        let removed = remove_if_exists(&temporary);
        published?;
        removed?;
        sync_folder(folder)
    }

    /// Makes the folder and its parents below the root, and syncs whatever this process has not synced before: an
    /// earlier process may have died between making a folder and syncing it.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        let mut synced = self.synced.lock();
        if synced.contains(folder) && folder.is_dir() {
            return Ok(());
        }
        let below_root = folder.strip_prefix(&self.root).map_err(io::Error::other)?;
        let mut parent = self.root.clone();
        for component in below_root.components() {
            let child = parent.join(component);
            let is_new = match fs::create_dir(&child) {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => !synced.contains(&child),
                Err(error) => return Err(error),
            };
            if is_new {
                sync_folder(&parent)?;
                if synced.len() >= MAX_SYNCED_FOLDERS {
                    synced.clear();
                }
                synced.insert(child.clone());
            }
            parent = child;
        }
        Ok(())
    }

    /// Removes the file and the folders that it leaves empty, durably.
    fn delete(&self, path: &Path) -> io::Result<()> {
        remove_if_exists(path)?;
        let mut folder = path.parent();
        while let Some(empty) = folder
            && empty != self.root.as_path()
        {
            let mut synced = self.synced.lock();
            match fs::remove_dir(empty) {
                Ok(()) => {
                    synced.remove(empty);
                }
                Err(error) if is_missing(&error) => {}
                // Not empty.
                Err(_) => break,
            }
            folder = empty.parent();
        }
        match folder.map_or(Ok(()), sync_folder) {
            Err(error) if is_missing(&error) => Ok(()),
            result => result,
        }
    }
}

fn rename(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)
}

fn link_absent(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::hard_link(temporary, path)
}

/// Lists one folder: files to `entries`, folders to `open`.
fn list_one(
    folder: &str,
    path: &Path,
    entries: &mut Vec<ObjectEntry>,
    open: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    for entry in read_folder(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if kind.is_dir() {
            open.push((key, entry.path()));
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Deleted, or renamed from its temporary name, in between.
            Err(error) if is_missing(&error) => continue,
            Err(error) => return Err(error),
        };
        let modified = metadata.modified()?;
        if key.ends_with(TEMPORARY_SUFFIX) {
            remove_leftover(&entry.path(), modified);
            if !folder.is_empty() {
                // Only succeeds if nothing else is in it.
                drop(fs::remove_dir(path));
            }
            continue;
        }
        let modified = Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH);
        entries.push(ObjectEntry { key, size: metadata.len(), modified });
    }
    Ok(())
}

/// Removes a temporary file that nobody has written to for long.
fn remove_leftover(path: &Path, modified: SystemTime) {
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    if age < TEMPORARY_LEFTOVER_AGE {
        return;
    }
    match fs::remove_file(path) {
        Ok(()) => debug!(path = %path.display(), "removed temporary file of a crashed process"),
        Err(error) => debug!(path = %path.display(), %error, "failed to remove temporary file"),
    }
}

/// The entries of a folder; none if it does not exist.
fn read_folder(path: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<fs::DirEntry>>>> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(Box::new(entries)),
        Err(error) if is_missing(&error) => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error),
    }
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // A folder is not an object.
        Err(error) if is_missing(&error) || error.kind() == ErrorKind::IsADirectory => Ok(()),
        result => result,
    }
}

/// Size of a file; a folder is not an object.
fn file_size(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(ErrorKind::NotFound.into()) }
}

/// Makes a folder with all its parents and syncs the parents of those it made.
fn make_durable_folder(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    match fs::create_dir(path) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_durable_folder(parent)?;
            fs::create_dir(path)?;
            sync_folder(parent)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The path, or a folder on the way to it, does not exist as such.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Runs file I/O on the blocking pool. It goes on to its end when the caller is dropped.
async fn blocking<T, F>(key: String, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| store_error(key, error)),
        Err(error) => Err(StoreError::Other { key, source: Box::new(error) }),
    }
}

fn store_error(key: String, error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            StoreError::NotFound { key }
        }
        ErrorKind::AlreadyExists => StoreError::AlreadyExists { key },
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::Denied { key, source: Box::new(error) }
        }
        ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded
        | ErrorKind::TimedOut
        | ErrorKind::Interrupted
        | ErrorKind::WouldBlock
        | ErrorKind::ResourceBusy => StoreError::Unavailable { key, source: Box::new(error) },
        _ => StoreError::Other { key, source: Box::new(error) },
    }
}
