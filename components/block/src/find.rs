//! Finds one trace in a block.
//!
//! With a sidecar: bloom, sidecar, one read of the pages; the bloom is skipped once the sidecar is in memory, because
//! the sidecar knows exactly. Without: bloom, footer and page index, the page of trace ids, the row's pages. Only the
//! planned leaves' pages of that one row are read and decoded; dictionaries are kept decompressed for the next row of
//! their row group, and what the sidecar knows to hold no value is not read at all. A row's own trace id is compared with the wanted one
//! before it is returned, so that no damage can yield another trace.

use std::{ops::Range, sync::Arc};

use tempo_backend::keys;
use tempo_model::{TraceId, trace::Trace};

use crate::{
    cache::ChunkId,
    decode::{
        DecodeError,
        column::{ChunkRow, DictionaryPage, LeafRow, Scratch},
        footer::{Chunk, Codec, RowGroup},
        layout::{Column, Plan, PlannedLeaf},
        trace,
        values::Dictionary,
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

/// Where a row is: by planned leaf its pages, or `None` for a leaf without any value in the row group.
struct RowPlace {
    row_group: u32,
    leaves: Vec<Option<LeafRanges>>,
}

/// Where one leaf's part of a row is.
struct LeafRanges {
    codec: Codec,
    dictionary: Option<DictionaryPlace>,
    pages: Range<u64>,
    row: u64,
}

#[derive(Clone)]
enum DictionaryPlace {
    InFile(Range<u64>),
    Known(Arc<Dictionary>),
}

/// A dictionary that was decompressed, and of which leaf of the plan it is.
type Opened = (Column, Arc<Dictionary>);

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
        let place = sidecar_place(sidecar, location);
        let place = place.ok_or_else(|| self.reader.damaged(keys::SIDECAR, "a row has no pages"))?;
        let wanted = Wanted::new(SIDECAR_MAX_GAP, max_requests);
        self.read_row(PlanOwner::Sidecar(Arc::clone(sidecar)), place, wanted).await.map(Some)
    }

    async fn find_by_footer(&self, footer: &Arc<CachedFooter>) -> Result<Option<Trace>, ReadError> {
        let Some((row_group, group, row)) = self.find_row(footer).await? else { return Ok(None) };
        let leaves = footer.plan.leaves.iter().map(|planned| footer_ranges(group, planned, row).map(Some));
        let leaves = leaves.collect::<Option<Vec<_>>>();
        let leaves =
            leaves.ok_or_else(|| self.reader.damaged(keys::DATA, "a row group has too few columns"))?;
        let wanted = Wanted::new(PAGES_MAX_GAP, PAGES_MAX_REQUESTS);
        let place = RowPlace { row_group, leaves };
        self.read_row(PlanOwner::Footer(Arc::clone(footer)), place, wanted).await.map(Some)
    }

    /// The row group and row of the trace, by reading the pages of trace ids that may have it.
    async fn find_row<'f>(
        &self,
        footer: &'f CachedFooter,
    ) -> Result<Option<(u32, &'f RowGroup, u64)>, ReadError> {
        let Some(planned) = footer.plan.leaves.get(footer.plan.trace.trace_id) else { return Ok(None) };
        for (number, (group, bounds)) in (0..).zip(footer.footer.row_groups.iter().zip(&footer.trace_ids)) {
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
                    return Ok(Some((number, group, first_row + row)));
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
        let dictionary = chunk.dictionary.clone().map(DictionaryPlace::InFile);
        let ranges = LeafRanges { codec: chunk.codec, dictionary, pages, row: 0 };
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
        mut place: RowPlace,
        mut wanted: Wanted,
    ) -> Result<Trace, ReadError> {
        let (cache, block) = (&self.reader.cache, self.reader.meta.block_id);
        let row_group = place.row_group;
        let chunk = |planned: &PlannedLeaf| ChunkId { row_group, leaf: planned.file_index };
        for (planned, leaf) in owner.plan().leaves.iter().zip(&mut place.leaves) {
            let Some(leaf) = leaf else { continue };
            if leaf.dictionary.is_some()
                && let Some(dictionary) = cache.known_dictionary(block, chunk(planned)).await
            {
                leaf.dictionary = Some(DictionaryPlace::Known(dictionary));
            }
            leaf.want(&mut wanted);
        }
        let fetched = self.reader.fetch(&wanted, &self.inspected).await?;
        let (bytes, decoding) = (fetched.bytes(), owner.clone());
        let decode = move || decode_row(decoding.plan(), &place.leaves, &fetched);
        let (found, trace, opened) = self.decode(decode, bytes).await?;
        if found != self.id {
            let problem = format!("trace {found} is where {} should be", self.id);
            return Err(self.reader.damaged(keys::DATA, problem));
        }
        for (column, dictionary) in opened {
            if let Some(planned) = owner.plan().leaves.get(column) {
                cache.remember_dictionary(block, chunk(planned), dictionary).await;
            }
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
#[derive(Clone)]
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
        if let Some(DictionaryPlace::InFile(dictionary)) = &self.dictionary {
            wanted.push(dictionary.clone());
        }
    }

    fn fetched(&self, fetched: &Fetched) -> Result<ChunkRow, DecodeError> {
        let part = |range: &Range<u64>| {
            fetched.part(range).ok_or_else(|| DecodeError::new(range.start, "page was not fetched"))
        };
        let dictionary = match &self.dictionary {
            Some(DictionaryPlace::InFile(range)) => Some(DictionaryPage::Fetched(part(range)?)),
            Some(DictionaryPlace::Known(dictionary)) => Some(DictionaryPage::Known(Arc::clone(dictionary))),
            None => None,
        };
        Ok(ChunkRow { codec: self.codec, dictionary, pages: part(&self.pages)?, row: self.row })
    }
}

fn sidecar_place(sidecar: &Sidecar, location: Location) -> Option<RowPlace> {
    let group = sidecar.index.row_group(location.row_group)?;
    let ranges = |planned: &PlannedLeaf| {
        let leaf = group.leaves.get(planned.file_index)?;
        if group.is_without_values(leaf) && planned.parent.is_some() {
            return Some(None);
        }
        let page = leaf.page_of(location.row)?;
        let codec = match leaf.codec {
            PageCodec::Uncompressed => Codec::Uncompressed,
            PageCodec::Snappy => Codec::Snappy,
            PageCodec::Zstd => Codec::Zstd,
        };
        let row = location.row.checked_sub(page.first_row)?;
        let dictionary = leaf.dictionary.clone().map(DictionaryPlace::InFile);
        Some(Some(LeafRanges { codec, dictionary, pages: page.bytes.clone(), row }))
    };
    let leaves = sidecar.plan.leaves.iter().map(ranges).collect::<Option<_>>()?;
    Some(RowPlace { row_group: location.row_group, leaves })
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
    let dictionary = chunk.dictionary.clone().map(DictionaryPlace::InFile);
    Some(LeafRanges { codec: chunk.codec, dictionary, pages, row: row - first_row })
}

fn decode_row(
    plan: &Plan,
    ranges: &[Option<LeafRanges>],
    fetched: &Fetched,
) -> Result<(TraceId, Trace, Vec<Opened>), DecodeError> {
    let mut scratch = Scratch::default();
    let mut opened = Vec::new();
    let mut rows = Vec::with_capacity(ranges.len());
    for (column, (planned, leaf)) in plan.leaves.iter().zip(ranges).enumerate() {
        let Some(leaf) = leaf else {
            rows.push(None);
            continue;
        };
        let row = leaf.fetched(fetched).and_then(|row| row.decode(&planned.leaf, &mut scratch));
        rows.push(Some(row.map_err(|error| error.in_column(&planned.leaf.path))?));
        // One that lies among data pages is not known beforehand, so it would not be looked up.
        let dictionary = scratch.take_opened().filter(|_| leaf.dictionary.is_some());
        opened.extend(dictionary.map(|dictionary| (column, dictionary)));
    }
    for column in 0..rows.len() {
        if let Some(row) = row_without_values(plan, &rows, column)
            && let Some(place) = rows.get_mut(column)
        {
            *place = Some(row);
        }
    }
    let rows = rows.into_iter().collect::<Option<Vec<_>>>();
    let rows = rows.ok_or_else(|| DecodeError::new(0, "all columns of a group are without values"))?;
    let (id, trace) = trace::assemble(plan, rows)?;
    Ok((id, trace, opened))
}

/// The row of a column that was not read: its levels are those of the nearest group around it that has values.
/// `None` for a column that has its row.
fn row_without_values(plan: &Plan, rows: &[Option<LeafRow>], column: Column) -> Option<LeafRow> {
    if rows.get(column)?.is_some() {
        return None;
    }
    let mut driver = plan.leaves.get(column)?.parent?;
    // Parents are drivers of ever larger groups, so this ends.
    for _ in 0..rows.len() {
        if let Some(row) = rows.get(driver)? {
            return Some(LeafRow::without_values(row));
        }
        driver = plan.leaves.get(driver)?.parent?;
    }
    None
}
