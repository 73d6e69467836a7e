//! What every `Store` must do, run on all of them.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use tempo_backend::{FaultyStore, LocalStore, MemoryStore, ObjectEntry, Store, StoreError};

/// The suite for one store; `open` gives a new, empty one.
macro_rules! conformance {
    ($name:ident, $open:expr) => {
        mod $name {
            use super::*;

            conformance!(@tests $open,
                put_objects_are_read_back_whole_and_in_ranges,
                ranges_past_the_end_are_errors,
                absent_objects_are_not_found,
                put_overwrites_and_put_if_absent_does_not,
                only_one_of_concurrent_put_if_absent_wins,
                put_file_copies_the_content_and_may_be_repeated,
                put_file_of_a_missing_file_does_not_look_like_a_missing_object,
                listings_are_sorted_recursive_and_bound_to_their_folder,
                folders_are_listed_by_name,
                delete_may_be_repeated_and_removes_the_folder,
                keys_that_could_escape_are_refused,
                awkward_but_legal_keys_work,
                empty_objects_work,
            );
        }
    };
    (@tests $open:expr, $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let dir = tempfile::tempdir().unwrap();
                let open = $open;
                let store: Arc<dyn Store> = open(dir.path().join("store")).await;
                super::$test(store, dir.path()).await;
            }
        )*
    };
}

conformance!(memory, async |_| Arc::new(MemoryStore::new()));
conformance!(local, async |path: std::path::PathBuf| Arc::new(LocalStore::open(&path).await.unwrap()));
conformance!(faulty_without_faults, async |_| Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1)));

async fn put_objects_are_read_back_whole_and_in_ranges(store: Arc<dyn Store>, _: &Path) {
    store.put("a/b/object", Bytes::from_static(b"0123456789")).await.unwrap();

    assert_eq!(store.get("a/b/object").await.unwrap(), "0123456789");
    assert_eq!(store.size("a/b/object").await.unwrap(), 10);
    assert_eq!(store.get_range("a/b/object", 0..10).await.unwrap(), "0123456789");
    assert_eq!(store.get_range("a/b/object", 3..5).await.unwrap(), "34");
    assert_eq!(store.get_range("a/b/object", 10..10).await.unwrap(), "");
}

async fn ranges_past_the_end_are_errors(store: Arc<dyn Store>, _: &Path) {
    store.put("object", Bytes::from_static(b"0123456789")).await.unwrap();

    for range in [0..11, 10..11, 20..30, 0..u64::MAX] {
        let error = store.get_range("object", range.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Other { .. }), "{range:?}: {error:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is the case")]
    let reversed = store.get_range("object", 5..3).await;
    assert!(reversed.is_err());
}

async fn absent_objects_are_not_found(store: Arc<dyn Store>, _: &Path) {
    store.put("a/object", Bytes::from_static(b"x")).await.unwrap();

    for key in ["nothing", "a", "a/object/below"] {
        assert!(store.get(key).await.unwrap_err().is_not_found(), "{key}");
        assert!(store.size(key).await.unwrap_err().is_not_found(), "{key}");
        let error = store.get_range(key, 0..1).await.unwrap_err();
        assert!(error.is_not_found(), "{key}");
        assert_eq!(error.key(), key);
    }
    assert_eq!(store.list("nothing").await.unwrap(), []);
    assert_eq!(store.list_folders("nothing").await.unwrap(), Vec::<String>::new());
}

async fn put_overwrites_and_put_if_absent_does_not(store: Arc<dyn Store>, _: &Path) {
    store.put_if_absent("a/object", Bytes::from_static(b"first")).await.unwrap();

    let error = store.put_if_absent("a/object", Bytes::from_static(b"second")).await.unwrap_err();
    let after_refusal = store.get("a/object").await.unwrap();
    store.put("a/object", Bytes::from_static(b"third")).await.unwrap();

    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(after_refusal, "first");
    assert_eq!(store.get("a/object").await.unwrap(), "third");
}

async fn only_one_of_concurrent_put_if_absent_wins(store: Arc<dyn Store>, _: &Path) {
    let writers = (0..16).map(|writer| {
        let store = Arc::clone(&store);
        async move { store.put_if_absent("new/folder/object", Bytes::from(format!("{writer}"))).await }
    });

    let results = futures::future::join_all(writers).await;

    let winners: Vec<usize> =
        results.iter().enumerate().filter(|(_, result)| result.is_ok()).map(|(writer, _)| writer).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.get("new/folder/object").await.unwrap(), winners[0].to_string());
    assert_eq!(store.list("").await.unwrap().len(), 1);
}

async fn put_file_copies_the_content_and_may_be_repeated(store: Arc<dyn Store>, dir: &Path) {
    let file = dir.join("file");
    fs::write(&file, b"content").unwrap();
    store.put("a/object", Bytes::from_static(b"older")).await.unwrap();

    store.put_file("a/object", &file).await.unwrap();
    store.put_file("a/object", &file).await.unwrap();

    assert_eq!(store.get("a/object").await.unwrap(), "content");
    assert_eq!(fs::read(&file).unwrap(), b"content");
    assert_eq!(keys(&store.list("").await.unwrap()), ["a/object"]);
}

