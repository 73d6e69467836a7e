//! From the head's columns to encoded row groups.
//!
//! Nothing is shredded value by value: every column of a row group is gathered from the head's arrays in the order of
//! the rows, strings as dictionary numbers all the way. `rows.rs` orders and derives, `levels.rs` has the nesting,
//! `page.rs` makes pages, the other modules write the leaves of `schema.rs` in its order.
//!
//! Only our own columns are read here, whose numbers are known to be in range.

mod attributes;
mod bits;
mod delta;
mod events;
mod levels;
mod metadata;
mod page;
mod placement;
mod resources;
mod rows;
mod spans;
mod thrift;
mod values;

use std::io;

use tempo_model::TraceId;

use self::{
    levels::Stream,
    page::{LeafLevels, PageWriter},
    placement::{ShapeKeys, Target},
    rows::{RowBuilder, Rows},
    values::{Column, StringEncoder, put_bytes, put_u32, put_u64},
};
pub(crate) use self::{metadata::close_chunk, page::EncodedRowGroup, placement::Placement};
use crate::{
    columns::{EMPTY, SpanColumns, TraceEntry},
    trace_index::PageCodec,
};

/// What all row groups of a block share.
#[derive(Debug)]
pub(crate) struct BlockContext<'a> {
    columns: &'a SpanColumns,
    placement: &'a Placement,
    /// Service name of each resource.
    services: Vec<u32>,
    spans_per_page: usize,
    /// Key and value of the attribute by which OpenTracing clients link to the parent.
    reference_key: Option<u32>,
    child_of: Option<u32>,
}

impl<'a> BlockContext<'a> {
    pub(crate) fn new(
        columns: &'a SpanColumns,
        placement: &'a Placement,
        spans_per_page: usize,
    ) -> BlockContext<'a> {
        let mut shapes = ShapeKeys::new(columns);
        let service = |list| {
            let keys = shapes.keys(list);
            keys.iter().position(|&key| placement.resource[key as usize] == Target::Column(0))
        };
        let services = columns.resources.iter().map(|r| r.attributes.shape).map(service);
        let services = services.zip(&columns.resources).map(|(at, resource)| {
            let values = columns.attributes.list_values(resource.attributes);
            at.map_or(EMPTY, |at| values[at])
        });
        BlockContext {
            columns,
            placement,
            services: services.collect(),
            spans_per_page: spans_per_page.max(1),
            reference_key: columns.attributes.strings.find(b"opentracing.ref_type"),
            child_of: columns.attributes.strings.find(b"child_of"),
        }
    }

    /// A span without parent id that names its parent by a link is no root.
    fn is_child_by_link(&self, span: u32, trace_id: &TraceId) -> bool {
        let (Some(reference_key), Some(child_of)) = (self.reference_key, self.child_of) else { return false };
        let attributes = &self.columns.attributes;
        let links = self.columns.spans.span_links(span).iter();
        links.filter(|link| link.trace_id.as_ref() == Some(trace_id.as_bytes())).any(|link| {
            let mut keys = Vec::new();
            attributes.shape_keys(link.attributes.shape, &mut keys);
            let values = attributes.list_values(link.attributes);
            keys.iter().zip(values).any(|(&key, &value)| {
                attributes.keys[key as usize].name == reference_key && value == child_of
            })
        })
    }
}

/// Encodes row groups, one after the other; one for each thread.
pub(crate) struct Encoder<'a> {
    context: &'a BlockContext<'a>,
    rows: RowBuilder<'a>,
    shapes: ShapeKeys<'a>,
    strings: StringEncoder<'a>,
    writer: PageWriter,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(context: &'a BlockContext<'a>, zstd_level: i32) -> io::Result<Encoder<'a>> {
        Ok(Encoder {
            context,
            rows: RowBuilder::new(context),
            shapes: ShapeKeys::new(context.columns),
            strings: StringEncoder::new(context.columns),
            writer: PageWriter::new(zstd_level)?,
        })
    }

    /// Encodes traces, which are sorted by id, as one row group; `reuse` gives its buffer.
    pub(crate) fn encode(
        &mut self,
        traces: &[(TraceId, TraceEntry)],
        reuse: Vec<u8>,
    ) -> io::Result<EncodedRowGroup> {
        let rows = self.rows.build(traces);
        self.writer.begin_row_group(rows.page_rows.clone(), reuse);
        self.put_rows(&rows)?;
        self.put_resources(&rows)?;
        self.put_scopes(&rows)?;
        self.put_spans(&rows)?;
        Ok(std::mem::take(&mut self.writer.out))
    }

    /// Leaves 0 to 9.
    fn put_rows(&mut self, rows: &Rows) -> io::Result<()> {
        let writer = &mut self.writer;
        let mut starts = vec![0];
        for page in &rows.page_rows {
            starts.push(starts.last().copied().unwrap_or(0) + page);
        }
        let flat = Column { levels: LeafLevels::FLAT, starts: &starts };
        let ids: Vec<&[u8; 16]> = rows.ids.iter().map(TraceId::as_bytes).collect();
        put_bytes(writer, flat, PageCodec::Uncompressed, &ids)?;
        let texts: Vec<String> =
            rows.ids.iter().map(|id| format!("{:x}", u128::from_be_bytes(*id.as_bytes()))).collect();
        put_bytes(writer, flat, PageCodec::Zstd, &texts)?;
        put_u64(writer, flat, PageCodec::Uncompressed, &rows.start)?;
        put_u64(writer, flat, PageCodec::Uncompressed, &rows.end)?;
        let durations: Vec<u64> = rows.start.iter().zip(&rows.end).map(|(s, e)| e.wrapping_sub(*s)).collect();
        put_u64(writer, flat, PageCodec::Uncompressed, &durations)?;
        self.strings.put(writer, flat, PageCodec::Zstd, &rows.root_service)?;
        self.strings.put(writer, flat, PageCodec::Zstd, &rows.root_name)?;

        let traces = Stream::dense(vec![0; rows.ids.len()], 0, starts);
        let services = traces.children(&rows.service_counts);
        let column = Column { levels: LeafLevels::required(&services), starts: services.item_starts() };
        let names: Vec<u32> = rows.services.iter().map(|s| s.name).collect();
        self.strings.put_plain(writer, column, PageCodec::Zstd, &names)?;
        let spans: Vec<u32> = rows.services.iter().map(|s| s.spans).collect();
        put_u32(writer, column, &spans)?;
        let errors: Vec<u32> = rows.services.iter().map(|s| s.errors).collect();
        put_u32(writer, column, &errors)
    }
}
