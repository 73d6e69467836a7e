//! Leaves 47 to 102: spans.

use std::io;

use super::{
    Encoder,
    attributes::{Entries, put_attributes},
    page::LeafLevels,
    placement::{SPAN_STATIC, SPARES, Target},
    resources::{NULL, Slots, count_values},
    rows::Rows,
    thrift::Encoding,
    values::{Column, put_i32, put_i64_delta, put_i64_plain, put_span_ids, put_u64},
};
use crate::{columns::EMPTY, trace_index::PageCodec};

/// The attributes of all spans of a row group.
struct Split {
    entries: Entries,
    slots: Slots,
    status_codes: Vec<Option<i64>>,
}

impl Encoder<'_> {
    pub(super) fn put_spans(&mut self, rows: &Rows) -> io::Result<()> {
        let stream = &rows.spans;
        let column = Column { levels: LeafLevels::required(stream), starts: stream.item_starts() };
        self.put_identity(rows, column)?;
        self.put_times_and_status(rows, column)?;

        let split = self.split_spans(rows);
        put_attributes(self.context, &mut self.strings, &mut self.writer, stream, &split.entries)?;
        self.put_extra(rows, column, Encoding::DeltaBinaryPacked, |e| e.dropped_attributes)?;
        self.put_events(rows)?;
        self.put_extra(rows, column, Encoding::Plain, |e| e.dropped_events)?;
        self.put_links(rows)?;
        self.put_extra(rows, column, Encoding::Plain, |e| e.dropped_links)?;

        let (first, spares) = split.slots.split_at(SPAN_STATIC.len());
        first.iter().try_for_each(|slots| self.put_optional(stream, slots))?;
        self.put_status_codes(rows, &split.status_codes)?;
        spares.iter().try_for_each(|slots| self.put_optional(stream, slots))
    }

    /// Ids, nested set, name and kind.
    fn put_identity(&mut self, rows: &Rows, column: Column<'_>) -> io::Result<()> {
        let (spans, order) = (&self.context.columns.spans, &rows.ordered.spans);
        let writer = &mut self.writer;
        put_span_ids(writer, column, &gather(order, &spans.id))?;
        put_span_ids(writer, column, &gather(order, &spans.parent_id))?;
        let places = |of: fn(&crate::nested_set::Place) -> i32| -> Vec<u32> {
            rows.places.iter().map(|place| of(place).cast_unsigned()).collect()
        };
        put_i32(writer, column, Encoding::DeltaBinaryPacked, &places(|p| p.parent))?;
        put_i32(writer, column, Encoding::DeltaBinaryPacked, &places(|p| p.left))?;
        put_i32(writer, column, Encoding::DeltaBinaryPacked, &places(|p| p.right))?;
        self.strings.put(writer, column, PageCodec::Zstd, &gather(order, &spans.name))?;
        let kinds: Vec<u64> = order.iter().map(|&span| i64::from(spans.kind(span)).cast_unsigned()).collect();
        put_i64_delta(writer, column, &kinds)
    }

    fn put_times_and_status(&mut self, rows: &Rows, column: Column<'_>) -> io::Result<()> {
        let (spans, order) = (&self.context.columns.spans, &rows.ordered.spans);
        let writer = &mut self.writer;
        let text = |number: Option<u32>| number.unwrap_or(EMPTY);
        let trace_states: Vec<u32> =
            order.iter().map(|&s| text(spans.extra(s).and_then(|e| e.trace_state))).collect();
        self.strings.put_plain(writer, column, PageCodec::Zstd, &trace_states)?;
        let starts = gather(order, &spans.start);
        put_u64(writer, column, PageCodec::Zstd, &starts)?;
        let ends = gather(order, &spans.end);
        let durations: Vec<u64> =
            starts.iter().zip(&ends).map(|(start, end)| end.wrapping_sub(*start)).collect();
        put_u64(writer, column, PageCodec::Zstd, &durations)?;
        let codes: Vec<u64> =
            order.iter().map(|&span| i64::from(spans.status(span)).cast_unsigned()).collect();
        put_i64_delta(writer, column, &codes)?;
        let messages: Vec<u32> =
            order.iter().map(|&s| text(spans.extra(s).and_then(|e| e.status_message))).collect();
        self.strings.put_plain(writer, column, PageCodec::Zstd, &messages)
    }

    fn put_extra(
        &mut self,
        rows: &Rows,
        column: Column<'_>,
        encoding: Encoding,
        of: impl Fn(&crate::columns::Extra) -> u32,
    ) -> io::Result<()> {
        let spans = &self.context.columns.spans;
        let values: Vec<u32> = rows.ordered.spans.iter().map(|&s| spans.extra(s).map_or(0, &of)).collect();
        put_i32(&mut self.writer, column, encoding, &values)
    }

    fn put_status_codes(&mut self, rows: &Rows, codes: &[Option<i64>]) -> io::Result<()> {
        let stream = &rows.spans;
        let values: Vec<i64> = codes.iter().copied().flatten().collect();
        let own_def: Vec<u8> = codes.iter().map(|code| stream.full + u8::from(code.is_some())).collect();
        let levels = LeafLevels {
            stream: Some(stream),
            own_def: if values.is_empty() { None } else { Some(&own_def) },
            max_rep: stream.full,
            max_def: stream.full + 1,
        };
        let starts = count_values(stream, &own_def);
        put_i64_plain(&mut self.writer, Column { levels, starts: &starts }, &values)
    }

    /// Divides the spans' attributes. Of a key that comes twice, the first has the column.
    fn split_spans(&mut self, rows: &Rows) -> Split {
        let columns = self.context.columns;
        let order = &rows.ordered.spans;
        let mut split = Split {
            entries: Entries::default(),
            slots: vec![vec![NULL; order.len()]; SPAN_STATIC.len() + SPARES],
            status_codes: vec![None; order.len()],
        };
        for (item, &span) in order.iter().enumerate() {
            let before = split.entries.keys.len();
            let list = columns.spans.attributes[span as usize];
            let values = columns.attributes.list_values(list);
            for (&key, &value) in self.shapes.keys(list.shape).iter().zip(values) {
                match self.context.placement.span[key as usize] {
                    Target::Column(column) if split.slots[usize::from(column)][item] == NULL => {
                        split.slots[usize::from(column)][item] = value;
                    }
                    Target::StatusCode if split.status_codes[item].is_none() => {
                        split.status_codes[item] = Some(columns.attributes.int(value));
                    }
                    Target::Column(_) | Target::StatusCode | Target::Generic => {
                        split.entries.push(key, value)
                    }
                }
            }
            split.entries.end_item(before);
        }
        split
    }
}

fn gather<T: Copy>(order: &[u32], values: &[T]) -> Vec<T> {
    order.iter().map(|&span| values[span as usize]).collect()
}
