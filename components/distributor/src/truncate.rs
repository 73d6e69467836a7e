//! Cuts attribute keys and string values that are longer than the tenant may have: the rare path of the walk.
//!
//! Rewrites a checked message field by field and leaves everything else as the sender wrote it, unknown fields too.
//! Cut are the key and the string value of an attribute itself, as in Tempo; strings nested in arrays and lists are
//! not. A cut never splits a UTF-8 character, so the result may be up to three bytes shorter than the limit.

use crate::wire::{LEN, Reader, put_bytes, tag};

/// How many strings were cut, by where they were. Labels of `tempo_distributor_attributes_truncated_total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Truncated {
    pub span: u64,
    pub resource: u64,
    pub scope: u64,
    pub event: u64,
    pub link: u64,
}

/// Where cut messages go and what is cut.
pub(crate) struct Cut<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) max_bytes: usize,
    pub(crate) counts: &'a mut Truncated,
}

/// Appends a `Span` with its own, its events' and its links' attributes cut.
pub(crate) fn span(message: &[u8], cut: &mut Cut<'_>) {
    let max = cut.max_bytes;
    let Truncated { span, event, link, .. } = &mut *cut.counts;
    rewrite(message, cut.out, |field, value, out| match field {
        9 => attribute(value, max, span, out),
        11 => rewrite(value, out, |field, value, out| match field {
            3 => attribute(value, max, event, out),
            _ => out.extend_from_slice(value),
        }),
        13 => rewrite(value, out, |field, value, out| match field {
            4 => attribute(value, max, link, out),
            _ => out.extend_from_slice(value),
        }),
        _ => out.extend_from_slice(value),
    });
}

/// Appends a `Resource` with its attributes cut.
pub(crate) fn resource(message: &[u8], cut: &mut Cut<'_>) {
    let (max, count) = (cut.max_bytes, &mut cut.counts.resource);
    rewrite(message, cut.out, |field, value, out| match field {
        1 => attribute(value, max, count, out),
        _ => out.extend_from_slice(value),
    });
}

/// Appends an `InstrumentationScope` with its attributes cut.
pub(crate) fn scope(message: &[u8], cut: &mut Cut<'_>) {
    let (max, count) = (cut.max_bytes, &mut cut.counts.scope);
    rewrite(message, cut.out, |field, value, out| match field {
        3 => attribute(value, max, count, out),
        _ => out.extend_from_slice(value),
    });
}

fn attribute(message: &[u8], max: usize, count: &mut u64, out: &mut Vec<u8>) {
    rewrite(message, out, |field, value, out| match field {
        1 => out.extend_from_slice(prefix(value, max, count)),
        2 => rewrite(value, out, |field, value, out| match field {
            1 => out.extend_from_slice(prefix(value, max, count)),
            _ => out.extend_from_slice(value),
        }),
        _ => out.extend_from_slice(value),
    });
}

/// Copies a message; `write` appends the value of each length-delimited field.
fn rewrite(message: &[u8], out: &mut Vec<u8>, mut write: impl FnMut(u32, &[u8], &mut Vec<u8>)) {
    let mut reader = Reader::new(message);
    let mut value = Vec::new();
    while !reader.is_empty() {
        let before = reader.rest();
        // The message was checked: a read that fails can only mean the end.
        let Ok(found) = reader.tag() else { return };
        let field = found >> 3;
        if found == tag(field, LEN) {
            let Ok(body) = reader.message(field) else { return };
            value.clear();
            write(field, body.rest(), &mut value);
            put_bytes(out, field, &value);
        } else {
            let Ok(()) = reader.skip(found) else { return };
            let len = before.len() - reader.rest().len();
            out.extend_from_slice(before.get(..len).unwrap_or_default());
        }
    }
}

/// At most `max` bytes of a text, whole characters only.
fn prefix<'a>(text: &'a [u8], max: usize, count: &mut u64) -> &'a [u8] {
    if text.len() <= max {
        return text;
    }
    *count += 1;
    let is_continuation = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=max).rev().find(|&at| !is_continuation(at)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
