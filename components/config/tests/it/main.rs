//! The crate as its users see it: whole files in, configurations or findings out.

mod findings;
mod overrides;
mod render;
mod s3;
mod samples;
mod validate;

use std::collections::BTreeMap;

use tempo_config::{Config, Finding, Findings, ParseOptions, Parsed};

/// Reads a file without expanding variables.
fn read(text: &str) -> Result<Parsed, Findings> {
    Config::from_yaml(text, &BTreeMap::new(), ParseOptions::default())
}

/// The errors of a file, as printed.
fn errors(text: &str) -> Vec<String> {
    print(read(text).expect_err("the file should have been refused"))
}

fn print(findings: impl IntoIterator<Item = Finding>) -> Vec<String> {
    findings.into_iter().map(|finding| finding.to_string()).collect()
}