async fn put_file_of_a_missing_file_does_not_look_like_a_missing_object(store: Arc<dyn Store>, dir: &Path) {
    let error = store.put_file("a/object", &dir.join("nothing")).await.unwrap_err();

    assert!(matches!(error, StoreError::Other { .. }), "{error:?}");
    assert_eq!(store.list("").await.unwrap(), []);
}

async fn listings_are_sorted_recursive_and_bound_to_their_folder(store: Arc<dyn Store>, _: &Path) {
    for key in ["b/x", "a/2/y", "a/1/z", "a/top", "a-b/no", "ab/no"] {
        store.put(key, Bytes::copy_from_slice(key.as_bytes())).await.unwrap();
    }

    let listed = store.list("a").await.unwrap();

    assert_eq!(keys(&listed), ["a/1/z", "a/2/y", "a/top"]);
    assert_eq!(listed.iter().map(|entry| entry.size).collect::<Vec<_>>(), [5, 5, 5]);
    let age = jiff::Timestamp::now().duration_since(listed[0].modified);
    assert!(age.abs() < jiff::SignedDuration::from_mins(1), "{age}");
    assert_eq!(keys(&store.list("").await.unwrap()), ["a-b/no", "a/1/z", "a/2/y", "a/top", "ab/no", "b/x"]);
}

async fn folders_are_listed_by_name(store: Arc<dyn Store>, _: &Path) {
    for key in ["b/x", "a/2/y", "a/1/z", "a-b/no", "top"] {
        store.put(key, Bytes::new()).await.unwrap();
    }

    assert_eq!(store.list_folders("").await.unwrap(), ["a", "a-b", "b"]);
    assert_eq!(store.list_folders("a").await.unwrap(), ["1", "2"]);
    assert_eq!(store.list_folders("a/1").await.unwrap(), Vec::<String>::new());
}

async fn delete_may_be_repeated_and_removes_the_folder(store: Arc<dyn Store>, _: &Path) {
    store.put("a/b/object", Bytes::from_static(b"x")).await.unwrap();
    store.put("a/other", Bytes::from_static(b"x")).await.unwrap();

    store.delete("a/b/object").await.unwrap();
    store.delete("a/b/object").await.unwrap();
    store.delete("a").await.unwrap();

    assert_eq!(store.list_folders("a").await.unwrap(), Vec::<String>::new());
    assert_eq!(keys(&store.list("").await.unwrap()), ["a/other"]);
    store.put("a/b/object", Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(store.get("a/b/object").await.unwrap(), "again");
}

async fn keys_that_could_escape_are_refused(store: Arc<dyn Store>, dir: &Path) {
    fs::write(dir.join("outside"), b"secret").unwrap();
    let file = dir.join("outside");

    for key in
        ["../outside", "a/../../outside", "/etc/passwd", "a//b", "", ".", "..", "a/", "a\\b", "a\0b", "a/./b"]
    {
        assert!(store.get(key).await.is_err(), "get {key:?}");
        assert!(store.get_range(key, 0..1).await.is_err(), "get_range {key:?}");
        assert!(store.size(key).await.is_err(), "size {key:?}");
        assert!(store.put(key, Bytes::new()).await.is_err(), "put {key:?}");
        assert!(store.put_if_absent(key, Bytes::new()).await.is_err(), "put_if_absent {key:?}");
        assert!(store.put_file(key, &file).await.is_err(), "put_file {key:?}");
        assert!(store.delete(key).await.is_err(), "delete {key:?}");
        if !key.is_empty() {
            assert!(store.list(key).await.is_err(), "list {key:?}");
            assert!(store.list_folders(key).await.is_err(), "list_folders {key:?}");
        }
    }
    assert_eq!(fs::read(file).unwrap(), b"secret");
    assert!(store.put(&"x/".repeat(600), Bytes::new()).await.is_err());
}

async fn awkward_but_legal_keys_work(store: Arc<dyn Store>, _: &Path) {
    let awkward = ["!-_.*'()/x", ".hidden/..x", "a b/ü", "%2e%2e/x", "...", "a.tmp"];

    for key in awkward {
        store.put(key, Bytes::copy_from_slice(key.as_bytes())).await.unwrap();
    }

    for key in awkward {
        assert_eq!(store.get(key).await.unwrap(), key);
    }
    let mut sorted = awkward;
    sorted.sort_unstable();
    assert_eq!(keys(&store.list("").await.unwrap()), sorted);
}

async fn empty_objects_work(store: Arc<dyn Store>, _: &Path) {
    store.put("a/empty", Bytes::new()).await.unwrap();

    assert_eq!(store.get("a/empty").await.unwrap(), "");
    assert_eq!(store.get_range("a/empty", 0..0).await.unwrap(), "");
    assert_eq!(store.size("a/empty").await.unwrap(), 0);
    assert_eq!(keys(&store.list("a").await.unwrap()), ["a/empty"]);
}

fn keys(entries: &[ObjectEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}
