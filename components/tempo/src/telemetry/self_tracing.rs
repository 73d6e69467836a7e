//! Our own traces, sent over OTLP/gRPC when the usual `OTEL_*` variables name an endpoint.
//!
//! Only query requests are traced: spans whose target begins with one of [`TRACED`]. The ingest path has none, so a process
//! that exports to itself does not feed itself. Read: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
//! `OTEL_EXPORTER_OTLP_[TRACES_]PROTOCOL` (only grpc), `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
//! `OTEL_TRACES_SAMPLER` with `_ARG`, `OTEL_TRACES_EXPORTER=none`, `OTEL_SDK_DISABLED`.

use std::{collections::BTreeMap, time::Duration};

use axum::http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// Target of the span around a query request.
pub(crate) const REQUEST_TARGET: &str = "tempo::request";

/// Span targets that are exported.
const TRACED: [&str; 3] = [REQUEST_TARGET, "tempo_query_frontend", "tempo_querier"];

const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct SelfTracing {
    provider: SdkTracerProvider,
}

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq)]
struct Settings {
    endpoint: String,
    service_name: String,
    attributes: Vec<(String, String)>,
    sampler: SamplerSetting,
}

/// The samplers that have a name in the environment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct SamplerSetting {
    is_parent_based: bool,
    ratio: f64,
}

impl SelfTracing {
    /// `None` if nothing asks for own traces.
    pub(super) fn from_env(
        env: &BTreeMap<String, String>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<SelfTracing>, String> {
        let Some(settings) = Settings::read(env, warnings) else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&settings.endpoint)
            .with_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| e.to_string())?;
        let attributes = settings.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let resource = Resource::builder_empty()
            .with_attributes(attributes)
            .with_service_name(settings.service_name)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(settings.sampler.build())
            .with_resource(resource)
            .build();
        Ok(Some(SelfTracing { provider }))
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let is_traced = |metadata: &tracing::Metadata<'_>| {
            metadata.is_span() && TRACED.iter().any(|target| metadata.target().starts_with(target))
        };
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("tempo"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_traced))
    }

    pub(super) async fn shutdown(self) {
        // The batch exporter flushes on a thread of its own and blocks until it is done.
        let flush =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT));
        if let Ok(Err(error)) = flush.await {
            tracing::warn!(%error, "failed to send the last own traces");
        }
    }
}

impl Settings {
    fn read(env: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Option<Settings> {
        let get = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let is_off = get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
            || get("OTEL_TRACES_EXPORTER").is_some_and(|v| v != "otlp");
        let endpoint =
            get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let endpoint = endpoint.filter(|_| !is_off)?;
        let protocol =
            get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| get("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(protocol) = protocol.filter(|&p| p != "grpc") {
            warnings.push(format!("own traces are off: OTLP over {protocol} is not supported, only grpc"));
            return None;
        }
        let mut attributes: Vec<(String, String)> = get("OTEL_RESOURCE_ATTRIBUTES")
            .into_iter()
            .flat_map(|list| list.split(','))
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let named = attributes.iter().position(|(key, _)| key == "service.name");
        let named = named.map(|index| attributes.remove(index).1);
        let service_name = get("OTEL_SERVICE_NAME").map(str::to_owned).or(named);
        Some(Settings {
            endpoint: endpoint.to_owned(),
            service_name: service_name.unwrap_or_else(|| "tempo".to_owned()),
            attributes,
            sampler: SamplerSetting::read(
                get("OTEL_TRACES_SAMPLER"),
                get("OTEL_TRACES_SAMPLER_ARG"),
                warnings,
            ),
        })
    }
}

impl SamplerSetting {
    fn read(name: Option<&str>, argument: Option<&str>, warnings: &mut Vec<String>) -> SamplerSetting {
        let ratio =
            || argument.and_then(|a| a.parse().ok()).filter(|r| (0.0..=1.0).contains(r)).unwrap_or(1.0);
        let (is_parent_based, ratio) = match name {
            None | Some("parentbased_always_on") => (true, 1.0),
            Some("always_on") => (false, 1.0),
            Some("always_off") => (false, 0.0),
            Some("traceidratio") => (false, ratio()),
            Some("parentbased_always_off") => (true, 0.0),
            Some("parentbased_traceidratio") => (true, ratio()),
            Some(other) => {
                warnings.push(format!("OTEL_TRACES_SAMPLER {other:?} is unknown: every request is sampled"));
                (true, 1.0)
            }
        };
        SamplerSetting { is_parent_based, ratio }
    }

    fn build(self) -> Sampler {
        let own = Sampler::TraceIdRatioBased(self.ratio);
        if self.is_parent_based { Sampler::ParentBased(Box::new(own)) } else { own }
    }
}

/// The caller's span, from `traceparent`.
pub(crate) fn remote_parent(headers: &HeaderMap) -> Context {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(|key| key.as_str()).collect()
        }
    }
    TraceContextPropagator::new().extract(&Headers(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Option<Settings>, Vec<String>) {
        let env = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut warnings = Vec::new();
        (Settings::read(&env, &mut warnings), warnings)
    }

    #[test]
    fn nothing_is_traced_unless_an_endpoint_is_named() {
        assert_eq!(read(&[("OTEL_SERVICE_NAME", "x")]).0, None);
        assert_eq!(
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "true")]).0,
            None
        );
    }

    #[test]
    fn the_traces_endpoint_wins_and_names_come_from_either_variable() {
        let (settings, warnings) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop, zone = z1"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);

        let expected = Settings {
            endpoint: "http://b".to_owned(),
            service_name: "shop".to_owned(),
            attributes: vec![("zone".to_owned(), "z1".to_owned())],
            sampler: SamplerSetting { is_parent_based: false, ratio: 0.25 },
        };
        assert_eq!(settings, Some(expected));
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_a_warning() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");

        assert_eq!(read(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]).1.len(), 1);
        assert_eq!(read(&[endpoint, ("OTEL_TRACES_SAMPLER", "sometimes")]).1.len(), 1);
    }
}
