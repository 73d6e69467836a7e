//! A trace as a language model reads it best: hex ids, attributes as plain JSON objects, one entry per service.
//!
//! `{"trace":{"traceId","services":[{"serviceName","resource":{},"scopes":[{"name","version","spans":[{"spanId","name",
//! "parentSpanId","kind","startTimeUnixNano","endTimeUnixNano","durationMs","attributes":{},"events":[],"links":[],
//! "status":{"code","message"}}]}]}]},"metrics":{},"status","message"}`; members that would be empty are left out, and
//! an empty trace is `{}`.

use std::{collections::BTreeMap, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use tempo_model::{
    TraceId,
    json::{Object, write_f64, write_string},
};
use tempo_proto::{
    common::{AnyValue, KeyValue, any_value::Value},
    tempopb::{PartialStatus, TraceByIdResponse},
    trace::{
        ResourceSpans, ScopeSpans, Span, Status,
        span::{Event, Link, SpanKind},
        status::StatusCode,
    },
};

pub(super) fn write_llm(out: &mut String, trace_id: TraceId, response: &TraceByIdResponse) {
    let TraceByIdResponse { trace, metrics, status, message } = response;
    let mut object = Object::open(out);
    if let Some(trace) = trace.as_ref().filter(|trace| !trace.resource_spans.is_empty()) {
        let mut inner = Object::open(object.key("trace"));
        inner.string("traceId", &trace_id.to_string());
        inner.list("services", &trace.resource_spans, write_service);
        inner.close();
        object.message("metrics", metrics.as_ref(), |out, metrics| {
            let mut inner = Object::open(out);
            if metrics.inspected_bytes > 0 {
                inner.string("inspectedBytes", &metrics.inspected_bytes.to_string());
            }
            inner.close();
        });
        let status = PartialStatus::try_from(*status).unwrap_or(PartialStatus::Complete);
        object.string("status", status.as_str_name());
        object.string("message", message);
    }
    object.close();
}

fn write_service(out: &mut String, part: &ResourceSpans) {
    let attributes = part.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let name = attributes.iter().find(|attribute| attribute.key == "service.name").map(|a| &a.value);
    let mut object = Object::open(out);
    if let Some(Some(AnyValue { value: Some(Value::StringValue(name)) })) = name {
        object.string("serviceName", name);
    }
    write_attributes(&mut object, "resource", attributes);
    object.list("scopes", &part.scope_spans, write_scope);
    object.close();
}

fn write_scope(out: &mut String, scope_spans: &ScopeSpans) {
    let mut object = Object::open(out);
    if let Some(scope) = &scope_spans.scope {
        object.string("name", &scope.name);
        object.string("version", &scope.version);
    }
    object.list("spans", &scope_spans.spans, write_span);
    object.close();
}

fn write_span(out: &mut String, span: &Span) {
    let mut object = Object::open(out);
    object.string("spanId", &hex(&span.span_id));
    object.string("name", &span.name);
    object.string("parentSpanId", &hex(&span.parent_span_id));
    if span.kind != SpanKind::Unspecified as i32 {
        object.string("kind", SpanKind::try_from(span.kind).unwrap_or_default().as_str_name());
    }
    object.string("startTimeUnixNano", &span.start_time_unix_nano.to_string());
    object.string("endTimeUnixNano", &span.end_time_unix_nano.to_string());
    let nanos = i128::from(span.end_time_unix_nano) - i128::from(span.start_time_unix_nano);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds for a reader")]
    write_f64(object.key("durationMs"), nanos as f64 / 1e6);
    write_attributes(&mut object, "attributes", &span.attributes);
    object.list("events", &span.events, write_event);
    object.list("links", &span.links, write_link);
    object.message("status", span.status.as_ref(), write_status);
    object.close();
}

fn write_event(out: &mut String, event: &Event) {
    let mut object = Object::open(out);
    object.string("name", &event.name);
    object.string("timeUnixNano", &event.time_unix_nano.to_string());
    write_attributes(&mut object, "attributes", &event.attributes);
    object.close();
}

fn write_link(out: &mut String, link: &Link) {
    let mut object = Object::open(out);
    object.string("traceId", &hex(&link.trace_id));
    object.string("spanId", &hex(&link.span_id));
    write_attributes(&mut object, "attributes", &link.attributes);
    object.close();
}

fn write_status(out: &mut String, status: &Status) {
    let mut object = Object::open(out);
    object.string("code", StatusCode::try_from(status.code).unwrap_or_default().as_str_name());
    object.string("message", &status.message);
    object.close();
}

fn write_attributes(object: &mut Object<'_>, key: &str, attributes: &[KeyValue]) {
    if !attributes.is_empty() {
        write_map(object.key(key), attributes);
    }
}

/// Keys are sorted, and the last of several equal ones counts, as in a Go map.
fn write_map(out: &mut String, attributes: &[KeyValue]) {
    let sorted: BTreeMap<&str, Option<&AnyValue>> =
        attributes.iter().map(|attribute| (attribute.key.as_str(), attribute.value.as_ref())).collect();
    let mut separator = '{';
    for (key, value) in &sorted {
        out.push(separator);
        separator = ',';
        write_string(out, key);
        out.push(':');
        write_value(out, value.and_then(|value| value.value.as_ref()));
    }
    out.push_str(if sorted.is_empty() { "{}" } else { "}" });
}

fn write_value(out: &mut String, value: Option<&Value>) {
    match value {
        Some(Value::StringValue(text)) => write_string(out, text),
        Some(Value::BoolValue(flag)) => out.push_str(if *flag { "true" } else { "false" }),
        Some(Value::IntValue(number)) => out.push_str(&number.to_string()),
        Some(Value::DoubleValue(number)) => write_f64(out, *number),
        Some(Value::ArrayValue(array)) => {
            out.push('[');
            for (index, element) in array.values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, element.value.as_ref());
            }
            out.push(']');
        }
        Some(Value::KvlistValue(list)) => write_map(out, &list.values),
        Some(Value::BytesValue(bytes)) => write_string(out, &BASE64.encode(bytes)),
        Some(Value::StringValueStrindex(_)) | None => out.push_str("null"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

#[cfg(test)]
mod tests;
