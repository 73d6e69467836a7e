//! Checks single OTLP messages: spans with their events, links and status, resources, scopes, attributes and values.
//!
//! This is the hot half of the walk (22 million attributes in a GB), so the common attribute, a short ASCII key with a
//! number or short ASCII string, is recognised as a whole before the general walk is tried. Known fields must have their
//! wire type, strings must be UTF-8, ids must have their length; unknown fields are hopped over.

use crate::wire::{FIXED32, FIXED64, Fault, LEN, Problem, Reader, VARINT, Walked, tag};

/// Most messages nested in an attribute, the attribute itself included.
const MAX_NESTING: u32 = 64;

/// Field numbers that a message has, one bit each.
const SPAN_FIELDS: u32 = 0b1_1111_1111_1111_1110;
const EVENT_FIELDS: u32 = 0b1_1110;
const LINK_FIELDS: u32 = 0b111_1110;
const STATUS_FIELDS: u32 = 0b1100;
const RESOURCE_FIELDS: u32 = 0b1110;
const ENTITY_FIELDS: u32 = 0b1_1110;
const SCOPE_FIELDS: u32 = 0b1_1110;
const KEY_VALUE_FIELDS: u32 = 0b1110;
const ANY_VALUE_FIELDS: u32 = 0b1_1111_1110;
const LIST_FIELDS: u32 = 0b10;

const SPAN_ATTRIBUTE: u32 = tag(9, LEN);

#[derive(Debug)]
pub(super) struct MessageCheck {
    max_attribute_bytes: usize,
    /// A key or string value of an attribute (not one nested in a list) is longer than allowed.
    has_long_attribute: bool,
}

impl Default for MessageCheck {
    fn default() -> MessageCheck {
        MessageCheck::new(0)
    }
}

impl MessageCheck {
    /// 0 is no limit.
    pub(super) fn new(max_attribute_bytes: usize) -> MessageCheck {
        let max_attribute_bytes = if max_attribute_bytes == 0 { usize::MAX } else { max_attribute_bytes };
        MessageCheck { max_attribute_bytes, has_long_attribute: false }
    }

    pub(super) fn max_attribute_bytes(&self) -> usize {
        self.max_attribute_bytes
    }

    pub(super) fn take_has_long_attribute(&mut self) -> bool {
        std::mem::take(&mut self.has_long_attribute)
    }

    /// Checks a span and returns its trace id.
    pub(super) fn span(&mut self, mut span: Reader<'_>) -> Walked<u128> {
        let start = span.position();
        let mut trace_id: &[u8] = &[];
        let mut span_id: &[u8] = &[];
        let [mut attributes, mut events, mut links] = [0usize; 3];
        while !span.is_empty() {
            match span.tag()? {
                SPAN_ATTRIBUTE => {
                    let attribute = span.message(9)?;
                    self.attribute(attribute).map_err(|f| f.within("attributes", Some(attributes)))?;
                    attributes += 1;
                }
                0x0a => trace_id = span.message(1)?.rest(),
                0x12 => span_id = span.message(2)?.rest(),
                0x1a => string(span.message(3)?, "trace_state")?,
                0x22 => optional_id(span.message(4)?, "parent span ids", 8)?,
                0x2a => string(span.message(5)?, "name")?,
                0x30 => drop(span.varint(6)?),
                0x39 => span.skip_bytes(7, 8)?,
                0x41 => span.skip_bytes(8, 8)?,
                0x50 => drop(span.varint(10)?),
                0x5a => {
                    let event = span.message(11)?;
                    self.event(event).map_err(|f| f.within("events", Some(events)))?;
                    events += 1;
                }
                0x60 => drop(span.varint(12)?),
                0x6a => {
                    let link = span.message(13)?;
                    self.link(link).map_err(|f| f.within("links", Some(links)))?;
                    links += 1;
                }
                0x70 => drop(span.varint(14)?),
                0x7a => status(span.message(15)?).map_err(|f| f.within("status", None))?,
                found if found == tag(16, FIXED32) => span.skip_bytes(16, 4)?,
                found => span.skip_unknown(found, SPAN_FIELDS)?,
            }
        }
        let Some(trace_id) = valid_trace_id(trace_id) else {
            return Err(Fault::new(Problem::TraceId { bits: id_bits(trace_id) }, start));
        };
        if span_id.len() != 8 || span_id.iter().all(|&b| b == 0) {
            return Err(Fault::new(Problem::SpanId { bits: id_bits(span_id) }, start));
        }
        Ok(trace_id)
    }

    fn event(&mut self, mut event: Reader<'_>) -> Walked<()> {
        let mut attributes = 0;
        while !event.is_empty() {
            match event.tag()? {
                0x09 => event.skip_bytes(1, 8)?,
                0x12 => string(event.message(2)?, "name")?,
                0x1a => {
                    let attribute = event.message(3)?;
                    self.attribute(attribute).map_err(|f| f.within("attributes", Some(attributes)))?;
                    attributes += 1;
                }
                0x20 => drop(event.varint(4)?),
                found => event.skip_unknown(found, EVENT_FIELDS)?,
            }
        }
        Ok(())
    }

