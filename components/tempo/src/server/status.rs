//! `/status` and its sections, `/config` and `/status/overrides`: what this process is, runs and believes.
//!
//! `/status` prints the sections version, services, endpoints, runtime_config, config, each under a line
//! `GET /status/<name>`; `/status/<name>` prints one. `/runtime_config` is an alias. `/status/blocklist` is ours: what
//! queries can see in the backend.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{any, get},
};
use tempo_backend::Blocklist;
use tempo_config::{Config, Overrides, ValidConfig};
use tempo_model::TenantId;
use tokio::sync::watch;

use super::admin::plain;
use crate::{services::Services, telemetry::VERSION};

/// One route as `/status/endpoints` lists it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub name: &'static str,
    pub path: String,
}

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct StatusPages {
    pub services: Services,
    pub endpoints: Arc<[Endpoint]>,
    pub config: Arc<ValidConfig>,
    pub overrides: watch::Receiver<Arc<Overrides>>,
    pub blocklist: Option<Blocklist>,
}

type Parameters = BTreeMap<String, String>;

/// The sections of `/status`, in order.
const SECTIONS: [&str; 5] = ["version", "services", "endpoints", "runtime_config", "config"];

pub(super) fn routes(pages: StatusPages) -> Router {
    Router::new()
        .route("/status", get(all_sections))
        .route("/status/{endpoint}", get(one_section))
        .route("/runtime_config", get(runtime_config))
        .route("/config", any(config))
        .route("/services", any(services))
        .route("/status/overrides", get(overrides))
        .route("/status/overrides/{tenant}", get(tenant_overrides))
        .with_state(pages)
}

