//! `X-Scope-OrgID` → `TenantId` for the API routes. The OTLP routes read the header themselves (their errors differ).
//!
//! Off: every request is `single-tenant`, the header is ignored. On: one tenant, or several joined by `|` where the route
//! can merge answers. Handlers find `Tenants` in the request's extensions, and `TenantId` when there is exactly one.
//! Texts and statuses are Tempo's.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tempo_model::{TenantError, TenantId, Tenants};

pub const TENANT_HEADER: &str = "x-scope-orgid";

/// How tenants are read from requests.
#[derive(Debug, Clone, Copy)]
pub struct Tenancy {
    pub is_enabled: bool,
    /// `query_frontend.multi_tenant_queries_enabled`
    pub allows_several: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum TenancyError {
    Missing,
    Invalid(TenantError),
    Several,
}

impl IntoResponse for TenancyError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            TenancyError::Missing => (StatusCode::UNAUTHORIZED, "no org id\n".to_owned()),
            TenancyError::Invalid(error) => (StatusCode::BAD_REQUEST, error.to_string()),
            TenancyError::Several => (StatusCode::BAD_REQUEST, "multiple org IDs present".to_owned()),
        };
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (status, headers, text).into_response()
    }
}

impl Tenancy {
    /// The tenants of a request.
    pub fn read(&self, headers: &HeaderMap, takes_several: bool) -> Result<Tenants, TenancyError> {
        if !self.is_enabled {
            return Ok(TenantId::single().into());
        }
        let value = headers.get(TENANT_HEADER).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let value = value.as_deref().unwrap_or_default();
        if value.is_empty() {
            return Err(TenancyError::Missing);
        }
        let mut tenants = Vec::new();
        for part in value.split('|') {
            // `tenant:key=value` carries metadata that only says more about the tenant.
            let id = part.split_once(':').map_or(part, |(id, _)| id);
            tenants.push(TenantId::parse(id).map_err(TenancyError::Invalid)?);
        }
        let tenants = Tenants::new(tenants).ok_or(TenancyError::Missing)?;
        if tenants.as_slice().len() > 1 && !(takes_several && self.allows_several) {
            return Err(TenancyError::Several);
        }
        Ok(tenants)
    }
}

/// Whether answers of several tenants can be merged: by id, search and tags; not metrics, not writing.
fn takes_several(path: &str) -> bool {
    ["/api/traces/", "/api/v2/traces/", "/api/search", "/api/v2/search"].iter().any(|p| path.contains(p))
}

/// Middleware for the API routes. `/api/echo` and `/api/status/*` have no tenant.
pub async fn authenticate(State(tenancy): State<Tenancy>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.ends_with("/api/echo") {
        return next.run(request).await;
    }
    match tenancy.read(request.headers(), takes_several(path)) {
        Ok(tenants) => {
            if let [tenant] = tenants.as_slice() {
                let tenant = tenant.clone();
                request.extensions_mut().insert(tenant);
            }
            request.extensions_mut().insert(tenants);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}
