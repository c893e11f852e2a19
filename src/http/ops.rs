//! Metrics and probes.

use actix_web::{HttpResponse, web};

use super::AppState;
use crate::metrics::labels::Route;

/// The media type of Prometheus' text format; Prometheus 3 fails a scrape without it.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let scrape = state.metrics.scrape_began();
    state.supervisor.publish_gauges().await;
    match state.metrics.encode() {
        Ok(text) => {
            scrape.answered();
            state.counted(Route::Metrics, HttpResponse::Ok().content_type(METRICS_TYPE).body(text))
        }
        Err(error) => state.counted(Route::Metrics, HttpResponse::InternalServerError().body(error.to_string())),
    }
}

/// Alive: the supervisor answered a ping within the last 30 s.
pub async fn healthz(state: web::Data<AppState>) -> HttpResponse {
    probe(&state, if state.supervisor.is_alive() { Ok(()) } else { Err("the supervisor does not answer") })
}

/// Ready: listening (or this would not be asked), the token readable, not draining.
pub async fn readyz(state: web::Data<AppState>) -> HttpResponse {
    let result = if state.supervisor.is_draining() {
        Err("draining")
    } else if !state.token.is_readable() {
        Err("the plugin cannot read Argo's token file")
    } else {
        Ok(())
    };
    probe(&state, result)
}

fn probe(state: &AppState, result: Result<(), &'static str>) -> HttpResponse {
    let answer = match result {
        Ok(()) => HttpResponse::Ok().body("ok\n"),
        Err(reason) => HttpResponse::ServiceUnavailable().body(format!("{reason}\n")),
    };
    state.counted(Route::Health, answer)
}
