//! Attribute lists as a shape and values: the shape (which keys with which types, in the sender's order) is a node of
//! a trie, the values are one `u32` each in a flat array.
//!
//! Spans of one kind of operation carry the same keys in the same order, so the node remembers the child taken last and
//! each child the value seen last: most attributes cost two comparisons and no hashing. A key whose strings are
//! nearly always new (request ids) stops being looked up after a sample.
//!
//! A value's `u32` by its key's [`Kind`]: a string's or encoded `AnyValue`'s dictionary number, a bool as 0 or 1, a
//! double's index in `wide`, an int itself if below 2^31, else 2^31 plus its index in `wide`.

use std::hash::BuildHasher;

use hashbrown::{HashTable, hash_table::Entry};
use prost::Message;
use tempo_proto::common::{AnyValue, any_value};

use super::{
    dictionary::{Dictionary, Full},
    grow,
    wire::{self, Fields, WireError},
};

/// How many values of a key are looked at before its strings may be taken to be unique.
const SAMPLE: u32 = 256;
/// Of 16 values, how many must be new for that.
const MOSTLY_NEW: u32 = 15;
const WIDE_INT: u32 = 1 << 31;

/// Number of the empty string.
pub(crate) const EMPTY: u32 = 0;

/// The type of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    String,
    Int,
    Double,
    Bool,
    /// Lists, maps, bytes and unset values: the encoded `AnyValue`, checked.
    Encoded,
}

/// An attribute list: a shape and the place of its first value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AttributeList {
    pub(crate) shape: u32,
    pub(crate) first: u32,
}

/// A key together with the type of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// In `strings`.
    pub(crate) name: u32,
    pub(crate) kind: Kind,
    seen: u32,
    fresh: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    /// Of the last attribute of this shape.
    key: u32,
    len: u32,
    /// Child taken last; 0 for none, as the root is nobody's child.
    last_child: u32,
    /// A string's number.
    last_value: u32,
}

/// All attribute lists of a head. Shape 0 is the empty list.
#[derive(Debug)]
pub(crate) struct Attributes {
    pub(crate) strings: Dictionary,
    /// Values of [`Kind::Encoded`].
    pub(crate) encoded: Dictionary,
    pub(crate) values: Vec<u32>,
    pub(crate) wide: Vec<u64>,
    pub(crate) keys: Vec<Key>,
    key_table: HashTable<u32>,
    nodes: Vec<Node>,
    children: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

/// Where [`Attributes::truncate`] goes back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    values: usize,
    wide: usize,
}

/// Why an attribute was not taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    Malformed(WireError),
    Full,
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Refused {
        Refused::Malformed(error)
    }
}

impl From<Full> for Refused {
    fn from(_: Full) -> Refused {
        Refused::Full
    }
}

impl Attributes {
    pub(super) fn new() -> Attributes {
        let mut strings = Dictionary::default();
        let empty = strings.intern(b"", |_| Ok::<(), Full>(()));
        debug_assert!(matches!(empty, Ok((EMPTY, true))), "the first string has the first number");
        Attributes {
            strings,
            encoded: Dictionary::default(),
            values: Vec::new(),
            wide: Vec::new(),
            keys: Vec::new(),
            key_table: HashTable::new(),
            nodes: vec![Node { parent: 0, key: u32::MAX, len: 0, last_child: 0, last_value: 0 }],
            children: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.strings.heap_bytes()
            + self.encoded.heap_bytes()
            + self.values.capacity() * 4
            + self.wide.capacity() * 8
            + self.keys.capacity() * size_of::<Key>()
            + self.key_table.allocation_size()
            + self.nodes.capacity() * size_of::<Node>()
            + self.children.allocation_size()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { values: self.values.len(), wide: self.wide.len() }
    }

    /// Drops the lists begun since the mark. What they added to dictionaries and shapes stays, unused.
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.values.truncate(mark.values);
        self.wide.truncate(mark.wide);
    }

    /// An empty list; the next attributes pushed on its shape belong to it.
    pub(super) fn begin(&self) -> Result<AttributeList, Full> {
        Ok(AttributeList { shape: 0, first: u32::try_from(self.values.len()).map_err(|_| Full)? })
    }

    /// Adds an encoded `KeyValue` to a list that ends with the last value pushed.
    #[inline]
    pub(super) fn push(&mut self, list: &mut AttributeList, key_value: &[u8]) -> Result<(), Refused> {
        let Some((key, kind, value)) = split_common(key_value) else {
            return self.push_uncommon(list, key_value);
        };
        let node = self.child(list.shape, key, kind)?;
        let number = match kind {
            Kind::String => self.string(node, value)?,
            Kind::Int | Kind::Double | Kind::Bool => self.scalar(kind, value)?,
            Kind::Encoded => self.encoded(value)?,
        };
        list.shape = node;
        grow(&mut self.values, 1);
        self.values.push(number);
        Ok(())
    }

    /// Number of attributes of a shape.
    pub(crate) fn shape_len(&self, shape: u32) -> usize {
        self.nodes.get(shape as usize).map_or(0, |n| n.len as usize)
    }

