//! Assembles one row of many columns into a trace.
//!
//! Every column is walked once, front to back, by a cursor. Groups repeat as the repetition levels of their driving
//! column say; each other column must agree entry by entry, so columns that contradict each other are an error and
//! never a trace with values in the wrong place.

mod attributes;
mod cursor;

use prost::Message;
use tempo_model::TraceId;
use tempo_proto::{
    common::InstrumentationScope,
    resource::Resource,
    tempopb::Trace,
    trace::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link},
    },
};

use super::{
    DecodeError,
    column::LeafRow,
    layout::{
        EventColumns, EventTime, LinkColumns, LinkGroupColumns, Plan, ResourceColumns, ScopeColumns,
        SpanColumns, TraceColumns,
    },
};
use cursor::Cursors;

/// vParquet3's column of links.
#[derive(Clone, PartialEq, Message)]
struct LinksMessage {
    #[prost(message, repeated, tag = "1")]
    links: Vec<Link>,
}

/// A protobuf message takes up to this many times its size when decoded: empty links are two bytes.
const DECODED_MESSAGE_FACTOR: usize = 64;

/// Assembles the row whose columns are `rows`, in the order of the plan's leaves.
pub(crate) fn assemble(plan: &Plan, rows: Vec<LeafRow>) -> Result<(TraceId, Trace), DecodeError> {
    let cursors = Cursors::new(plan, rows);
    let mut assembly = Assembly { cursors, trace_id: TraceId::default() };
    let resource_spans = assembly.trace(&plan.trace)?;
    assembly.cursors.expect_end()?;
    Ok((assembly.trace_id, Trace { resource_spans }))
}

struct Assembly<'p> {
    cursors: Cursors<'p>,
    trace_id: TraceId,
}