async fn all_sections(State(pages): State<StatusPages>, Query(parameters): Query<Parameters>) -> Response {
    let sections = SECTIONS.map(|name| pages.section(name, &parameters));
    let is_good = sections.iter().all(Result::is_ok);
    let status = if is_good { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    let text = SECTIONS.iter().zip(sections).fold(String::new(), |mut text, (name, section)| {
        let section = section.unwrap_or_else(|error| error);
        writeln!(text, "GET /status/{name}\n{section}").expect("writing to a String");
        text
    });
    plain(status, text)
}

async fn one_section(
    State(pages): State<StatusPages>,
    Path(name): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Response {
    if !SECTIONS.contains(&name.as_str()) && name != "blocklist" {
        return super::middleware::not_found().await;
    }
    match pages.section(&name, &parameters) {
        Ok(text) => plain(StatusCode::OK, format!("GET /status/{name}\n{text}")),
        Err(text) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("GET /status/{name}\n{text}\n")),
    }
}

async fn runtime_config(State(pages): State<StatusPages>, Query(parameters): Query<Parameters>) -> Response {
    match pages.section("runtime_config", &parameters) {
        Ok(text) => plain(StatusCode::OK, text),
        Err(text) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n")),
    }
}

async fn config(State(pages): State<StatusPages>) -> Response {
    ([(header::CONTENT_TYPE, "text/yaml; charset=utf-8")], pages.config.to_yaml()).into_response()
}

async fn services(State(pages): State<StatusPages>) -> Response {
    let rows = pages.services.rows();
    let text = rows.iter().map(|[name, state, _]| format!("{name} => {state}\n")).collect();
    plain(StatusCode::OK, text)
}

async fn overrides(State(pages): State<StatusPages>, headers: HeaderMap) -> Response {
    let overrides = Arc::clone(&pages.overrides.borrow());
    let tenants = overrides.tenants.keys().filter(|name| name.as_str() != Overrides::WILDCARD);
    if wants_json(&headers) {
        let tenants: Vec<_> = tenants
            .map(|name| {
                serde_json::json!({
                    "name": name, "has_runtime_overrides": true, "has_user_configurable_overrides": false,
                })
            })
            .collect();
        let now = jiff::Timestamp::now().to_string();
        return axum::Json(serde_json::json!({ "now": now, "tenants": tenants })).into_response();
    }
    let mut page =
        "<!DOCTYPE html><title>Overrides</title><table border=1><tr><th>Tenant<th>Runtime overrides\
                    <th>User-configurable overrides</tr>\n"
            .to_owned();
    for name in tenants {
        let name = escape_html(name);
        writeln!(page, "<tr><td><a href=\"/status/overrides/{name}\">{name}</a><td>true<td>false</tr>")
            .expect("writing to a String");
    }
    page.push_str("</table>\n");
    Html(page).into_response()
}

async fn tenant_overrides(State(pages): State<StatusPages>, Path(tenant): Path<String>) -> Response {
    let overrides = Arc::clone(&pages.overrides.borrow());
    axum::Json(serde_json::json!({
        "now": jiff::Timestamp::now().to_string(),
        "tenant": tenant,
        "user_configurable_overrides": null,
        "runtime_overrides": overrides.for_tenant(&tenant),
        "using_default_or_wildcard_runtime_overrides": !overrides.tenants.contains_key(&tenant),
    }))
    .into_response()
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/json"))
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// What `?mode=` asks for.
enum Mode {
    Actual,
    Diff,
    Defaults,
}

impl Mode {
    fn read(parameters: &Parameters) -> Result<Mode, String> {
        match parameters.get("mode").map_or("", String::as_str) {
            "" => Ok(Mode::Actual),
            "diff" => Ok(Mode::Diff),
            "defaults" => Ok(Mode::Defaults),
            other => Err(format!("unknown value for mode query parameter: {other}")),
        }
    }
}

impl StatusPages {
    fn section(&self, name: &str, parameters: &Parameters) -> Result<String, String> {
        match name {
            "version" => Ok(version_text()),
            "services" => Ok(table(["SERVICE NAME", "STATUS", "FAILURE CASE"], &self.services.rows())),
            "endpoints" => Ok(self.endpoints_text()),
            "runtime_config" => {
                let overrides = self.overrides.borrow();
                Ok(match Mode::read(parameters)? {
                    Mode::Diff => overrides.diff_to_yaml(),
                    Mode::Actual | Mode::Defaults => overrides.to_yaml(),
                })
            }
            "config" => Ok(match Mode::read(parameters)? {
                Mode::Actual => format!("---\n{}", self.config.to_yaml()),
                Mode::Diff => format!("---\n{}", self.config.diff_to_yaml()),
                Mode::Defaults => format!("---\n{}", Config::defaults_to_yaml()),
            }),
            "blocklist" => self.blocklist_text(parameters),
            other => Err(format!("unknown section {other}")),
        }
    }

    fn endpoints_text(&self) -> String {
        let rows: Vec<_> =
            self.endpoints.iter().map(|e| [e.name.to_owned(), format!("^{}$", e.path)]).collect();
        let table = table(["NAME", "REGEX"], &rows);
        format!("{table}\nAPI documentation: https://grafana.com/docs/tempo/latest/api_docs/\n\n")
    }

    /// Tenants and their blocks; with `?tenant=` every block of one.
    fn blocklist_text(&self, parameters: &Parameters) -> Result<String, String> {
        let Some(blocklist) = &self.blocklist else {
            return Err(format!("blocklist not loaded in {}", self.config.target));
        };
        let Some(tenant) = parameters.get("tenant") else {
            let rows: Vec<_> = blocklist
                .tenants()
                .into_iter()
                .map(|tenant| {
                    let metas = blocklist.metas(&tenant);
                    let bytes: u64 = metas.iter().map(|meta| meta.size).sum();
                    [tenant.to_string(), metas.len().to_string(), bytes.to_string()]
                })
                .collect();
            return Ok(table(["TENANT", "BLOCKS", "BYTES"], &rows));
        };
        let tenant = TenantId::parse(tenant).map_err(|error| error.to_string())?;
        let rows: Vec<_> = blocklist
            .metas(&tenant)
            .iter()
            .map(|meta| {
                [
                    meta.block_id.to_string(),
                    meta.start_time.to_string(),
                    meta.end_time.to_string(),
                    meta.total_objects.to_string(),
                    meta.size.to_string(),
                ]
            })
            .collect();
        Ok(table(["BLOCK", "START", "END", "TRACES", "BYTES"], &rows))
    }
}

fn version_text() -> String {
    format!(
        "tempo, version {} (branch: {}, revision: {})\n  build user:       \n  build date:       \n  \
         rust version:     {}\n  compatible with:  Tempo {}\n",
        VERSION.version, VERSION.branch, VERSION.revision, VERSION.rust, VERSION.compatible
    )
}

/// An ASCII table in the form of Tempo's.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect();
    let line = |cells: Vec<&str>| -> String {
        let cells = cells.into_iter().zip(widths);
        cells.map(|(cell, width)| format!("| {cell:width$} ")).collect()
    };
    let mut out = format!("{rule}+\n{}|\n{rule}+\n", line(head.to_vec()));
    for row in rows {
        writeln!(out, "{}|", line(row.iter().map(String::as_str).collect())).expect("writing to a String");
    }
    writeln!(out, "{rule}+").expect("writing to a String");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let text = table(["NAME", "STATE"], &[["ingester".to_owned(), "Running".to_owned()]]);

        let expected = "+----------+---------+\n| NAME     | STATE   |\n+----------+---------+\n\
                        | ingester | Running |\n+----------+---------+\n";
        assert_eq!(text, expected);
    }
}
