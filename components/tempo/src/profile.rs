//! `/debug/pprof/*`: what Go programs offer there, for this process, in the form that `pprof` opens.
//!
//! - `profile?seconds=` CPU, sampled 100 times a second by frame pointers; one at a time (409 while another runs).
//! - `heap?seconds=` live bytes by allocation site, sampled every 512 KiB by jemalloc. The first request switches sampling on
//!   (only allocations made since then are seen), so it waits `seconds` (default 5 then, 0 later); `?active=false` switches off.
//! - `goroutine[?debug=1]` the process's tasks by spawn site and state (`tasks.rs`).
//! - `block`, `mutex` time spent waiting on our own queues and locks since the start (`tempo_model::Waits`).
//! - `trace?seconds=&interval_ms=` what the tokio runtime did: JSON lines, one per interval, described in `runtime_trace.rs`.
//!
//! The routes are mounted only when `server.tempo_rs.debug_endpoints` says so.

mod cpu;
mod heap;
mod pprof_format;
mod runtime_trace;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tempo_model::{WaitKind, Waits};
use tokio::sync::Semaphore;

use self::pprof_format::{Frame, ProfileBuilder};
use crate::tasks::Tasks;

const MOST_SECONDS: u64 = 300;

/// What the endpoints read.
#[derive(Debug, Clone)]
pub struct ProfileState {
    pub tasks: Tasks,
    pub waits: Waits,
    one_at_a_time: Arc<Semaphore>,
}

impl ProfileState {
    pub fn new(tasks: Tasks, waits: Waits) -> ProfileState {
        ProfileState { tasks, waits, one_at_a_time: Arc::new(Semaphore::new(1)) }
    }
}