    pub(crate) fn shape_count(&self) -> usize {
        self.nodes.len()
    }

    /// Appends the keys of a shape, in order, to `out`.
    pub(crate) fn shape_keys(&self, shape: u32, out: &mut Vec<u32>) {
        let start = out.len();
        let mut at = shape;
        while let Some(node) = self.nodes.get(at as usize).filter(|n| n.len > 0) {
            out.push(node.key);
            at = node.parent;
        }
        if let Some(keys) = out.get_mut(start..) {
            keys.reverse();
        }
    }

    /// The values of a list, one for each key of its shape.
    pub(crate) fn list_values(&self, list: AttributeList) -> &[u32] {
        let start = list.first as usize;
        self.values.get(start..start + self.shape_len(list.shape)).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn int(&self, number: u32) -> i64 {
        if number < WIDE_INT {
            i64::from(number)
        } else {
            self.wide.get((number - WIDE_INT) as usize).copied().unwrap_or(0).cast_signed()
        }
    }

    pub(crate) fn double(&self, number: u32) -> f64 {
        f64::from_bits(self.wide.get(number as usize).copied().unwrap_or(0))
    }

    /// The number of a string of a resource, scope or span that is no attribute.
    pub(super) fn intern_string(&mut self, value: &[u8]) -> Result<u32, Refused> {
        Ok(self.strings.intern(value, check_utf8)?.0)
    }

    /// Like [`Attributes::intern_string`] for texts that are likely the same as the last one.
    #[inline]
    pub(super) fn intern_repeated(&mut self, value: &[u8], last: &mut u32) -> Result<u32, Refused> {
        if self.strings.get(*last) != value {
            *last = self.intern_string(value)?;
        }
        Ok(*last)
    }

    #[inline]
    fn child(&mut self, parent: u32, name: &[u8], kind: Kind) -> Result<u32, Refused> {
        let predicted = self.nodes.get(parent as usize).map_or(0, |n| n.last_child);
        if predicted != 0
            && let Some(node) = self.nodes.get(predicted as usize)
            && let Some(key) = self.keys.get(node.key as usize)
            && key.kind == kind
            && self.strings.get(key.name) == name
        {
            return Ok(predicted);
        }
        self.other_child(parent, name, kind)
    }

    fn other_child(&mut self, parent: u32, name: &[u8], kind: Kind) -> Result<u32, Refused> {
        let key = self.key(name, kind)?;
        let hash = self.hasher.hash_one((parent, key));
        let Attributes { nodes, children, hasher, .. } = self;
        let is_child = |&c: &u32| nodes.get(c as usize).is_some_and(|n| n.parent == parent && n.key == key);
        let rehash = |&c: &u32| nodes.get(c as usize).map_or(0, |n| hasher.hash_one((n.parent, n.key)));
        let child = match children.entry(hash, is_child, rehash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let child = u32::try_from(nodes.len()).map_err(|_| Full)?;
                entry.insert(child);
                let len = nodes.get(parent as usize).map_or(0, |n| n.len) + 1;
                nodes.push(Node { parent, key, len, last_child: 0, last_value: u32::MAX });
                child
            }
        };
        if let Some(node) = nodes.get_mut(parent as usize) {
            node.last_child = child;
        }
        Ok(child)
    }

    fn key(&mut self, name: &[u8], kind: Kind) -> Result<u32, Refused> {
        let name = self.intern_string(name)?;
        let hash = self.hasher.hash_one((name, kind));
        let Attributes { keys, key_table, hasher, .. } = self;
        let is_key = |&k: &u32| keys.get(k as usize).is_some_and(|k| k.name == name && k.kind == kind);
        let rehash = |&k: &u32| keys.get(k as usize).map_or(0, |k| hasher.hash_one((k.name, k.kind)));
        match key_table.entry(hash, is_key, rehash) {
            Entry::Occupied(entry) => Ok(*entry.get()),
            Entry::Vacant(entry) => {
                let key = u32::try_from(keys.len()).map_err(|_| Full)?;
                entry.insert(key);
                keys.push(Key { name, kind, seen: 0, fresh: 0 });
                Ok(key)
            }
        }
    }

    #[inline]
    fn string(&mut self, node: u32, value: &[u8]) -> Result<u32, Refused> {
        let Some(node) = self.nodes.get_mut(node as usize) else { return Err(Refused::Full) };
        if node.last_value != u32::MAX && self.strings.get(node.last_value) == value {
            return Ok(node.last_value);
        }
        let Some(key) = self.keys.get_mut(node.key as usize) else { return Err(Refused::Full) };
        if key.seen >= SAMPLE && key.fresh >= SAMPLE / 16 * MOSTLY_NEW {
            check_utf8(value)?;
            node.last_value = self.strings.push(value)?;
            return Ok(node.last_value);
        }
        let (number, is_new) = self.strings.intern(value, check_utf8)?;
        if key.seen < SAMPLE {
            key.seen += 1;
            key.fresh += u32::from(is_new);
        }
        node.last_value = number;
        Ok(number)
    }

