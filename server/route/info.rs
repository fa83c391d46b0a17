//! `GET /info`: what is served.

use axum::Json;
use axum::extract::State;

use crate::error::{ApiError, ErrorBody};
use crate::response::Info;
use crate::state::AppState;

/// The loaded model, its probes and the limits.
#[utoipa::path(
    get,
    path = "/info",
    tag = "operation",
    responses(
        (status = 200, description = "What is served", body = Info),
        (status = 401, description = "No key", body = ErrorBody),
        (status = 403, description = "Wrong key", body = ErrorBody),
        (status = 503, description = "No model is loaded yet", body = ErrorBody),
    )
)]
pub(crate) async fn info(State(state): State<AppState>) -> Result<Json<Info>, ApiError> {
    let engine = state.engine().ok_or_else(ApiError::not_ready)?;
    Ok(Json(Info::new(engine.detector(), state.options())))
}
