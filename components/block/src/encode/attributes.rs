//! The seven columns of a generic attribute list: key, is-array, four lists of values by type, and what fits none.
//!
//! A scalar is one entry in the list of its type; a list of scalars of one type is its entries, marked as an array; anything
//! else (mixed or nested lists, maps, bytes, unset) is its protobuf JSON.

use std::io;

use prost::Message;
use tempo_model::json;
use tempo_proto::common::{AnyValue, any_value};

use super::{
    BlockContext,
    levels::{Part, Stream},
    page::{LeafLevels, PageWriter},
    values::{Column, StringEncoder, put_bool, put_bytes, put_f64, put_i64_plain},
};
use crate::{columns::Kind, trace_index::PageCodec};

/// The generic attributes of the items of a stream.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// How many each item has.
    pub(super) counts: Vec<u32>,
    pub(super) keys: Vec<u32>,
    pub(super) values: Vec<u32>,
}

impl Entries {
    pub(super) fn push(&mut self, key: u32, value: u32) {
        self.keys.push(key);
        self.values.push(value);
    }

    /// Ends the list of an item that began when there were `before` entries.
    pub(super) fn end_item(&mut self, before: usize) {
        self.counts
            .push(u32::try_from(self.keys.len() - before).expect("values of a head have 32-bit numbers"));
    }
}

/// What one type's list column holds.
#[derive(Debug)]
struct Typed<T> {
    /// Entries by attribute, if an array makes that other than 0 or 1.
    counts: Option<Vec<u32>>,
    values: Vec<T>,
}

#[derive(Debug)]
struct Lists {
    is_array: Vec<bool>,
    /// By attribute, the type that has entries.
    kinds: Vec<Option<Kind>>,
    strings: Typed<u32>,
    ints: Typed<i64>,
    doubles: Typed<f64>,
    bools: Typed<bool>,
    unsupported: Vec<String>,
}

/// Writes the seven chunks of the lists in the items of `owners`.
pub(super) fn put_attributes(
    context: &BlockContext<'_>,
    strings: &mut StringEncoder<'_>,
    writer: &mut PageWriter,
    owners: &Stream,
    entries: &Entries,
) -> io::Result<()> {
    let stream = owners.children(&entries.counts);
    let lists = collect(context, strings, entries);
    let required = Column { levels: LeafLevels::required(&stream), starts: stream.item_starts() };
    let names: Vec<u32> =
        entries.keys.iter().map(|&key| context.columns.attributes.keys[key as usize].name).collect();
    strings.put(writer, required, PageCodec::Zstd, &names)?;
    put_bool(writer, required, &lists.is_array)?;

    let list = ListColumn { stream: &stream, kinds: &lists.kinds };
    list.put(Kind::String, &lists.strings, |column, values| {
        strings.put(writer, column, PageCodec::Zstd, values)
    })?;
    list.put(Kind::Int, &lists.ints, |column, values| put_i64_plain(writer, column, values))?;
    list.put(Kind::Double, &lists.doubles, |column, values| put_f64(writer, column, values))?;
    list.put(Kind::Bool, &lists.bools, |column, values| put_bool(writer, column, values))?;

    let (own_def, starts) = own_levels(&stream, &lists.kinds, Kind::Encoded);
    let levels = LeafLevels {
        stream: Some(&stream),
        own_def: if lists.unsupported.is_empty() { None } else { Some(&own_def) },
        max_rep: stream.full,
        max_def: stream.full + 1,
    };
    put_bytes(writer, Column { levels, starts: &starts }, PageCodec::Zstd, &lists.unsupported)
}

/// One of the four lists of values.
struct ListColumn<'a> {
    stream: &'a Stream,
    kinds: &'a [Option<Kind>],
}

impl ListColumn<'_> {
    fn put<T>(
        &self,
        kind: Kind,
        typed: &Typed<T>,
        put: impl FnOnce(Column<'_>, &[T]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(counts) = &typed.counts {
            let stream = self.stream.children(counts);
            let column = Column { levels: LeafLevels::required(&stream), starts: stream.item_starts() };
            return put(column, &typed.values);
        }
        let (own_def, starts) = own_levels(self.stream, self.kinds, kind);
        let levels = LeafLevels {
            stream: Some(self.stream),
            own_def: if typed.values.is_empty() { None } else { Some(&own_def) },
            max_rep: self.stream.full + 1,
            max_def: self.stream.full + 1,
        };
        put(Column { levels, starts: &starts }, &typed.values)
    }
}

/// Definition levels of a column that has one value for each attribute of a type, and the first value of each page.
fn own_levels(stream: &Stream, kinds: &[Option<Kind>], wanted: Kind) -> (Vec<u8>, Vec<usize>) {
    let mut kinds = kinds.iter();
    let mut def = Vec::with_capacity(stream.def.len());
    let mut starts = Vec::with_capacity(stream.page_count() + 1);
    let mut values = 0;
    for page in 0..stream.page_count() {
        starts.push(values);
        for &level in &stream.def[stream.entries_of(Part::Page(page))] {
            let has_value = level == stream.full && kinds.next() == Some(&Some(wanted));
            values += usize::from(has_value);
            def.push(level + u8::from(has_value));
        }
    }
    starts.push(values);
    (def, starts)
}

