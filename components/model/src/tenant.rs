//! Tenant ids. A `TenantId` is always safe as one path component and as one object-key component.

use std::{fmt, sync::Arc};

/// Why a tenant id was refused. The texts are Tempo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    #[error("no org id")]
    Empty,
    #[error("tenant ID '{tenant}' contains unsupported character '{character}'")]
    UnsupportedCharacter { tenant: String, character: char },
    #[error("tenant ID is too long: max 150 characters")]
    TooLong,
    #[error("tenant ID is '.' or '..'")]
    Unsafe,
}

/// Who owns a trace. One to 150 characters of letters, digits and `! - _ . * ' ( )`, never `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// The tenant of everything while multitenancy is off.
    pub const SINGLE: &'static str = "single-tenant";

    pub const MAX_BYTES: usize = 150;

    pub fn parse(text: &str) -> Result<TenantId, TenantError> {
        if text.is_empty() {
            return Err(TenantError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(TenantError::TooLong);
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
        if let Some(character) = text.chars().find(|&c| !is_allowed(c)) {
            return Err(TenantError::UnsupportedCharacter { tenant: text.to_owned(), character });
        }
        if text == "." || text == ".." {
            return Err(TenantError::Unsafe);
        }
        Ok(TenantId(text.into()))
    }

    pub fn single() -> TenantId {
        TenantId(Self::SINGLE.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The tenants of one multi-tenant read, in the caller's order: never empty, none twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenants(Vec<TenantId>);

impl Tenants {
    /// Several tenants, as in `X-Scope-OrgID: a|b`; `None` if the list is empty.
    pub fn new(tenants: impl IntoIterator<Item = TenantId>) -> Option<Tenants> {
        let mut unique = Vec::new();
        for tenant in tenants {
            if !unique.contains(&tenant) {
                unique.push(tenant);
            }
        }
        (!unique.is_empty()).then_some(Tenants(unique))
    }

    pub fn as_slice(&self) -> &[TenantId] {
        &self.0
    }
}

impl From<TenantId> for Tenants {
    fn from(tenant: TenantId) -> Tenants {
        Tenants(vec![tenant])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_tricks_are_refused() {
        for text in ["..", ".", "a/b", "a\\b", "a\0", "ä", "a|b", ""] {
            assert!(TenantId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn several_tenants_are_listed_once_each() {
        let [a, b] = ["a", "b"].map(|text| TenantId::parse(text).unwrap());

        let tenants = Tenants::new([b.clone(), a.clone(), b.clone()]).unwrap();

        assert_eq!(tenants.as_slice(), [b, a]);
        assert_eq!(Tenants::new([]), None);
    }

    #[test]
    fn every_allowed_character_is_taken() {
        assert_eq!(TenantId::parse("aZ09!-_.*'()").unwrap().as_str(), "aZ09!-_.*'()");
        assert_eq!(TenantId::parse(&"x".repeat(151)), Err(TenantError::TooLong));
    }
}