#[derive(Debug, thiserror::Error)]
enum ProfileError {
    #[error("another profile is being taken")]
    Busy,
    #[error("{0}")]
    Unavailable(&'static str),
    #[error("parameter {name} must be a number from {least} to {most}")]
    Parameter { name: &'static str, least: u64, most: u64 },
    #[error("take profile: {0}")]
    Failed(String),
}

impl IntoResponse for ProfileError {
    fn into_response(self) -> Response {
        let status = match &self {
            ProfileError::Busy => StatusCode::CONFLICT,
            ProfileError::Unavailable(_) => StatusCode::NOT_IMPLEMENTED,
            ProfileError::Parameter { .. } => StatusCode::BAD_REQUEST,
            ProfileError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{self}\n")).into_response()
    }
}

type Parameters = Query<BTreeMap<String, String>>;

pub fn routes(state: ProfileState) -> Router {
    Router::new()
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/profile", get(cpu_profile))
        .route("/debug/pprof/heap", get(heap_profile))
        .route("/debug/pprof/goroutine", get(task_profile))
        .route("/debug/pprof/block", get(block_profile))
        .route("/debug/pprof/mutex", get(mutex_profile))
        .route("/debug/pprof/trace", get(trace))
        .with_state(state)
}

async fn index() -> &'static str {
    "profile    CPU, ?seconds=30\n\
     heap       live allocations; the first request switches sampling on, ?seconds= ?active=false\n\
     goroutine  tasks by spawn site and state, ?debug=1 for text; what hyper and tonic spawn is one sum\n\
     block      time spent waiting on our queues since the start, by call site\n\
     mutex      time spent waiting on our locks since the start, by call site\n\
     trace      activity of the runtime as JSON lines, ?seconds=1 ?interval_ms=100\n"
}

async fn cpu_profile(
    State(state): State<ProfileState>,
    parameters: Parameters,
) -> Result<Response, ProfileError> {
    let seconds = number(&parameters, "seconds", 30, 1, MOST_SECONDS)?;
    let _one = state.one_at_a_time.try_acquire().map_err(|_| ProfileError::Busy)?;
    let profile = cpu::sample(Duration::from_secs(seconds)).await?;
    Ok(attachment("profile", profile))
}

async fn heap_profile(
    State(state): State<ProfileState>,
    parameters: Parameters,
) -> Result<Response, ProfileError> {
    let seconds = match parameters.get("seconds") {
        None => None,
        Some(_) => Some(number(&parameters, "seconds", 0, 0, MOST_SECONDS)?),
    };
    let _one = state.one_at_a_time.try_acquire().map_err(|_| ProfileError::Busy)?;
    if parameters.get("active").is_some_and(|active| active == "false") {
        heap::deactivate().await?;
        return Ok("heap sampling is off\n".into_response());
    }
    Ok(attachment("heap", heap::dump(seconds.map(Duration::from_secs)).await?))
}

async fn task_profile(
    State(state): State<ProfileState>,
    parameters: Parameters,
) -> Result<Response, ProfileError> {
    let mut sites = BTreeMap::new();
    let tasks = state.tasks.snapshot();
    for task in &tasks {
        let key = (task.name, task.site.file(), task.site.line(), task.state);
        let (count, polls) = sites.entry(key).or_insert((0_i64, 0_u64));
        *count += 1;
        *polls += task.polls;
    }
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let others = i64::try_from(alive.saturating_sub(tasks.len())).unwrap_or(i64::MAX);

    if parameters.get("debug").is_some_and(|debug| debug != "0") {
        let mut out = format!("tasks: total {alive}\n");
        for ((name, file, line, state), (count, polls)) in sites {
            writeln!(out, "{count} {} {name} {file}:{line} polls={polls}", state.as_str())
                .expect("writing to a String");
        }
        writeln!(out, "{others} started inside libraries (hyper, tonic)").expect("writing to a String");
        return Ok(out.into_response());
    }
    let mut builder = ProfileBuilder::new(&[("goroutine", "count")]);
    builder.set_time(jiff::Timestamp::now(), Duration::ZERO);
    builder.set_period("goroutine", "count", 1);
    for ((name, file, line, state), (count, _)) in sites {
        builder.add(&[vec![frame(name, file, line)]], vec![count], &[("state", state.as_str())]);
    }
    if others > 0 {
        builder.add(&[vec![frame("started inside libraries (hyper, tonic)", "", 0)]], vec![others], &[]);
    }
    finish("goroutine", builder)
}

async fn block_profile(State(state): State<ProfileState>) -> Result<Response, ProfileError> {
    wait_profile("block", &state.waits, WaitKind::Queue)
}

async fn mutex_profile(State(state): State<ProfileState>) -> Result<Response, ProfileError> {
    wait_profile("mutex", &state.waits, WaitKind::Lock)
}

fn wait_profile(name: &str, waits: &Waits, kind: WaitKind) -> Result<Response, ProfileError> {
    let mut builder = ProfileBuilder::new(&[("contentions", "count"), ("delay", "nanoseconds")]);
    builder.set_time(jiff::Timestamp::now(), Duration::ZERO);
    builder.set_period("contentions", "count", 1);
    for site in waits.totals(kind) {
        let values = vec![
            i64::try_from(site.count).unwrap_or(i64::MAX),
            i64::try_from(site.waited.as_nanos()).unwrap_or(i64::MAX),
        ];
        builder.add(&[vec![frame(site.name, site.file, site.line)]], values, &[]);
    }
    finish(name, builder)
}

async fn trace(parameters: Parameters) -> Result<Response, ProfileError> {
    let seconds = number(&parameters, "seconds", 1, 1, MOST_SECONDS)?;
    let interval = number(&parameters, "interval_ms", 100, 10, 10_000)?;
    let lines = runtime_trace::record(Duration::from_secs(seconds), Duration::from_millis(interval)).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

fn frame(name: &str, file: &str, line: u32) -> Frame {
    Frame { function: name.to_owned(), file: file.to_owned(), line: i64::from(line) }
}

fn finish(name: &str, builder: ProfileBuilder) -> Result<Response, ProfileError> {
    let bytes = builder.finish().map_err(|e| ProfileError::Failed(e.to_string()))?;
    Ok(attachment(name, bytes))
}

fn attachment(name: &str, bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, bytes).into_response()
}

fn number(
    parameters: &Parameters,
    name: &'static str,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, ProfileError> {
    let Some(text) = parameters.get(name) else { return Ok(default) };
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(ProfileError::Parameter { name, least, most }),
    }
}
