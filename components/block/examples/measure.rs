//! Measures the head and the block writer on a file of OTLP: `measure FILE [ROW_GROUP [PAGE [ZSTD_LEVEL [FOLDER]]]]`.
//!
//! ROW_GROUP and PAGE are in spans; FOLDER keeps the block. FILE holds encoded `ExportTraceServiceRequest`s one after
//! the other (`tb gen` of `shared/load` makes such data).
//! Prints CPU seconds per GB of OTLP, memory per span and the bytes that each column takes.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tempo_block::{SpanColumns, WriteOptions, write_block};
use tempo_model::{BlockId, PushBatch, PushBatchBuilder, TenantId, TraceId};

/// `ResourceSpans` in one batch: about 500 spans, as in the standard load.
const RESOURCES_PER_BATCH: usize = 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else { bail!("which file?") };
    let file = Bytes::from(std::fs::read(&path).with_context(|| format!("read {path}"))?);
    let batches = batches(&file)?;
    let spans: u64 = batches.iter().map(PushBatch::span_count).sum();
    println!("{} bytes, {spans} spans in {} batches", file.len(), batches.len());

    let mut best = f64::MAX;
    let mut columns = SpanColumns::new();
    for _ in 0..5 {
        columns = SpanColumns::new();
        let before = cpu_seconds()?;
        for batch in &batches {
            columns.append(batch)?;
        }
        best = best.min(cpu_seconds()? - before);
    }
    println!("append: {:.3} s/GB", best * 1e9 / file.len() as f64);
    println!(
        "memory: {:.1} bytes a span, {} traces",
        columns.bytes() as f64 / spans as f64,
        columns.trace_count()
    );

    let number = |text: Option<String>, default| text.map_or(Ok(default), |t| t.parse::<usize>());
    let options = WriteOptions {
        block_id: BlockId::random(),
        tenant: TenantId::single(),
        dedicated_columns: Vec::new(),
        choose_dedicated: true,
        bloom_fp: 0.01,
        bloom_shard_bytes: 102_400,
        spans_per_row_group: number(arguments.next(), 32_768)?,
        spans_per_page: number(arguments.next(), 4096)?,
        sidecar: true,
        zstd_level: i32::try_from(number(arguments.next(), 1)?)?,
        replication_factor: 1,
        threads: 1,
    };
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or(temporary.path().to_owned(), PathBuf::from);
    let mut best = f64::MAX;
    for _ in 0..5 {
        let before = cpu_seconds()?;
        write_block(&columns, &options, &folder)?;
        best = best.min(cpu_seconds()? - before);
    }
    println!("encode: {:.3} s/GB", best * 1e9 / file.len() as f64);
    print_sizes(&folder, spans as f64)
}

fn print_sizes(folder: &Path, spans: f64) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        println!(
            "{:.3} bytes a span in {}",
            entry.metadata()?.len() as f64 / spans,
            entry.file_name().display()
        );
    }
    let reader = SerializedFileReader::new(File::open(folder.join("data.parquet"))?)?;
    let mut sizes: BTreeMap<usize, (String, i64, usize)> = BTreeMap::new();
    for row_group in reader.metadata().row_groups() {
        for (leaf, column) in row_group.columns().iter().enumerate() {
            let name = column.column_path().string().replace(".list.element", "");
            let entry = sizes.entry(leaf).or_insert((name, 0, 0));
            entry.1 += column.compressed_size();
            entry.2 += usize::from(column.dictionary_page_offset().is_some());
        }
    }
    let pages: i64 = sizes.values().map(|s| s.1).sum();
    println!("{:.3} bytes a span in pages, {} row groups", pages as f64 / spans, reader.num_row_groups());
    let mut sizes: Vec<_> = sizes.into_iter().collect();
    sizes.sort_by_key(|(_, (_, bytes, _))| -bytes);
    for (leaf, (name, bytes, dictionaries)) in sizes {
        println!("{:8.3} {leaf:3} {name} ({dictionaries} dictionaries)", bytes as f64 / spans);
    }
    Ok(())
}

fn batches(file: &[u8]) -> anyhow::Result<Vec<PushBatch>> {
    let mut resources = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let (field, range) = next(file, &mut at)?;
        if field == 1 {
            resources.push(range);
        }
    }
    resources.chunks(RESOURCES_PER_BATCH).map(|chunk| batch(file, chunk)).collect()
}

fn batch(file: &[u8], resource_spans: &[Range<usize>]) -> anyhow::Result<PushBatch> {
    let mut builder = PushBatchBuilder::default();
    let mut traces: BTreeMap<TraceId, Vec<(usize, Range<usize>)>> = BTreeMap::new();
    for range in resource_spans {
        let (mut resource, mut at) = (0..0, range.start);
        while at < range.end {
            match next(file, &mut at)? {
                (1, found) => resource = found,
                (2, scope_spans) => {
                    let (mut scope, mut at, mut spans) = (0..0, scope_spans.start, Vec::new());
                    while at < scope_spans.end {
                        match next(file, &mut at)? {
                            (1, found) => scope = found,
                            (2, span) => spans.push(span),
                            _ => {}
                        }
                    }
                    let context = builder.push_context(&file[resource.clone()], &file[scope]);
                    for span in spans {
                        let id = file.get(span.start + 2..span.start + 18).and_then(TraceId::from_slice);
                        traces.entry(id.context("trace id")?).or_default().push((context, span));
                    }
                }
                _ => {}
            }
        }
    }
    for (id, spans) in traces {
        builder.begin_trace(id);
        for (context, span) in spans {
            builder.push_span(context, &file[span]);
        }
    }
    Ok(builder.finish())
}

/// The next field and where its bytes lie; other wire types than bytes give an empty range.
fn next(file: &[u8], at: &mut usize) -> anyhow::Result<(u64, Range<usize>)> {
    let tag = varint(file, at)?;
    let start = match tag & 7 {
        0 => {
            varint(file, at)?;
            *at
        }
        2 => {
            let len = varint(file, at)?;
            let start = *at;
            *at += usize::try_from(len)?;
            start
        }
        other => bail!("wire type {other}"),
    };
    Ok((tag >> 3, start..*at))
}

fn varint(file: &[u8], at: &mut usize) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *file.get(*at).context("cut off")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Ok(value)
}

/// CPU time of this thread.
fn cpu_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: u64 = text.split_whitespace().next().context("schedstat")?.parse()?;
    Ok(nanos as f64 / 1e9)
}
