//! Blocks of ours: columns against a plain model, against Tempo's own block of the same traces, and read back.

mod model;
mod page_index;

use std::collections::BTreeMap;

use tempo_backend::keys;
use tempo_block::{SpanColumns, trace_index::TraceIndex};
use tempo_config::{DedicatedColumn, DedicatedColumnScope, DedicatedColumnType};
use tempo_model::{TraceId, trace::Trace};

use crate::{
    fixtures::{self, trace_json},
    leaves::{self, Entry, Leaf},
    traces::{self, Random, batch, columns, data, id_of, odd_trace, odd_traces, options, write},
};

fn dedicated(scope: DedicatedColumnScope, name: &str) -> DedicatedColumn {
    DedicatedColumn { scope, name: name.to_owned(), kind: DedicatedColumnType::String, options: Vec::new() }
}

/// Asserts that every leaf of the file holds what the plain model makes of the traces.
fn assert_rows(columns: &SpanColumns, file: bytes::Bytes, dedicated: &[DedicatedColumn]) {
    let got = leaves::read(file);
    let mut ids: Vec<TraceId> = columns.trace_ids().collect();
    ids.sort();
    let want: Vec<_> =
        ids.iter().map(|id| model::shred(&columns.find_trace(id).unwrap(), dedicated)).collect();
    assert_eq!(got.len(), 103);
    for (number, leaf) in got.iter().enumerate() {
        assert_eq!(leaf.rows.len(), ids.len(), "{}", leaf.path);
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(leaf.rows[row], want[row][number], "leaf {number} {} of {id}", leaf.path);
        }
    }
}

#[test]
fn every_leaf_holds_what_the_plain_model_says() {
    for (seed, count, most) in [(1, 200, 12), (2, 1, 1), (3, 40, 60)] {
        let traces = odd_traces(seed, count, most);
        let columns = columns(&traces);

        let block = write(&columns, &options());

        assert_rows(&columns, data(&block), &[]);
    }
}

#[test]
fn small_pages_and_row_groups_change_no_value() {
    let columns = columns(&odd_traces(4, 150, 20));
    let small =
        tempo_block::WriteOptions { spans_per_row_group: 300, spans_per_page: 40, threads: 3, ..options() };

    let block = write(&columns, &small);

    assert!(block.meta.total_records > 3);
    assert_rows(&columns, data(&block), &[]);
}

#[test]
fn dedicated_columns_are_taken_in_order_and_impossible_ones_are_left_out() {
    use DedicatedColumnScope::{Event, Resource, Span};

    let columns = columns(&odd_traces(5, 100, 20));
    let event = dedicated(Event, "e");
    let mut int = dedicated(Span, "x.1");
    int.kind = DedicatedColumnType::Int;
    let configured = vec![
        dedicated(Span, "b"),
        event,
        dedicated(Resource, "a"),
        int,
        dedicated(Span, "http.url"),
        dedicated(Span, ""),
    ];
    let block = write(&columns, &tempo_block::WriteOptions { dedicated_columns: configured, ..options() });

    let want = [dedicated(Span, "b"), dedicated(Resource, "a"), dedicated(Span, "")];
    assert_eq!(*block.meta.dedicated_columns, want);
    assert_rows(&columns, data(&block), &want);
}

#[test]
fn chosen_columns_are_in_the_meta_and_hold_the_values() {
    let columns = columns(&odd_traces(6, 100, 20));
    let block = write(&columns, &tempo_block::WriteOptions { choose_dedicated: true, ..options() });

    let count = |scope| block.meta.dedicated_columns.iter().filter(|c| c.scope == scope).count();
    assert!(count(DedicatedColumnScope::Span) > 5 && count(DedicatedColumnScope::Span) <= 10);
    assert_rows(&columns, data(&block), &block.meta.dedicated_columns);
}

#[test]
fn one_trace_of_100_000_spans_is_one_row() {
    let mut random = Random(7);
    let trace = odd_trace(&mut random, TraceId::MAX, 100_000);
    let columns = columns(&[trace]);

    let block = write(&columns, &options());

    assert_eq!((block.meta.total_objects, block.meta.total_records), (1, 1));
    assert_rows(&columns, data(&block), &[]);
}