    /// Reads a bool, int or double behind its tag, checked by [`split_common`].
    fn scalar(&mut self, kind: Kind, mut value: &[u8]) -> Result<u32, Refused> {
        match kind {
            Kind::Bool => Ok(u32::from(wire::take_varint(&mut value)? != 0)),
            Kind::Int => {
                let int = wire::take_varint(&mut value)?.cast_signed();
                self.int_number(int)
            }
            Kind::Double => {
                let bits = value.first_chunk().ok_or_else(|| WireError::at(value, "a double is cut off"))?;
                self.push_wide(u64::from_le_bytes(*bits))
            }
            Kind::String | Kind::Encoded => Err(WireError::at(value, "not a scalar").into()),
        }
    }

    fn int_number(&mut self, int: i64) -> Result<u32, Refused> {
        match u32::try_from(int) {
            Ok(small) if small < WIDE_INT => Ok(small),
            _ => Ok(WIDE_INT + self.push_wide(int.cast_unsigned())?),
        }
    }

    fn push_wide(&mut self, bits: u64) -> Result<u32, Refused> {
        let at = u32::try_from(self.wide.len()).ok().filter(|&at| at < WIDE_INT).ok_or(Full)?;
        grow(&mut self.wide, 1);
        self.wide.push(bits);
        Ok(at)
    }

    fn encoded(&mut self, value: &[u8]) -> Result<u32, Refused> {
        Ok(self.encoded.intern(value, check_any_value)?.0)
    }

    /// Any other way to encode a key and value: fields in another order, repeated, missing or unknown.
    fn push_uncommon(&mut self, list: &mut AttributeList, key_value: &[u8]) -> Result<(), Refused> {
        let (mut key, mut value): (&[u8], Vec<u8>) = (&[], Vec::new());
        let mut fields = Fields::new(key_value);
        while let Some((field, content)) = fields.next()? {
            match (field, content) {
                (1, content) => key = content.bytes("an attribute's key is not a string")?,
                // A message field that comes twice is merged: the bytes one after the other mean that.
                (2, content) => {
                    value.extend_from_slice(content.bytes("an attribute's value is not a message")?)
                }
                _ => {}
            }
        }
        check_any_value(&value).map_err(|_| WireError::at(key_value, "an attribute's value is malformed"))?;
        let decoded = AnyValue::decode(value.as_slice()).unwrap_or_default();
        let (kind, number) = match decoded.value {
            Some(any_value::Value::StringValue(text)) => (Kind::String, self.intern_string(text.as_bytes())?),
            Some(any_value::Value::BoolValue(bool)) => (Kind::Bool, u32::from(bool)),
            Some(any_value::Value::IntValue(int)) => (Kind::Int, self.int_number(int)?),
            Some(any_value::Value::DoubleValue(double)) => (Kind::Double, self.push_wide(double.to_bits())?),
            Some(
                any_value::Value::ArrayValue(_)
                | any_value::Value::KvlistValue(_)
                | any_value::Value::BytesValue(_)
                | any_value::Value::StringValueStrindex(_),
            )
            | None => (Kind::Encoded, self.encoded(&value)?),
        };
        list.shape = self.child(list.shape, key, kind)?;
        grow(&mut self.values, 1);
        self.values.push(number);
        Ok(())
    }
}

/// Splits a `KeyValue` that is encoded as everybody does: the key, then a value with exactly one field.
#[inline]
fn split_common(key_value: &[u8]) -> Option<(&[u8], Kind, &[u8])> {
    let (&0x0a, mut rest) = key_value.split_first()? else { return None };
    let key = wire::take_bytes(&mut rest).ok()?;
    let (&0x12, mut rest) = rest.split_first()? else { return None };
    let value = wire::take_bytes(&mut rest).ok()?;
    let (&tag, mut content) = value.split_first()?;
    if !rest.is_empty() {
        return None;
    }
    match tag {
        0x0a => {
            let text = wire::take_bytes(&mut content).ok()?;
            content.is_empty().then_some((key, Kind::String, text))
        }
        0x10 | 0x18 => {
            let number = content;
            wire::take_varint(&mut content).ok()?;
            let kind = if tag == 0x10 { Kind::Bool } else { Kind::Int };
            content.is_empty().then_some((key, kind, number))
        }
        0x21 => (content.len() == 8).then_some((key, Kind::Double, content)),
        0x2a | 0x32 | 0x3a => {
            wire::take_bytes(&mut content).ok()?;
            content.is_empty().then_some((key, Kind::Encoded, value))
        }
        _ => None,
    }
}

#[inline]
pub(super) fn check_utf8(text: &[u8]) -> Result<(), Refused> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(WireError::at(text, "a string is not UTF-8").into()),
    }
}

fn check_any_value(value: &[u8]) -> Result<(), Refused> {
    match AnyValue::decode(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(WireError::at(value, "an attribute's value is malformed").into()),
    }
}
