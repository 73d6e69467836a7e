//! What a Zipkin tag means: which keys are more than an attribute of the span, and values with a type.
//!
//! The keys of a resource are those that OpenTelemetry's exporters turn into tags because Zipkin has no resource. The
//! list is the collector's (semantic conventions 1.6 to 1.40). Keys are found by binary search behind a filter of
//! first letter and length, which almost no other key passes.

/// What to do with a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// An attribute of the span.
    Plain,
    /// An attribute of the resource.
    Resource,
    /// Names the resource attribute that the service's name was taken from.
    ServiceNameSource,
    ScopeName,
    ScopeVersion,
    StatusCode,
    StatusMessage,
    Error,
    SpanKind,
    TraceState,
    /// `otlp.link.<n>`
    Link,
    /// Version 1 only: status as OpenCensus wrote it.
    CensusCode,
    CensusMessage,
    HttpStatusCode,
    /// Version 1 only: `lc`, the name of a local component.
    LocalComponent,
}

const fn resource(key: &str) -> (&str, Key) {
    (key, Key::Resource)
}

/// Sorted by key.
static SPECIAL: [(&str, Key); 102] = [
    resource("aws.ecs.cluster.arn"),
    resource("aws.ecs.container.arn"),
    resource("aws.ecs.launchtype"),
    resource("aws.ecs.task.arn"),
    resource("aws.ecs.task.family"),
    resource("aws.ecs.task.revision"),
    resource("aws.eks.cluster.arn"),
    resource("aws.log.group.arns"),
    resource("aws.log.group.names"),
    resource("aws.log.stream.arns"),
    resource("aws.log.stream.names"),
    ("census.status_code", Key::CensusCode),
    ("census.status_description", Key::CensusMessage),
    resource("cloud.account.id"),
    resource("cloud.availability_zone"),
    resource("cloud.platform"),
    resource("cloud.provider"),
    resource("cloud.region"),
    resource("cloud.resource_id"),
    resource("container.id"),
    resource("container.image.name"),
    resource("container.image.tag"),
    resource("container.name"),
    resource("container.runtime"),
    resource("deployment.environment"),
    resource("device.id"),
    resource("device.manufacturer"),
    resource("device.model.identifier"),
    resource("device.model.name"),
    ("error", Key::Error),
    resource("faas.id"),
    resource("faas.instance"),
    resource("faas.max_memory"),
    resource("faas.name"),
    resource("faas.version"),
    resource("host.arch"),
    resource("host.id"),
    resource("host.image.id"),
    resource("host.image.name"),
    resource("host.image.version"),
    resource("host.name"),
    resource("host.type"),
    ("http.status_code", Key::HttpStatusCode),
    resource("k8s.cluster.name"),
    resource("k8s.container.name"),
    resource("k8s.container.restart_count"),
    resource("k8s.cronjob.name"),
    resource("k8s.cronjob.uid"),
    resource("k8s.daemonset.name"),
    resource("k8s.daemonset.uid"),
    resource("k8s.deployment.name"),
    resource("k8s.deployment.uid"),
    resource("k8s.job.name"),
    resource("k8s.job.uid"),
    resource("k8s.namespace.name"),
    resource("k8s.node.name"),
    resource("k8s.node.uid"),
    resource("k8s.pod.name"),
    resource("k8s.pod.uid"),
    resource("k8s.replicaset.name"),
    resource("k8s.replicaset.uid"),
    resource("k8s.statefulset.name"),
    resource("k8s.statefulset.uid"),
    ("lc", Key::LocalComponent),
    resource("opencensus.exporterversion"),
    resource("opencensus.resourcetype"),
    resource("opencensus.starttime"),
    ("opencensus.status_description", Key::CensusMessage),
    resource("os.description"),
    resource("os.name"),
    resource("os.type"),
    resource("os.version"),
    ("otel.library.name", Key::ScopeName),
    ("otel.library.version", Key::ScopeVersion),
    ("otel.scope.name", Key::ScopeName),
    ("otel.scope.version", Key::ScopeVersion),
    ("otel.status_code", Key::StatusCode),
    ("otel.status_description", Key::StatusMessage),
    ("otlp.service.name.source", Key::ServiceNameSource),
    resource("process.command"),
    resource("process.command_args"),
    resource("process.command_line"),
    resource("process.executable.name"),
    resource("process.executable.path"),
    resource("process.owner"),
    resource("process.pid"),
    resource("process.runtime.description"),
    resource("process.runtime.name"),
    resource("process.runtime.version"),
    resource("service.instance.id"),
    resource("service.name"),
    resource("service.namespace"),
    resource("service.version"),
    ("span.kind", Key::SpanKind),
    resource("telemetry.auto.version"),
    resource("telemetry.sdk.language"),
    resource("telemetry.sdk.name"),
    resource("telemetry.sdk.version"),
    ("w3c.tracestate", Key::TraceState),
    resource("webengine.description"),
    resource("webengine.name"),
    resource("webengine.version"),
];

