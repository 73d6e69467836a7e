//! Every row of the table of answers: status, headers, bodies.

use prost::Message;
use tempo_proto::{
    frontend::TraceByIdMode,
    tempopb::{PartialStatus, Trace, TraceByIdMetrics, TraceByIdResponse},
};

use crate::fake::{Answer, Setup, found, nothing, span, trace};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
const LLM: &str = "application/vnd.grafana.llm";

/// One span is recent, the other in a block, which was 123 bytes to read.
fn half_recent(job: &tempo_proto::frontend::TraceByIdJob, _: usize) -> Answer {
    match job.mode() {
        TraceByIdMode::Ingesters => found(trace(vec![span(2, 1, 20)]), 0),
        TraceByIdMode::All | TraceByIdMode::Blocks => found(trace(vec![span(1, 0, 10)]), 123),
    }
}

const SPANS: [&str; 2] = [
    concat!(
        r#"{"resource":{},"scopeSpans":[{"spans":[{"traceId":"CQkJCQkJCQkJCQkJCQkJCQ==","spanId":"AQEBAQEBAQE=","#,
        r#""name":"s1","startTimeUnixNano":"10"}]}]}"#,
    ),
    concat!(
        r#"{"resource":{},"scopeSpans":[{"spans":[{"traceId":"CQkJCQkJCQkJCQkJCQkJCQ==","spanId":"AgICAgICAgI=","#,
        r#""parentSpanId":"AQEBAQEBAQE=","name":"s2","startTimeUnixNano":"20"}]}]}"#,
    ),
];