    fn link(&mut self, mut link: Reader<'_>) -> Walked<()> {
        let mut attributes = 0;
        while !link.is_empty() {
            match link.tag()? {
                0x0a => optional_id(link.message(1)?, "trace ids of links", 16)?,
                0x12 => optional_id(link.message(2)?, "span ids of links", 8)?,
                0x1a => string(link.message(3)?, "trace_state")?,
                0x22 => {
                    let attribute = link.message(4)?;
                    self.attribute(attribute).map_err(|f| f.within("attributes", Some(attributes)))?;
                    attributes += 1;
                }
                0x28 => drop(link.varint(5)?),
                0x35 => link.skip_bytes(6, 4)?,
                found => link.skip_unknown(found, LINK_FIELDS)?,
            }
        }
        Ok(())
    }

    pub(super) fn resource(&mut self, mut resource: Reader<'_>) -> Walked<()> {
        let [mut attributes, mut entities] = [0usize; 2];
        while !resource.is_empty() {
            match resource.tag()? {
                0x0a => {
                    let attribute = resource.message(1)?;
                    self.attribute(attribute).map_err(|f| f.within("attributes", Some(attributes)))?;
                    attributes += 1;
                }
                0x10 => drop(resource.varint(2)?),
                0x1a => {
                    let entity = resource.message(3)?;
                    entity_ref(entity).map_err(|f| f.within("entity_refs", Some(entities)))?;
                    entities += 1;
                }
                found => resource.skip_unknown(found, RESOURCE_FIELDS)?,
            }
        }
        Ok(())
    }

    pub(super) fn scope(&mut self, mut scope: Reader<'_>) -> Walked<()> {
        let mut attributes = 0;
        while !scope.is_empty() {
            match scope.tag()? {
                0x0a => string(scope.message(1)?, "name")?,
                0x12 => string(scope.message(2)?, "version")?,
                0x1a => {
                    let attribute = scope.message(3)?;
                    self.attribute(attribute).map_err(|f| f.within("attributes", Some(attributes)))?;
                    attributes += 1;
                }
                0x20 => drop(scope.varint(4)?),
                found => scope.skip_unknown(found, SCOPE_FIELDS)?,
            }
        }
        Ok(())
    }

    /// An attribute of a span, resource, scope, event or link: the ones that are cut when they are too long.
    #[inline]
    fn attribute(&mut self, attribute: Reader<'_>) -> Walked<()> {
        match short_attribute(attribute.rest()) {
            Some(longest) => {
                self.has_long_attribute |= longest > self.max_attribute_bytes;
                Ok(())
            }
            None => self.any_attribute(attribute),
        }
    }

    fn any_attribute(&mut self, mut attribute: Reader<'_>) -> Walked<()> {
        while !attribute.is_empty() {
            match attribute.tag()? {
                0x0a => {
                    let key = attribute.message(1)?;
                    self.has_long_attribute |= key.rest().len() > self.max_attribute_bytes;
                    string(key, "key")?;
                }
                0x12 => {
                    let longest = any_value(attribute.message(2)?, 2).map_err(|f| f.within("value", None))?;
                    self.has_long_attribute |= longest > self.max_attribute_bytes;
                }
                0x18 => drop(attribute.varint(3)?),
                found => attribute.skip_unknown(found, KEY_VALUE_FIELDS)?,
            }
        }
        Ok(())
    }
}

/// Recognises an attribute in the shortest encoding whose strings are short and ASCII: all but a few. (Lengths under
/// 128 are ASCII, too, so one check covers both strings and the framing.) Returns the length of the longer string;
/// `None` says nothing.
#[inline]
fn short_attribute(attribute: &[u8]) -> Option<usize> {
    let [0x0a, key_len, rest @ ..] = attribute else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let [0x12, value_len, kind, value @ ..] = rest else { return None };
    if *key_len >= 0x80 || *value_len >= 0x80 || usize::from(*value_len) != value.len() + 1 {
        return None;
    }
    match (*kind, value) {
        (0x0a, [text_len, text @ ..]) => {
            let fits = usize::from(*text_len) == text.len();
            (fits && is_ascii(attribute)).then(|| text.len().max(key.len()))
        }
        (0x10 | 0x18, _) => (is_varint(value) && is_ascii(key)).then_some(key.len()),
        (0x21, _) => (value.len() == 8 && is_ascii(key)).then_some(key.len()),
        _ => None,
    }
}

/// Whether this is one number of at most 63 bits; longer ones are left to the general walk.
#[inline]
fn is_varint(bytes: &[u8]) -> bool {
    match bytes.split_last() {
        Some((last, more)) => *last < 0x80 && more.len() < 9 && more.iter().all(|&byte| byte >= 0x80),
        None => false,
    }
}

/// As the standard library's, which is not inlined: most strings here have 10 to 40 bytes.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = bytes.as_chunks::<8>();
    let bits = words.iter().fold(0, |bits, word| bits | u64::from_le_bytes(*word));
    let tail_bits = match bytes.last_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => u64::from(tail.iter().fold(0, |bits, byte| bits | byte)),
    };
    (bits | tail_bits) & HIGH_BITS == 0
}

