//! Jobs as typed messages: sources, ranges, limits, failures.

use std::sync::Arc;

use tempo_backend::{Fault, Operation, Store, When, keys};
use tempo_model::TraceId;
use tempo_proto::{
    frontend::TraceByIdMode::{All, Blocks, Ingesters},
    tempopb::PartialStatus,
};
use tempo_querier::JobError;

use crate::fake::{Recent, SPLIT, c5, job, names, recent_trace, setup, setup_with_limit};

#[tokio::test]
async fn the_parts_of_a_trace_in_recent_data_and_blocks_are_put_together() {
    let setup = setup(Recent::Has(recent_trace(9))).await;

    let response = setup.querier.trace_by_id(job(All)).await.unwrap();

    let names = names(response.trace.as_ref());
    assert!(names.contains(&"recent 9") && names.contains(&"root") && names.contains(&"gc"), "{names:?}");
    assert_eq!(response.status(), PartialStatus::Complete);
    assert!(response.metrics.unwrap().inspected_bytes > 0);
    assert_eq!(setup.asked(), [(c5(), TraceId::parse_hex(SPLIT).unwrap())]);
    assert_eq!(
        setup.metrics("tempo_querier_trace_by_id_blocks_total"),
        [r#"tempo_querier_trace_by_id_blocks_total{result="found"} 2"#]
    );
}

#[tokio::test]
async fn the_mode_chooses_the_sources() {
    let setup = setup(Recent::Has(recent_trace(9))).await;

    let recent = setup.querier.trace_by_id(job(Ingesters)).await.unwrap();
    assert_eq!(setup.store.total_calls(), setup.store.calls(Operation::Put), "blocks were read");
    let blocks = setup.querier.trace_by_id(job(Blocks)).await.unwrap();

    assert_eq!(names(recent.trace.as_ref()), ["recent 9"]);
    assert!(!names(blocks.trace.as_ref()).contains(&"recent 9"));
    assert_eq!(setup.asked().len(), 1);
}

#[tokio::test]
async fn both_bounds_of_the_block_range_are_inclusive() {
    let setup = setup(Recent::Nothing).await;
    let [first, second] = [0, 1].map(|index| setup.blocks[index].as_bytes().to_vec());
    let range = |from: &[u8], to: &[u8]| {
        let mut job = job(Blocks);
        job.block_start = from.to_vec().into();
        job.block_end = to.to_vec().into();
        job
    };

    let in_first = setup.querier.trace_by_id(range(&first, &first)).await.unwrap();
    let in_second = setup.querier.trace_by_id(range(&second, &[0xff; 16])).await.unwrap();
    let in_both = setup.querier.trace_by_id(range(&first, &second)).await.unwrap();
    let in_none = setup.querier.trace_by_id(range(&[0; 16], &[0; 16])).await.unwrap();

    assert!(!names(in_first.trace.as_ref()).contains(&"root"));
    assert_eq!(names(in_second.trace.as_ref()), ["root"]);
    assert_eq!(
        names(in_both.trace.as_ref()).len(),
        names(in_first.trace.as_ref()).len() + names(in_second.trace.as_ref()).len()
    );
    assert_eq!(in_none.trace, None);
}

#[tokio::test]
async fn blocks_of_another_time_are_not_read() {
    let setup = setup(Recent::Nothing).await;
    let mut old = job(Blocks);
    (old.start_unix_secs, old.end_unix_secs) = (1, 2);

    let response = setup.querier.trace_by_id(old).await.unwrap();

    assert_eq!(response.trace, None);
    assert_eq!(setup.store.total_calls(), setup.store.calls(Operation::Put));
}

#[tokio::test]
async fn another_tenant_sees_nothing_of_it() {
    let setup = setup(Recent::Nothing).await;
    let mut other = job(All);
    other.tenant = "c6".to_owned();

    let response = setup.querier.trace_by_id(other).await.unwrap();

    assert_eq!(response.trace, None);
    assert_eq!(setup.asked()[0].0.as_str(), "c6");
}

#[tokio::test]
async fn a_trace_over_the_limit_is_partial_and_says_so() {
    let setup = setup_with_limit(Recent::Has(recent_trace(9)), 60).await;

    let response = setup.querier.trace_by_id(job(All)).await.unwrap();

    assert_eq!(response.status(), PartialStatus::Partial);
    assert_eq!(response.message, "Trace exceeds maximum size of 60 bytes, a partial trace is returned");
    assert_eq!(names(response.trace.as_ref()), ["recent 9"]);
}

#[tokio::test]
async fn a_block_that_cannot_be_read_fails_the_job() {
    let setup = setup(Recent::Has(recent_trace(9))).await;
    setup.store.reset_calls();
    setup.store.inject(When::From(0), Fault::Unavailable);

    let error = setup.querier.trace_by_id(job(All)).await.unwrap_err();
    setup.store.heal();
    let again = setup.querier.trace_by_id(job(All)).await;

    assert!(error.is_retryable() && matches!(error, JobError::Block(_)), "{error:?}");
    assert!(again.is_ok());
}

#[tokio::test]
async fn a_listed_block_that_is_gone_fails_the_job() {
    let setup = setup(Recent::Nothing).await;
    let mut meta = (*setup.blocklist.metas(&c5())[0]).clone();
    meta.block_id = tempo_model::BlockId::MAX;
    setup.blocklist.add(Arc::new(meta));

    let error = setup.querier.trace_by_id(job(All)).await.unwrap_err();

    assert!(matches!(error, JobError::Block(_)), "{error:?}");
}

#[tokio::test]
async fn a_block_that_was_just_compacted_is_searched_while_it_exists() {
    let setup = setup(Recent::Nothing).await;
    let compacted = setup.blocks[0];
    setup.mark_compacted(compacted).await;
    setup.poll().await;
    assert_eq!(setup.blocklist.metas(&c5()).len(), 1);

    let before = setup.querier.trace_by_id(job(All)).await.unwrap();
    for object in [keys::DATA, &keys::bloom(0)] {
        setup.store.delete(&keys::block_object(&c5(), compacted, object)).await.unwrap();
    }
    let after = setup.querier.trace_by_id(job(All)).await.unwrap();

    assert!(names(before.trace.as_ref()).contains(&"gc"));
    assert_eq!(names(after.trace.as_ref()), ["root"]);
    let gone = r#"tempo_querier_trace_by_id_blocks_total{result="gone"} 1"#;
    assert_eq!(setup.metrics(gone), [gone]);
}

#[tokio::test]
async fn recent_data_that_cannot_be_asked_fails_the_job() {
    let setup = setup(Recent::Fails).await;

    let error = setup.querier.trace_by_id(job(All)).await.unwrap_err();

    assert!(error.is_retryable());
    assert_eq!(
        setup.metrics("tempo_querier_trace_by_id_jobs_total"),
        [r#"tempo_querier_trace_by_id_jobs_total{result="failed"} 1"#]
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_has_so_much_time() {
    let setup = setup(Recent::TakesForever).await;

    let error = setup.querier.trace_by_id(job(Ingesters)).await.unwrap_err();

    assert_eq!(error.to_string(), "context deadline exceeded");
    assert!(error.is_retryable());
}
