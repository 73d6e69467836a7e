//! One Event per decision (`events.k8s.io/v1`), about the TempoCluster, with the pod as related object.
//!
//! Thinner than `kube::runtime`'s recorder, whose key leaves the note out and so keeps the first note of a series for ever.
//! Here the key is cluster, type, reason, related object and note; the Event's name is made of it, so that an operator that
//! starts again does not repeat what it said. The same key is written again at most every `REPEAT_AFTER`, as a series.
//! An Event that cannot be written is counted and forgotten: it never fails a reconcile.

use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tracing::debug;

use crate::metrics::Metrics;

const CONTROLLER: &str = "tempo-rs.dev/operator";
const REPEAT_AFTER: Duration = Duration::from_mins(10);
/// Keys kept in memory; the oldest go first.
const MOST_KEYS: usize = 4096;
/// Limits of the API.
const MOST_NOTE_BYTES: usize = 1024;
const MOST_REASON_BYTES: usize = 128;

/// Something the operator decided or found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    pub is_warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// What was done because of it, one word in CamelCase.
    pub action: &'static str,
    pub note: String,
    /// Name and uid of the pod it is about.
    pub pod: Option<(String, String)>,
}

pub struct Recorder {
    client: Client,
    /// Name of this process.
    instance: String,
    metrics: Metrics,
    said: Mutex<HashMap<u64, Said>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("instance", &self.instance).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    count: i32,
}

impl Recorder {
    pub fn new(client: Client, instance: String, metrics: Metrics) -> Recorder {
        Recorder { client, instance, metrics, said: Mutex::default() }
    }

    /// Writes the notice, unless it was written a moment ago.
    pub async fn record(&self, regarding: &ObjectReference, notice: Notice) {
        let kind = if notice.is_warning { "Warning" } else { "Normal" };
        let key = key_of(regarding, &notice);
        let Some(count) = self.count(key, Instant::now()) else {
            self.metrics.event(kind, "repeated");
            return;
        };
        let api: Api<Event> =
            Api::namespaced(self.client.clone(), regarding.namespace.as_deref().unwrap_or_default());
        let event = self.event(regarding, notice, key, kind);
        let name = event.metadata.name.clone().unwrap_or_default();
        let first = if count == 1 {
            api.create(&PostParams::default(), &event).await.map(drop)
        } else {
            Err(exists())
        };
        let written = match first {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let series = json!({"series": {"count": count.max(2), "lastObservedTime": MicroTime(Timestamp::now())}});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(series)).await.map(drop)
            }
            other => other,
        };
        match written {
            Ok(()) => self.metrics.event(kind, "written"),
            Err(error) => {
                // Without the key in memory it is tried as a new Event the next time.
                self.said.lock().remove(&key);
                self.metrics.event(kind, "failed");
                debug!(error = %display_error_chain::DisplayErrorChain::new(&error), "could not write an Event");
            }
        }
    }

    /// How often this key was said, this time included; `None` if it is too early to say it again.
    fn count(&self, key: u64, now: Instant) -> Option<i32> {
        let mut said = self.said.lock();
        if said.len() >= MOST_KEYS {
            said.retain(|_, said| now.saturating_duration_since(said.at) < REPEAT_AFTER);
        }
        if said.len() >= MOST_KEYS {
            said.clear();
        }
        match said.get_mut(&key) {
            Some(said) if now.saturating_duration_since(said.at) < REPEAT_AFTER => None,
            Some(said) => {
                *said = Said { at: now, count: said.count.saturating_add(1) };
                Some(said.count)
            }
            None => {
                said.insert(key, Said { at: now, count: 1 });
                Some(1)
            }
        }
    }

    fn event(&self, regarding: &ObjectReference, notice: Notice, key: u64, kind: &str) -> Event {
        let name = regarding.name.clone().unwrap_or_default();
        let related = notice.pod.map(|(pod, uid)| ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod),
            namespace: regarding.namespace.clone(),
            uid: Some(uid),
            ..ObjectReference::default()
        });
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{key:016x}")),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some(kind.to_owned()),
            reason: Some(shorten(notice.reason, MOST_REASON_BYTES)),
            action: Some(notice.action.to_owned()),
            note: Some(shorten(notice.note, MOST_NOTE_BYTES)),
            regarding: Some(regarding.clone()),
            related,
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(shorten(self.instance.clone(), MOST_REASON_BYTES)),
            ..Event::default()
        }
    }
}

fn key_of(regarding: &ObjectReference, notice: &Notice) -> u64 {
    let mut hasher = DefaultHasher::new();
    regarding.uid.hash(&mut hasher);
    notice.hash(&mut hasher);
    hasher.finish()
}

/// The answer to a create that would not work anyway: go on with the series.
fn exists() -> kube::Error {
    kube::Error::Api(
        kube::core::Status::failure("the Event is there", "AlreadyExists").with_code(409).boxed(),
    )
}

fn shorten(mut text: String, most_bytes: usize) -> String {
    if text.len() > most_bytes {
        let end = (0..=most_bytes.saturating_sub('…'.len_utf8()))
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_at_a_character() {
        assert_eq!(shorten("ä".repeat(10), 9), "äää…");
        assert_eq!(shorten("short".to_owned(), 9), "short");
    }

    #[test]
    fn another_note_or_pod_is_another_event() {
        let about = ObjectReference { uid: Some("1".to_owned()), ..ObjectReference::default() };
        let notice = Notice {
            is_warning: false,
            reason: "Evicted".to_owned(),
            action: "Evict",
            note: "evicted traces-0".to_owned(),
            pod: Some(("traces-0".to_owned(), "a".to_owned())),
        };
        let other_pod = Notice { pod: Some(("traces-0".to_owned(), "b".to_owned())), ..notice.clone() };

        assert_eq!(key_of(&about, &notice), key_of(&about, &notice.clone()));
        assert_ne!(key_of(&about, &notice), key_of(&about, &other_pod));
    }
}
