//! Leaves 67 to 76 and 78 to 88: events and links of spans.

use std::io;

use super::{
    Encoder,
    attributes::{Entries, put_attributes},
    page::LeafLevels,
    rows::Rows,
    thrift::Encoding,
    values::{Column, put_bytes, put_i32, put_span_ids, put_u64},
};
use crate::{
    columns::{EMPTY, Event, Link},
    trace_index::PageCodec,
};

impl Encoder<'_> {
    pub(super) fn put_events(&mut self, rows: &Rows) -> io::Result<()> {
        let spans = &self.context.columns.spans;
        let mut events: Vec<Event> = Vec::new();
        let mut since_start = Vec::new();
        let mut counts = Vec::with_capacity(rows.ordered.spans.len());
        for &span in &rows.ordered.spans {
            let of_span = spans.span_events(span);
            let start = spans.start[span as usize];
            counts.push(count(of_span.len()));
            events.extend_from_slice(of_span);
            since_start.extend(of_span.iter().map(|event| event.time.wrapping_sub(start)));
        }
        let stream = rows.spans.children(&counts);
        let column = Column { levels: LeafLevels::required(&stream), starts: stream.item_starts() };
        put_u64(&mut self.writer, column, PageCodec::Zstd, &since_start)?;
        let names: Vec<u32> = events.iter().map(|event| event.name).collect();
        self.strings.put(&mut self.writer, column, PageCodec::Zstd, &names)?;
        let mut entries = Entries::default();
        events.iter().for_each(|event| self.push_all(event.attributes, &mut entries));
        put_attributes(self.context, &mut self.strings, &mut self.writer, &stream, &entries)?;
        let dropped: Vec<u32> = events.iter().map(|event| event.dropped_attributes).collect();
        put_i32(&mut self.writer, column, Encoding::DeltaBinaryPacked, &dropped)
    }

    pub(super) fn put_links(&mut self, rows: &Rows) -> io::Result<()> {
        let spans = &self.context.columns.spans;
        let mut links: Vec<Link> = Vec::new();
        let mut counts = Vec::with_capacity(rows.ordered.spans.len());
        for &span in &rows.ordered.spans {
            counts.push(count(spans.span_links(span).len()));
            links.extend_from_slice(spans.span_links(span));
        }
        let stream = rows.spans.children(&counts);
        let column = Column { levels: LeafLevels::required(&stream), starts: stream.item_starts() };
        let trace_ids: Vec<&[u8]> =
            links.iter().map(|link| link.trace_id.as_ref().map_or(&[][..], |id| id)).collect();
        put_bytes(&mut self.writer, column, PageCodec::Zstd, &trace_ids)?;
        let span_ids: Vec<u64> = links.iter().map(|link| link.span_id).collect();
        put_span_ids(&mut self.writer, column, &span_ids)?;
        let trace_states: Vec<u32> = links.iter().map(|link| link.trace_state.unwrap_or(EMPTY)).collect();
        self.strings.put_plain(&mut self.writer, column, PageCodec::Zstd, &trace_states)?;
        let mut entries = Entries::default();
        links.iter().for_each(|link| self.push_all(link.attributes, &mut entries));
        put_attributes(self.context, &mut self.strings, &mut self.writer, &stream, &entries)?;
        let dropped: Vec<u32> = links.iter().map(|link| link.dropped_attributes).collect();
        put_i32(&mut self.writer, column, Encoding::DeltaBinaryPacked, &dropped)
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("a span has less than 4 GiB")
}
