//! Writes a sealed head as a vParquet4 block: `data.parquet`, `traces.idx`, `bloom-N` and `index` in a folder.
//!
//! What Tempo demands of the file (learned by breaking it on the real binary): leaves in exactly its order, one row per
//! trace sorted by id, dictionaries that never fall back, no dictionary for 32-bit numbers, pages that start at rows,
//! column indexes with null counts, `totalRecords` = row groups, exact sizes, at least one bloom shard.
//!
//! Row groups are encoded one at a time, or one per thread, into buffers that are reused, and streamed to the file.
//! Every object is synced before this returns; `meta.json` is the caller's, as it must be written last.

use std::{
    fs::File,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use parquet::{
    errors::ParquetError,
    file::{
        properties::{WriterProperties, WriterVersion},
        writer::SerializedFileWriter,
    },
    schema::types::SchemaDescriptor,
};
use tempo_backend::{BlockFormat, BlockMeta, keys};
use tempo_config::DedicatedColumn;
use tempo_model::{BlockId, TenantId, TraceId};

use crate::{
    bloom::{self, BloomOptions},
    columns::{SpanColumns, TraceEntry},
    encode::{BlockContext, EncodedRowGroup, Encoder, Placement, close_chunk},
    schema,
    trace_index::{LeafLayout, PageLocation, RowGroupLayout, TraceIndexBuilder, TraceIndexError},
};

/// Bytes of the length and magic number behind the footer.
const TAIL_BYTES: u64 = 8;

/// How a block is written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    pub block_id: BlockId,
    pub tenant: TenantId,
    /// Attributes that get columns of their own; those that vParquet4 cannot have are left out of the meta.
    pub dedicated_columns: Vec<DedicatedColumn>,
    /// Fill the spare columns that are left with the keys that cost most in this block.
    pub choose_dedicated: bool,
    /// Share of absent ids that the bloom filter takes for present.
    pub bloom_fp: f64,
    pub bloom_shard_bytes: usize,
    /// A row group ends with the trace that reaches this number of spans.
    pub spans_per_row_group: usize,
    /// A page ends with the trace that reaches this number of spans.
    pub spans_per_page: usize,
    /// Write the sidecar `traces.idx`.
    pub sidecar: bool,
    pub zstd_level: i32,
    pub replication_factor: u32,
    /// Row groups encoded at once; 0 counts as 1.
    pub threads: usize,
}

/// Why a block was not written. The folder may hold some of its objects.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("encode block {block_id}")]
    Encode { block_id: BlockId, source: io::Error },
    #[error("write parquet structure of block {block_id}")]
    Parquet { block_id: BlockId, source: ParquetError },
    #[error("index block {block_id}")]
    Index { block_id: BlockId, source: TraceIndexError },
    #[error("block {block_id} would be empty")]
    Empty { block_id: BlockId },
}

