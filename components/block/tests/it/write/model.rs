//! The rows of vParquet4 by the book: one trace, value by value, with none of the writer's code.

use std::collections::BTreeMap;

use prost::Message as _;
use tempo_config::{DedicatedColumn, DedicatedColumnScope};
use tempo_model::{json, trace::Trace};
use tempo_proto::{
    common::{AnyValue, KeyValue, any_value::Value},
    trace::{ResourceSpans, Span, span},
};

use crate::leaves::{Entry, hex};

const RESOURCE_COLUMNS: [&str; 8] = [
    "cluster",
    "namespace",
    "pod",
    "container",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.pod.name",
    "k8s.container.name",
];

/// The entries of all leaves for one row.
pub(crate) fn shred(trace: &Trace, dedicated: &[DedicatedColumn]) -> Vec<Vec<Entry>> {
    let mut row = Row { leaves: vec![Vec::new(); 103] };
    row.trace(trace);
    let mut nested_set = nested_set(trace).into_iter();
    for (number, resource_spans) in trace.resource_spans.iter().enumerate() {
        row.resource(resource_spans, if number == 0 { 0 } else { 1 }, dedicated);
        for (number_of_scope, scope_spans) in resource_spans.scope_spans.iter().enumerate() {
            let rep = if number_of_scope > 0 { 2 } else { i16::from(number > 0) };
            let scope = scope_spans.scope.as_ref().unwrap();
            row.put(37, rep, 2, &scope.name);
            row.put(38, rep, 2, &scope.version);
            row.attributes(39, rep, 2, &scope.attributes);
            row.put(46, rep, 2, scope.dropped_attributes_count);
            for (number_of_span, span) in scope_spans.spans.iter().enumerate() {
                let rep = if number_of_span > 0 { 3 } else { rep };
                row.span(span, rep, nested_set.next().unwrap(), dedicated);
            }
        }
    }
    row.leaves
}

struct Row {
    leaves: Vec<Vec<Entry>>,
}

impl Row {
    fn put(&mut self, leaf: usize, rep: i16, def: i16, value: impl ToString) {
        self.leaves[leaf].push((rep, def, Some(value.to_string())));
    }

    fn null(&mut self, leaf: usize, rep: i16, def: i16) {
        self.leaves[leaf].push((rep, def, None));
    }

    fn optional(&mut self, leaf: usize, rep: i16, def: i16, value: Option<impl ToString>) {
        match value {
            Some(value) => self.put(leaf, rep, def + 1, value),
            None => self.null(leaf, rep, def),
        }
    }

    fn trace(&mut self, trace: &Trace) {
        let spans = spans(trace);
        let id = hex(&spans[0].1.trace_id);
        self.put(0, 0, 0, &id);
        let short = id.trim_start_matches('0');
        self.put(1, 0, 0, if short.is_empty() { "0" } else { short });
        let start = spans.iter().map(|(_, s)| s.start_time_unix_nano).min().unwrap();
        let end = spans.iter().map(|(_, s)| s.end_time_unix_nano).max().unwrap();
        self.put(2, 0, 0, start.cast_signed());
        self.put(3, 0, 0, end.cast_signed());
        self.put(4, 0, 0, end.wrapping_sub(start).cast_signed());
        let root = spans.iter().rfind(|(_, span)| span.parent_span_id.is_empty());
        self.put(5, 0, 0, root.map_or(String::new(), |(r, _)| service(r)));
        self.put(6, 0, 0, root.map_or("", |(_, span)| &span.name));
        let mut stats: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for (resource, span) in &spans {
            let entry = stats.entry(service(resource)).or_default();
            entry.0 += 1;
            entry.1 += u32::from(span.status.as_ref().unwrap().code == 2);
        }
        for (number, (name, (spans, errors))) in stats.into_iter().enumerate() {
            let rep = i16::from(number > 0);
            self.put(7, rep, 1, name);
            self.put(8, rep, 1, spans);
            self.put(9, rep, 1, errors);
        }
    }

    fn resource(&mut self, resource_spans: &ResourceSpans, rep: i16, dedicated: &[DedicatedColumn]) {
        let resource = resource_spans.resource.as_ref().unwrap();
        let mut rest = resource.attributes.clone();
        self.put(18, rep, 1, take(&mut rest, "service.name").unwrap_or_default());
        for (leaf, name) in (19..).zip(RESOURCE_COLUMNS) {
            self.optional(leaf, rep, 1, take(&mut rest, name));
        }
        self.spares(27, rep, 1, (&mut rest, dedicated, DedicatedColumnScope::Resource));
        self.attributes(10, rep, 1, &rest);
        self.put(17, rep, 1, resource.dropped_attributes_count);
    }

