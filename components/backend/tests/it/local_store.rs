//! What only the local store promises: nothing half-written is ever seen, and leftovers go away.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempo_backend::{LocalStore, Store, StoreError};

#[tokio::test]
async fn open_makes_the_folder_with_its_parents() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/er/store");

    LocalStore::open(&root).await.unwrap();
    LocalStore::open(&root).await.unwrap();

    assert!(root.is_dir());
}

#[tokio::test]
async fn open_on_a_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();

    assert!(LocalStore::open(&dir.path().join("file")).await.is_err());
}

#[tokio::test]
async fn temporary_names_are_invisible_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).await.unwrap();
    store.put("a/object", Bytes::from_static(b"x")).await.unwrap();
    fs::write(dir.path().join("a/object.1234~tmp"), b"half").unwrap();

    let listed = store.list("").await.unwrap();

    assert_eq!(listed.len(), 1);
    assert!(store.get("a/object.1234~tmp").await.is_err());
    assert!(store.put("a/object.1234~tmp", Bytes::new()).await.is_err());
    assert!(dir.path().join("a/object.1234~tmp").exists(), "a young one may be in use");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_once_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).await.unwrap();
    let leftover = dir.path().join("tenant/block/data.parquet.1234~tmp");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    let file = fs::File::create(&leftover).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();

    let listed = store.list("tenant").await.unwrap();

    assert_eq!(listed, []);
    assert!(!leftover.exists());
    assert!(!dir.path().join("tenant/block").exists());
    assert!(dir.path().exists());
}

#[tokio::test]
async fn no_temporary_file_stays_after_any_put() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
    let source = dir.path().join("source");
    fs::write(&source, b"content").unwrap();

    store.put("a/put", Bytes::from_static(b"x")).await.unwrap();
    store.put_if_absent("a/absent", Bytes::from_static(b"x")).await.unwrap();
    store.put_if_absent("a/absent", Bytes::from_static(b"y")).await.unwrap_err();
    // The second time both names are links to one file, where rename(2) does nothing.
    store.put_file("a/file", &source).await.unwrap();
    store.put_file("a/file", &source).await.unwrap();

    assert_eq!(files(&dir.path().join("store")), ["a/absent", "a/file", "a/put"]);
}

#[tokio::test]
async fn put_file_on_one_filesystem_copies_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
    let source = dir.path().join("source");
    fs::write(&source, b"content").unwrap();

    store.put_file("a/file", &source).await.unwrap();

    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&source), inode(&dir.path().join("store/a/file")));
}

#[tokio::test]
async fn put_file_from_another_filesystem_copies() {
    let dir = tempfile::tempdir().unwrap();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let store = LocalStore::open(dir.path()).await.unwrap();
    let source = other.path().join("source");
    fs::write(&source, b"content").unwrap();

    store.put_file("a/file", &source).await.unwrap();

    assert_eq!(store.get("a/file").await.unwrap(), "content");
    assert_eq!(files(dir.path()), ["a/file"]);
}

#[tokio::test]
async fn overwriting_an_object_made_by_put_file_leaves_the_source_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
    let source = dir.path().join("source");
    fs::write(&source, b"content").unwrap();
    store.put_file("object", &source).await.unwrap();

    store.put("object", Bytes::from_static(b"newer")).await.unwrap();
    store.delete("object").await.unwrap();

    assert_eq!(fs::read(&source).unwrap(), b"content");
}

#[tokio::test]
async fn symbolic_links_are_not_followed_by_listings() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/object"), b"x").unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("store/link")).unwrap();

    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.list_folders("").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_read_only_folder_denies_puts() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).await.unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Permissions do not bind root.
    let binds = fs::create_dir(dir.path().join("probe")).is_err();

    let result = store.put("a/object", Bytes::new()).await;

    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if binds {
        assert!(matches!(result, Err(StoreError::Denied { .. })), "{result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_survive_deletions_that_remove_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).await.unwrap());
    let churn = |name: &'static str| {
        let store = Arc::clone(&store);
        async move {
            for _ in 0..50 {
                let key = format!("a/b/c/{name}");
                store.put(&key, Bytes::from_static(b"x")).await.unwrap();
                assert_eq!(store.get(&key).await.unwrap(), "x");
                store.delete(&key).await.unwrap();
            }
        }
    };

    tokio::join!(churn("one"), churn("two"), churn("three"));

    assert_eq!(files(dir.path()), Vec::<String>::new());
    assert_eq!(store.list_folders("").await.unwrap(), Vec::<String>::new());
}

/// Every file below a folder, whatever its name.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
