//! What only the S3 store promises: how it behaves when the bucket misbehaves, and how much it asks for.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use display_error_chain::DisplayErrorChain;
use prometheus::Registry;
use tempo_backend::{Backend, Metrics, S3Store, Store, StoreError};
use tempo_config::{S3Checksums, S3Config, S3Extras, S3SseConfig, S3SseExtras, S3SseKind, Secret};
use tokio::time::Instant;

use crate::s3_server::{S3Server, Spoil, Versitygw, config, open};

/// A server with one object `a/object`, and a store on it.
async fn with_object(dir: &Path) -> (S3Server, S3Store) {
    let server = S3Server::start(&dir.join("server")).await;
    let store = server.store().await;
    store.put("a/object", Bytes::from_static(b"0123456789")).await.unwrap();
    server.take_requests();
    (server, store)
}

fn told(error: &StoreError) -> String {
    DisplayErrorChain::new(error).to_string()
}

#[tokio::test]
async fn a_request_that_is_turned_away_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")] {
        server.spoil("/traces", 2, Spoil::Refuse(status, code));

        assert_eq!(store.get("a/object").await.unwrap(), "0123456789");
        assert_eq!(server.take_requests().len(), 3);
    }
    server.spoil("GET /traces/?list", 2, Spoil::Refuse(503, "SlowDown"));
    assert_eq!(store.list("a").await.unwrap().len(), 1);
    server.spoil("PUT", 2, Spoil::LoseAnswer);
    store.put("a/other", Bytes::from_static(b"x")).await.unwrap();
    server.spoil("DELETE", 1, Spoil::LoseAnswer);
    store.delete("a/other").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_is_given_up_on_as_retryable() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    server.spoil("GET", usize::MAX, Spoil::Refuse(503, "SlowDown"));

    let error = store.get("a/object").await.unwrap_err();

    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(server.take_requests().len(), 4);
    server.heal();
    assert_eq!(store.get("a/object").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_port_without_a_server_is_retryable_and_named() {
    let quick = S3Extras { max_attempts: 1, ..S3Extras::default() };
    let store = open(&S3Config { tempo_rs: quick, ..config("127.0.0.1:1") }).await;

    let error = store.get("a/object").await.unwrap_err();

    assert!(error.is_retryable(), "{error:?}");
    assert!(
        told(&error).contains("no answer from the service at storage.trace.s3.endpoint"),
        "{}",
        told(&error)
    );
}

#[tokio::test]
async fn bodies_that_break_off_are_read_again_and_never_returned() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    for spoil in [Spoil::CutBody(0), Spoil::CutBody(5), Spoil::CutBody(9)] {
        server.spoil("GET", 2, spoil);

        assert_eq!(store.get("a/object").await.unwrap(), "0123456789");
        server.spoil("GET", 1, Spoil::CutBody(2));
        assert_eq!(store.get_range("a/object", 2..8).await.unwrap(), "234567");
    }
    server.spoil("GET", usize::MAX, Spoil::CutBody(5));
    let error = store.get("a/object").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(told(&error).contains("the answer broke off after 5 bytes"), "{}", told(&error));
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_on_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = with_object(dir.path()).await;
    let quick = S3Extras { request_timeout: "200ms".parse().unwrap(), ..S3Extras::default() };
    let store = open(&S3Config { tempo_rs: quick, ..server.config() }).await;
    server.spoil("GET", 1, Spoil::StallBody(5));
    server.spoil("GET", 1, Spoil::Delay(Duration::from_secs(60)));

    let started = Instant::now();
    let read = store.get("a/object").await;

    assert_eq!(read.unwrap(), "0123456789");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(server.take_requests().len(), 3);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    server.spoil("GET", 2, Spoil::IgnoreRange);

    let error = store.get_range("a/object", 2..4).await.unwrap_err();
    let all = store.get_range("a/object", 0..10).await.unwrap();

    assert!(told(&error).contains("ignored the range 2..4"), "{}", told(&error));
    assert_eq!(all, "0123456789");
}

