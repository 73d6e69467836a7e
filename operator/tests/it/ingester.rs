//! Plays what the process in the pod answers about its data: `/flush` and `/ingester/v1/drain`, with a data volume that
//! outlives pods and a bucket that can be taken away.

use std::sync::Arc;

use axum::http::Method;
use parking_lot::Mutex;
use serde_json::json;

use crate::kubelet::Kubelet;

#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) is_bucket_down: bool,
    /// The drain marker on the volume.
    pub(crate) is_draining: bool,
    pub(crate) unflushed_blocks: u64,
    pub(crate) flushes: u32,
}

/// Clones share the data.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ingester(Arc<Mutex<Data>>);

impl Ingester {
    /// Answers for every pod of this kubelet from now on.
    pub(crate) fn behind(kubelet: &Kubelet) -> Ingester {
        let ingester = Ingester::default();
        ingester.with(|data| data.unflushed_blocks = 1);
        let answering = ingester.clone();
        kubelet.answer(move |method, path| answering.with(|data| answer(data, method, path)));
        ingester
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Data) -> T) -> T {
        look(&mut self.0.lock())
    }
}

fn answer(data: &mut Data, method: &Method, path: &str) -> (u16, String) {
    match (method.as_str(), path) {
        ("POST", "/flush?wait=true") if data.is_bucket_down => (503, "the bucket is away\n".to_owned()),
        ("POST", "/flush?wait=true") => {
            data.flushes += 1;
            data.unflushed_blocks = 0;
            (204, String::new())
        }
        (verb, "/ingester/v1/drain") => {
            match verb {
                "POST" => data.is_draining = true,
                "DELETE" => data.is_draining = false,
                _ => {}
            }
            let code = if verb == "POST" { 202 } else { 200 };
            let state = state(data);
            if data.is_draining && !data.is_bucket_down {
                // Seen as one more block at the next question.
                data.unflushed_blocks = 0;
            }
            (code, state)
        }
        (_, _) => (404, "404 page not found\n".to_owned()),
    }
}

fn state(data: &Data) -> String {
    let phase = match (data.is_draining, data.unflushed_blocks) {
        (false, _) => "Serving",
        (true, 0) => "Drained",
        (true, _) => "Flushing",
    };
    let error = data.is_bucket_down.then_some("s3: 503 Slow Down");
    json!({
        "phase": phase, "unflushedBlocks": data.unflushed_blocks, "quarantinedBlocks": 0, "damagedSegments": 0,
        "lastError": error, "safeToTerminate": phase == "Drained",
    })
    .to_string()
}
