//! The registry of this process's tasks: who spawned them, where, and whether they run or wait. `/debug/pprof/goroutine`
//! reads it.
//!
//! `track` wraps a future and does not spawn it, so the owner (a `JoinSet` or `TaskTracker`) stays visible at the spawn
//! site. Libraries spawn, too (hyper one task a request of an HTTP/2 connection, tonic one a client's connection); the
//! profile shows those as one remainder, counted by the runtime.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use parking_lot::Mutex;

/// Clones share one registry.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Registry>);

#[derive(Default)]
struct Registry {
    next: AtomicU64,
    live: Mutex<HashMap<u64, Arc<Task>>>,
}

struct Task {
    name: &'static str,
    site: &'static Location<'static>,
    is_polled: AtomicBool,
    polls: AtomicU64,
}

/// What a task was doing when the snapshot was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskState {
    /// A worker was inside its `poll`.
    Running,
    /// It waited for an event, or for a worker.
    Waiting,
}

impl TaskState {
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Waiting => "waiting",
        }
    }
}

/// One live task.
#[derive(Debug, Clone, Copy)]
pub struct TaskSnapshot {
    pub name: &'static str,
    pub site: &'static Location<'static>,
    pub state: TaskState,
    pub polls: u64,
}

impl Tasks {
    /// Registers `future` under `name` and the caller's place in the code until it completes or is dropped.
    #[track_caller]
    pub fn track<F: Future>(&self, name: &'static str, future: F) -> Tracked<F> {
        self.track_at(name, Location::caller(), future)
    }

    /// As [`Tasks::track`], for a place in the code that the caller knows.
    pub fn track_at<F: Future>(
        &self,
        name: &'static str,
        site: &'static Location<'static>,
        future: F,
    ) -> Tracked<F> {
        let task = Arc::new(Task { name, site, is_polled: AtomicBool::new(false), polls: AtomicU64::new(0) });
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.live.lock().insert(id, Arc::clone(&task));
        Tracked { future: Box::pin(future), task, id, registry: Arc::clone(&self.0) }
    }

    pub fn snapshot(&self) -> Vec<TaskSnapshot> {
        let live = self.0.live.lock();
        live.values()
            .map(|task| TaskSnapshot {
                name: task.name,
                site: task.site,
                state: if task.is_polled.load(Ordering::Relaxed) {
                    TaskState::Running
                } else {
                    TaskState::Waiting
                },
                polls: task.polls.load(Ordering::Relaxed),
            })
            .collect()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("live", &self.0.live.lock().len()).finish()
    }
}

/// A future that is in the registry as long as it lives.
pub struct Tracked<F> {
    future: Pin<Box<F>>,
    task: Arc<Task>,
    id: u64,
    registry: Arc<Registry>,
}

impl<F: Future> Future for Tracked<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.task.is_polled.store(true, Ordering::Relaxed);
        self.task.polls.fetch_add(1, Ordering::Relaxed);
        let outcome = self.future.as_mut().poll(context);
        self.task.is_polled.store(false, Ordering::Relaxed);
        outcome
    }
}

impl<F> Drop for Tracked<F> {
    fn drop(&mut self) {
        self.registry.live.lock().remove(&self.id);
    }
}

impl<F> fmt::Debug for Tracked<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").field("name", &self.task.name).field("site", &self.task.site).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_is_listed_until_it_ends() {
        let tasks = Tasks::default();
        let (release, wait) = tokio::sync::oneshot::channel::<()>();
        let mut set = tokio::task::JoinSet::new();
        set.spawn(tasks.track("waits for the test", wait));
        tokio::task::yield_now().await;

        let listed = tasks.snapshot();
        release.send(()).unwrap();
        set.join_next().await.unwrap().unwrap().unwrap();

        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].name, listed[0].state), ("waits for the test", TaskState::Waiting));
        assert!(listed[0].site.file().ends_with("tasks.rs"));
        assert!(tasks.snapshot().is_empty());
    }
}