#[tokio::test]
async fn denials_say_what_to_do_and_are_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    for (status, code, advice) in [
        (403, "AccessDenied", "s3:ListBucket on bucket 'traces'"),
        (301, "PermanentRedirect", "correct storage.trace.s3.region"),
        (400, "AuthorizationHeaderMalformed", "correct storage.trace.s3.region"),
    ] {
        server.spoil("GET", 1, Spoil::Refuse(status, code));

        let error = store.get("a/object").await.unwrap_err();

        assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
        assert!(told(&error).contains(advice), "{}", told(&error));
        assert_eq!(server.take_requests().len(), 1);
    }
}

#[tokio::test]
async fn wrong_keys_are_denied_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = with_object(dir.path()).await;
    let wrong_secret = open(&S3Config { secret_key: Secret::new("wrong"), ..server.config() }).await;
    let wrong_key = open(&S3Config { access_key: "nobody".to_owned(), ..server.config() }).await;

    let secret = wrong_secret.get("a/object").await.unwrap_err();
    let key = wrong_key.list("").await.unwrap_err();

    assert!(matches!(secret, StoreError::Denied { .. }), "{secret:?}");
    assert!(told(&secret).contains("storage.trace.s3.secret_key"), "{}", told(&secret));
    assert!(matches!(key, StoreError::Denied { .. }), "{key:?}");
}

#[tokio::test]
async fn without_any_credentials_an_operator_is_told_where_to_put_them() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = with_object(dir.path()).await;
    let none = S3Config { access_key: String::new(), secret_key: Secret::default(), ..server.config() };

    let started = Instant::now();
    let error = open(&none).await.get("a/object").await.unwrap_err();

    // Where the environment has keys, they are those of another server.
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert!(told(&error).contains("storage.trace.s3.access_key"), "{}", told(&error));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn expired_credentials_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    server.spoil("GET", 1, Spoil::Refuse(400, "ExpiredToken"));

    assert_eq!(store.get("a/object").await.unwrap(), "0123456789");

    // They are not read with every call while they are wrong.
    server.spoil("GET", usize::MAX, Spoil::Refuse(400, "ExpiredToken"));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.take_requests();
    let error = store.get("a/object").await.unwrap_err();
    assert!(told(&error).contains("have expired"), "{}", told(&error));
    assert_eq!(server.take_requests().len(), 1);
}

