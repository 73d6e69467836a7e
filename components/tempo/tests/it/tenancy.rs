//! Tenants do not see each other, and several can be read at once.

use axum::http::StatusCode;

use crate::sandbox::{Sandbox, hex};

const ID: [u8; 16] = [3; 16];

fn multitenant() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.config.multitenancy_enabled = true;
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_only_its_own_spans() {
    let running = multitenant().start().await;
    for (tenant, name) in [("a", "of a"), ("b", "of b")] {
        let answer = running.push_with(&[("x-scope-orgid", tenant)], ID, &[name]).await;
        assert_eq!(answer.status, StatusCode::OK);
    }

    let path = format!("/api/traces/{}", hex(ID));
    let of_a = running.get_as("a", &path).await;
    let of_nobody = running.get_as("c", &path).await;

    assert!(of_a.text().contains("of a") && !of_a.text().contains("of b"), "{}", of_a.text());
    assert_eq!(of_nobody.status, StatusCode::NOT_FOUND);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tenants_are_read_as_one_trace() {
    let running = multitenant().start().await;
    for (tenant, names) in [("a", &["of a"][..]), ("b", &["of a", "of b"])] {
        running.push_with(&[("x-scope-orgid", tenant)], ID, names).await;
    }

    let found = running.get_as("a|b", &format!("/api/traces/{}", hex(ID))).await;

    assert_eq!(found.text().matches("\"spanId\"").count(), 2, "{}", found.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_a_tenant_are_refused_on_both_sides() {
    let running = multitenant().start().await;

    let write = running.push_with(&[], ID, &["x"]).await;
    let read = running.get(&format!("/api/traces/{}", hex(ID))).await;
    let bad = running.get_as("../etc", &format!("/api/traces/{}", hex(ID))).await;

    assert_eq!(write.status, StatusCode::BAD_REQUEST, "{:?}", write.body);
    assert_eq!((read.status, read.text()), (StatusCode::UNAUTHORIZED, "no org id\n"));
    assert_eq!(
        (bad.status, bad.text()),
        (StatusCode::BAD_REQUEST, "tenant ID '../etc' contains unsupported character '/'")
    );
    for path in ["/ready", "/metrics", "/status", "/api/echo", "/api/status/buildinfo", "/flush"] {
        assert!(running.get(path).await.status.is_success(), "{path}");
    }
    running.stop().await;
}
