//! Answers clients that ask how much to sample: the one rate that is configured, for every service.
//!
//! `GET /sampling?service=` is the agent's address of it, `GET /api/sampling?service=` the collector's, JSON both;
//! agents ask the collector over gRPC (`SamplingStrategyResponse { strategy_type = 1, probabilistic_sampling = 2
//! { sampling_rate = 1 } }`). Off unless `remote_sampling` is configured: a client that gets no answer samples as it is
//! configured itself, which is what it does with Tempo.

use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};

use crate::{
    push::Distributor,
    wire::{FIXED64, put_bytes, put_tag, tag},
};

/// The share of traces that clients are told to sample; `None` if they are not answered.
pub(super) fn rate(distributor: &Distributor) -> Option<f64> {
    Some(distributor.jaeger_config()?.remote_sampling.as_ref()?.tempo_rs.sampling_rate)
}

/// What an agent offers; nothing if remote sampling is off.
pub(crate) fn agent_routes(distributor: &Distributor) -> Router {
    match rate(distributor) {
        None => Router::new(),
        // Java's client asks for `/` behind its host and port.
        Some(rate) => {
            Router::new().route("/sampling", get(strategy)).route("/", get(strategy)).with_state(rate)
        }
    }
}

/// What a collector offers; nothing if remote sampling is off.
pub(super) fn collector_routes(distributor: &Distributor) -> Router {
    match rate(distributor) {
        None => Router::new(),
        Some(rate) => Router::new().route("/api/sampling", get(strategy)).with_state(rate),
    }
}

async fn strategy(State(rate): State<f64>, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let services = parameters.iter().filter(|(name, _)| name == "service").count();
    if services != 1 {
        return (StatusCode::BAD_REQUEST, "'service' parameter must be provided once\n").into_response();
    }
    let strategy = serde_json::json!({
        "strategyType": "PROBABILISTIC",
        "probabilisticSampling": { "samplingRate": rate },
    });
    ([(CONTENT_TYPE, "application/json")], strategy.to_string()).into_response()
}

/// A `SamplingStrategyResponse`; its type is 0, probabilistic.
pub(super) fn encode(rate: f64) -> Vec<u8> {
    let mut probabilistic = Vec::new();
    put_tag(&mut probabilistic, tag(1, FIXED64));
    probabilistic.extend_from_slice(&rate.to_le_bytes());
    let mut response = Vec::new();
    put_bytes(&mut response, 2, &probabilistic);
    response
}
