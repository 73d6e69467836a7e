//! Writes the attributes of one message so that each key is there once: the last value of a tag counts, as in Tempo.
//!
//! Clients append a tag again when it is set again. Keys are found by a hash among the first [`MOST_COMPARED`]; a message
//! with more attributes may keep a key twice, which costs nobody a quadratic search.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::{
    receiver::otlp_writer::{OtlpWriter, Value},
    wire::Reader,
};

const MOST_COMPARED: usize = 128;

/// The attributes that a message has so far.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    written: Vec<Written>,
}

/// Where an attribute is in the writer's buffer.
#[derive(Debug, Clone, Copy)]
struct Written {
    hash: u32,
    start: u32,
    end: u32,
}

impl Attributes {
    /// Begins another message.
    pub(super) fn clear(&mut self) {
        self.written.clear();
    }

    /// Appends an attribute as `field` of the open message, in place of an earlier one of the same key.
    pub(super) fn put(&mut self, writer: &mut OtlpWriter<'_>, field: u32, key: &[u8], value: Value<'_>) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let hash = FixedState::default().hash_one(key) as u32;
        if let Some(earlier) = self.written.iter().position(|written| written.hash == hash) {
            self.remove(writer, earlier, key);
        }
        let start = writer.len();
        writer.attribute(field, key, value);
        if self.written.len() < MOST_COMPARED
            && let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(writer.len()))
        {
            self.written.push(Written { hash, start, end });
        }
    }

    /// Removes an attribute if it really has this key.
    #[cold]
    fn remove(&mut self, writer: &mut OtlpWriter<'_>, index: usize, key: &[u8]) {
        let Some(&Written { hash: _, start, end }) = self.written.get(index) else { return };
        let out = writer.written();
        let range = start as usize..end as usize;
        if !out.get(range.clone()).is_some_and(|attribute| has_key(attribute, key)) {
            return;
        }
        out.drain(range);
        self.written.remove(index);
        for later in self.written.iter_mut().filter(|written| written.start >= end) {
            later.start -= end - start;
            later.end -= end - start;
        }
    }
}

/// Whether a `KeyValue` with its tag and length has this key, which stands first.
fn has_key(attribute: &[u8], key: &[u8]) -> bool {
    let mut outer = Reader::new(attribute);
    let read = outer.tag().and_then(|tag| outer.message(tag >> 3)).and_then(|mut key_value| {
        key_value.tag()?;
        key_value.message(1)
    });
    read.is_ok_and(|found| found.rest() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tags: &[(&str, i64)]) -> Vec<(String, i64)> {
        let (mut out, mut attributes) = (Vec::new(), Attributes::default());
        for (key, value) in tags {
            attributes.put(&mut OtlpWriter::new(&mut out), 9, key.as_bytes(), Value::Int(*value));
        }
        let span = <tempo_proto::trace::Span as prost::Message>::decode(out.as_slice()).unwrap();
        let value = |attribute: tempo_proto::common::KeyValue| {
            let value = attribute.value.and_then(|value| value.value);
            match value {
                Some(tempo_proto::common::any_value::Value::IntValue(value)) => (attribute.key, value),
                other => unreachable!("{other:?}"),
            }
        };
        span.attributes.into_iter().map(value).collect()
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        let found = written(&[("a", 1), ("b", 2), ("a", 3_000_000), ("c", 4), ("b", 5), ("a", 6)]);

        let wanted = [("c", 4), ("b", 5), ("a", 6)];
        assert_eq!(found, wanted.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn a_message_with_very_many_attributes_is_written_as_it_is() {
        let keys: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let tags: Vec<(&str, i64)> = keys.iter().zip(0..).map(|(key, n)| (key.as_str(), n)).collect();

        assert_eq!(written(&tags).len(), 1_000);
    }
}
