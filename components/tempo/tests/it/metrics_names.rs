//! The reviewed list of metric names and labels. A change here is a change for every dashboard: do it on purpose.

use std::collections::BTreeMap;

use crate::sandbox::{Sandbox, hex};

const ID: [u8; 16] = [5; 16];

/// Name and labels of every metric that a process has after one write, one read and one flush.
const REVIEWED: &str = include_str!("metrics_names.txt");

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_names_that_were_reviewed() {
    let running = Sandbox::new().start().await;
    running.push(ID, &["x"]).await;
    running.get(&format!("/api/traces/{}", hex(ID))).await;
    running.get("/flush?wait=true").await;
    running.get(&format!("/api/traces/{}", hex(ID))).await;

    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for family in running.app.registry().gather() {
        let labels = names.entry(family.name().to_owned()).or_default();
        for metric in family.get_metric() {
            labels.extend(metric.get_label().iter().map(|label| label.name().to_owned()));
        }
        labels.sort();
        labels.dedup();
    }
    running.stop().await;

    let found: String = names.iter().map(|(name, labels)| format!("{name} {}\n", labels.join(","))).collect();
    let found: String = found.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert!(found == REVIEWED, "metrics differ from tests/it/metrics_names.txt; they are now:\n{found}");
}
