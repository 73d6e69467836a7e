//! The arrays that hold spans, one entry a span each, and the side arrays of what few spans have.

use super::{AttributeList, grow};

/// No entry in `extras`.
const NO_EXTRA: u32 = u32::MAX;

/// All spans, in the order of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) context: Vec<u32>,
    /// Big-endian numbers, so that they order as the bytes do. 0 stands for none.
    pub(crate) id: Vec<u64>,
    pub(crate) parent_id: Vec<u64>,
    pub(crate) start: Vec<u64>,
    pub(crate) end: Vec<u64>,
    pub(crate) name: Vec<u32>,
    /// Kind in the low, status code in the high four bits; 15 = see the extra.
    kind_and_status: Vec<u8>,
    pub(crate) attributes: Vec<AttributeList>,
    extra: Vec<u32>,
    extras: Vec<Extra>,
    pub(crate) events: Vec<Event>,
    pub(crate) links: Vec<Link>,
}

/// What most spans do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extra {
    /// Strings by number; `None` for an empty one.
    pub(crate) trace_state: Option<u32>,
    pub(crate) status_message: Option<u32>,
    pub(crate) dropped_attributes: u32,
    pub(crate) dropped_events: u32,
    pub(crate) dropped_links: u32,
    pub(crate) first_event: u32,
    pub(crate) event_count: u32,
    pub(crate) first_link: u32,
    pub(crate) link_count: u32,
    /// As sent, however odd.
    pub(crate) kind: i32,
    pub(crate) status: i32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) time: u64,
    pub(crate) name: u32,
    pub(crate) attributes: AttributeList,
    pub(crate) dropped_attributes: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// `None` if it was empty.
    pub(crate) trace_id: Option<[u8; 16]>,
    /// 0 if it was empty.
    pub(crate) span_id: u64,
    pub(crate) trace_state: Option<u32>,
    pub(crate) attributes: AttributeList,
    pub(crate) dropped_attributes: u32,
}

/// One span, as it is added.
#[derive(Debug, Default)]
pub(super) struct NewSpan {
    pub(super) context: u32,
    pub(super) id: u64,
    pub(super) parent_id: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) name: u32,
    pub(super) attributes: AttributeList,
    pub(super) extra: Extra,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    spans: usize,
    extras: usize,
    events: usize,
    links: usize,
}

impl Spans {
    pub(crate) fn len(&self) -> usize {
        self.id.len()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            spans: self.len(),
            extras: self.extras.len(),
            events: self.events.len(),
            links: self.links.len(),
        }
    }

    pub(super) fn truncate(&mut self, mark: Mark) {
        let Mark { spans, extras, events, links } = mark;
        self.context.truncate(spans);
        self.id.truncate(spans);
        self.parent_id.truncate(spans);
        self.start.truncate(spans);
        self.end.truncate(spans);
        self.name.truncate(spans);
        self.kind_and_status.truncate(spans);
        self.attributes.truncate(spans);
        self.extra.truncate(spans);
        self.extras.truncate(extras);
        self.events.truncate(events);
        self.links.truncate(links);
    }

    /// Makes room for the spans of a fragment.
    pub(super) fn reserve(&mut self, count: usize) {
        grow(&mut self.context, count);
        grow(&mut self.id, count);
        grow(&mut self.parent_id, count);
        grow(&mut self.start, count);
        grow(&mut self.end, count);
        grow(&mut self.name, count);
        grow(&mut self.kind_and_status, count);
        grow(&mut self.attributes, count);
        grow(&mut self.extra, count);
    }

    pub(super) fn push(&mut self, span: &NewSpan) {
        let NewSpan { context, id, parent_id, start, end, name, attributes, extra } = span;
        let (kind, status) = (small(extra.kind), small(extra.status));
        let is_plain = *extra == Extra { kind: extra.kind, status: extra.status, ..Extra::default() };
        self.extra.push(if is_plain && kind < 15 && status < 15 {
            NO_EXTRA
        } else {
            grow(&mut self.extras, 1);
            self.extras.push(*extra);
            u32::try_from(self.extras.len() - 1).unwrap_or(NO_EXTRA)
        });
        self.kind_and_status.push(kind | status << 4);
        self.context.push(*context);
        self.id.push(*id);
        self.parent_id.push(*parent_id);
        self.start.push(*start);
        self.end.push(*end);
        self.name.push(*name);
        self.attributes.push(*attributes);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        (self.context.capacity() + self.name.capacity() + self.extra.capacity()) * 4
            + (self.id.capacity() + self.parent_id.capacity() + self.start.capacity() + self.end.capacity())
                * 8
            + self.kind_and_status.capacity()
            + self.attributes.capacity() * size_of::<AttributeList>()
            + self.extras.capacity() * size_of::<Extra>()
            + self.events.capacity() * size_of::<Event>()
            + self.links.capacity() * size_of::<Link>()
    }

    #[inline]
    pub(crate) fn extra(&self, span: u32) -> Option<&Extra> {
        let at = *self.extra.get(span as usize)?;
        if at == NO_EXTRA { None } else { self.extras.get(at as usize) }
    }

    #[inline]
    pub(crate) fn kind(&self, span: u32) -> i32 {
        match self.kind_and_status.get(span as usize).map_or(0, |both| both & 15) {
            15 => self.extra(span).map_or(0, |e| e.kind),
            kind => i32::from(kind),
        }
    }

    #[inline]
    pub(crate) fn status(&self, span: u32) -> i32 {
        match self.kind_and_status.get(span as usize).map_or(0, |both| both >> 4) {
            15 => self.extra(span).map_or(0, |e| e.status),
            status => i32::from(status),
        }
    }

    pub(crate) fn span_events(&self, span: u32) -> &[Event] {
        self.extra(span).map_or(&[], |e| {
            let start = e.first_event as usize;
            self.events.get(start..start + e.event_count as usize).unwrap_or_default()
        })
    }

    pub(crate) fn span_links(&self, span: u32) -> &[Link] {
        self.extra(span).map_or(&[], |e| {
            let start = e.first_link as usize;
            self.links.get(start..start + e.link_count as usize).unwrap_or_default()
        })
    }
}

fn small(number: i32) -> u8 {
    u8::try_from(number).ok().filter(|&n| n < 15).unwrap_or(15)
}