#[tokio::test]
async fn an_absent_bucket_is_no_empty_one_and_works_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start_without_bucket(&dir.path().join("server"), None).await;
    let store = server.store().await;
    let file = dir.path().join("file");
    fs::write(&file, b"content").unwrap();

    let errors = [
        store.list("").await.unwrap_err(),
        store.list_folders("").await.unwrap_err(),
        store.get("a/object").await.unwrap_err(),
        store.get_range("a/object", 0..1).await.unwrap_err(),
        store.size("a/object").await.unwrap_err(),
        store.put("a/object", Bytes::new()).await.unwrap_err(),
        store.put_if_absent("a/object", Bytes::new()).await.unwrap_err(),
        store.put_file("a/object", &file).await.unwrap_err(),
    ];
    server.make_bucket();

    for error in errors {
        assert!(error.is_retryable(), "{error:?}");
        assert!(told(&error).contains("create"), "{}", told(&error));
    }
    store.put("a/object", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(store.list("").await.unwrap().len(), 1);
    server.remove_bucket();
    assert!(store.list("").await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn slow_reads_are_hedged() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = with_object(dir.path()).await;
    let config = S3Config { hedge_requests_at: "50ms".parse().unwrap(), ..server.config() };
    let registry = Registry::new();
    let store = S3Store::open(&config, Metrics::register(&registry).unwrap()).await.unwrap();
    server.spoil("GET", 1, Spoil::Delay(Duration::from_secs(30)));

    let started = Instant::now();
    let read = store.get_range("a/object", 0..5).await;

    assert_eq!(read.unwrap(), "01234");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(server.take_requests().len(), 2);
    let hedged =
        registry.gather().into_iter().find(|m| m.name() == "tempodb_backend_hedged_roundtrips_total");
    assert_eq!(hedged.unwrap().get_metric()[0].get_counter().get_value(), 1.0);
}

#[tokio::test]
async fn a_conditional_put_whose_answer_is_lost_finds_out_who_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;

    server.spoil("PUT", 1, Spoil::RefuseAfter(503, "SlowDown"));
    store.put_if_absent("a/mine", Bytes::from_static(b"mine")).await.unwrap();
    server.spoil("PUT", 1, Spoil::Refuse(503, "SlowDown"));
    let other = store.put_if_absent("a/object", Bytes::from_static(b"mine")).await;

    assert!(matches!(other, Err(StoreError::AlreadyExists { .. })), "{other:?}");
    assert_eq!(store.get("a/mine").await.unwrap(), "mine");
    assert_eq!(store.get("a/object").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_server_without_conditional_puts_gets_a_look_before_the_put() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    server.spoil("PUT", 1, Spoil::Refuse(501, "NotImplemented"));

    store.put_if_absent("a/new", Bytes::from_static(b"x")).await.unwrap();
    let again = store.put_if_absent("a/new", Bytes::from_static(b"y")).await;

    assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
    assert_eq!(store.get("a/new").await.unwrap(), "x");
}

/// A file of three parts.
fn large_file(dir: &Path) -> std::path::PathBuf {
    let file = dir.join("large");
    fs::write(&file, vec![7; (16 << 20) + 1]).unwrap();
    file
}

#[tokio::test]
async fn an_upload_survives_refused_parts_and_lost_answers() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    let file = large_file(dir.path());
    server.spoil("partNumber=1", 1, Spoil::Refuse(503, "SlowDown"));
    server.spoil("partNumber=2", 1, Spoil::LoseAnswer);
    server.spoil("POST /traces/a/large?uploadId", 1, Spoil::LoseAnswer);

    store.put_file("a/large", &file).await.unwrap();

    assert_eq!(store.size("a/large").await.unwrap(), (16 << 20) + 1);
}

#[tokio::test]
async fn an_upload_that_fails_or_is_cancelled_is_aborted() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    let file = large_file(dir.path());
    let aborts = |requests: Vec<String>| requests.iter().filter(|line| line.starts_with("DELETE")).count();

    server.spoil("partNumber=2", 1, Spoil::Refuse(403, "AccessDenied"));
    let denied = store.put_file("a/large", &file).await;
    assert!(matches!(denied, Err(StoreError::Denied { .. })), "{denied:?}");
    assert_eq!(aborts(server.take_requests()), 1);

    server.spoil("partNumber=3", 1, Spoil::Delay(Duration::from_secs(60)));
    {
        let put = store.put_file("a/large", &file);
        let seen = server.saw("partNumber=3");
        tokio::select! {
            put = put => panic!("the put ended: {put:?}"),
            () = seen => {}
        }
    }
    server.saw("DELETE /traces/a/large?").await;
    assert!(store.get("a/large").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn answers_of_another_kind_of_server_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    server.spoil("GET /traces", 1, Spoil::Html);
    server.spoil("GET /traces", 1, Spoil::Refuse(404, "PageNotFound"));

    let listed = store.list("a").await;
    let page = store.get("a/object").await.unwrap_err();

    assert!(listed.is_err(), "{listed:?}");
    assert!(!page.is_not_found(), "{page:?}");
}

#[tokio::test]
async fn calls_ask_for_no_more_than_they_must() {
    let dir = tempfile::tempdir().unwrap();
    let (server, store) = with_object(dir.path()).await;
    let store: Arc<dyn Store> = Arc::new(store);
    let file = dir.path().join("small");
    fs::write(&file, b"content").unwrap();

    store.get("a/object").await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "get");
    store.get_range("a/object", 1..2).await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "range");
    store.size("a/object").await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "size");
    store.put("a/b", Bytes::new()).await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "put");
    store.put_if_absent("a/c", Bytes::new()).await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "conditional put");
    store.put_file("a/d", &file).await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "small file");
    store.list("a").await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "short listing");
    store.list_folders("").await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "folders");
    store.delete("a/b").await.unwrap();
    assert_eq!(server.take_requests().len(), 1, "delete");
}

