//! Writes traces and reads them back all the time, and keeps the ledger: what was acknowledged must be readable, always.
//!
//! While the pod is away nothing can be read, and that is counted, not held against it. But an answer that does not have
//! an acknowledged span in it is a loss, whenever it comes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use prost::Message as _;
use rand::Rng as _;
use tempo_e2e::{Client, Response, SpanMaker};
use tempo_proto::tempopb::Trace;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];
const SPANS_PER_TRACE: u64 = 10;
const TRACES_PER_BATCH: u64 = 5;
/// A pod that is gone does not refuse, it is silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How often a batch is sent and a trace is read.
const EVERY: Duration = Duration::from_millis(20);

/// Traces that a Service has acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    maker: SpanMaker,
    client: Client,
    service: String,
    acknowledged: Arc<Mutex<Vec<u64>>>,
}

/// What a load has seen while it ran.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) writes: u64,
    pub(crate) refused_writes: u64,
    pub(crate) reads: u64,
    pub(crate) refused_reads: u64,
    /// The longest time in which nothing was acknowledged.
    pub(crate) longest_gap: Duration,
}

/// A writer and a reader that run until they are stopped.
pub(crate) struct Load {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    seen: Arc<Mutex<Seen>>,
}

impl Ledger {
    /// `service` is the address of the Service, without port.
    pub(crate) fn new(service: String) -> anyhow::Result<Ledger> {
        let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let maker = SpanMaker { seed, spans_per_trace: SPANS_PER_TRACE };
        Ok(Ledger { maker, client: Client::default(), service, acknowledged: Arc::default() })
    }

    /// Writes this many traces and is told that they are safe.
    pub(crate) async fn write(&self, traces: u64) -> anyhow::Result<()> {
        let first = self.acknowledged.lock().last().map_or(0, |last| last + 1);
        for first in (first..first + traces).step_by(5) {
            ensure!(self.push(first).await?, "a write was refused");
        }
        Ok(())
    }

    /// Whether the batch was acknowledged.
    async fn push(&self, first: u64) -> anyhow::Result<bool> {
        let batch = self.maker.batch(first, TRACES_PER_BATCH);
        let url = format!("http://{}:4318/v1/traces", self.service);
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.client.post(&url, &PROTOBUF, batch.body)).await;
        let is_acknowledged = matches!(answer, Ok(Ok(Response { status, .. })) if status == 200);
        if is_acknowledged {
            self.acknowledged.lock().extend(batch.traces);
        }
        Ok(is_acknowledged)
    }

    /// Whether the trace could be asked for; an error when the answer lacks a span.
    async fn read(&self, trace: u64) -> anyhow::Result<bool> {
        let id = self.maker.trace_id_hex(trace);
        let url = format!("http://{}:3200/api/traces/{id}", self.service);
        let asked = self.client.get(&url, &[("accept", "application/protobuf")]);
        let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_WITHIN, asked).await else { return Ok(false) };
        if answer.status.is_server_error() {
            return Ok(false);
        }
        ensure!(
            answer.status == 200,
            "trace {trace} ({id}) was acknowledged: {} {}",
            answer.status,
            answer.text()
        );
        let found = Trace::decode(answer.body)?;
        let scopes = found.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        let mut spans: Vec<&[u8]> =
            scopes.flat_map(|scope| &scope.spans).map(|span| &span.span_id[..]).collect();
        spans.sort_unstable();
        spans.dedup();
        let expected = usize::try_from(SPANS_PER_TRACE)?;
        ensure!(spans.len() == expected, "trace {trace} ({id}) has {} of {expected} spans", spans.len());
        Ok(true)
    }

    /// Every acknowledged trace is there, whole. Gives their number.
    pub(crate) async fn check(&self) -> anyhow::Result<usize> {
        let acknowledged = self.acknowledged.lock().clone();
        for &trace in &acknowledged {
            ensure!(self.read(trace).await?, "trace {trace} cannot be asked for");
        }
        Ok(acknowledged.len())
    }

    /// The same traces, asked for at another Service.
    pub(crate) fn at(&self, service: String) -> Ledger {
        Ledger { service, ..self.clone() }
    }

    pub(crate) fn start_load(&self) -> Load {
        let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Seen::default())));
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().write_on(stop.clone(), Arc::clone(&seen)));
        tasks.spawn(self.clone().read_on(stop.clone(), Arc::clone(&seen)));
        Load { tasks, stop, seen }
    }

    async fn write_on(self, stop: CancellationToken, seen: Arc<Mutex<Seen>>) -> anyhow::Result<()> {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Numbers of refused batches are not used again: half of one may be there, and that is right.
        let mut next = self.acknowledged.lock().last().map_or(0, |last| last + 1);
        let mut last = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            every.tick().await;
            let is_acknowledged = self.push(next).await?;
            next += TRACES_PER_BATCH;
            let mut seen = seen.lock();
            if is_acknowledged {
                seen.writes += 1;
                seen.longest_gap = seen.longest_gap.max(last.elapsed());
                last = tokio::time::Instant::now();
            } else {
                seen.refused_writes += 1;
            }
        }
        Ok(())
    }

    async fn read_on(self, stop: CancellationToken, seen: Arc<Mutex<Seen>>) -> anyhow::Result<()> {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            every.tick().await;
            let trace = {
                let acknowledged = self.acknowledged.lock();
                if acknowledged.is_empty() {
                    continue;
                }
                acknowledged[rand::rng().random_range(0..acknowledged.len())]
            };
            let is_answered = self.read(trace).await?;
            let mut seen = seen.lock();
            if is_answered { seen.reads += 1 } else { seen.refused_reads += 1 }
        }
        Ok(())
    }
}

impl Load {
    /// Waits until both went well this many times from now on.
    pub(crate) async fn flows(&self, times: u64) -> anyhow::Result<()> {
        let before = *self.seen.lock();
        tempo_e2e::eventually("writer and reader get on", Duration::from_secs(30), async || {
            let seen = *self.seen.lock();
            ensure!(seen.writes >= before.writes + times && seen.reads >= before.reads + times, "{seen:?}");
            Ok(())
        })
        .await
    }

    /// Stops both; an error of either is a lost span.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Seen> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the load")??;
        }
        Ok(*self.seen.lock())
    }
}
