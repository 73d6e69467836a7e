//! Finds one trace in a block.
//!
//! With a sidecar: bloom, sidecar, one read of the pages; the bloom is skipped once the sidecar is in memory, because
//! the sidecar knows exactly. Without: bloom, footer and page index, the page of trace ids, the row's pages. Only the
//! planned leaves' pages of that one row are read and decoded. A row's own trace id is compared with the wanted one
//! before it is returned, so that no damage can yield another trace.

use std::{ops::Range, sync::Arc};

use tempo_backend::keys;
use tempo_model::{TraceId, trace::Trace};

use crate::{
    decode::{
        DecodeError,
        column::{ChunkRow, Scratch},
        footer::{Chunk, Codec, RowGroup},
        layout::{Plan, PlannedLeaf},
        trace,
    },
    reader::{
        BlockReader, Found, Inspected, ReadError,
        footer::CachedFooter,
        ranges::{Fetched, Wanted},
        sidecar::Sidecar,
    },
    trace_index::{Location, PageCodec},
};

/// Of a sidecar's row group everything between the first and the last page is read at once, unless a gap of this size
/// saves more than a second request costs.
const SIDECAR_MAX_GAP: u64 = 1 << 20;
/// Without a sidecar the reads of a row's pages: gaps up to this size are read along, and so many requests at most
/// are under way together.
const PAGES_MAX_GAP: u64 = 64 << 10;
const PAGES_MAX_REQUESTS: usize = 16;
/// More fetched bytes than this are decoded on the blocking pool.
const INLINE_DECODE_BYTES: usize = 32 << 10;

/// Where one leaf's part of a row is.
struct LeafRanges {
    codec: Codec,
    dictionary: Option<Range<u64>>,
    pages: Range<u64>,
    row: u64,
}

impl BlockReader {
    /// Finds a trace. Cancel-safe.
    pub async fn find_trace(&self, id: &TraceId) -> Result<Found, ReadError> {
        let search = Search { reader: self, id: *id, inspected: Inspected::default() };
        let trace = search.find().await?;
        Ok(Found { trace, inspected_bytes: search.inspected.bytes() })
    }
}

/// One search for one trace.
struct Search<'r> {
    reader: &'r BlockReader,
    id: TraceId,
    inspected: Inspected,
}

impl Search<'_> {
    async fn find(&self) -> Result<Option<Trace>, ReadError> {
        let BlockReader { cache, meta, backend: _ } = self.reader;
        if let Some(Some(sidecar)) = cache.known_sidecar(meta.block_id).await {
            return self.find_by_sidecar(&sidecar, 2).await;
        }
        if !self.reader.bloom_has(&self.id, &self.inspected).await? {
            return Ok(None);
        }
        let load = self.reader.load_sidecar(&self.inspected);
        if let Some(sidecar) = cache.sidecar(meta.block_id, load).await? {
            // Bloom and sidecar were read for this: a third and last read.
            return self.find_by_sidecar(&sidecar, 1).await;
        }
        let footer = cache.footer(meta.block_id, self.reader.load_footer(&self.inspected)).await?;
        self.find_by_footer(&footer).await
    }

    async fn find_by_sidecar(
        &self,
        sidecar: &Arc<Sidecar>,
        max_requests: usize,
    ) -> Result<Option<Trace>, ReadError> {
        let Some(location) = sidecar.index.lookup(&self.id) else { return Ok(None) };
        let ranges = sidecar_ranges(sidecar, location);
        let ranges = ranges.ok_or_else(|| self.reader.damaged(keys::SIDECAR, "a row has no pages"))?;
        let wanted = Wanted::new(SIDECAR_MAX_GAP, max_requests);
        self.read_row(PlanOwner::Sidecar(Arc::clone(sidecar)), ranges, wanted).await.map(Some)
    }

    async fn find_by_footer(&self, footer: &Arc<CachedFooter>) -> Result<Option<Trace>, ReadError> {
        let Some((group, row)) = self.find_row(footer).await? else { return Ok(None) };
        let ranges = footer.plan.leaves.iter().map(|planned| footer_ranges(group, planned, row));
        let ranges = ranges.collect::<Option<Vec<_>>>();
        let ranges =
            ranges.ok_or_else(|| self.reader.damaged(keys::DATA, "a row group has too few columns"))?;
        let wanted = Wanted::new(PAGES_MAX_GAP, PAGES_MAX_REQUESTS);
        self.read_row(PlanOwner::Footer(Arc::clone(footer)), ranges, wanted).await.map(Some)
    }

    /// The row group and row of the trace, by reading the pages of trace ids that may have it.
    async fn find_row<'f>(&self, footer: &'f CachedFooter) -> Result<Option<(&'f RowGroup, u64)>, ReadError> {
        let Some(planned) = footer.plan.leaves.get(footer.plan.trace.trace_id) else { return Ok(None) };
        for (group, bounds) in footer.footer.row_groups.iter().zip(&footer.trace_ids) {
            let Some(chunk) = group.chunks.get(planned.file_index) else { continue };
            let candidates: Vec<(Range<u64>, u64)> = match (bounds, &chunk.pages) {
                (Some(bounds), Some(pages)) => bounds
                    .pages_with(self.id)
                    .filter_map(|n| pages.iter().nth(n))
                    .map(|page| (page.range(), page.first_row))
                    .collect(),
                (Some(_), None) | (None, _) => vec![(chunk.data.clone(), 0)],
            };
            for (pages, first_row) in candidates {
                if let Some(row) = self.find_in_pages(planned, chunk, pages).await? {
                    return Ok(Some((group, first_row + row)));
                }
            }
        }
        Ok(None)
    }

    async fn find_in_pages(
        &self,
        planned: &PlannedLeaf,
        chunk: &Chunk,
        pages: Range<u64>,
    ) -> Result<Option<u64>, ReadError> {
        let ranges = LeafRanges { codec: chunk.codec, dictionary: chunk.dictionary.clone(), pages, row: 0 };
        let mut wanted = Wanted::new(PAGES_MAX_GAP, PAGES_MAX_REQUESTS);
        ranges.want(&mut wanted);
        let fetched = self.reader.fetch(&wanted, &self.inspected).await?;
        let (id, leaf, bytes) = (self.id, planned.leaf.clone(), fetched.bytes());
        let search = move || {
            let row = ranges.fetched(&fetched)?.find_string(&leaf, id.as_bytes());
            row.map_err(|error| error.in_column(&leaf.path))
        };
        self.decode(search, bytes).await
    }

    /// Fetches and decodes one row.
    async fn read_row(
        &self,
        owner: PlanOwner,
        ranges: Vec<LeafRanges>,
        mut wanted: Wanted,
    ) -> Result<Trace, ReadError> {
        for leaf in &ranges {
            leaf.want(&mut wanted);
        }
        let fetched = self.reader.fetch(&wanted, &self.inspected).await?;
        let bytes = fetched.bytes();
        let (found, trace) = self.decode(move || decode_row(owner.plan(), &ranges, &fetched), bytes).await?;
        if found != self.id {
            let problem = format!("trace {found} is where {} should be", self.id);
            return Err(self.reader.damaged(keys::DATA, problem));
        }
        Ok(trace)
    }

    /// Runs a decoder, on the blocking pool if there is much to do.
    async fn decode<T: Send + 'static>(
        &self,
        decoder: impl FnOnce() -> Result<T, DecodeError> + Send + 'static,
        bytes: usize,
    ) -> Result<T, ReadError> {
        let decoded = if bytes > INLINE_DECODE_BYTES {
            tokio::task::spawn_blocking(decoder).await.map_err(|_| ReadError::Stopped)?
        } else {
            decoder()
        };
        decoded.map_err(|error| self.reader.damaged_data(&error))
    }
}