#[tokio::test]
async fn all_that_objects_can_be_given_is_taken_by_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _) = with_object(dir.path()).await;
    let file = large_file(dir.path());
    let sse = S3SseConfig {
        kind: S3SseKind::Customer,
        tempo_rs: S3SseExtras { encryption_key: Secret::new(format!("{}=", "A".repeat(43))) },
        ..S3SseConfig::default()
    };
    for sse in [S3SseConfig { kind: S3SseKind::S3, ..S3SseConfig::default() }, sse] {
        for checksums in [S3Checksums::WhenRequired, S3Checksums::WhenSupported] {
            let store = open(&S3Config {
                storage_class: "STANDARD".to_owned(),
                tags: [("team".to_owned(), "sre & co".to_owned())].into(),
                metadata: [("origin".to_owned(), "tempo".to_owned())].into(),
                sse: sse.clone(),
                tempo_rs: S3Extras { checksums, ..S3Extras::default() },
                ..server.config()
            })
            .await;

            store.put("a/small", Bytes::from_static(b"x")).await.unwrap();
            store.put_file("a/large", &file).await.unwrap();

            assert_eq!(store.get("a/small").await.unwrap(), "x");
            assert_eq!(store.get_range("a/large", (16 << 20) - 1..(16 << 20) + 1).await.unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn versitygw_takes_both_kinds_of_checksums_and_names_wrong_keys() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Versitygw::start(&dir.path().join("server")).await else { return };
    let config = config(&format!("127.0.0.1:{}", server.port));
    let file = large_file(dir.path());
    let checked = S3Extras { checksums: S3Checksums::WhenSupported, ..S3Extras::default() };
    let store = open(&S3Config { tempo_rs: checked, ..config.clone() }).await;

    store.put_file("a/large", &file).await.unwrap();
    let read = store.get("a/large").await.unwrap();
    let wrong = open(&S3Config { secret_key: Secret::new("wrong"), ..config.clone() }).await;
    let wrong = wrong.get("a/large").await.unwrap_err();
    let absent = open(&S3Config { bucket: "nothing".to_owned(), ..config }).await;
    let absent = [absent.list("").await.unwrap_err(), absent.size("a/object").await.unwrap_err()];

    assert_eq!(read.len(), (16 << 20) + 1);
    assert!(told(&wrong).contains("storage.trace.s3.secret_key"), "{}", told(&wrong));
    for error in absent {
        assert!(error.is_retryable() && told(&error).contains("create"), "{}", told(&error));
    }
}

#[tokio::test]
async fn the_backend_tells_its_trouble_until_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = S3Server::start_without_bucket(&dir.path().join("server"), None).await;
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let backend = Backend::new(Arc::new(server.store().await), metrics);
    let tenant = tempo_model::TenantId::parse("single-tenant").unwrap();
    let ask = async || backend.has_block(&tenant, tempo_model::BlockId::random()).await;
    let available = || -> f64 {
        let family = registry.gather().into_iter().find(|m| m.name() == "tempo_backend_available").unwrap();
        family.get_metric()[0].get_gauge().get_value()
    };

    ask().await.unwrap_err();
    let trouble = backend.trouble().unwrap();
    assert!(trouble.reason.contains("create it or correct storage.trace.s3.bucket"), "{}", trouble.reason);
    assert_eq!(available(), 0.0);
    ask().await.unwrap_err();
    assert_eq!(backend.trouble().unwrap().since, trouble.since);

    server.make_bucket();
    assert!(!ask().await.unwrap());
    assert_eq!(backend.trouble(), None);
    assert_eq!(available(), 1.0);
}
