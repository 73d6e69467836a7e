//! What is wrong with, or worth saying about, a configuration: one [`Finding`] per place, all reported at once.

use std::fmt;

/// One remark about one place of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: keys joined by dots (`ingester.max_block_bytes`), list items as `[0]`. Empty for the whole document.
    pub path: String,
    /// The line of the YAML text, counted from 1; `None` if it is not known (values from flags, flow style).
    pub line: Option<usize>,
    /// What, in one sentence.
    pub message: String,
}

impl Finding {
    /// A finding about `path` without a line.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str(&self.path)?;
        }
        match (self.line, self.path.is_empty()) {
            (Some(line), true) => write!(f, "line {line}")?,
            (Some(line), false) => write!(f, " (line {line})")?,
            (None, true) => f.write_str("configuration")?,
            (None, false) => {}
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that makes a configuration unusable; never empty. Prints one finding a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// `Ok(value)` if nothing was found.
    pub(crate) fn check<T>(findings: Vec<Finding>, value: T) -> Result<T, Self> {
        if findings.is_empty() { Ok(value) } else { Err(Self(findings)) }
    }

    /// The findings, in the order of the document where it is known.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, finding) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}