fn collect(context: &BlockContext<'_>, strings: &mut StringEncoder<'_>, entries: &Entries) -> Lists {
    let attributes = &context.columns.attributes;
    let count = entries.keys.len();
    let mut lists = Lists {
        is_array: vec![false; count],
        kinds: Vec::with_capacity(count),
        strings: Typed { counts: None, values: Vec::new() },
        ints: Typed { counts: None, values: Vec::new() },
        doubles: Typed { counts: None, values: Vec::new() },
        bools: Typed { counts: None, values: Vec::new() },
        unsupported: Vec::new(),
    };
    for (at, (&key, &value)) in entries.keys.iter().zip(&entries.values).enumerate() {
        let kind = attributes.keys[key as usize].kind;
        match kind {
            Kind::String => lists.strings.values.push(value),
            Kind::Int => lists.ints.values.push(attributes.int(value)),
            Kind::Double => lists.doubles.values.push(attributes.double(value)),
            Kind::Bool => lists.bools.values.push(value != 0),
            Kind::Encoded => {
                let value = AnyValue::decode(attributes.encoded.get(value)).unwrap_or_default();
                let kind = lists.push_encoded(strings, &value, at);
                lists.kinds.push(kind);
                continue;
            }
        }
        lists.kinds.push(Some(kind));
        lists.count_scalar(kind);
    }
    let fill = |counts: &mut Option<Vec<u32>>| {
        if let Some(counts) = counts {
            counts.resize(count, 0);
        }
    };
    fill(&mut lists.strings.counts);
    fill(&mut lists.ints.counts);
    fill(&mut lists.doubles.counts);
    fill(&mut lists.bools.counts);
    lists
}

impl Lists {
    /// Adds a value that is no scalar; returns the type whose list it is in.
    fn push_encoded(&mut self, strings: &mut StringEncoder<'_>, value: &AnyValue, at: usize) -> Option<Kind> {
        use any_value::Value::{ArrayValue, BoolValue, DoubleValue, IntValue, StringValue};

        if let Some(ArrayValue(array)) = &value.value {
            let values: Vec<&any_value::Value> =
                array.values.iter().filter_map(|v| v.value.as_ref()).collect();
            let is_whole = values.len() == array.values.len();
            self.is_array[at] = true;
            match values.first() {
                None if is_whole => return None,
                Some(StringValue(_)) if is_whole && values.iter().all(|v| matches!(v, StringValue(_))) => {
                    let texts =
                        values.iter().filter_map(|v| if let StringValue(s) = v { Some(s) } else { None });
                    self.strings.values.extend(texts.map(|s| strings.intern(s.as_bytes())));
                    return self.count_array(Kind::String, at, values.len());
                }
                Some(IntValue(_)) if is_whole && values.iter().all(|v| matches!(v, IntValue(_))) => {
                    self.ints.values.extend(
                        values.iter().filter_map(|v| if let IntValue(i) = v { Some(*i) } else { None }),
                    );
                    return self.count_array(Kind::Int, at, values.len());
                }
                Some(DoubleValue(_)) if is_whole && values.iter().all(|v| matches!(v, DoubleValue(_))) => {
                    let numbers =
                        values.iter().filter_map(|v| if let DoubleValue(d) = v { Some(*d) } else { None });
                    self.doubles.values.extend(numbers);
                    return self.count_array(Kind::Double, at, values.len());
                }
                Some(BoolValue(_)) if is_whole && values.iter().all(|v| matches!(v, BoolValue(_))) => {
                    self.bools.values.extend(
                        values.iter().filter_map(|v| if let BoolValue(b) = v { Some(*b) } else { None }),
                    );
                    return self.count_array(Kind::Bool, at, values.len());
                }
                _ => self.is_array[at] = false,
            }
        }
        let mut text = String::new();
        json::write_any_value(&mut text, value);
        self.unsupported.push(text);
        Some(Kind::Encoded)
    }

    /// From the first array of a type on, its entries are counted one by one.
    fn count_array(&mut self, kind: Kind, at: usize, entries: usize) -> Option<Kind> {
        let counts = match kind {
            Kind::String => &mut self.strings.counts,
            Kind::Int => &mut self.ints.counts,
            Kind::Double => &mut self.doubles.counts,
            Kind::Bool => &mut self.bools.counts,
            Kind::Encoded => return None,
        };
        let kinds = &self.kinds;
        let counts =
            counts.get_or_insert_with(|| kinds.iter().map(|k| u32::from(*k == Some(kind))).collect());
        counts.resize(at, 0);
        counts.push(u32::try_from(entries).expect("a span has less than 4 GiB"));
        Some(kind)
    }

    fn count_scalar(&mut self, kind: Kind) {
        let counts = match kind {
            Kind::String => &mut self.strings.counts,
            Kind::Int => &mut self.ints.counts,
            Kind::Double => &mut self.doubles.counts,
            Kind::Bool => &mut self.bools.counts,
            Kind::Encoded => return,
        };
        if let Some(counts) = counts {
            counts.resize(self.kinds.len() - 1, 0);
            counts.push(1);
        }
    }
}
