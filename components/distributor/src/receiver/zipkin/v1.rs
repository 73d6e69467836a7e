//! Version 1: what its annotations and binary annotations stand for. The readers of JSON and thrift call this.
//!
//! | version 1 | becomes |
//! |---|---|
//! | first core annotation: `cs`, `cr` / `ss`, `sr` / `ms` / `mr` | kind client / server / producer / consumer |
//! | core annotations of that kind | nothing more: they are its times and its endpoint |
//! | core annotations of another kind, all other annotations | events |
//! | `timestamp`, `duration`; else the first and last annotation | start, end |
//! | endpoint of the first core annotation, else of another annotation or binary annotation, with a name | resource `service.name`, `ipv4`, `ipv6`, `port` |
//! | no name in them: binary annotation `lc`; else | resource `service.name`, which is `unknown-service` in the end |
//! | binary annotation `sa` (client, or no kind), `ca` (server; no kind makes it one), `ma` (producer, consumer) | attributes `peer.service`, `net.peer.ip`, `net.peer.port` |
//! | the address annotation of the span's own side | nothing: it repeats the endpoint |
//! | other binary annotations | as tags (`translation`), `lc` as `component` unless empty; numbers and booleans keep their type, bytes are base64 |
//! | `census.status_code`, `census.status_description`, `http.status_code` outside of 100 to 399 | status, if no other tag gives one |

use super::{
    endpoint::Endpoint,
    tags::Value,
    translation::{SpanFault, Translation},
};
use crate::receiver::otlp_writer::SpanKind;

const UNKNOWN_SERVICE: &str = "unknown-service";

/// Who an address annotation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    Client,
    Server,
    Broker,
}

impl Address {
    pub(super) fn of(key: &str) -> Option<Address> {
        match key {
            "ca" => Some(Address::Client),
            "sa" => Some(Address::Server),
            "ma" => Some(Address::Broker),
            _ => None,
        }
    }
}

/// Where the name of a span's service was found, best last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    #[default]
    Nowhere,
    Component,
    BinaryAnnotation,
    Annotation,
    Core,
}

/// What the annotations of one span have told so far.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    kind: Option<SpanKind>,
    first_micros: u64,
    last_micros: u64,
    source: Source,
    local: Endpoint,
    client: Endpoint,
    server: Endpoint,
    broker: Endpoint,
}

fn core_kind(value: &str) -> Option<SpanKind> {
    match value {
        "cs" | "cr" => Some(SpanKind::Client),
        "ss" | "sr" => Some(SpanKind::Server),
        "ms" => Some(SpanKind::Producer),
        "mr" => Some(SpanKind::Consumer),
        _ => None,
    }
}

impl Annotations {
    pub(super) fn begin(&mut self, span: &mut Translation) {
        span.begin();
        let Annotations { kind, first_micros, last_micros, source, local, client, server, broker } = self;
        *kind = None;
        *first_micros = 0;
        *last_micros = 0;
        *source = Source::Nowhere;
        for endpoint in [local, client, server, broker] {
            endpoint.clear();
        }
    }

    pub(super) fn annotation(
        &mut self,
        span: &mut Translation,
        micros: u64,
        value: &str,
        host: &mut Endpoint,
    ) {
        if micros > 0 {
            self.first_micros = if self.first_micros == 0 { micros } else { self.first_micros.min(micros) };
            self.last_micros = self.last_micros.max(micros);
        }
        let kind = core_kind(value);
        if self.kind.is_none() {
            self.kind = kind;
        }
        let is_own = kind.is_some() && kind == self.kind;
        self.found(if is_own { Source::Core } else { Source::Annotation }, host);
        if !is_own && !value.is_empty() {
            span.annotation(micros, value);
        }
    }

    pub(super) fn binary(
        &mut self,
        span: &mut Translation,
        key: &str,
        value: Value<'_>,
        host: &mut Endpoint,
    ) {
        let is_flag = matches!(value, Value::Bool(_) | Value::Text("true"));
        if let Some(address) = Address::of(key).filter(|_| is_flag && !host.is_empty()) {
            let side = match address {
                Address::Client => &mut self.client,
                Address::Server => &mut self.server,
                Address::Broker => &mut self.broker,
            };
            std::mem::swap(side, host);
            return;
        }
        self.found(Source::BinaryAnnotation, host);
        if let ("lc", Value::Text(component)) = (key, value)
            && self.source == Source::Nowhere
            && !component.is_empty()
        {
            self.source = Source::Component;
            self.local.set_service(component);
        }
        span.typed_tag(key, value);
    }

    /// Takes the endpoint if it is a better source of the service's name; the first of its kind counts.
    fn found(&mut self, source: Source, host: &mut Endpoint) {
        if source > self.source && !host.service.is_empty() {
            self.source = source;
            std::mem::swap(&mut self.local, host);
        }
    }

    pub(super) fn end(&mut self, span: &mut Translation) -> Result<(), SpanFault> {
        if self.source == Source::Nowhere {
            self.local.set_service(UNKNOWN_SERVICE);
        }
        span.local().set_service(&self.local.service);
        for (key, address) in [("ipv4", &self.local.v4), ("ipv6", &self.local.v6)] {
            if !address.is_empty() {
                span.resource_attribute(key, address);
            }
        }
        if self.local.port != 0 {
            span.resource_attribute("port", &self.local.port.to_string());
        }
        if self.kind.is_none() && self.server.is_empty() && !self.client.is_empty() {
            self.kind = Some(SpanKind::Server);
        }
        let remote = match self.kind {
            Some(SpanKind::Server) => &mut self.client,
            Some(SpanKind::Producer | SpanKind::Consumer) => &mut self.broker,
            Some(SpanKind::Client | SpanKind::Internal | SpanKind::Unspecified) | None => &mut self.server,
        };
        std::mem::swap(span.remote(), remote);
        span.set_kind(self.kind);
        if !span.has_timestamp() {
            span.set_timestamp(self.first_micros);
        }
        span.set_end(self.last_micros);
        span.end()
    }
}
