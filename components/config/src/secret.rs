//! Values that must never be printed: keys and passwords of storage accounts.
//!
//! `Debug` and YAML show `<redacted>`; only an unexpanded `${VARIABLE}` is shown as it is, because it names a secret and
//! does not hold one, and the operator renders such placeholders into the file.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What is printed in place of a secret.
const REDACTED: &str = "<redacted>";

/// A text that is not shown. Empty means not set.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it. Do not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this was read from a printed secret.
    pub(crate) fn is_redacted(&self) -> bool {
        self.0 == REDACTED
    }

    fn printable(&self) -> &str {
        let is_placeholder = self.0.starts_with("${") && self.0.find('}') == Some(self.0.len() - 1);
        // A placeholder with a default would show the default.
        if self.0.is_empty() || is_placeholder && !self.0.contains(':') { &self.0 } else { REDACTED }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.printable())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.printable())
    }
}