/// Writes the columns as a block into `dir`, which exists, and returns its meta. Blocks the thread for long.
pub fn write_block(
    columns: &SpanColumns,
    options: &WriteOptions,
    dir: &Path,
) -> Result<BlockMeta, WriteError> {
    let block_id = options.block_id;
    if columns.is_empty() {
        return Err(WriteError::Empty { block_id });
    }
    let mut traces: Vec<(TraceId, TraceEntry)> = columns.traces().collect();
    traces.sort_unstable_by_key(|(id, _)| *id);
    let ids: Vec<TraceId> = traces.iter().map(|(id, _)| *id).collect();
    let placement = Placement::new(columns, &options.dedicated_columns, options.choose_dedicated);

    let data_path = dir.join(keys::DATA);
    let file =
        File::create(&data_path).map_err(|source| WriteError::Io { path: data_path.clone(), source })?;
    let mut data = DataFile::new(file, options)?;
    let context = BlockContext::new(columns, &placement, options.spans_per_page);
    encode_all(&context, &traces, options, &mut data)?;
    let finished = data.finish(&data_path)?;

    let blooms = bloom::build(
        &ids,
        BloomOptions { false_positive_rate: options.bloom_fp, shard_bytes: options.bloom_shard_bytes },
    );
    for (number, bloom) in (0..).zip(&blooms) {
        write_object(&dir.join(keys::bloom(number)), bloom)?;
    }
    write_object(&dir.join(keys::INDEX), &index_object(&finished.last_ids))?;
    if options.sidecar {
        let sidecar = finished.sidecar.finish(&ids, finished.size);
        let sidecar = sidecar.map_err(|source| WriteError::Index { block_id, source })?;
        write_object(&dir.join(keys::SIDECAR), &sidecar)?;
    }
    let folder = File::open(dir).and_then(|dir| dir.sync_all());
    folder.map_err(|source| WriteError::Io { path: dir.to_owned(), source })?;

    let range = columns.time_range();
    Ok(BlockMeta {
        format: BlockFormat::VParquet4,
        block_id,
        tenant: options.tenant.clone(),
        start_time: seconds(range.start_unix_nanos / NANOS_PER_SECOND),
        end_time: seconds(range.end_unix_nanos.div_ceil(NANOS_PER_SECOND)),
        total_objects: ids.len() as u64,
        size: finished.size,
        compaction_level: 0,
        index_page_size: 0,
        total_records: u32::try_from(finished.last_ids.len()).unwrap_or(u32::MAX),
        bloom_shards: u32::try_from(blooms.len()).unwrap_or(u32::MAX),
        footer_size: finished.footer_size,
        dedicated_columns: placement.dedicated_columns.into(),
        replication_factor: options.replication_factor,
    })
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

fn seconds(seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// Encodes all row groups, `threads` at a time, and writes them in order.
fn encode_all(
    context: &BlockContext<'_>,
    traces: &[(TraceId, TraceEntry)],
    options: &WriteOptions,
    data: &mut DataFile,
) -> Result<(), WriteError> {
    let error = |source| WriteError::Encode { block_id: options.block_id, source };
    let row_groups = row_groups(traces, options.spans_per_row_group);
    let threads = options.threads.clamp(1, row_groups.len().max(1));
    let encoders = (0..threads).map(|_| Encoder::new(context, options.zstd_level));
    let mut encoders = encoders.collect::<io::Result<Vec<_>>>().map_err(error)?;
    let mut buffers = vec![Vec::new(); threads];
    for wave in row_groups.chunks(threads) {
        let encoded =
            encode_wave(&mut encoders, &mut buffers, wave.iter().map(|range| &traces[range.clone()]));
        for ((result, range), buffer) in encoded.into_iter().zip(wave).zip(&mut buffers) {
            let row_group = result.map_err(error)?;
            *buffer = data.push(row_group, traces[range.end - 1].0)?;
        }
    }
    Ok(())
}

/// Encodes one row group with each encoder.
fn encode_wave<'a, 'b: 'a>(
    encoders: &mut [Encoder<'b>],
    buffers: &mut [Vec<u8>],
    wave: impl Iterator<Item = &'a [(TraceId, TraceEntry)]>,
) -> Vec<io::Result<EncodedRowGroup>> {
    let work = encoders.iter_mut().zip(buffers).zip(wave);
    let mut work: Vec<_> =
        work.map(|((encoder, buffer), traces)| (encoder, std::mem::take(buffer), traces)).collect();
    if work.len() == 1 {
        return work.drain(..).map(|(encoder, buffer, traces)| encoder.encode(traces, buffer)).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = work
            .drain(..)
            .map(|(encoder, buffer, traces)| scope.spawn(move || encoder.encode(traces, buffer)))
            .collect();
        let results = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("an encoder thread panicked")))
        });
        results.collect()
    })
}

/// Cuts the traces where enough spans are together.
fn row_groups(traces: &[(TraceId, TraceEntry)], spans_per_row_group: usize) -> Vec<Range<usize>> {
    let mut row_groups = Vec::new();
    let (mut start, mut spans) = (0, 0);
    for (at, (_, entry)) in traces.iter().enumerate() {
        spans += entry.span_count as usize;
        if spans >= spans_per_row_group || at + 1 == traces.len() {
            row_groups.push(start..at + 1);
            (start, spans) = (at + 1, 0);
        }
    }
    row_groups
}

/// `data.parquet` while it is written.
struct DataFile {
    writer: SerializedFileWriter<File>,
    schema: Arc<SchemaDescriptor>,
    sidecar: TraceIndexBuilder,
    last_ids: Vec<TraceId>,
    rows: u64,
    block_id: BlockId,
}

