//! The reviewed list of metric names and labels. A change here is a change for every dashboard: do it on purpose.

use std::{collections::BTreeMap, time::Duration};

use prometheus::Registry;
use tokio::time::Instant;

use crate::sandbox::{Sandbox, hex};

const ID: [u8; 16] = [5; 16];

/// Name and labels of every metric that a process has after one write, one read, one flush and one poll.
const REVIEWED: &str = include_str!("metrics_names.txt");

/// The ingester and the poller tell their levels in rounds of their own.
const WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_that_were_reviewed() {
    let mut sandbox = Sandbox::new();
    sandbox.config.storage.trace.blocklist_poll = Duration::from_millis(200).into();
    let running = sandbox.start().await;
    running.push(ID, &["x"]).await;
    running.get(&format!("/api/traces/{}", hex(ID))).await;
    running.get("/flush?wait=true").await;
    running.get(&format!("/api/traces/{}", hex(ID))).await;

    let deadline = Instant::now() + WITHIN;
    let mut found = names_and_labels(running.app.registry());
    while found != REVIEWED && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = names_and_labels(running.app.registry());
    }
    running.stop().await;

    assert!(found == REVIEWED, "metrics differ from tests/it/metrics_names.txt; they are now:\n{found}");
}

/// One line per metric: its name, a space and its labels, sorted.
fn names_and_labels(registry: &Registry) -> String {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for family in registry.gather() {
        let labels = names.entry(family.name().to_owned()).or_default();
        for metric in family.get_metric() {
            labels.extend(metric.get_label().iter().map(|label| label.name().to_owned()));
        }
        labels.sort();
        labels.dedup();
    }
    let line = |(name, labels): (&String, &Vec<String>)| {
        format!("{name} {}", labels.join(",")).trim_end().to_owned()
    };
    names.iter().map(|entry| line(entry) + "\n").collect()
}
