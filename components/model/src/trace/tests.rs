use proptest::prelude::*;
use tempo_proto::{common::InstrumentationScope, resource::Resource};

use super::*;

fn span(id: u64, parent: u64, kind: SpanKind, start: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        kind: kind as i32,
        start_time_unix_nano: start,
        name: format!("span {id}"),
        ..Span::default()
    }
}

fn part(spans: Vec<Span>) -> ResourceSpans {
    let scope = Some(InstrumentationScope::default());
    ResourceSpans {
        resource: Some(Resource::default()),
        scope_spans: vec![ScopeSpans { scope, spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

fn trace(parts: Vec<Vec<Span>>) -> Trace {
    Trace { resource_spans: parts.into_iter().map(part).collect() }
}

fn combine(parts: Vec<Trace>) -> Option<Trace> {
    let mut combiner = Combiner::new(0);
    for part in parts {
        combiner.add(part).unwrap();
    }
    combiner.finish()
}

#[test]
fn nothing_combines_to_nothing() {
    assert_eq!(combine(vec![Trace::default(), Trace::default()]), None);
}

#[test]
fn equal_resources_of_different_parts_stay_apart() {
    let one = span(1, 0, SpanKind::Internal, 10);
    let two = span(2, 1, SpanKind::Internal, 20);

    let combined = combine(vec![trace(vec![vec![one.clone()]]), trace(vec![vec![two.clone()]])]);

    assert_eq!(combined, Some(trace(vec![vec![one], vec![two]])));
}

#[test]
fn a_span_is_kept_once_and_what_it_leaves_empty_goes_with_it() {
    let one = span(1, 0, SpanKind::Internal, 10);
    let two = span(2, 1, SpanKind::Internal, 20);

    let combined = combine(vec![
        trace(vec![vec![one.clone()]]),
        trace(vec![vec![one.clone()], vec![one.clone(), two.clone()]]),
    ]);

    assert_eq!(combined, Some(trace(vec![vec![one], vec![two]])));
}

#[test]
fn the_two_halves_of_a_zipkin_call_are_not_duplicates() {
    let client = span(1, 0, SpanKind::Client, 10);
    let server = span(1, 0, SpanKind::Server, 11);

    let combined = combine(vec![trace(vec![vec![client.clone()]]), trace(vec![vec![server.clone()]])]);

    assert_eq!(combined, Some(trace(vec![vec![client], vec![server]])));
}

#[test]
fn span_ids_of_odd_lengths_are_compared_by_their_first_eight_bytes() {
    let with_id = |id: &[u8]| Span { span_id: id.to_vec(), ..Span::default() };

    let combined = combine(vec![trace(vec![vec![
        with_id(b"abc"),
        with_id(b"abcdefgh1"),
        with_id(b"abcdefgh2"),
        with_id(b""),
    ]])])
    .unwrap();

    let ids: Vec<&[u8]> = spans(&combined).map(|span| &span.span_id[..]).collect();
    assert_eq!(ids, [&b"abc"[..], b"abcdefgh1", b""]);
}

#[test]
fn a_trace_over_the_limit_is_refused_and_what_fits_is_kept() {
    let all: Vec<Span> = (1..=100).map(|id| span(id, 0, SpanKind::Internal, id)).collect();
    let limit = trace(vec![all.clone()]).encoded_len() / 2;
    let mut combiner = Combiner::new(limit);

    combiner.add(trace(vec![all[..10].to_vec()])).unwrap();
    let refused = combiner.add(trace(vec![all.clone()])).unwrap_err();

    assert_eq!(refused.to_string(), format!("trace exceeds max size (max bytes: {limit})"));
    assert_eq!(combiner.add(Trace::default()), Err(refused));
    let partial = combiner.finish().unwrap();
    assert!(partial.encoded_len() <= limit);
    let kept = spans(&partial).count();
    assert!((30..50).contains(&kept), "{kept}");
}

#[test]
fn a_trace_of_exactly_the_limit_is_whole() {
    let whole = trace(vec![vec![span(1, 0, SpanKind::Internal, 1), span(2, 1, SpanKind::Internal, 2)]]);

    let mut combiner = Combiner::new(whole.encoded_len());
    combiner.add(whole.clone()).unwrap();

    assert_eq!(combiner.finish(), Some(whole));
}

#[test]
fn a_zipkin_server_span_becomes_the_child_of_its_client() {
    let mut zipkin = trace(vec![
        vec![span(1, 0, SpanKind::Server, 1), span(2, 1, SpanKind::Client, 2)],
        vec![span(2, 1, SpanKind::Server, 3), span(3, 2, SpanKind::Internal, 4)],
    ]);

    dedupe_zipkin(&mut zipkin);

    // The only shared id is 2; the server's half is now 4, the first free id.
    let want = trace(vec![
        vec![span(1, 0, SpanKind::Server, 1), span(2, 1, SpanKind::Client, 2)],
        vec![
            Span { name: "span 2".to_owned(), ..span(4, 2, SpanKind::Server, 3) },
            span(3, 4, SpanKind::Internal, 4),
        ],
    ]);
    assert_eq!(zipkin, want);
}

#[test]
fn a_zipkin_id_at_the_end_of_the_range_still_gets_a_new_one() {
    let mut zipkin = trace(vec![vec![
        span(u64::MAX, 0, SpanKind::Client, 1),
        span(u64::MAX, 0, SpanKind::Server, 2),
        span(1, u64::MAX, SpanKind::Internal, 3),
    ]]);

    dedupe_zipkin(&mut zipkin);

    let ids: Vec<u64> = spans(&zipkin).map(|span| id_number(&span.span_id)).collect();
    assert_eq!(ids, [u64::MAX, 2, 1]);
}

#[test]
fn a_trace_of_100_000_spans_is_combined_and_sorted() {
    let count = 100_000;
    let half =
        |from: u64| trace(vec![(from..count).rev().map(|id| span(id, 1, SpanKind::Internal, id)).collect()]);

    let mut combined = combine(vec![half(count / 2), half(1)]).unwrap();
    dedupe_zipkin(&mut combined);
    sort(&mut combined);

    let starts: Vec<u64> = spans(&combined).map(|span| span.start_time_unix_nano).collect();
    assert_eq!(starts, (1..count).collect::<Vec<_>>());
}

prop_compose! {
    fn any_span()(id in 1u64..12, parent in 0u64..12, kind in 0i32..6, start in 0u64..5) -> Span {
        Span { kind, ..span(id, parent, SpanKind::Internal, start) }
    }
}

fn any_trace() -> impl Strategy<Value = Trace> {
    prop::collection::vec(prop::collection::vec(any_span(), 0..6), 0..5).prop_map(trace)
}

fn identities(trace: &Trace) -> Vec<(u64, i32)> {
    let mut all: Vec<_> = spans(trace).map(|span| (id_number(&span.span_id), span.kind)).collect();
    all.sort_unstable();
    all
}

proptest! {
    #[test]
    fn combining_keeps_every_identity_once(parts in prop::collection::vec(any_trace(), 0..5)) {
        let mut want: Vec<_> = parts.iter().flat_map(identities).collect();
        want.sort_unstable();
        want.dedup();

        let combined = combine(parts).unwrap_or_default();

        prop_assert_eq!(identities(&combined), want);
    }

    #[test]
    fn combining_again_changes_nothing(parts in prop::collection::vec(any_trace(), 1..5)) {
        let once = combine(parts).unwrap_or_default();

        let twice = combine(vec![once.clone(), once.clone()]).unwrap_or_default();

        prop_assert_eq!(twice, once);
    }

    #[test]
    fn a_limited_trace_never_exceeds_the_limit(parts in prop::collection::vec(any_trace(), 1..5), max in 1usize..2000) {
        let whole = combine(parts.clone()).unwrap_or_default();
        let mut combiner = Combiner::new(max);

        let failed = parts.into_iter().any(|part| combiner.add(part).is_err());

        prop_assert_eq!(failed, whole.encoded_len() > max);
        prop_assert!(combiner.finish().unwrap_or_default().encoded_len() <= max);
    }

    #[test]
    fn sorting_does_not_depend_on_the_order_of_spans(whole in any_trace(), seed in any::<u64>()) {
        let mut whole = combine(vec![whole]).unwrap_or_default();
        let mut shuffled = whole.clone();
        for scope in shuffled.resource_spans.iter_mut().flat_map(|part| &mut part.scope_spans) {
            let by = usize::try_from(seed % 1000).unwrap() % scope.spans.len().max(1);
            scope.spans.rotate_left(by);
        }

        sort(&mut whole);
        sort(&mut shuffled);

        prop_assert_eq!(shuffled, whole);
    }

    #[test]
    fn after_the_zipkin_dedupe_no_client_and_server_share_an_id(whole in any_trace()) {
        let mut whole = combine(vec![whole]).unwrap_or_default();
        let spans_before = spans(&whole).count();

        dedupe_zipkin(&mut whole);

        let of = |kind: SpanKind| -> HashSet<u64> {
            spans(&whole).filter(|span| span.kind == kind as i32).map(|span| id_number(&span.span_id)).collect()
        };
        prop_assert!(of(SpanKind::Client).is_disjoint(&of(SpanKind::Server)));
        prop_assert_eq!(spans(&whole).count(), spans_before);
    }
}
