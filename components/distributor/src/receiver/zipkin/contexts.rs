//! Groups spans, kept as bytes, by resource and scope and puts one export request together.
//!
//! Resources and scopes are told apart by their bytes and numbered in the order of their first span; spans keep their
//! order within a scope. All lengths are known before the first byte is written, so nothing is moved afterwards. The
//! hash is seeded: a sender cannot choose names that collide.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::{
    receiver::otlp_writer::varint_len,
    wire::{LEN, put_bytes, put_tag, put_varint, tag},
};

/// Different byte strings, numbered from 0.
#[derive(Default)]
struct Interned {
    bytes: Vec<u8>,
    /// Where each ends; it starts where the one before ends.
    ends: Vec<usize>,
    numbers: HashTable<usize>,
    hasher: RandomState,
}

impl Interned {
    fn get(&self, number: usize) -> &[u8] {
        slice(&self.bytes, &self.ends, number)
    }

    fn intern(&mut self, value: &[u8]) -> usize {
        // Spans of one service usually follow each other.
        if let Some(last) = self.ends.len().checked_sub(1)
            && self.get(last) == value
        {
            return last;
        }
        let Interned { bytes, ends, numbers, hasher } = self;
        let hash = hasher.hash_one(value);
        if let Some(&number) = numbers.find(hash, |&number| slice(bytes, ends, number) == value) {
            return number;
        }
        bytes.extend_from_slice(value);
        let number = ends.len();
        ends.push(bytes.len());
        numbers.insert_unique(hash, number, |&number| hasher.hash_one(slice(bytes, ends, number)));
        number
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[usize], number: usize) -> &'a [u8] {
    let start = number.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(number).copied().unwrap_or(start);
    bytes.get(start..end).unwrap_or_default()
}

struct SpanBytes {
    resource: usize,
    scope: usize,
    start: usize,
    end: usize,
}

/// Spans and the resources and scopes they belong to.
#[derive(Default)]
pub(super) struct Contexts {
    resources: Interned,
    /// Each with its resource's number (eight bytes) in front.
    scopes: Interned,
    scope: Vec<u8>,
    spans: Vec<SpanBytes>,
}

impl Contexts {
    /// Adds a span whose message stands at `start..end` of the bytes that `write` is given later.
    pub(super) fn add(&mut self, resource: &[u8], scope: &[u8], start: usize, end: usize) {
        let resource = self.resources.intern(resource);
        self.scope.clear();
        self.scope.extend_from_slice(&resource.to_le_bytes());
        self.scope.extend_from_slice(scope);
        let scope = self.scopes.intern(&self.scope);
        self.spans.push(SpanBytes { resource, scope, start, end });
    }

    /// One `ExportTraceServiceRequest`.
    pub(super) fn write(mut self, bytes: &[u8]) -> Vec<u8> {
        self.spans.sort_by_key(|span| (span.resource, span.scope));
        let mut out =
            Vec::with_capacity(bytes.len() + self.resources.bytes.len() + self.spans.len() * 4 + 64);
        for resource_spans in self.spans.chunk_by(|a, b| a.resource == b.resource) {
            let Some(first) = resource_spans.first() else { continue };
            let resource = self.resources.get(first.resource);
            let len = field_len(resource.len())
                + scopes(resource_spans).map(|spans| field_len(self.scope_spans_len(spans))).sum::<usize>();
            put_head(&mut out, 1, len);
            put_bytes(&mut out, 1, resource);
            for spans in scopes(resource_spans) {
                put_head(&mut out, 2, self.scope_spans_len(spans));
                put_bytes(&mut out, 1, self.scope_of(spans));
                for span in spans {
                    put_bytes(&mut out, 2, bytes.get(span.start..span.end).unwrap_or_default());
                }
            }
        }
        out
    }

    fn scope_of(&self, spans: &[SpanBytes]) -> &[u8] {
        let scope = spans.first().map_or(&[][..], |span| self.scopes.get(span.scope));
        scope.get(size_of::<usize>()..).unwrap_or_default()
    }

    fn scope_spans_len(&self, spans: &[SpanBytes]) -> usize {
        let spans_len: usize = spans.iter().map(|span| field_len(span.end - span.start)).sum();
        field_len(self.scope_of(spans).len()) + spans_len
    }
}

fn scopes(spans: &[SpanBytes]) -> impl Iterator<Item = &[SpanBytes]> {
    spans.chunk_by(|a, b| a.scope == b.scope)
}

/// Bytes of a length-delimited field with a number below 16.
pub(super) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(super) fn put_head(out: &mut Vec<u8>, field: u32, len: usize) {
    put_tag(out, tag(field, LEN));
    put_varint(out, len as u64);
}