    fn spares(
        &mut self,
        first: usize,
        rep: i16,
        def: i16,
        (rest, dedicated, scope): (&mut Vec<KeyValue>, &[DedicatedColumn], DedicatedColumnScope),
    ) {
        let mut names = dedicated.iter().filter(|column| column.scope == scope);
        for leaf in first..first + 10 {
            let value = names.next().and_then(|column| take(rest, &column.name));
            self.optional(leaf, rep, def, value);
        }
    }

    fn span(&mut self, span: &Span, rep: i16, nested: [i32; 3], dedicated: &[DedicatedColumn]) {
        let status = span.status.as_ref().unwrap();
        let duration = span.end_time_unix_nano.wrapping_sub(span.start_time_unix_nano);
        let texts = [
            hex(&span.span_id),
            hex(&span.parent_span_id),
            nested[0].to_string(),
            nested[1].to_string(),
            nested[2].to_string(),
            span.name.clone(),
            span.kind.to_string(),
            span.trace_state.clone(),
            span.start_time_unix_nano.cast_signed().to_string(),
            duration.cast_signed().to_string(),
            status.code.to_string(),
            status.message.clone(),
        ];
        for (leaf, value) in (47..).zip(texts) {
            self.put(leaf, rep, 3, value);
        }
        let mut rest = span.attributes.clone();
        self.optional(90, rep, 3, take(&mut rest, "http.method"));
        self.optional(91, rep, 3, take(&mut rest, "http.url"));
        let is_code =
            |a: &KeyValue| a.key == "http.status_code" && matches!(value(a), Some(Value::IntValue(_)));
        let code = rest.iter().position(is_code).map(|at| rest.remove(at));
        let code = code.map(|a| if let Some(Value::IntValue(code)) = value(&a) { *code } else { 0 });
        self.optional(92, rep, 3, code);
        self.spares(93, rep, 3, (&mut rest, dedicated, DedicatedColumnScope::Span));
        self.attributes(59, rep, 3, &rest);
        self.put(66, rep, 3, span.dropped_attributes_count);
        self.events(span, rep);
        self.put(77, rep, 3, span.dropped_events_count.cast_signed());
        self.links(&span.links, rep);
        self.put(89, rep, 3, span.dropped_links_count);
    }

    fn events(&mut self, span: &Span, rep: i16) {
        if span.events.is_empty() {
            (67..=76).for_each(|leaf| self.null(leaf, rep, 3));
        }
        for (number, event) in span.events.iter().enumerate() {
            let rep = if number > 0 { 4 } else { rep };
            let since = event.time_unix_nano.wrapping_sub(span.start_time_unix_nano);
            self.put(67, rep, 4, since.cast_signed());
            self.put(68, rep, 4, &event.name);
            self.attributes(69, rep, 4, &event.attributes);
            self.put(76, rep, 4, event.dropped_attributes_count);
        }
    }

    fn links(&mut self, links: &[span::Link], rep: i16) {
        if links.is_empty() {
            (78..=88).for_each(|leaf| self.null(leaf, rep, 3));
        }
        for (number, link) in links.iter().enumerate() {
            let rep = if number > 0 { 4 } else { rep };
            self.put(78, rep, 4, hex(&link.trace_id));
            self.put(79, rep, 4, hex(&link.span_id));
            self.put(80, rep, 4, &link.trace_state);
            self.attributes(81, rep, 4, &link.attributes);
            self.put(88, rep, 4, link.dropped_attributes_count);
        }
    }

    /// Seven leaves from `first`; `def` is the level of the list's owner.
    fn attributes(&mut self, first: usize, rep: i16, def: i16, attributes: &[KeyValue]) {
        if attributes.is_empty() {
            (first..first + 7).for_each(|leaf| self.null(leaf, rep, def));
        }
        for (number, attribute) in attributes.iter().enumerate() {
            let own = def + 1;
            let rep = if number > 0 { own } else { rep };
            self.put(first, rep, own, &attribute.key);
            let (list, values) = scalars(value(attribute));
            let is_array = matches!(value(attribute), Some(Value::ArrayValue(_))) && list != 6;
            self.put(first + 1, rep, own, is_array);
            for leaf in 2..6 {
                let values = if leaf == list { &values[..] } else { &[] };
                if values.is_empty() {
                    self.null(first + leaf, rep, own);
                }
                for (number, value) in values.iter().enumerate() {
                    self.put(first + leaf, if number > 0 { own + 1 } else { rep }, own + 1, value);
                }
            }
            let mut text = String::new();
            json::write_any_value(&mut text, attribute.value.as_ref().unwrap());
            self.optional(first + 6, rep, own, (list == 6).then_some(text));
        }
    }
}

