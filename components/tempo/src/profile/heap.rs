//! The heap as jemalloc sees it: live bytes by allocation site, one sample per 512 KiB allocated.
//!
//! Profiling is compiled in and off (`.cargo/config.toml`); a process whose allocator is not jemalloc answers 501.

use std::{sync::Arc, time::Duration};

use jemalloc_pprof::{JemallocProfCtl, PROF_CTL};
use tokio::sync::Mutex;

use super::ProfileError;

/// How long to collect after sampling was switched on, unless the request says.
const FIRST_WAIT: Duration = Duration::from_secs(5);

fn control() -> Result<Arc<Mutex<JemallocProfCtl>>, ProfileError> {
    let missing = ProfileError::Unavailable("this build's allocator cannot profile");
    PROF_CTL.as_ref().map(Arc::clone).ok_or(missing)
}

pub(super) async fn dump(wait: Option<Duration>) -> Result<Vec<u8>, ProfileError> {
    let control = control()?;
    let was_active = {
        let mut control = control.lock().await;
        let was_active = control.activated();
        if !was_active {
            control.activate().map_err(|e| ProfileError::Failed(e.to_string()))?;
        }
        was_active
    };
    let default = if was_active { Duration::ZERO } else { FIRST_WAIT };
    tokio::time::sleep(wait.unwrap_or(default)).await;

    let work = move || {
        let mut control = control.blocking_lock();
        control.dump_pprof().map_err(|e| ProfileError::Failed(format!("{e:#}")))
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| ProfileError::Failed(e.to_string()))?
}

pub(super) async fn deactivate() -> Result<(), ProfileError> {
    let control = control()?;
    let mut control = control.lock().await;
    control.deactivate().map_err(|e| ProfileError::Failed(e.to_string()))
}
