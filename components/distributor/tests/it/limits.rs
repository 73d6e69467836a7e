//! Rates, truncation, discards and draining, as callers of the distributor see them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tempo_config::{ByteSize, Limits, Overrides};
use tempo_distributor::{DiscardReason, Discarded, PushError, PushOutcome, PushResponse, Refused};
use tempo_model::{TenantId, TraceId};
use tokio::sync::Notify;

use crate::fixtures::{Fixture, Setup, encoded, span, text};

fn limits(rate: usize, burst: usize) -> Limits {
    let mut limits = Limits::default();
    limits.ingestion.rate_limit_bytes = ByteSize::from_bytes(rate as u64);
    limits.ingestion.burst_size_bytes = ByteSize::from_bytes(burst as u64);
    limits
}

async fn push(fixture: &Fixture, body: &[u8]) -> Result<PushOutcome, PushError> {
    fixture.distributor.push_otlp(TenantId::single(), Bytes::copy_from_slice(body)).await
}

fn retry_after(result: Result<PushOutcome, PushError>) -> Option<Duration> {
    match result {
        Err(PushError::RateLimited { limited: _, retry_after }) => retry_after,
        other => panic!("not rate limited: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_waits_is_let_in_again() {
    let body = encoded(vec![span(1, 1)]);
    let fixture = Setup { limits: limits(body.len(), body.len()), ..Setup::default() }.build();

    assert!(push(&fixture, &body).await.is_ok());
    assert_eq!(retry_after(push(&fixture, &body).await), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(push(&fixture, &body).await.is_ok());

    let labels = [("reason", "rate_limited"), ("tenant", "single-tenant")];
    assert_eq!(fixture.counter("tempo_discarded_spans_total", &labels), 1.0);
    let tenant = [("tenant", "single-tenant")];
    let bytes = body.len() as f64;
    assert_eq!(fixture.counter("tempo_distributor_ingress_bytes_total", &tenant), 3.0 * bytes);
    assert_eq!(fixture.counter("tempo_distributor_bytes_received_total", &tenant), 2.0 * bytes);
}

#[tokio::test]
async fn retry_info_can_be_switched_off_per_tenant() {
    let fixture =
        Setup { limits: limits(1, 1), ..Setup::default() }.retry_after(Duration::from_secs(5)).build();
    let body = encoded(vec![span(1, 1)]);
    assert_eq!(retry_after(push(&fixture, &body).await), Some(Duration::from_secs(5)));

    let mut silent = limits(1, 1);
    silent.ingestion.retry_info_enabled = Some(false);
    fixture.overrides.send_replace(Arc::new(Overrides::new(silent)));

    assert_eq!(retry_after(push(&fixture, &body).await), None);
}

#[tokio::test]
async fn attributes_are_cut_as_the_tenant_or_else_the_distributor_says() {
    let mut setup = Setup::default();
    setup.config.max_attribute_bytes = ByteSize::from_bytes(20);
    let fixture = setup.build();
    let mut long = span(1, 1);
    long.attributes = vec![text("k", "0123456789012345678901234567890123456789")];
    let body = encoded(vec![long]);
    let size = |n: usize| {
        let batches = fixture.ingester.batches.lock();
        batches[n].1.traces().flat_map(|t| t.spans()).map(|s| s.bytes.len()).sum::<usize>()
    };

    push(&fixture, &body).await.unwrap();
    let mut own = Limits::default();
    own.ingestion.max_attribute_bytes = Some(ByteSize::from_bytes(10));
    fixture.overrides.send_replace(Arc::new(Overrides::new(own)));
    push(&fixture, &body).await.unwrap();

    assert_eq!(size(0) - size(1), 10);
    let labels = [("scope", "span"), ("tenant", "single-tenant")];
    assert_eq!(fixture.counter("tempo_distributor_attributes_truncated_total", &labels), 2.0);
}

#[tokio::test]
async fn traces_that_the_ingester_discards_are_counted_and_no_error() {
    let fixture = Setup::default().build();
    let discarded = |reason, spans| Discarded { trace_id: TraceId::from_bytes([1; 16]), reason, spans };
    *fixture.ingester.answer.lock() = Some(Ok(PushResponse {
        discarded: vec![
            discarded(DiscardReason::TraceTooLarge, 2),
            discarded(DiscardReason::LiveTracesExceeded, 3),
        ],
    }));

    let outcome = push(&fixture, &encoded(vec![span(1, 1)])).await.unwrap();

    assert_eq!(outcome.rejected_spans, 0);
    let count = |reason| {
        fixture.counter("tempo_discarded_spans_total", &[("reason", reason), ("tenant", "single-tenant")])
    };
    assert_eq!((count("trace_too_large"), count("live_traces_exceeded")), (2.0, 3.0));
}

#[tokio::test]
async fn drain_lets_requests_finish_and_refuses_new_ones() {
    let fixture = Setup::default().build();
    let gate = Arc::new(Notify::new());
    *fixture.ingester.gate.lock() = Some(Arc::clone(&gate));
    let body = encoded(vec![span(1, 1)]);
    let mut in_flight = Box::pin(push(&fixture, &body));
    assert!(futures::poll!(in_flight.as_mut()).is_pending());

    let mut drained = Box::pin(fixture.distributor.drain());
    assert!(futures::poll!(drained.as_mut()).is_pending());
    let refused = push(&fixture, &body).await;
    gate.notify_one();

    assert!(matches!(refused, Err(PushError::Refused(Refused::Draining))));
    assert!(in_flight.await.is_ok());
    drained.await;
}

#[tokio::test]
async fn requests_beyond_the_bytes_in_flight_are_to_come_again() {
    let mut setup = Setup::default();
    let body = encoded(vec![span(1, 1)]);
    setup.config.tempo_rs.max_inflight_bytes = ByteSize::from_bytes(body.len() as u64 + 40);
    let fixture = setup.build();
    let gate = Arc::new(Notify::new());
    *fixture.ingester.gate.lock() = Some(Arc::clone(&gate));
    let mut first = Box::pin(push(&fixture, &body));
    assert!(futures::poll!(first.as_mut()).is_pending());

    let refused = push(&fixture, &body).await;
    gate.notify_one();

    assert!(matches!(refused, Err(PushError::Refused(Refused::Full))));
    assert!(first.await.is_ok());
    assert_eq!(fixture.counter("tempo_distributor_inflight_refused_total", &[("reason", "full")]), 1.0);
}
