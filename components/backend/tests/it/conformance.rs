//! What every `Store` must do, run on all of them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tempo_backend::{FaultyStore, LocalStore, MemoryStore, ObjectEntry, Store, StoreError};
use tempo_config::S3Config;

use crate::s3_server::{S3Server, Versitygw, config, open};

/// A store, and what must live as long as it.
type Opened = Option<(Arc<dyn Store>, Option<Versitygw>)>;

/// The suite for one store; `open` gives a new, empty one, or nothing where it cannot be had.
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
                listings_of_several_pages_are_complete,
                large_files_arrive_whole,
                one_of_concurrent_writers_wins_as_a_whole,
                a_put_that_is_cancelled_happens_as_a_whole_or_not_at_all,
            );
        }
    };
    (@tests $open:expr, $($test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let dir = tempfile::tempdir().unwrap();
                let open = $open;
                let opened: Opened = open(dir.path().join("store")).await;
                let Some((store, _server)) = opened else { return };
                super::$test(store, dir.path()).await;
            }
        )*
    };
}

conformance!(memory, async |_| alone(MemoryStore::new()));
conformance!(local, async |path: PathBuf| alone(LocalStore::open(&path).await.unwrap()));
conformance!(faulty_without_faults, async |_| alone(FaultyStore::new(Arc::new(MemoryStore::new()), 1)));
conformance!(s3, async |path: PathBuf| alone(S3Server::start(&path).await.store().await));
conformance!(s3_with_prefix, async |path: PathBuf| {
    let server = S3Server::start(&path).await;
    alone(open(&S3Config { prefix: "/some/where/".to_owned(), ..server.config() }).await)
});
conformance!(versitygw, async |path: PathBuf| {
    let server = Versitygw::start(&path).await?;
    let store: Arc<dyn Store> = Arc::new(open(&config(&format!("127.0.0.1:{}", server.port))).await);
    Some((store, Some(server)))
});

fn alone(store: impl Store + 'static) -> Opened {
    Some((Arc::new(store), None))
}

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

/// More objects than one answer of an object store lists, spread over all that names can begin with.
async fn listings_of_several_pages_are_complete(store: Arc<dyn Store>, _: &Path) {
    let name = |i: u32| match i % 8 {
        0 => format!("tenant/-{i}"),
        1 => format!("tenant/z{i}"),
        _ => format!("tenant/{:x}-block/object{i}", i.wrapping_mul(2_654_435_769)),
    };
    let mut expected: Vec<String> = (0..2_300).map(name).collect();
    expected.push("tenant/5".to_owned());
    expected.push("tenant/a".to_owned());
    store.put("tenant-2/other", Bytes::new()).await.unwrap();
    let puts = expected.iter().map(|key| store.put(key, Bytes::new()));
    futures::stream::iter(puts).buffer_unordered(8).try_collect::<()>().await.unwrap();

    let listed = store.list("tenant").await.unwrap();
    let folders = store.list_folders("tenant").await.unwrap();

    expected.sort_unstable();
    assert_eq!(keys(&listed), expected);
    let mut expected: Vec<&str> =
        expected.iter().filter_map(|key| Some(key.strip_prefix("tenant/")?.split_once('/')?.0)).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(folders, expected);
}

/// Several parts of an upload, the last one short.
const LARGE_BYTES: usize = (17 << 20) + 3;

fn large_content() -> Vec<u8> {
    (0..LARGE_BYTES).map(|i| u8::try_from(i.wrapping_mul(2_654_435_769) >> 13 & 0xff).unwrap()).collect()
}

async fn large_files_arrive_whole(store: Arc<dyn Store>, dir: &Path) {
    let (file, content) = (dir.join("file"), large_content());
    fs::write(&file, &content).unwrap();

    store.put_file("a/large", &file).await.unwrap();
    store.put_file("a/large", &file).await.unwrap();

    assert_eq!(store.size("a/large").await.unwrap(), LARGE_BYTES as u64);
    assert!(store.get("a/large").await.unwrap() == content);
    let middle = (8 << 20) - 5..(8 << 20) + 5;
    let range = u64::try_from(middle.start).unwrap()..u64::try_from(middle.end).unwrap();
    assert_eq!(store.get_range("a/large", range).await.unwrap(), content[middle]);
    assert_eq!(keys(&store.list("").await.unwrap()), ["a/large"]);
}

async fn one_of_concurrent_writers_wins_as_a_whole(store: Arc<dyn Store>, dir: &Path) {
    let contents: Vec<Bytes> = (0_u8..8).map(|writer| Bytes::from(vec![writer; 100_000])).collect();
    let file = dir.join("file");
    fs::write(&file, vec![99; 100_000]).unwrap();
    let puts = contents.iter().map(|content| store.put("a/object", content.clone()));

    let (results, by_file) = tokio::join!(futures::future::join_all(puts), store.put_file("a/object", &file));

    // A server may refuse one of two at the same moment, but not with a lasting reason.
    assert!(
        results.iter().chain([&by_file]).all(|put| put.as_ref().err().is_none_or(StoreError::is_retryable))
    );
    let found = store.get("a/object").await.unwrap();
    assert_eq!(found.len(), 100_000);
    assert!(found.iter().all(|byte| *byte == found[0]), "the object is a mixture");
}

async fn a_put_that_is_cancelled_happens_as_a_whole_or_not_at_all(store: Arc<dyn Store>, dir: &Path) {
    let (file, content) = (dir.join("file"), large_content());
    fs::write(&file, &content).unwrap();

    for millis in [0, 1, 5, 20, 50, 100] {
        let put = store.put_file("a/large", &file);
        drop(tokio::time::timeout(Duration::from_millis(millis), put).await);
        match store.get("a/large").await {
            Ok(found) => assert!(found == content, "after {millis} ms"),
            Err(error) => assert!(error.is_not_found(), "after {millis} ms: {error:?}"),
        }
    }

    store.put_file("a/large", &file).await.unwrap();
    assert!(store.get("a/large").await.unwrap() == content);
}

fn keys(entries: &[ObjectEntry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}