/// Which of the lists (2 to 5) takes a value, or 6 for none of them, and its entries as text.
fn scalars(value: Option<&Value>) -> (usize, Vec<String>) {
    let one = |value: &Value| match value {
        Value::StringValue(text) => Some((2, text.clone())),
        Value::IntValue(int) => Some((3, int.to_string())),
        Value::DoubleValue(double) => Some((4, format!("{double:?}"))),
        Value::BoolValue(bool) => Some((5, bool.to_string())),
        _ => None,
    };
    match value {
        Some(Value::ArrayValue(array)) => {
            let all: Option<Vec<(usize, String)>> =
                array.values.iter().map(|v| v.value.as_ref().and_then(one)).collect();
            match all {
                Some(all) if all.is_empty() => (0, Vec::new()),
                Some(all) if all.iter().all(|(list, _)| *list == all[0].0) => {
                    (all[0].0, all.into_iter().map(|(_, text)| text).collect())
                }
                _ => (6, Vec::new()),
            }
        }
        Some(value) => one(value).map_or((6, Vec::new()), |(list, text)| (list, vec![text])),
        None => (6, Vec::new()),
    }
}

fn value(attribute: &KeyValue) -> Option<&Value> {
    attribute.value.as_ref().and_then(|v| v.value.as_ref())
}

/// Takes the first string with this key out of the list.
fn take(attributes: &mut Vec<KeyValue>, key: &str) -> Option<String> {
    let is_wanted = |a: &KeyValue| a.key == key && matches!(value(a), Some(Value::StringValue(_)));
    let taken = attributes.remove(attributes.iter().position(is_wanted)?);
    match taken.value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => Some(text),
        _ => None,
    }
}

fn service(resource_spans: &ResourceSpans) -> String {
    take(&mut resource_spans.resource.clone().unwrap().attributes, "service.name").unwrap_or_default()
}

fn spans(trace: &Trace) -> Vec<(&ResourceSpans, &Span)> {
    let of = |r| {
        let r: &ResourceSpans = r;
        r.scope_spans.iter().flat_map(|scope| &scope.spans).map(move |span| (r, span))
    };
    trace.resource_spans.iter().flat_map(of).collect()
}

/// Parent, left and right of each span, by the definition, with recursion as a list of work.
fn nested_set(trace: &Trace) -> Vec<[i32; 3]> {
    let spans: Vec<&Span> = spans(trace).into_iter().map(|(_, span)| span).collect();
    let mut places = vec![[0; 3]; spans.len()];
    let mut by_id: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    spans.iter().enumerate().for_each(|(at, span)| by_id.entry(&span.span_id).or_default().push(at));
    if by_id.values().any(|twins| twins.len() > 2) {
        return places;
    }
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for (at, span) in spans.iter().enumerate().filter(|(_, span)| !span.parent_span_id.is_empty()) {
        let wanted = if span.kind == 2 { 3 } else { 2 };
        let parent = match by_id.get(&span.parent_span_id[..]).map(Vec::as_slice) {
            Some(&[only]) => Some(only),
            Some(twins) => twins.iter().copied().find(|&twin| spans[twin].kind == wanted),
            None => None,
        };
        if let Some(parent) = parent {
            children[parent].push(at);
        }
    }
    let mut counter = 0;
    for root in (0..spans.len()).filter(|&at| spans[at].parent_span_id.is_empty()) {
        let mut work = vec![(root, -1, false)];
        while let Some((at, parent, is_done)) = work.pop() {
            counter += 1;
            if is_done {
                places[at][2] = counter;
            } else {
                (places[at][0], places[at][1]) = (parent, counter);
                work.push((at, 0, true));
                work.extend(children[at].iter().rev().map(|&child| (child, counter, false)));
            }
        }
    }
    places
}

/// All spans with their resource and scope, in an order of their own, encoded.
pub(crate) fn by_span(trace: &Trace) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for resource_spans in &trace.resource_spans {
        for scope_spans in &resource_spans.scope_spans {
            let resource = resource_spans.resource.clone().unwrap().encode_to_vec();
            let scope = scope_spans.scope.clone().unwrap().encode_to_vec();
            all.extend(
                scope_spans.spans.iter().map(|s| (resource.clone(), scope.clone(), s.encode_to_vec())),
            );
        }
    }
    all.sort();
    all
}

/// Spans sorted in their scopes, scopes and resources by their first spans, and no group twice.
pub(crate) fn is_in_order(trace: &Trace) -> bool {
    let key = |span: &Span| (span.start_time_unix_nano, span.span_id.clone());
    let is_sorted = |spans: &[Span]| spans.is_sorted_by_key(key);
    let scopes = |r: &ResourceSpans| {
        r.scope_spans.iter().all(|s| is_sorted(&s.spans))
            && r.scope_spans.is_sorted_by_key(|s| key(&s.spans[0]))
    };
    let resources: Vec<Vec<u8>> =
        trace.resource_spans.iter().map(|r| r.resource.clone().unwrap().encode_to_vec()).collect();
    let mut unique = resources.clone();
    unique.sort();
    unique.dedup();
    trace.resource_spans.iter().all(scopes)
        && trace.resource_spans.is_sorted_by_key(|r| key(&r.scope_spans[0].spans[0]))
        && unique.len() == resources.len()
}