/// Keeps a plan alive while it is used on another thread.
enum PlanOwner {
    Sidecar(Arc<Sidecar>),
    Footer(Arc<CachedFooter>),
}

impl PlanOwner {
    fn plan(&self) -> &Plan {
        match self {
            PlanOwner::Sidecar(sidecar) => &sidecar.plan,
            PlanOwner::Footer(footer) => &footer.plan,
        }
    }
}

impl LeafRanges {
    fn want(&self, wanted: &mut Wanted) {
        wanted.push(self.pages.clone());
        if let Some(dictionary) = &self.dictionary {
            wanted.push(dictionary.clone());
        }
    }

    fn fetched(&self, fetched: &Fetched) -> Result<ChunkRow, DecodeError> {
        let part = |range: &Range<u64>| {
            fetched.part(range).ok_or_else(|| DecodeError::new(range.start, "page was not fetched"))
        };
        let dictionary = self.dictionary.as_ref().map(part).transpose()?;
        Ok(ChunkRow { codec: self.codec, dictionary, pages: part(&self.pages)?, row: self.row })
    }
}

fn sidecar_ranges(sidecar: &Sidecar, location: Location) -> Option<Vec<LeafRanges>> {
    let group = sidecar.index.row_group(location.row_group)?;
    let ranges = |planned: &PlannedLeaf| {
        let leaf = group.leaves.get(planned.file_index)?;
        let page = leaf.page_of(location.row)?;
        let codec = match leaf.codec {
            PageCodec::Uncompressed => Codec::Uncompressed,
            PageCodec::Snappy => Codec::Snappy,
            PageCodec::Zstd => Codec::Zstd,
        };
        let row = location.row.checked_sub(page.first_row)?;
        Some(LeafRanges { codec, dictionary: leaf.dictionary.clone(), pages: page.bytes.clone(), row })
    };
    sidecar.plan.leaves.iter().map(ranges).collect()
}

/// A leaf's page with a row; without an offset index all pages of the chunk.
fn footer_ranges(group: &RowGroup, planned: &PlannedLeaf, row: u64) -> Option<LeafRanges> {
    let chunk = group.chunks.get(planned.file_index)?;
    let (pages, first_row) = match &chunk.pages {
        Some(pages) => {
            let page = pages.page_of(row)?;
            (page.range(), page.first_row)
        }
        None => (chunk.data.clone(), 0),
    };
    let dictionary = chunk.dictionary.clone();
    Some(LeafRanges { codec: chunk.codec, dictionary, pages, row: row - first_row })
}

fn decode_row(
    plan: &Plan,
    ranges: &[LeafRanges],
    fetched: &Fetched,
) -> Result<(TraceId, Trace), DecodeError> {
    let mut scratch = Scratch::default();
    let mut rows = Vec::with_capacity(ranges.len());
    for (planned, leaf) in plan.leaves.iter().zip(ranges) {
        let row = leaf.fetched(fetched).and_then(|row| row.decode(&planned.leaf, &mut scratch));
        rows.push(row.map_err(|error| error.in_column(&planned.leaf.path))?);
    }
    trace::assemble(plan, rows)
}