impl Assembly<'_> {
    fn trace(&mut self, columns: &TraceColumns) -> Result<Vec<ResourceSpans>, DecodeError> {
        let id = self.cursors.bytes(columns.trace_id, 0)?;
        self.trace_id =
            TraceId::from_slice(&id).ok_or_else(|| DecodeError::new(0, "trace id has not 16 bytes"))?;
        self.list(&columns.resources, 0, |assembly, rep| assembly.resource_spans(&columns.resource, rep))
    }

    /// Collects the elements of a repeated group; `rep` is the level its first entries have.
    fn list<T>(
        &mut self,
        group: &super::layout::Group,
        rep: u8,
        mut element: impl FnMut(&mut Self, u8) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut elements = Vec::new();
        if !self.cursors.starts(group, rep)? {
            return Ok(elements);
        }
        let mut rep = Some(rep);
        while let Some(level) = rep {
            elements.push(element(self, level)?);
            rep = self.cursors.repeats(group);
        }
        Ok(elements)
    }

    fn resource_spans(&mut self, columns: &ResourceColumns, rep: u8) -> Result<ResourceSpans, DecodeError> {
        let mut attributes = Vec::new();
        let service_name = self.cursors.string(columns.service_name, rep)?;
        if !service_name.is_empty() {
            attributes.push(attributes::string("service.name", service_name));
        }
        self.cursors.named(&columns.named, rep, &mut attributes)?;
        self.cursors.attributes(&columns.attributes, rep, &mut attributes)?;
        let dropped_attributes_count = match columns.dropped_attributes {
            Some(column) => self.cursors.count(column, rep)?,
            None => 0,
        };
        let resource = Resource { attributes, dropped_attributes_count, entity_refs: Vec::new() };
        let scope_spans =
            self.list(&columns.scopes, rep, |assembly, rep| assembly.scope_spans(&columns.scope, rep))?;
        Ok(ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() })
    }

    fn scope_spans(&mut self, columns: &ScopeColumns, rep: u8) -> Result<ScopeSpans, DecodeError> {
        let mut scope = InstrumentationScope {
            name: self.cursors.string(columns.name, rep)?,
            version: self.cursors.string(columns.version, rep)?,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
        };
        if let Some(attributes) = &columns.attributes {
            self.cursors.attributes(attributes, rep, &mut scope.attributes)?;
        }
        if let Some(column) = columns.dropped_attributes {
            scope.dropped_attributes_count = self.cursors.count(column, rep)?;
        }
        let spans = self.list(&columns.spans, rep, |assembly, rep| assembly.span(&columns.span, rep))?;
        Ok(ScopeSpans { scope: Some(scope), spans, schema_url: String::new() })
    }

    fn span(&mut self, columns: &SpanColumns, rep: u8) -> Result<Span, DecodeError> {
        let cursors = &mut self.cursors;
        let start = cursors.nanos(columns.start, rep)?;
        let duration = cursors.nanos(columns.duration, rep)?;
        let status = Status {
            message: cursors.string(columns.status_message, rep)?,
            code: cursors.number(columns.status_code, rep)?,
        };
        let mut span = Span {
            trace_id: self.trace_id.as_bytes().to_vec(),
            span_id: cursors.bytes(columns.span_id, rep)?,
            trace_state: cursors.string(columns.trace_state, rep)?,
            parent_span_id: cursors.bytes(columns.parent_span_id, rep)?,
            flags: 0,
            name: cursors.string(columns.name, rep)?,
            kind: cursors.number(columns.kind, rep)?,
            start_time_unix_nano: start,
            end_time_unix_nano: start.wrapping_add(duration),
            attributes: Vec::new(),
            dropped_attributes_count: cursors.count(columns.dropped_attributes, rep)?,
            events: Vec::new(),
            dropped_events_count: cursors.count(columns.dropped_events, rep)?,
            links: Vec::new(),
            dropped_links_count: cursors.count(columns.dropped_links, rep)?,
            status: Some(status),
        };
        cursors.named(&columns.named, rep, &mut span.attributes)?;
        cursors.attributes(&columns.attributes, rep, &mut span.attributes)?;
        span.events =
            self.list(&columns.events, rep, |assembly, rep| assembly.event(&columns.event, start, rep))?;
        span.links = self.links(&columns.links, rep)?;
        Ok(span)
    }

    fn event(&mut self, columns: &EventColumns, span_start: u64, rep: u8) -> Result<Event, DecodeError> {
        let cursors = &mut self.cursors;
        let time_unix_nano = match columns.time {
            EventTime::Absolute(column) => cursors.nanos(column, rep)?,
            EventTime::SinceSpanStart(column) => span_start.wrapping_add(cursors.nanos(column, rep)?),
        };
        let name = cursors.string(columns.name, rep)?;
        let mut attributes = Vec::new();
        cursors.named(&columns.named, rep, &mut attributes)?;
        cursors.attributes(&columns.attributes, rep, &mut attributes)?;
        let dropped_attributes_count = cursors.count(columns.dropped_attributes, rep)?;
        Ok(Event { time_unix_nano, name, attributes, dropped_attributes_count })
    }

    fn links(&mut self, columns: &LinkColumns, rep: u8) -> Result<Vec<Link>, DecodeError> {
        match columns {
            LinkColumns::Group(group, columns) => {
                self.list(group, rep, |assembly, rep| assembly.link(columns, rep))
            }
            LinkColumns::Message(column) => {
                let message = self.cursors.bytes(*column, rep)?;
                self.cursors.spend(message.len().saturating_mul(DECODED_MESSAGE_FACTOR))?;
                let links = LinksMessage::decode(message.as_slice());
                Ok(links.map_err(|_| self.cursors.error(*column, "links are not a protobuf message"))?.links)
            }
        }
    }

    fn link(&mut self, columns: &LinkGroupColumns, rep: u8) -> Result<Link, DecodeError> {
        let cursors = &mut self.cursors;
        let mut link = Link {
            trace_id: cursors.bytes(columns.trace_id, rep)?,
            span_id: cursors.bytes(columns.span_id, rep)?,
            trace_state: cursors.string(columns.trace_state, rep)?,
            attributes: Vec::new(),
            dropped_attributes_count: cursors.count(columns.dropped_attributes, rep)?,
            flags: 0,
        };
        cursors.attributes(&columns.attributes, rep, &mut link.attributes)?;
        Ok(link)
    }
}
