//! `GET /health`: whether scores are answered.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::response::{Health, HealthStatus, VERSION};
use crate::state::AppState;

/// Whether scores are answered. Needs no key.
#[utoipa::path(
    get,
    path = "/health",
    tag = "operation",
    security(()),
    responses(
        (status = 200, description = "Scores are answered", body = Health),
        (status = 503, description = "Not ready, or shutting down", body = Health),
    )
)]
pub(crate) async fn health(State(state): State<AppState>) -> (StatusCode, Json<Health>) {
    let status = state.health();
    let code = if status == HealthStatus::Ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = Health {
        status,
        candor_version: VERSION.to_owned(),
    };
    (code, Json(body))
}