/// What is known once `data.parquet` is complete.
struct Finished {
    sidecar: TraceIndexBuilder,
    /// Of each row group.
    last_ids: Vec<TraceId>,
    size: u64,
    footer_size: u32,
}

impl DataFile {
    fn new(file: File, options: &WriteOptions) -> Result<DataFile, WriteError> {
        let block_id = options.block_id;
        let error = |source| WriteError::Parquet { block_id, source };
        let schema = schema::schema().map_err(error)?;
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_created_by(concat!("tempo-rs version ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer =
            SerializedFileWriter::new(file, schema.root_schema_ptr(), Arc::new(properties)).map_err(error)?;
        let (sidecar, last_ids) = (TraceIndexBuilder::default(), Vec::new());
        Ok(DataFile { writer, schema, sidecar, last_ids, rows: 0, block_id })
    }

    /// Writes a row group and gives its buffer back.
    fn push(&mut self, row_group: EncodedRowGroup, last_id: TraceId) -> Result<Vec<u8>, WriteError> {
        let block_id = self.block_id;
        let error = |source| WriteError::Parquet { block_id, source };
        debug_assert_eq!(row_group.chunks.len(), schema::LEAVES, "a chunk for each leaf");
        let layout = layout(&row_group, self.writer.bytes_written() as u64, self.rows);
        let bytes = Bytes::from(row_group.bytes);
        let mut writer = self.writer.next_row_group().map_err(error)?;
        for (leaf, chunk) in row_group.chunks.iter().enumerate() {
            let close = close_chunk(chunk, self.schema.column(leaf)).map_err(error)?;
            writer.append_column(&bytes, close).map_err(error)?;
        }
        writer.close().map_err(error)?;
        self.rows += layout.rows;
        self.sidecar.push_row_group(&layout);
        self.last_ids.push(last_id);
        // Nobody else has the bytes by now, so this does not copy.
        Ok(bytes.into())
    }

    fn finish(self, path: &Path) -> Result<Finished, WriteError> {
        let DataFile { writer, sidecar, last_ids, block_id, .. } = self;
        let file = writer.into_inner().map_err(|source| WriteError::Parquet { block_id, source })?;
        let sizes = file.sync_all().and_then(|()| footer_size(path, file.metadata()?.len()));
        let (size, footer_size) = sizes.map_err(|source| WriteError::Io { path: path.to_owned(), source })?;
        Ok(Finished { sidecar, last_ids, size, footer_size })
    }
}

/// Reads back how long the footer is: the number before the last magic number.
fn footer_size(path: &Path, size: u64) -> io::Result<(u64, u32)> {
    use std::os::unix::fs::FileExt;

    let mut length = [0; 4];
    File::open(path)?.read_exact_at(&mut length, size - TAIL_BYTES)?;
    Ok((size, u32::from_le_bytes(length)))
}

fn layout(row_group: &EncodedRowGroup, offset: u64, first_row: u64) -> RowGroupLayout {
    let in_file = |range: &Range<usize>| offset + range.start as u64..offset + range.end as u64;
    let leaves = row_group.chunks.iter().map(|chunk| {
        let mut first_row = 0;
        let pages = chunk.pages.iter().map(|page| {
            let location = PageLocation { bytes: in_file(&page.bytes), first_row };
            first_row += page.rows as u64;
            location
        });
        let pages = pages.collect();
        LeafLayout { codec: chunk.codec, dictionary: chunk.dictionary.as_ref().map(in_file), pages }
    });
    let leaves = leaves.collect();
    let page_rows: Vec<u64> = row_group.page_rows.iter().map(|&rows| rows as u64).collect();
    let rows = page_rows.iter().sum();
    RowGroupLayout { first_row, rows, bytes: in_file(&(0..row_group.bytes.len())), page_rows, leaves }
}

/// The object `index`: the last trace id of each row group.
fn index_object(last_ids: &[TraceId]) -> Vec<u8> {
    let ids: Vec<String> =
        last_ids.iter().map(|id| format!("\"{}\"", STANDARD.encode(id.as_bytes()))).collect();
    format!("{{\"rowGroups\":[{}]}}", ids.join(",")).into_bytes()
}

fn write_object(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| WriteError::Io { path: path.to_owned(), source })
}
