//! Jobs: which are made, for whom, how they fail and how often they are tried.

use tempo_proto::frontend::TraceByIdMode::{self, Blocks, Ingesters};
use tempo_query_frontend::JobError;
use tokio::time::{Duration, Instant};

use crate::fake::{Setup, found, nothing, span, trace};

const TEXT: &str = "text/plain; charset=utf-8";

#[tokio::test]
async fn recent_data_is_asked_before_blocks() {
    let frontend = Setup::default().start(|_, _| nothing());

    frontend.get("/api/traces/1?start=5&end=9", "").await;

    assert_eq!(frontend.modes(), [Ingesters, Blocks]);
    let jobs = frontend.queriers.jobs.lock();
    assert_eq!((jobs[1].start_unix_secs, jobs[1].end_unix_secs), (5, 9));
    assert_eq!((&jobs[1].block_start[..], &jobs[1].block_end[..]), (&[0; 16][..], &[0xff; 16][..]));
    assert_eq!(jobs[1].tenant, "single-tenant");
}

#[tokio::test]
async fn the_mode_chooses_who_is_asked() {
    let cases: [(&str, &[TraceByIdMode]); 4] = [
        ("all", &[Ingesters, Blocks]),
        ("ingesters", &[Ingesters]),
        ("blocks", &[Blocks]),
        ("external", &[]),
    ];

    for (mode, want) in cases {
        let frontend = Setup::default().start(|_, _| nothing());
        let reply = frontend.get(&format!("/api/v2/traces/1?mode={mode}"), "").await;

        assert_eq!((reply.status.as_u16(), frontend.modes().as_slice()), (200, want), "{mode}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_twice_still_succeeds() {
    let frontend = Setup::default().start(|_, count| match count {
        0 => Err(JobError::Failed("first".to_owned())),
        1 => Err(JobError::DeadlineExceeded),
        _ => found(trace(vec![span(1, 0, 1)]), 0),
    });

    let reply = frontend.get("/api/traces/1", "").await;

    assert_eq!(reply.status, 200);
    assert_eq!(frontend.modes(), [Ingesters, Ingesters, Ingesters, Blocks]);
    assert_eq!(frontend.metrics("tempo_query_frontend_retries_sum"), ["tempo_query_frontend_retries_sum 2"]);
    assert_eq!(
        frontend.metrics("tempo_query_frontend_queries_total"),
        [r#"tempo_query_frontend_queries_total{op="traces",result="completed",tenant="single-tenant"} 1"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_three_times_fails_the_query_with_its_text() {
    let frontend =
        Setup::default().start(|_, _| Err(JobError::Failed("read block: disk on fire".to_owned())));

    let reply = frontend.get("/api/traces/1", "").await;

    assert_eq!(reply.parts(), (500, TEXT, "read block: disk on fire"));
    assert_eq!(frontend.modes(), [Ingesters; 3]);
    assert_eq!(
        frontend.metrics("tempo_query_frontend_queries_total"),
        [r#"tempo_query_frontend_queries_total{op="traces",result="failed",tenant="single-tenant"} 1"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_takes_too_long_every_time_is_504() {
    let frontend = Setup::default().start(|_, _| Err(JobError::DeadlineExceeded));

    let reply = frontend.get("/api/traces/1", "").await;

    assert_eq!(reply.parts(), (504, TEXT, "context deadline exceeded"));
}

#[tokio::test]
async fn a_job_that_is_refused_is_not_tried_again() {
    let frontend = Setup::default().start(|_, _| Err(JobError::Refused("trace id has 3 bytes".to_owned())));

    let reply = frontend.get("/api/traces/1", "").await;

    assert_eq!(reply.parts(), (500, TEXT, "trace id has 3 bytes"));
    assert_eq!(frontend.modes(), [Ingesters]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_query_is_503_when_there_is_a_timeout() {
    let mut setup = Setup { takes: Duration::from_secs(60), ..Setup::default() };
    setup.config.api_timeout = Duration::from_secs(5).into();
    let frontend = setup.start(|_, _| nothing());
    let started = Instant::now();

    let reply = frontend.get("/api/traces/1", "").await;

    assert_eq!(reply.parts(), (503, TEXT, "unable to process request in the configured timeout"));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_queue_is_full_gets_429() {
    let mut setup = Setup { takes: Duration::from_secs(1), concurrent_jobs: 1, ..Setup::default() };
    setup.config.max_outstanding_per_tenant = 1;
    let frontend = setup.start(|_, _| nothing());

    let (first, second, third, other) = tokio::join!(
        frontend.get_for("/api/v2/traces/1?mode=ingesters", &["a"]),
        frontend.get_for("/api/v2/traces/2?mode=ingesters", &["a"]),
        frontend.get_for("/api/v2/traces/3?mode=ingesters", &["a"]),
        frontend.get_for("/api/v2/traces/4?mode=ingesters", &["b"]),
    );

    assert_eq!([first.status, second.status, other.status], [200; 3]);
    assert_eq!(third.parts(), (429, TEXT, "job queue full"));
    assert_eq!(
        frontend.metrics("tempo_query_frontend_discarded_requests_total"),
        [r#"tempo_query_frontend_discarded_requests_total{user="a"} 1"#]
    );
}

#[tokio::test]
async fn a_query_that_is_given_up_counts_as_canceled() {
    let frontend = Setup { takes: Duration::from_secs(3600), ..Setup::default() }.start(|_, _| nothing());

    let patience = Duration::from_millis(1);
    let reply = tokio::time::timeout(patience, frontend.get("/api/traces/1", "")).await;

    assert!(reply.is_err());
    assert_eq!(
        frontend.metrics("tempo_query_frontend_queries_total"),
        [r#"tempo_query_frontend_queries_total{op="traces",result="canceled",tenant="single-tenant"} 1"#]
    );
}

#[tokio::test]
async fn several_tenants_are_asked_one_by_one_and_combined() {
    let frontend =
        Setup { multitenancy: true, ..Setup::default() }.start(|job, _| match job.tenant.as_str() {
            "a" => found(trace(vec![span(1, 0, 10), span(3, 0, 30)]), 1),
            "b" => found(trace(vec![span(3, 0, 30), span(2, 0, 20)]), 10),
            _ => nothing(),
        });

    let reply = frontend.get_for("/api/v2/traces/1", &["a", "b", "c"]).await;

    assert_eq!(reply.status, 200);
    let ids: Vec<_> = ["AQEBAQEBAQE=", "AgICAgICAgI=", "AwMDAwMDAwM="]
        .iter()
        .map(|id| reply.text().matches(&format!(r#""spanId":"{id}""#)).count())
        .collect();
    assert_eq!(ids, [1, 1, 1]);
    assert!(reply.text().ends_with(r#""metrics":{"inspectedBytes":"22"}}"#), "{}", reply.text());
    assert_eq!(frontend.modes().len(), 6);
    assert_eq!(
        frontend.metrics("tempo_query_frontend_queries_total"),
        [r#"tempo_query_frontend_queries_total{op="traces",result="completed",tenant="a|b|c"} 1"#]
    );
}

#[tokio::test]
async fn several_tenants_are_refused_when_configured_so() {
    let mut setup = Setup { multitenancy: true, ..Setup::default() };
    setup.config.multi_tenant_queries_enabled = false;
    let frontend = setup.start(|_, _| nothing());

    let several = frontend.get_for("/api/v2/traces/1", &["a", "b"]).await;
    let one = frontend.get_for("/api/v2/traces/1", &["a"]).await;

    assert_eq!(several.parts(), (400, TEXT, "multiple org IDs present"));
    assert_eq!(one.status, 200);
}

#[tokio::test]
async fn without_a_tenant_a_query_is_the_single_tenants_or_refused() {
    let off = Setup::default().start(|_, _| nothing());
    let on = Setup { multitenancy: true, ..Setup::default() }.start(|_, _| nothing());

    let served = off.get_for("/api/v2/traces/1", &[]).await;
    let refused = on.get_for("/api/v2/traces/1", &[]).await;

    assert_eq!(served.status, 200);
    assert_eq!(refused.parts(), (401, TEXT, "no org id\n"));
    assert_eq!(off.queriers.jobs.lock()[0].tenant, "single-tenant");
}
