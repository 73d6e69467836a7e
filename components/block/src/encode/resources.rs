//! Leaves 10 to 46: resources and scopes.

use std::io;

use super::{
    Encoder,
    attributes::{Entries, put_attributes},
    levels::Stream,
    page::LeafLevels,
    placement::{RESOURCE_STATIC, SPARES, Target},
    rows::Rows,
    thrift::Encoding,
    values::{Column, put_i32},
};
use crate::{
    columns::{AttributeList, EMPTY},
    trace_index::PageCodec,
};

/// No value in an optional column.
pub(super) const NULL: u32 = u32::MAX;

/// Attributes with a column of their own: the string of each item, or [`NULL`], by column.
pub(super) type Slots = Vec<Vec<u32>>;

impl Encoder<'_> {
    /// Leaves 10 to 36.
    pub(super) fn put_resources(&mut self, rows: &Rows) -> io::Result<()> {
        let resources = &self.context.columns.resources;
        let groups = &rows.ordered.resources;
        let mut entries = Entries::default();
        let mut slots = vec![vec![NULL; groups.len()]; RESOURCE_STATIC.len() + SPARES];
        let mut dropped = Vec::with_capacity(groups.len());
        for (item, group) in groups.iter().enumerate() {
            let resource = resources[group.resource as usize];
            self.split(resource.attributes, item, &mut slots, &mut entries);
            dropped.push(resource.dropped_attributes);
        }
        let stream = &rows.resources;
        put_attributes(self.context, &mut self.strings, &mut self.writer, stream, &entries)?;
        let required = Column { levels: LeafLevels::required(stream), starts: stream.item_starts() };
        put_i32(&mut self.writer, required, Encoding::DeltaBinaryPacked, &dropped)?;

        let (services, optional) = slots.split_at_mut(1);
        for service in services.iter_mut().flatten().filter(|s| **s == NULL) {
            *service = EMPTY;
        }
        self.strings.put(&mut self.writer, required, PageCodec::Zstd, &services[0])?;
        optional.iter().try_for_each(|column| self.put_optional(stream, column))
    }

    /// Leaves 37 to 46.
    pub(super) fn put_scopes(&mut self, rows: &Rows) -> io::Result<()> {
        let groups = &rows.ordered.scopes;
        let scopes: Vec<_> = groups.iter().map(|g| self.context.columns.scopes[g.scope as usize]).collect();
        let stream = &rows.scopes;
        let required = Column { levels: LeafLevels::required(stream), starts: stream.item_starts() };
        let names: Vec<u32> = scopes.iter().map(|s| s.name).collect();
        self.strings.put(&mut self.writer, required, PageCodec::Zstd, &names)?;
        let versions: Vec<u32> = scopes.iter().map(|s| s.version).collect();
        self.strings.put(&mut self.writer, required, PageCodec::Zstd, &versions)?;
        let mut entries = Entries::default();
        scopes.iter().for_each(|scope| self.push_all(scope.attributes, &mut entries));
        put_attributes(self.context, &mut self.strings, &mut self.writer, stream, &entries)?;
        let dropped: Vec<u32> = scopes.iter().map(|s| s.dropped_attributes).collect();
        put_i32(&mut self.writer, required, Encoding::DeltaBinaryPacked, &dropped)
    }

    /// Writes an optional column of a level where every entry is an item.
    pub(super) fn put_optional(&mut self, stream: &Stream, slots: &[u32]) -> io::Result<()> {
        let values: Vec<u32> = slots.iter().copied().filter(|&s| s != NULL).collect();
        let own_def: Vec<u8> = slots.iter().map(|&s| stream.full + u8::from(s != NULL)).collect();
        let levels = LeafLevels {
            stream: Some(stream),
            own_def: if values.is_empty() { None } else { Some(&own_def) },
            max_rep: stream.full,
            max_def: stream.full + 1,
        };
        let starts = count_values(stream, &own_def);
        self.strings.put(&mut self.writer, Column { levels, starts: &starts }, PageCodec::Zstd, &values)
    }

    /// Adds all of a list's attributes to the generic ones.
    pub(super) fn push_all(&mut self, list: AttributeList, entries: &mut Entries) {
        let before = entries.keys.len();
        entries.keys.extend_from_slice(self.shapes.keys(list.shape));
        entries.values.extend_from_slice(self.context.columns.attributes.list_values(list));
        entries.end_item(before);
    }

    /// Divides a resource's attributes. Of a key that comes twice, the first has the column.
    fn split(&mut self, list: AttributeList, item: usize, slots: &mut Slots, entries: &mut Entries) {
        let before = entries.keys.len();
        let values = self.context.columns.attributes.list_values(list);
        for (&key, &value) in self.shapes.keys(list.shape).iter().zip(values) {
            match self.context.placement.resource[key as usize] {
                Target::Column(column) if slots[usize::from(column)][item] == NULL => {
                    slots[usize::from(column)][item] = value;
                }
                Target::Column(_) | Target::StatusCode | Target::Generic => entries.push(key, value),
            }
        }
        entries.end_item(before);
    }
}

/// First value of each page of an optional column, and their number.
pub(super) fn count_values(stream: &Stream, own_def: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    for page in stream.pages() {
        let values = own_def[page].iter().filter(|&&def| def > stream.full).count();
        starts.push(starts.last().copied().unwrap_or(0) + values);
    }
    starts
}