#[tokio::test]
async fn v1_gives_the_sorted_trace_as_batches() {
    let frontend = Setup::default().start(half_recent);

    let reply = frontend.get("/api/traces/909", "").await;

    assert_eq!(reply.parts(), (200, JSON, format!(r#"{{"batches":[{},{}]}}"#, SPANS[0], SPANS[1]).as_str()));
}

#[tokio::test]
async fn v2_gives_the_trace_with_metrics() {
    let frontend = Setup::default().start(half_recent);

    let reply = frontend.get("/api/v2/traces/909", "application/json").await;

    let want = format!(
        r#"{{"trace":{{"resourceSpans":[{},{}]}},"metrics":{{"inspectedBytes":"123"}}}}"#,
        SPANS[0], SPANS[1]
    );
    assert_eq!(reply.parts(), (200, JSON, want.as_str()));
}

#[tokio::test]
async fn protobuf_is_given_when_accept_mentions_it_anywhere() {
    let frontend = Setup::default().start(half_recent);
    let mut want = trace(vec![span(1, 0, 10)]);
    want.resource_spans.extend(trace(vec![span(2, 1, 20)]).resource_spans);

    let v1 = frontend.get("/api/traces/909", "text/html, application/protobuf;q=0.9, application/json").await;
    let v2 = frontend.get("/api/v2/traces/909", PROTOBUF).await;

    assert_eq!((v1.status.as_u16(), v1.header("content-type")), (200, PROTOBUF));
    assert_eq!(Trace::decode(&v1.body[..]).unwrap(), want);
    assert_eq!((v2.status.as_u16(), v2.header("content-type")), (200, PROTOBUF));
    let response = TraceByIdResponse::decode(&v2.body[..]).unwrap();
    let metrics = Some(TraceByIdMetrics { inspected_bytes: 123 });
    assert_eq!(response, TraceByIdResponse { trace: Some(want), metrics, ..TraceByIdResponse::default() });
}

#[tokio::test]
async fn a_language_model_gets_its_own_form_on_v2_only() {
    let frontend = Setup::default().start(half_recent);

    let v1 = frontend.get("/api/traces/909", LLM).await;
    let v2 = frontend.get("/api/v2/traces/909", LLM).await;
    let both = frontend.get("/api/v2/traces/909", &format!("{LLM}, {JSON}")).await;

    assert_eq!(v1.header("content-type"), "application/vnd.grafana.llm+json");
    assert!(v1.text().starts_with(r#"{"batches":["#));
    assert_eq!(v2.header("content-type"), "application/vnd.grafana.llm+json");
    assert!(v2.text().starts_with(r#"{"trace":{"traceId":"00000000000000000000000000000909","services":[{"#));
    assert_eq!(both.header("content-type"), JSON);
}

#[tokio::test]
async fn v1_answers_a_miss_with_404_and_nothing_else() {
    let frontend = Setup::default().start(|_, _| nothing());

    let reply = frontend.get("/api/traces/1", PROTOBUF).await;

    assert_eq!(reply.parts(), (404, "", ""));
}

#[tokio::test]
async fn v2_answers_a_miss_with_an_empty_trace_that_is_on_the_wire() {
    let frontend = Setup::default().start(|_, _| nothing());

    let json = frontend.get("/api/v2/traces/1", "").await;
    let protobuf = frontend.get("/api/v2/traces/1", PROTOBUF).await;
    let llm = frontend.get("/api/v2/traces/1", LLM).await;

    assert_eq!(json.parts(), (200, JSON, r#"{"trace":{},"metrics":{}}"#));
    assert_eq!(protobuf.body, [0x0a, 0x00, 0x12, 0x00]);
    assert_eq!(llm.text(), "{}");
}

#[tokio::test]
async fn a_trace_over_the_limit_is_422_on_v1_and_partial_on_v2() {
    let frontend = Setup { max_bytes_per_trace: 100, ..Setup::default() }.start(half_recent);

    let v1 = frontend.get("/api/traces/909", "").await;
    let v2 = frontend.get("/api/v2/traces/909", PROTOBUF).await;

    assert_eq!(v1.parts(), (422, TEXT, "trace exceeds max size (max bytes: 100)"));
    assert_eq!(v2.status, 200);
    let response = TraceByIdResponse::decode(&v2.body[..]).unwrap();
    assert_eq!(response.status(), PartialStatus::Partial);
    assert_eq!(response.message, "Trace exceeds maximum size of 100 bytes, a partial trace is returned");
    assert_eq!(response.trace, Some(trace(vec![span(2, 1, 20)])));
}

#[tokio::test]
async fn a_shard_that_found_too_much_makes_the_answer_partial() {
    let frontend = Setup { max_bytes_per_trace: 1000, ..Setup::default() }.start(|job, count| {
        let mut answer = half_recent(job, count)?;
        if job.mode() == TraceByIdMode::Blocks {
            answer.status = PartialStatus::Partial as i32;
        }
        Ok(answer)
    });

    let v1 = frontend.get("/api/traces/909", "").await;
    let v2 = frontend.get("/api/v2/traces/909", "").await;

    assert_eq!(v1.parts(), (422, TEXT, "trace exceeds max size (max bytes: 1000)"));
    assert!(v2.text().ends_with(concat!(
        r#""status":"PARTIAL","message":"Trace exceeds maximum size of 1000 bytes, "#,
        r#"a partial trace is returned"}"#
    )));
}

#[tokio::test]
async fn bad_parameters_are_400_with_a_bare_message() {
    let frontend = Setup::default().start(half_recent);
    let cases = [
        ("xyz", "trace IDs can only contain hex characters: invalid character 'x' at position 1"),
        ("123456781234567812345678123456789", "trace IDs can't be larger than 128 bits"),
        ("1?mode=x", "invalid value for mode x"),
        ("1?start=9&end=8", "http parameter start must be before end. received start=9 end=8"),
        ("1?blockStart=x", "invalid value for blockStart: invalid UUID length: 1"),
        ("1?start=now", r#"invalid value for start: strconv.ParseInt: parsing "now": invalid syntax"#),
    ];

    for (request, message) in cases {
        for version in ["/api/traces", "/api/v2/traces"] {
            let reply = frontend.get(&format!("{version}/{request}"), "").await;

            assert_eq!(reply.parts(), (400, TEXT, message), "{version}/{request}");
            assert_eq!(reply.header("x-content-type-options"), "");
        }
    }
    assert!(frontend.modes().is_empty(), "a bad request asked the queriers");
}

#[tokio::test]
async fn any_method_is_taken() {
    let frontend = Setup::default().start(half_recent);

    for method in ["GET", "POST", "PUT", "DELETE"] {
        for uri in ["/api/traces/1", "/api/v2/traces/1", "/api/echo"] {
            let request = http::Request::builder().method(method).uri(uri).body(String::new()).unwrap();

            assert_eq!(frontend.send(request).await.status, 200, "{method} {uri}");
        }
    }
}

#[tokio::test]
async fn echo_asks_nobody() {
    let frontend = Setup { multitenancy: true, ..Setup::default() }.start(half_recent);

    let reply = frontend.get("/api/echo", "").await;

    assert_eq!(reply.parts(), (200, TEXT, "echo\n"));
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert!(frontend.modes().is_empty());
}

#[tokio::test]
async fn zipkin_halves_are_separated_in_the_answer() {
    use tempo_proto::trace::span::SpanKind;
    let frontend = Setup::default().start(|job, _| {
        let mut half = span(5, 0, 10);
        half.kind = match job.mode() {
            TraceByIdMode::Ingesters => SpanKind::Client as i32,
            TraceByIdMode::All | TraceByIdMode::Blocks => SpanKind::Server as i32,
        };
        found(trace(vec![half]), 0)
    });

    let reply = frontend.get("/api/traces/909", PROTOBUF).await;

    let answer = Trace::decode(&reply.body[..]).unwrap();
    let spans: Vec<_> = answer.resource_spans.iter().flat_map(|part| &part.scope_spans[0].spans).collect();
    assert_eq!(spans[0].span_id, [5; 8]);
    assert_eq!(spans[1].parent_span_id, [5; 8]);
    assert_ne!(spans[1].span_id, [5; 8]);
}

#[tokio::test]
async fn a_trace_of_100_000_spans_is_answered_whole() {
    let many = |from: u64, to: u64| {
        let spans = (from..to).map(|id| {
            let span = span(1, 0, id);
            tempo_proto::trace::Span { span_id: id.to_be_bytes().to_vec(), ..span }
        });
        trace(spans.collect())
    };
    let frontend = Setup::default().start(move |job, _| match job.mode() {
        TraceByIdMode::Ingesters => found(many(0, 60_000), 0),
        TraceByIdMode::All | TraceByIdMode::Blocks => found(many(40_000, 100_000), 0),
    });

    let protobuf = frontend.get("/api/v2/traces/909", PROTOBUF).await;
    let json = frontend.get("/api/v2/traces/909", JSON).await;

    let answer = TraceByIdResponse::decode(&protobuf.body[..]).unwrap().trace.unwrap();
    let starts: Vec<u64> = answer
        .resource_spans
        .iter()
        .flat_map(|part| &part.scope_spans[0].spans)
        .map(|span| span.start_time_unix_nano)
        .collect();
    assert_eq!(starts, (0..100_000).collect::<Vec<_>>());
    assert_eq!(json.text().matches(r#""spanId":"#).count(), 100_000);
}
