//! `tempo demo`: sends the traces of a small shop through a real OTLP exporter to a running server, prints the commands
//! that read them back, and runs one of them itself.
//!
//! Exit 0: the trace came back with all its spans. Anything else is reported and exits with 1.

mod http_get;
mod shop;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use opentelemetry::trace::TraceId;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use rand::{SeedableRng as _, rngs::SmallRng};
use tokio::time::Instant;
use tonic::metadata::{MetadataMap, MetadataValue};

use self::shop::Service;
use crate::{flags::DemoFlags, process::Exit};

/// How long the first trace may take to be found.
const FIND_WITHIN: Duration = Duration::from_secs(5);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Commands printed; more would hide them.
const MOST_PRINTED: usize = 5;

pub async fn run(flags: DemoFlags) -> Exit {
    let outcome = send_and_find(&flags).await;
    match outcome {
        Ok(text) => {
            std::io::stdout().write_all(text.as_bytes()).ok();
            Exit::Clean
        }
        Err(error) => {
            let DemoFlags { endpoint, query_url, .. } = &flags;
            let hint = format!(
                "Is a server running? `tempo` alone starts one; the demo sends to {endpoint} and asks {query_url},\n\
                 -endpoint and -query-url name others."
            );
            writeln!(std::io::stderr(), "demo failed: {error:#}\n{hint}").ok();
            Exit::Failed
        }
    }
}

async fn send_and_find(flags: &DemoFlags) -> anyhow::Result<String> {
    let now = SystemTime::now();
    let clock = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = flags.seed.unwrap_or_else(|| clock.as_secs() ^ u64::from(clock.subsec_nanos()) << 32);
    let mut random = SmallRng::seed_from_u64(seed);

    let mut exporters = BTreeMap::new();
    for service in Service::ALL {
        exporters.insert(service, exporter(flags, service)?);
    }
    let mut sent: Vec<(TraceId, &'static str, usize)> = Vec::new();
    for index in 0..flags.traces.max(1) {
        let age = Duration::from_secs(u64::from(flags.traces - index.min(flags.traces)));
        let order = shop::request(&mut random, now - age);
        sent.push((order.trace_id, order.name, order.spans.len()));
        for (service, spans) in by_service(order.spans) {
            let exporter = exporters.get(&service).context("every service has an exporter")?;
            exporter.export(spans).await.with_context(|| format!("send to {}", flags.endpoint))?;
        }
    }

    let spans: usize = sent.iter().map(|(_, _, spans)| spans).sum();
    let mut text =
        format!("sent {} traces with {spans} spans of a small shop to {}\n", sent.len(), flags.endpoint);
    let header = flags.tenant.as_ref().map(|t| format!(" -H 'X-Scope-OrgID: {t}'")).unwrap_or_default();
    let query_url = flags.query_url.trim_end_matches('/');
    text.push_str("\nread them back:\n");
    for (trace_id, name, spans) in sent.iter().take(MOST_PRINTED) {
        writeln!(text, "  curl -s{header} {query_url}/api/traces/{trace_id}   # {name}, {spans} spans")?;
    }
    let (trace_id, _, spans) = sent.first().context("at least one trace is sent")?;
    let took = find(flags, query_url, *trace_id, *spans).await?;
    writeln!(text, "\nthe first one is there with all its {spans} spans ({} ms)", took.as_millis())?;
    Ok(text)
}

fn exporter(flags: &DemoFlags, service: Service) -> anyhow::Result<SpanExporter> {
    let mut metadata = MetadataMap::new();
    if let Some(tenant) = &flags.tenant {
        metadata.insert("x-scope-orgid", MetadataValue::try_from(tenant).context("tenant")?);
    }
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&flags.endpoint)
        .with_timeout(Duration::from_secs(10))
        .with_metadata(metadata)
        .build()
        .with_context(|| format!("set up the exporter to {}", flags.endpoint))?;
    exporter.set_resource(&service.resource());
    Ok(exporter)
}

fn by_service(spans: Vec<(Service, SpanData)>) -> BTreeMap<Service, Vec<SpanData>> {
    let mut grouped: BTreeMap<Service, Vec<SpanData>> = BTreeMap::new();
    for (service, span) in spans {
        grouped.entry(service).or_default().push(span);
    }
    grouped
}

/// Asks until the trace has all its spans; returns how long that took.
async fn find(flags: &DemoFlags, query_url: &str, id: TraceId, spans: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let url = format!("{query_url}/api/traces/{id}");
    loop {
        let answer = http_get::get(&url, flags.tenant.as_deref()).await;
        let problem = match answer {
            Ok((200, body)) => {
                let found = body.matches("\"spanId\"").count();
                if found >= spans {
                    return Ok(start.elapsed());
                }
                format!("{url} answered {found} of {spans} spans")
            }
            Ok((status, body)) => format!("{url} answered {status}: {}", body.trim()),
            Err(error) => format!("{error:#}"),
        };
        if start.elapsed() > FIND_WITHIN {
            bail!("{problem}");
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
}
