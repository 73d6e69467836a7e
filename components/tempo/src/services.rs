//! The state of every part of this process, and the two answers made from it: `/ready` and `/status/services`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use parking_lot::Mutex;
use tempo_backend::Backend;
use tokio::sync::watch;

/// The life of one part; the names are those of Tempo's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceState {
    Starting,
    Running,
    Stopping,
    Terminated,
    Failed,
}

impl ServiceState {
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceState::Starting => "Starting",
            ServiceState::Running => "Running",
            ServiceState::Stopping => "Stopping",
            ServiceState::Terminated => "Terminated",
            ServiceState::Failed => "Failed",
        }
    }
}

/// Clones share the states.
#[derive(Debug, Clone)]
pub struct Services {
    states: Arc<Mutex<BTreeMap<&'static str, Service>>>,
    stopping: watch::Sender<bool>,
    draining: Arc<Mutex<Option<watch::Receiver<bool>>>>,
    backend: Arc<Mutex<Option<Backend>>>,
}

#[derive(Debug, Clone)]
struct Service {
    state: ServiceState,
    failure: String,
}

impl Default for Services {
    fn default() -> Self {
        Services {
            states: Arc::default(),
            stopping: watch::Sender::new(false),
            draining: Arc::default(),
            backend: Arc::default(),
        }
    }
}

impl Services {
    pub fn set(&self, name: &'static str, state: ServiceState) {
        self.states.lock().insert(name, Service { state, failure: String::new() });
    }

    pub fn failed(&self, name: &'static str, failure: String) {
        self.states.lock().insert(name, Service { state: ServiceState::Failed, failure });
    }

    /// From now on `/ready` says no and new work is refused.
    pub fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// While this is true `/ready` says that a drain is under way: nobody should send spans here.
    pub fn set_draining(&self, draining: watch::Receiver<bool>) {
        *self.draining.lock() = Some(draining);
    }

    /// From now on `/ready` tells what is wrong with this backend.
    pub fn set_backend(&self, backend: Backend) {
        *self.backend.lock() = Some(backend);
    }

    /// What a process that is ready has to say beside: spans are taken while the backend is away, but not for ever.
    pub fn remark(&self) -> Option<String> {
        let trouble = self.backend.lock().as_ref()?.trouble()?;
        let since = trouble.since.strftime("%Y-%m-%dT%H:%M:%SZ");
        Some(format!("the backend fails since {since}, spans are kept on local disk: {}", trouble.reason))
    }

    /// True once the stop began.
    pub fn watch_stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// `Err` is the text that says why not.
    pub fn readiness(&self) -> Result<(), String> {
        if *self.stopping.borrow() {
            return Err("Application is stopping".to_owned());
        }
        if self.draining.lock().as_ref().is_some_and(|draining| *draining.borrow()) {
            return Err("Ingester is draining: see GET /ingester/v1/drain".to_owned());
        }
        let mut counts: BTreeMap<ServiceState, usize> = BTreeMap::new();
        for service in self.states.lock().values() {
            if service.state != ServiceState::Running {
                *counts.entry(service.state).or_default() += 1;
            }
        }
        if counts.is_empty() {
            return Ok(());
        }
        let mut text = "Some services are not Running:\n".to_owned();
        for (state, count) in counts {
            writeln!(text, "{}: {count}", state.as_str()).expect("writing to a String");
        }
        Err(text.trim_end().to_owned())
    }

    /// The rows (name, state, failure) of `/status/services`.
    pub fn rows(&self) -> Vec<[String; 3]> {
        let states = self.states.lock();
        states
            .iter()
            .map(|(name, service)| {
                [(*name).to_owned(), service.state.as_str().to_owned(), service.failure.clone()]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_states_that_are_in_the_way() {
        let services = Services::default();
        services.set("ingester", ServiceState::Starting);
        services.set("querier", ServiceState::Running);
        assert_eq!(services.readiness(), Err("Some services are not Running:\nStarting: 1".to_owned()));

        services.set("ingester", ServiceState::Running);
        assert_eq!(services.readiness(), Ok(()));

        let draining = watch::Sender::new(true);
        services.set_draining(draining.subscribe());
        assert_eq!(services.readiness(), Err("Ingester is draining: see GET /ingester/v1/drain".to_owned()));

        draining.send_replace(false);
        assert_eq!(services.readiness(), Ok(()));

        services.begin_stop();
        assert_eq!(services.readiness(), Err("Application is stopping".to_owned()));
    }
}