/// For each first byte the lengths of the keys above, one bit each.
static LENGTHS: [u64; 256] = lengths();

const fn lengths() -> [u64; 256] {
    let mut lengths = [0; 256];
    let mut index = 0;
    while index < SPECIAL.len() {
        let key = SPECIAL[index].0.as_bytes();
        assert!(key.len() < 64);
        lengths[key[0] as usize] |= 1 << key.len();
        index += 1;
    }
    lengths
}

const LINK: &str = "otlp.link.";

/// More links than a span can have in the collector's notation.
const MAX_LINKS: u32 = 128;

impl Key {
    #[inline]
    pub(super) fn of(key: &str) -> Key {
        let Some(&first) = key.as_bytes().first() else { return Key::Plain };
        let may_be_special =
            key.len() < 64 && LENGTHS.get(usize::from(first)).is_some_and(|l| l >> key.len() & 1 == 1);
        if may_be_special || first == b'o' { Key::find(key) } else { Key::Plain }
    }

    fn find(key: &str) -> Key {
        if let Ok(found) = SPECIAL.binary_search_by_key(&key, |(special, _)| special) {
            return SPECIAL.get(found).map_or(Key::Plain, |(_, what)| *what);
        }
        let number = key.strip_prefix(LINK).and_then(|number| number.parse().ok());
        if number.is_some_and(|number: u32| number < MAX_LINKS) { Key::Link } else { Key::Plain }
    }
}

/// A value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Int(i64),
    Double(f64),
    Bool(bool),
}

impl<'a> Value<'a> {
    /// The value with the type that its text has: whole numbers, numbers with a fraction, `true` and `false`. What
    /// does not fit into 64 bits stays text.
    pub(super) fn typed(text: &'a str) -> Value<'a> {
        match text {
            "true" => return Value::Bool(true),
            "false" => return Value::Bool(false),
            _ => {}
        }
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let positive = text.strip_prefix('-').unwrap_or(text);
        let number = match positive.split_once('.') {
            None if digits(positive) => text.parse().ok().map(Value::Int),
            Some((whole, fraction)) if digits(whole) && digits(fraction) => {
                text.parse().ok().map(Value::Double)
            }
            None | Some(_) => None,
        };
        number.unwrap_or(Value::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_special_key_is_found_and_no_other() {
        for (key, what) in SPECIAL {
            assert_eq!(Key::of(key), what, "{key}");
            assert_eq!(Key::of(&format!("{key}x")), Key::Plain, "{key}x");
        }
        assert!(SPECIAL.is_sorted_by_key(|(key, _)| *key));
        for plain in ["", "http.method", "otlp.link.", "otlp.link.128", "otlp.link.x", "o", "Error"] {
            assert_eq!(Key::of(plain), Key::Plain, "{plain}");
        }
        assert_eq!(Key::of("otlp.link.0"), Key::Link);
        assert_eq!(Key::of("otlp.link.127"), Key::Link);
    }

    #[test]
    fn values_have_the_type_of_their_text() {
        let table = [
            ("", Value::Text("")),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("True", Value::Text("True")),
            ("0", Value::Int(0)),
            ("-17", Value::Int(-17)),
            ("-", Value::Text("-")),
            ("--1", Value::Text("--1")),
            ("+1", Value::Text("+1")),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("9223372036854775808", Value::Text("9223372036854775808")),
            ("1.5", Value::Double(1.5)),
            ("-0.25", Value::Double(-0.25)),
            ("1.", Value::Text("1.")),
            (".5", Value::Text(".5")),
            ("1.2.3", Value::Text("1.2.3")),
            ("1e3", Value::Text("1e3")),
            ("NaN", Value::Text("NaN")),
            ("12px", Value::Text("12px")),
        ];
        for (text, want) in table {
            assert_eq!(Value::typed(text), want, "{text:?}");
        }
    }
}
