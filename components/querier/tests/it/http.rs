//! `/querier/api/traces/{id}` and v2: statuses, headers, bodies.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prost::Message;
use tempo_model::{TenantId, Tenants};
use tempo_proto::tempopb::{PartialStatus, TraceByIdMetrics, TraceByIdResponse};
use tower::ServiceExt;

use crate::fake::{Recent, SPLIT, Setup, c5, names, recent_trace, setup, setup_with_limit};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";

struct Reply {
    status: StatusCode,
    content_type: String,
    is_nosniff: bool,
    body: Vec<u8>,
}

impl Reply {
    fn parts(&self) -> (u16, &str, &str) {
        (self.status.as_u16(), &self.content_type, std::str::from_utf8(&self.body).unwrap())
    }

    fn response(&self) -> TraceByIdResponse {
        TraceByIdResponse::decode(&self.body[..]).unwrap()
    }
}

async fn get(setup: &Setup, uri: &str, accept: &str) -> Reply {
    let mut request = Request::get(uri).header("accept", accept).body(axum::body::Body::empty()).unwrap();
    request.extensions_mut().insert(c5());
    send(setup, "", request).await
}

async fn send(setup: &Setup, prefix: &str, request: Request<axum::body::Body>) -> Reply {
    let response = setup.querier.http_routes(prefix).oneshot(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let (content_type, is_nosniff) = (header("content-type"), header("x-content-type-options") == "nosniff");
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
    Reply { status, content_type, is_nosniff, body }
}

#[tokio::test]
async fn a_trace_is_given_as_a_response_in_both_versions() {
    let setup = setup(Recent::Nothing).await;

    for version in ["", "v2/"] {
        let json = get(&setup, &format!("/querier/api/{version}traces/{SPLIT}"), JSON).await;
        let protobuf = get(&setup, &format!("/querier/api/{version}traces/{SPLIT}"), PROTOBUF).await;

        let (status, content_type, body) = json.parts();
        assert_eq!((status, content_type), (200, JSON));
        assert!(body.starts_with(r#"{"trace":{"resourceSpans":[{"#), "{body}");
        assert_eq!((protobuf.status.as_u16(), protobuf.content_type.as_str()), (200, PROTOBUF));
        assert!(names(protobuf.response().trace.as_ref()).contains(&"root"));
    }
}

#[tokio::test]
async fn only_the_exact_accept_header_gives_protobuf() {
    let setup = setup(Recent::Nothing).await;

    for accept in ["application/protobuf, application/json", "application/protobuf;q=1", "*/*", ""] {
        let reply = get(&setup, &format!("/querier/api/traces/{SPLIT}"), accept).await;

        assert_eq!(reply.content_type, JSON, "{accept}");
    }
}

#[tokio::test]
async fn a_miss_is_404_with_the_response_on_v1_and_200_on_v2() {
    let setup = setup(Recent::Nothing).await;

    let v1 = get(&setup, "/querier/api/traces/1?mode=ingesters", JSON).await;
    let v1_protobuf = get(&setup, "/querier/api/traces/1?mode=ingesters", PROTOBUF).await;
    let v2 = get(&setup, "/querier/api/v2/traces/1?mode=ingesters", JSON).await;
    let v2_protobuf = get(&setup, "/querier/api/v2/traces/1?mode=ingesters", PROTOBUF).await;

    assert_eq!(v1.parts(), (404, JSON, r#"{"metrics":{}}"#));
    assert_eq!((v1_protobuf.status.as_u16(), v1_protobuf.body.as_slice()), (404, &[0x12, 0][..]));
    assert_eq!(v2.parts(), (200, JSON, r#"{"trace":{},"metrics":{}}"#));
    assert_eq!((v2_protobuf.status.as_u16(), v2_protobuf.body.as_slice()), (200, &[0x0a, 0, 0x12, 0][..]));
    let metrics = v1_protobuf.response().metrics;
    assert_eq!(metrics, Some(TraceByIdMetrics { inspected_bytes: 0 }));
}

#[tokio::test]
async fn a_trace_over_the_limit_is_422_on_v1_and_partial_on_v2() {
    let setup = setup_with_limit(Recent::Has(recent_trace(9)), 60).await;

    let v1 = get(&setup, &format!("/querier/api/traces/{SPLIT}"), PROTOBUF).await;
    let v2 = get(&setup, &format!("/querier/api/v2/traces/{SPLIT}"), PROTOBUF).await;

    assert_eq!(v1.parts(), (422, TEXT, "trace exceeds max size (max bytes: 60)\n"));
    assert!(v1.is_nosniff);
    assert_eq!((v2.status.as_u16(), v2.response().status()), (200, PartialStatus::Partial));
}

#[tokio::test]
async fn the_range_of_blocks_is_taken_from_the_query() {
    let setup = setup(Recent::Has(recent_trace(9))).await;
    let block = setup.blocks[1];

    let uri = format!("/querier/api/traces/{SPLIT}?mode=blocks&blockStart={block}&blockEnd={block}");
    let reply = get(&setup, &uri, PROTOBUF).await;

    assert_eq!(names(reply.response().trace.as_ref()), ["root"]);
}

#[tokio::test]
async fn bad_parameters_are_400_in_the_form_of_http_error() {
    let setup = setup(Recent::Nothing).await;
    let cases = [
        ("0x12", "trace IDs can only contain hex characters: invalid character 'x' at position 2\n"),
        ("1?mode=x", "invalid value for mode x\n"),
        ("1?blockEnd=1", "invalid value for blockEnd: invalid UUID length: 1\n"),
        ("1?start=5&end=5", "http parameter start must be before end. received start=5 end=5\n"),
    ];

    for (request, message) in cases {
        for version in ["", "v2/"] {
            let reply = get(&setup, &format!("/querier/api/{version}traces/{request}"), JSON).await;

            assert_eq!((reply.parts(), reply.is_nosniff), ((400, TEXT, message), true));
        }
    }
}

#[tokio::test]
async fn a_failure_is_500_with_its_whole_story() {
    let setup = setup(Recent::Fails).await;

    let reply = get(&setup, "/querier/api/traces/1", PROTOBUF).await;

    assert_eq!(reply.parts(), (500, TEXT, "find trace in recent data: ingester is on fire\n"));
}

#[tokio::test]
async fn exactly_one_tenant_is_asked() {
    let setup = setup(Recent::Nothing).await;
    let uri = "/querier/api/v2/traces/1";
    let request = |tenants: Option<Tenants>| {
        let mut request = Request::get(uri).body(axum::body::Body::empty()).unwrap();
        if let Some(tenants) = tenants {
            request.extensions_mut().insert(tenants);
        }
        request
    };
    let [a, b] = ["a", "b"].map(|name| TenantId::parse(name).unwrap());

    let none = send(&setup, "", request(None)).await;
    let one = send(&setup, "", request(Tenants::new([a.clone()]))).await;
    let two = send(&setup, "", request(Tenants::new([a, b]))).await;

    assert_eq!(none.parts(), (401, TEXT, "no org id\n"));
    assert_eq!(one.status, 200);
    assert_eq!(two.parts(), (400, TEXT, "multiple org IDs present\n"));
}

#[tokio::test]
async fn the_prefix_of_the_api_comes_after_querier() {
    let setup = setup(Recent::Nothing).await;
    let request = |uri: &str| {
        let mut request = Request::post(uri).body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(c5());
        request
    };

    for prefix in ["/tempo", "tempo/", "/tempo/"] {
        let reply = send(&setup, prefix, request("/querier/tempo/api/v2/traces/1")).await;
        assert_eq!(reply.status, 200, "{prefix}");
    }
    let reply = send(&setup, "/tempo", request("/querier/api/v2/traces/1")).await;
    assert_eq!(reply.status, 404);
}
