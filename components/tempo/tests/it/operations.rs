//! What an operator sees: probes, metrics, pages, profiles, and what unknown paths get.

use std::io::Read as _;

use axum::http::{Method, StatusCode};
use bytes::Bytes;

use crate::{
    http_client,
    sandbox::{Sandbox, hex},
};

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_plain_pages_answer_as_tempo_does() {
    let running = Sandbox::new().start().await;

    for (path, status, text) in [
        ("/ready", 200, "ready\n"),
        ("/livez", 200, "alive\n"),
        ("/api/echo", 200, "echo\n"),
        ("/memberlist", 200, "This instance doesn't use memberlist."),
        ("/status/usage-stats", 200, "usage-stats is not enabled"),
        ("/nosuch", 404, "404 page not found\n"),
        ("/status/nosuch", 404, "404 page not found\n"),
        ("/api/traces/", 404, "404 page not found\n"),
        ("/debug/pprof/cmdline", 404, "404 page not found\n"),
    ] {
        let answer = running.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text), "{path}");
    }
    let posted = http_client::send(running.http(), Method::POST, "/metrics", &[], Bytes::new()).await;
    assert_eq!((posted.status, posted.text()), (StatusCode::METHOD_NOT_ALLOWED, ""));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_internal_server_has_probes_only() {
    let mut sandbox = Sandbox::new();
    sandbox.config.internal_server.enable = true;
    sandbox.config.internal_server.http_listen_address = "127.0.0.1".to_owned();
    sandbox.config.internal_server.http_listen_port = 0;
    let running = sandbox.start().await;
    let internal = running.app.addresses().internal.unwrap();

    assert_eq!(http_client::get(internal, "/ready").await.text(), "ready\n");
    assert_eq!(http_client::get(internal, "/livez").await.text(), "alive\n");
    assert_eq!(http_client::get(internal, "/metrics").await.status, StatusCode::OK);
    assert_eq!(http_client::get(internal, "/api/echo").await.status, StatusCode::NOT_FOUND);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unclean_paths_are_redirected() {
    let running = Sandbox::new().start().await;

    let answer = running.get("//api//echo?x=1").await;

    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.header("location"), Some("/api/echo?x=1"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_has_all_sections_in_order() {
    let running = Sandbox::new().start().await;

    let all = running.get("/status").await;
    let text = all.text();

    let places: Vec<_> = ["version", "services", "endpoints", "runtime_config", "config"]
        .iter()
        .map(|name| text.find(&format!("GET /status/{name}\n")).unwrap_or_else(|| panic!("{name}: {text}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(text.contains("| SERVICE NAME "), "{text}");
    assert!(text.contains("API documentation: https://grafana.com/docs/tempo/latest/api_docs/"), "{text}");
    assert_eq!(all.header("content-type"), Some("text/plain; charset=utf-8"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_as_it_is_as_defaults_and_as_difference() {
    let running = Sandbox::new().start().await;

    let whole = running.get("/config").await;
    let diff = running.get("/status/config?mode=diff").await;
    let defaults = running.get("/status/config?mode=defaults").await;
    let wrong = running.get("/status/config?mode=x").await;

    assert_eq!(whole.header("content-type"), Some("text/yaml; charset=utf-8"));
    assert!(whole.text().contains("http_listen_address: 127.0.0.1"), "{}", whole.text());
    assert!(diff.text().starts_with("GET /status/config\n---\n"), "{}", diff.text());
    assert!(diff.text().contains("http_listen_port: 0"), "{}", diff.text());
    assert!(!diff.text().contains("max_traces_per_user"), "{}", diff.text());
    assert!(defaults.text().contains("http_listen_port: 3200"), "{}", defaults.text());
    assert_eq!(wrong.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(wrong.text().contains("unknown value for mode query parameter: x"), "{}", wrong.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn build_information_has_a_version_that_grafana_can_compare() {
    let running = Sandbox::new().start().await;

    let answer = running.get("/api/status/buildinfo").await;
    let info: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();

    let version = info["version"].as_str().unwrap();
    assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    assert_eq!(version.split('.').count(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_when_asked() {
    let running = Sandbox::new().start().await;

    let gzip = [("accept-encoding", "gzip")];
    let large = http_client::get_with(running.http(), "/config", &gzip).await;
    let small = http_client::get_with(running.http(), "/api/echo", &gzip).await;

    assert_eq!(large.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&large.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("http_listen_port"), "{text}");
    assert_eq!(small.header("content-encoding"), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_are_gzip_and_tasks_are_named() {
    let running = Sandbox::new().start().await;

    for name in ["goroutine", "block", "mutex", "profile?seconds=1"] {
        let answer = running.get(&format!("/debug/pprof/{name}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.body.get(..2), Some(&[0x1f, 0x8b][..]), "{name}");
    }
    let tasks = running.get("/debug/pprof/goroutine?debug=1").await;
    for name in
        ["ingester", "distributor", "blocklist-poller", "overrides", "http", "otlp_grpc", "connection"]
    {
        assert!(tasks.text().contains(&format!(" {name} ")), "{name}: {}", tasks.text());
    }
    let trace = running.get("/debug/pprof/trace?seconds=1&interval_ms=500").await;
    assert!(trace.text().lines().count() >= 2, "{}", trace.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_block_profile_names_what_pushes_and_blocks_waited_for() {
    let running = Sandbox::new().start().await;
    for number in 1..5 {
        running.push([number; 16], &["a span"]).await;
    }

    let answer = running.get("/debug/pprof/block").await;

    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut profile).unwrap();
    let strings = String::from_utf8_lossy(&profile);
    for text in ["contentions", "ingester: sync of the WAL", "components/ingester/src/push.rs"] {
        assert!(strings.contains(text), "{text}: {strings:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_stopping_the_process_is_not_ready_and_takes_no_queries() {
    let mut sandbox = Sandbox::new();
    sandbox.config.shutdown_delay = std::time::Duration::from_millis(300).into();
    let running = sandbox.start().await;
    let address = running.http();

    let asked = async {
        // Not ready is a level: ask until it is seen.
        loop {
            let ready = http_client::get(address, "/ready").await;
            if ready.status == StatusCode::SERVICE_UNAVAILABLE {
                return (ready, http_client::get(address, "/api/traces/1").await);
            }
        }
    };
    let (outcome, (ready, query)) = tokio::join!(running.app.stop(), asked);

    assert!(matches!(outcome, tempo::Outcome::Clean), "{outcome:?}");
    assert_eq!(ready.text(), "Application is stopping\n");
    assert_eq!(query.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_draining_the_process_is_alive_and_readable_but_not_ready_until_it_is_taken_back() {
    let running = Sandbox::new().start().await;
    running.push([7; 16], &["a span"]).await;

    let begun =
        http_client::send(running.http(), Method::POST, "/ingester/v1/drain", &[], Bytes::new()).await;
    let (ready, alive) = (running.get("/ready").await, running.get("/livez").await);
    let refused = running.push_with(&[], [8; 16], &["late"]).await;
    let read = running.get(&format!("/api/traces/{}", hex([7; 16]))).await;
    http_client::send(running.http(), Method::DELETE, "/ingester/v1/drain", &[], Bytes::new()).await;

    assert_eq!(begun.status, StatusCode::ACCEPTED);
    assert_eq!(
        (ready.status, ready.text()),
        (StatusCode::SERVICE_UNAVAILABLE, "Ingester is draining: see GET /ingester/v1/drain\n")
    );
    assert_eq!(alive.status, StatusCode::OK);
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(read.status, StatusCode::OK);
    assert_eq!(running.get("/ready").await.text(), "ready\n");
    running.push([8; 16], &["late"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_stopping_is_alive() {
    let mut sandbox = Sandbox::new();
    sandbox.config.shutdown_delay = std::time::Duration::from_millis(300).into();
    let running = sandbox.start().await;
    let address = running.http();

    let asked = async {
        while http_client::get(address, "/ready").await.status == StatusCode::OK {}
        http_client::get(address, "/livez").await
    };
    let (_, alive) = tokio::join!(running.app.stop(), asked);

    assert_eq!(alive.text(), "alive\n");
}