#[tokio::test]
async fn a_flushed_trace_is_answered_as_the_live_one() {
    let traces = odd_traces(8, 120, 30);
    let columns = columns(&traces);
    let options = tempo_block::WriteOptions {
        choose_dedicated: true,
        spans_per_row_group: 500,
        spans_per_page: 60,
        ..options()
    };
    let block = write(&columns, &options);
    let opened = block.open().await;

    for trace in &traces {
        let id = id_of(trace);
        let found = opened.reader.find_trace(&id).await.unwrap().trace.expect("the trace is in the block");
        let live = columns.find_trace(&id).unwrap();
        assert_eq!(comparable(&found), comparable(&live), "{id}");
    }
}

/// A missing service name comes back from a block as an empty one, or the reverse: the column cannot tell.
fn comparable(trace: &Trace) -> serde_json::Value {
    let mut trace = trace.clone();
    for resource in trace.resource_spans.iter_mut().filter_map(|r| r.resource.as_mut()) {
        resource
            .attributes
            .retain(|a| a.key != "service.name" || a.value != traces::attribute("", traces::text("")).value);
    }
    trace_json(&trace)
}

#[test]
fn tempos_own_block_of_the_same_traces_has_the_same_rows() {
    let fixture = fixtures::of_tenant("a4");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let traces: Vec<Trace> = runtime.block_on(async {
        let opened = fixture.open().await;
        let mut traces = Vec::new();
        for id in fixture.expected.keys() {
            traces.push(opened.reader.find_trace(id).await.unwrap().trace.unwrap());
        }
        traces
    });
    let columns = columns(&traces);
    let options =
        tempo_block::WriteOptions { dedicated_columns: fixture.meta.dedicated_columns.to_vec(), ..options() };

    let block = write(&columns, &options);

    assert_eq!(block.objects["bloom-0"], fixture.objects["bloom-0"]);
    assert_eq!(block.objects[keys::INDEX], fixture.objects[keys::INDEX]);
    let (ours, tempos) = (leaves::read(data(&block)), leaves::read(data(&fixture)));
    let mut differing = BTreeMap::new();
    for (ours, tempos) in ours.iter().zip(&tempos) {
        assert_eq!(ours.path, tempos.path);
        let rows = different_rows(ours, tempos);
        if !rows.is_empty() {
            differing.insert(ours.path.clone(), rows);
        }
    }
    assert_eq!(differing, BTreeMap::new());
}

/// Rows whose entries are not the same, in whatever order: Tempo's map of services has none, and its order of
/// attributes is another.
fn different_rows(ours: &Leaf, tempos: &Leaf) -> Vec<(usize, Vec<Entry>, Vec<Entry>)> {
    let sorted = |row: &Vec<Entry>| {
        let mut row: Vec<Entry> = row.iter().map(|(_, def, value)| (0, *def, value.clone())).collect();
        row.sort();
        row
    };
    let rows = ours.rows.iter().zip(&tempos.rows).enumerate();
    rows.map(|(row, (ours, tempos))| (row, sorted(ours), sorted(tempos)))
        .filter(|(_, ours, tempos)| ours != tempos)
        .take(2)
        .collect()
}

#[test]
fn meta_sidecar_and_bloom_describe_the_file() {
    let traces = odd_traces(9, 300, 10);
    let columns = columns(&traces);
    let block = write(&columns, &tempo_block::WriteOptions { spans_per_row_group: 400, ..options() });
    let meta = &block.meta;

    assert_eq!(meta.total_objects, 300);
    assert_eq!((meta.bloom_shards, meta.replication_factor, meta.compaction_level), (1, 1, 0));
    let file = data(&block);
    let tail = &file[file.len() - 8..];
    assert_eq!(tail[4..], *b"PAR1");
    assert_eq!(tail[..4], meta.footer_size.to_le_bytes());
    let range = columns.time_range();
    assert!(meta.start_time.as_nanosecond() <= i128::from(range.start_unix_nanos));
    let index = TraceIndex::parse(block.objects[keys::SIDECAR].clone()).unwrap();
    assert_eq!(index.data_size(), meta.size);
    assert_eq!(index.row_group_count(), meta.total_records as usize);
    assert!(traces.iter().all(|trace| index.lookup(&id_of(trace)).is_some()));
}