/// Checks a value and returns the length of its string, if it is one. `depth` counts messages.
fn any_value(mut value: Reader<'_>, depth: u32) -> Walked<usize> {
    if depth > MAX_NESTING {
        return Err(Fault::new(Problem::TooDeep, value.position()));
    }
    let mut longest = 0;
    while !value.is_empty() {
        match value.tag()? {
            0x0a => {
                let text = value.message(1)?;
                longest = text.rest().len();
                string(text, "string_value")?;
            }
            0x10 => drop(value.varint(2)?),
            0x18 => drop(value.varint(3)?),
            0x21 => value.skip_bytes(4, 8)?,
            0x2a => array(value.message(5)?, depth + 1)?,
            0x32 => key_value_list(value.message(6)?, depth + 1)?,
            0x3a => drop(value.message(7)?),
            0x40 => drop(value.varint(8)?),
            found => value.skip_unknown(found, ANY_VALUE_FIELDS)?,
        }
    }
    Ok(longest)
}

fn array(mut array: Reader<'_>, depth: u32) -> Walked<()> {
    let mut index = 0;
    while !array.is_empty() {
        match array.tag()? {
            0x0a => {
                let value = array.message(1)?;
                any_value(value, depth + 1).map_err(|f| f.within("array_value", Some(index)))?;
                index += 1;
            }
            found => array.skip_unknown(found, LIST_FIELDS)?,
        }
    }
    Ok(())
}

fn key_value_list(mut list: Reader<'_>, depth: u32) -> Walked<()> {
    let mut index = 0;
    while !list.is_empty() {
        match list.tag()? {
            0x0a => {
                let entry = list.message(1)?;
                nested_key_value(entry, depth + 1).map_err(|f| f.within("kvlist_value", Some(index)))?;
                index += 1;
            }
            found => list.skip_unknown(found, LIST_FIELDS)?,
        }
    }
    Ok(())
}

fn nested_key_value(mut entry: Reader<'_>, depth: u32) -> Walked<()> {
    while !entry.is_empty() {
        match entry.tag()? {
            0x0a => string(entry.message(1)?, "key")?,
            0x12 => drop(any_value(entry.message(2)?, depth + 1).map_err(|f| f.within("value", None))?),
            0x18 => drop(entry.varint(3)?),
            found => entry.skip_unknown(found, KEY_VALUE_FIELDS)?,
        }
    }
    Ok(())
}

fn status(mut status: Reader<'_>) -> Walked<()> {
    while !status.is_empty() {
        match status.tag()? {
            0x12 => string(status.message(2)?, "message")?,
            found if found == tag(3, VARINT) => drop(status.varint(3)?),
            found => status.skip_unknown(found, STATUS_FIELDS)?,
        }
    }
    Ok(())
}

fn entity_ref(mut entity: Reader<'_>) -> Walked<()> {
    while !entity.is_empty() {
        match entity.tag()? {
            0x0a => string(entity.message(1)?, "schema_url")?,
            0x12 => string(entity.message(2)?, "type")?,
            0x1a => string(entity.message(3)?, "id_keys")?,
            0x22 => string(entity.message(4)?, "description_keys")?,
            found => entity.skip_unknown(found, ENTITY_FIELDS)?,
        }
    }
    Ok(())
}

#[inline]
pub(super) fn string(text: Reader<'_>, field: &'static str) -> Walked<()> {
    let bytes = text.rest();
    if is_ascii(bytes) { Ok(()) } else { check_utf8(text, field) }
}

fn check_utf8(text: Reader<'_>, field: &'static str) -> Walked<()> {
    match std::str::from_utf8(text.rest()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(Problem::InvalidUtf8 { field }, text.position() + error.valid_up_to())),
    }
}

/// An id that may be absent.
fn optional_id(id: Reader<'_>, field: &'static str, want_bytes: usize) -> Walked<()> {
    let len = id.rest().len();
    if len == 0 || len == want_bytes {
        return Ok(());
    }
    Err(Fault::new(Problem::OptionalId { field, want: want_bytes * 8, bits: len * 8 }, id.position()))
}

#[inline]
fn valid_trace_id(bytes: &[u8]) -> Option<u128> {
    let id = u128::from_be_bytes(bytes.try_into().ok()?);
    (id != 0).then_some(id)
}

/// How long an id is in Tempo's eyes: one that is all zero is no id.
fn id_bits(bytes: &[u8]) -> usize {
    if bytes.iter().all(|&b| b == 0) { 0 } else { bytes.len() * 8 }
}

/// The trace id of a span that is wrong otherwise; `None` if it has no valid one.
pub(super) fn trace_id_of(mut span: Reader<'_>) -> Walked<Option<u128>> {
    let mut trace_id = None;
    while !span.is_empty() {
        match span.tag()? {
            0x0a => trace_id = valid_trace_id(span.message(1)?.rest()),
            found => span.skip(found)?,
        }
    }
    Ok(trace_id)
}

const _: () = assert!(tag(1, FIXED64) == 0x09 && tag(2, VARINT) == 0x10 && tag(6, FIXED32) == 0x35);
