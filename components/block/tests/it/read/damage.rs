//! Damaged blocks: an error or the right trace, never a panic, never another trace.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tempo_backend::keys;
use tempo_block::ReadError;
use tempo_model::TraceId;

use crate::fixtures::{self, Fixture};

/// What a damaged block answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Error,
    Trace,
    Nothing,
}

async fn ask(fixture: &Fixture, id: &TraceId) -> Answer {
    let opened = fixture.open().await;
    match opened.reader.find_trace(id).await {
        Ok(found) => match found.trace {
            Some(trace) => {
                let spans = trace.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
                assert!(
                    spans.into_iter().all(|span| span.trace_id == id.as_bytes()),
                    "another trace was returned"
                );
                Answer::Trace
            }
            None => Answer::Nothing,
        },
        Err(ReadError::Damaged { block, .. }) => {
            assert_eq!(block, fixture.meta.block_id);
            Answer::Error
        }
        Err(ReadError::Store { .. }) => Answer::Error,
        Err(error @ (ReadError::UnknownFormat { .. } | ReadError::Stopped)) => panic!("{error}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// A small block and one of its traces.
fn small() -> Vec<(Fixture, TraceId)> {
    let small = fixtures::all().into_iter().filter(|f| f.objects[keys::DATA].len() < 300_000);
    small
        .map(|fixture| {
            let id = *fixture.expected.keys().nth(fixture.expected.len() / 2).unwrap();
            (fixture, id)
        })
        .collect()
}

#[tokio::test]
async fn truncated_objects_are_errors() {
    for (fixture, id) in small() {
        for object in [keys::DATA, "bloom-0"] {
            let bytes = &fixture.objects[object];
            for kept in [0, 1, 7, 8, 24, bytes.len() / 2, bytes.len() - 1] {
                let mut cut = fixture.with_object(object, bytes.slice(..kept));
                assert_eq!(ask(&cut, &id).await, Answer::Error, "{object} cut to {kept} in {}", fixture.name);

                // The same if the meta agrees with what is there.
                cut.meta.size = kept as u64;
                if object == keys::DATA {
                    assert_eq!(
                        ask(&cut, &id).await,
                        Answer::Error,
                        "{object} cut to {kept} in {}",
                        fixture.name
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn flipped_bits_of_footer_and_page_index_are_survived() {
    for (fixture, id) in small().into_iter().filter(|(f, _)| f.objects[keys::DATA].len() < 30_000) {
        let data = &fixture.objects[keys::DATA];
        let footer = data.len() - 8 - fixture.meta.footer_size as usize;
        let page_index = footer.saturating_sub(4_000);
        for at in (page_index..data.len()).step_by(23) {
            let mut damaged = data.to_vec();
            damaged[at] ^= 1 << (at % 8);
            ask(&fixture.with_object(keys::DATA, damaged), &id).await;
        }
    }
}

#[test]
fn flipped_and_overwritten_bytes_anywhere_are_survived() {
    let blocks = small();
    let runtime = runtime();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let damage = (
        any::<prop::sample::Index>(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    );

    let result = runner.run(&damage, |(block, bytes)| {
        let (fixture, id) = block.get(&blocks);
        let mut data = fixture.objects[keys::DATA].to_vec();
        for (at, byte) in bytes {
            let at = at.index(data.len());
            data[at] = byte;
        }
        runtime.block_on(ask(&fixture.with_object(keys::DATA, data), id));
        Ok(())
    });

    result.unwrap();
}

#[tokio::test]
async fn damaged_pages_are_found_out_by_their_checksum() {
    for (fixture, id) in small() {
        let data = &fixture.objects[keys::DATA];
        let mut errors = 0;
        let want = fixture.open().await.reader.find_trace(&id).await.unwrap().trace;
        for at in (4..data.len() - 8 - fixture.meta.footer_size as usize).step_by(9_001) {
            let mut damaged = data.to_vec();
            damaged[at] ^= 0x10;
            let opened = fixture.with_object(keys::DATA, damaged).open().await;
            match opened.reader.find_trace(&id).await {
                Ok(found) if found.trace == want => {}
                Ok(found) => assert_eq!(found.trace, None, "byte {at} of {} changed the trace", fixture.name),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 0);
    }
}