#[test]
fn appended_traces_come_back_as_they_were() {
    let traces = odd_traces(10, 60, 25);
    let columns = columns(&traces);

    assert_eq!(columns.trace_count(), traces.len());
    for trace in &traces {
        let found = columns.find_trace(&id_of(trace)).unwrap();
        assert_eq!(model::by_span(&found), model::by_span(trace));
        assert!(model::is_in_order(&found), "{}", id_of(trace));
    }
    assert!(columns.bytes() > 0 && columns.find_trace(&TraceId::MAX).is_none());
}

#[test]
fn fragments_of_a_trace_in_many_batches_are_one_trace() {
    let traces = odd_traces(11, 20, 30);
    let mut columns = SpanColumns::new();
    let most = traces.iter().map(|trace| trace.resource_spans.len()).max().unwrap();
    for at in 0..most {
        let part =
            |trace: &Trace| Some(Trace { resource_spans: vec![trace.resource_spans.get(at)?.clone()] });
        let parts: Vec<Trace> = traces.iter().filter_map(part).collect();
        columns.append(&batch(&parts)).unwrap();
    }

    for trace in &traces {
        assert_eq!(model::by_span(&columns.find_trace(&id_of(trace)).unwrap()), model::by_span(trace));
    }
}

#[test]
fn a_malformed_trace_is_refused_and_leaves_no_trace() {
    let good = odd_traces(12, 5, 10);
    let mut builder = tempo_model::PushBatchBuilder::default();
    let context = builder.push_context(&[], &[]);
    builder.begin_trace(TraceId::from_bytes([1; 16]));
    builder.push_span(context, &[0x2a, 2, b'o', b'k']);
    // A name that is not UTF-8.
    builder.push_span(context, &[0x39, 1, 2, 3, 4, 5, 6, 7, 8, 0x2a, 1, 0xff]);
    builder.begin_trace(TraceId::from_bytes([2; 16]));
    builder.push_span(context, &[0x2a, 2, b'o', b'k']);
    let mut columns = columns(&good);
    let spans = columns.span_count();

    let error = columns.append(&builder.finish()).unwrap_err();

    assert_eq!(error.trace_id, TraceId::from_bytes([1; 16]));
    assert_eq!((error.offset, error.problem), (11, "a string is not UTF-8"));
    assert_eq!(columns.span_count(), spans + 1);
    assert!(!columns.contains(&TraceId::from_bytes([1; 16])));
    assert!(columns.contains(&TraceId::from_bytes([2; 16])));
    write(&columns, &options());
}

#[test]
fn damaged_spans_never_panic_and_what_is_kept_can_be_written() {
    let mut random = Random(13);
    let traces = odd_traces(14, 30, 6);
    let mut columns = SpanColumns::new();
    let mut refused = 0;
    for round in 0..200 {
        let whole = batch(&traces[round % traces.len()..][..1]);
        let mut builder = tempo_model::PushBatchBuilder::default();
        for at in 0..whole.context_count() {
            let context = whole.context(at).unwrap();
            builder.push_context(&damage(&mut random, context.resource), &damage(&mut random, context.scope));
        }
        for trace in whole.traces() {
            for (at, span) in trace.spans().enumerate() {
                builder.begin_trace(TraceId::from_bytes((round as u128 * 100 + at as u128).to_be_bytes()));
                builder.push_span(span.context, &damage(&mut random, span.bytes));
            }
        }
        refused += usize::from(columns.append(&builder.finish()).is_err());
    }

    let block = write(&columns, &options());

    assert!(refused > 20 && columns.span_count() > 100, "both happen");
    assert_rows(&columns, data(&block), &[]);
}

fn damage(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if random.below(2) == 0 && !bytes.is_empty() {
        let at = random.below(bytes.len());
        bytes[at] = random.next().to_le_bytes()[0];
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len() + 1));
    }
    bytes
}
