//! `X-Scope-OrgID` on the API: every status and text of the reference, section 0.2.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    middleware::from_fn_with_state,
    routing::get,
};
use http_body_util::BodyExt as _;
use tempo::server::tenant::{Tenancy, authenticate};
use tempo_model::{TenantId, Tenants};
use tower::ServiceExt as _;

/// Answers with what the middleware left in the request.
async fn echo(request: Request<Body>) -> String {
    let single = request.extensions().get::<TenantId>();
    let tenants = request.extensions().get::<Tenants>().expect("tenants are always there");
    format!("{single:?} {:?}", tenants.as_slice())
}

async fn ask(tenancy: Tenancy, path: &str, header: Option<&str>) -> (StatusCode, String) {
    let router = Router::new()
        .route("/api/traces/{id}", get(echo))
        .route("/api/metrics/query_range", get(echo))
        .route("/api/echo", get(async || "echo\n"))
        .layer(from_fn_with_state(tenancy, authenticate));
    let mut request = Request::get(path);
    if let Some(header) = header {
        request = request.header("X-Scope-OrgID", header);
    }
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const ON: Tenancy = Tenancy { is_enabled: true, allows_several: true };
const OFF: Tenancy = Tenancy { is_enabled: false, allows_several: true };
const ONE_ONLY: Tenancy = Tenancy { is_enabled: true, allows_several: false };

#[tokio::test]
async fn every_case_of_the_reference() {
    let long = "x".repeat(151);
    let trace = "/api/traces/1";
    let metrics = "/api/metrics/query_range";
    let single = "Some(single-tenant) [single-tenant]";
    let cases: [(Tenancy, &str, Option<&str>, u16, &str); 15] = [
        (OFF, trace, None, 200, single),
        (OFF, trace, Some(""), 200, single),
        (OFF, trace, Some("a/b"), 200, single),
        (ON, trace, None, 401, "no org id\n"),
        (ON, trace, Some(""), 401, "no org id\n"),
        (ON, trace, Some("a"), 200, "Some(a) [a]"),
        (ON, trace, Some("a|b"), 200, "None [a, b]"),
        (ON, trace, Some("a|a"), 200, "Some(a) [a]"),
        (ON, trace, Some("a:k=v|b"), 200, "None [a, b]"),
        (ON, trace, Some("a||b"), 400, "no org id"),
        (ON, trace, Some("a b"), 400, "tenant ID 'a b' contains unsupported character ' '"),
        (ON, trace, Some(".."), 400, "tenant ID is '.' or '..'"),
        (ON, trace, Some(&long), 400, "tenant ID is too long: max 150 characters"),
        (ON, metrics, Some("a|b"), 400, "multiple org IDs present"),
        (ONE_ONLY, trace, Some("a|b"), 400, "multiple org IDs present"),
    ];

    for (tenancy, path, header, status, text) in cases {
        let (got_status, got_text) = ask(tenancy, path, header).await;
        assert_eq!((got_status.as_u16(), got_text.as_str()), (status, text), "{tenancy:?} {path} {header:?}");
    }
}

#[tokio::test]
async fn echo_asks_for_no_tenant() {
    assert_eq!(ask(ON, "/api/echo", None).await, (StatusCode::OK, "echo\n".to_owned()));
}
