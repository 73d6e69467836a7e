//! One trace rebuilt from the columns as OTLP.
//!
//! In the shape that a flushed block gives: resource, scope and status are always there, equal resources and scopes are
//! one group, spans are sorted. Attributes are in the sender's order.

use prost::Message;
use tempo_model::{TraceId, trace::Trace};
use tempo_proto::{
    common::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::Resource,
    trace::{ResourceSpans, ScopeSpans, Span, Status, span},
};

use super::{
    AttributeList, Kind, SpanColumns,
    order::{Ordered, Orderer},
};

impl SpanColumns {
    /// The trace with this id, if spans of it were appended.
    pub fn find_trace(&self, id: &TraceId) -> Option<Trace> {
        let entry = self.trace(id)?;
        let mut ordered = Ordered::default();
        Orderer::new(self).push_trace(entry, &mut ordered);

        let (mut scopes, mut spans) = (ordered.scopes.iter(), ordered.spans.iter());
        let mut resource_spans = Vec::with_capacity(ordered.resources.len());
        for group in &ordered.resources {
            let mut scope_spans = Vec::with_capacity(group.scope_count as usize);
            for scope in scopes.by_ref().take(group.scope_count as usize) {
                let spans = spans.by_ref().take(scope.span_count as usize);
                scope_spans.push(ScopeSpans {
                    scope: Some(self.build_scope(scope.scope)),
                    spans: spans.map(|&span| self.build_span(id, span)).collect(),
                    schema_url: String::new(),
                });
            }
            let resource = Some(self.build_resource(group.resource));
            resource_spans.push(ResourceSpans { resource, scope_spans, schema_url: String::new() });
        }
        Some(Trace { resource_spans })
    }

    fn build_resource(&self, number: u32) -> Resource {
        let resource = self.resources.get(number as usize).copied().unwrap_or_default();
        Resource {
            attributes: self.build_attributes(resource.attributes),
            dropped_attributes_count: resource.dropped_attributes,
            entity_refs: Vec::new(),
        }
    }

    fn build_scope(&self, number: u32) -> InstrumentationScope {
        let scope = self.scopes.get(number as usize).copied().unwrap_or_default();
        InstrumentationScope {
            name: self.build_string(scope.name),
            version: self.build_string(scope.version),
            attributes: self.build_attributes(scope.attributes),
            dropped_attributes_count: scope.dropped_attributes,
        }
    }

    fn build_span(&self, trace_id: &TraceId, span: u32) -> Span {
        let (at, spans) = (span as usize, &self.spans);
        let extra = spans.extra(span).copied().unwrap_or_default();
        let text = |number: Option<u32>| number.map_or_else(String::new, |n| self.build_string(n));
        Span {
            trace_id: trace_id.as_bytes().to_vec(),
            span_id: span_id_bytes(spans.id.get(at).copied()),
            trace_state: text(extra.trace_state),
            parent_span_id: span_id_bytes(spans.parent_id.get(at).copied()),
            flags: 0,
            name: spans.name.get(at).map_or_else(String::new, |&n| self.build_string(n)),
            kind: spans.kind(span),
            start_time_unix_nano: spans.start.get(at).copied().unwrap_or(0),
            end_time_unix_nano: spans.end.get(at).copied().unwrap_or(0),
            attributes: self.build_attributes(spans.attributes.get(at).copied().unwrap_or_default()),
            dropped_attributes_count: extra.dropped_attributes,
            events: spans.span_events(span).iter().map(|event| self.build_event(event)).collect(),
            dropped_events_count: extra.dropped_events,
            links: spans.span_links(span).iter().map(|link| self.build_link(link)).collect(),
            dropped_links_count: extra.dropped_links,
            status: Some(Status { message: text(extra.status_message), code: spans.status(span) }),
        }
    }

    fn build_event(&self, event: &super::Event) -> span::Event {
        span::Event {
            time_unix_nano: event.time,
            name: self.build_string(event.name),
            attributes: self.build_attributes(event.attributes),
            dropped_attributes_count: event.dropped_attributes,
        }
    }

    fn build_link(&self, link: &super::Link) -> span::Link {
        span::Link {
            trace_id: link.trace_id.map_or_else(Vec::new, |id| id.to_vec()),
            span_id: span_id_bytes(Some(link.span_id)),
            trace_state: link.trace_state.map_or_else(String::new, |n| self.build_string(n)),
            attributes: self.build_attributes(link.attributes),
            dropped_attributes_count: link.dropped_attributes,
            flags: 0,
        }
    }

    fn build_attributes(&self, list: AttributeList) -> Vec<KeyValue> {
        let mut keys = Vec::new();
        self.attributes.shape_keys(list.shape, &mut keys);
        let values = self.attributes.list_values(list);
        let build = |(&key, &number): (&u32, &u32)| {
            let kind = self.attributes.keys.get(key as usize).map_or(Kind::Encoded, |k| k.kind);
            let key = text(self.key_name(key));
            KeyValue { key, value: Some(self.build_value(kind, number)), ..KeyValue::default() }
        };
        keys.iter().zip(values).map(build).collect()
    }

    /// The value that a number in `values` stands for.
    pub(crate) fn build_value(&self, kind: Kind, number: u32) -> AnyValue {
        let value = match kind {
            Kind::String => any_value::Value::StringValue(self.build_string(number)),
            Kind::Int => any_value::Value::IntValue(self.attributes.int(number)),
            Kind::Double => any_value::Value::DoubleValue(self.attributes.double(number)),
            Kind::Bool => any_value::Value::BoolValue(number != 0),
            Kind::Encoded => {
                return AnyValue::decode(self.attributes.encoded.get(number)).unwrap_or_default();
            }
        };
        AnyValue { value: Some(value) }
    }

    fn build_string(&self, number: u32) -> String {
        text(self.attributes.strings.get(number))
    }
}

/// Strings were checked when they came.
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_default()
}

fn span_id_bytes(id: Option<u64>) -> Vec<u8> {
    match id {
        None | Some(0) => Vec::new(),
        Some(id) => id.to_be_bytes().to_vec(),
    }
}
