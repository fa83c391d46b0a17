//! `GET /metrics`: counters and latencies for Prometheus.

use axum::extract::State;
use axum::http::{HeaderName, header};

use candor_detect::{Engine, PrefixCacheStats};

use crate::error::ErrorBody;
use crate::measure::Gauges;
use crate::response::HealthStatus;
use crate::state::AppState;

/// Content type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters and latencies in Prometheus' text format, in base units.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses(
        (status = 200, description = "Prometheus text", body = String, content_type = "text/plain"),
        (status = 401, description = "No key", body = ErrorBody),
        (status = 403, description = "Wrong key", body = ErrorBody),
    )
)]
pub(crate) async fn metrics(
    State(state): State<AppState>,
) -> ([(HeaderName, &'static str); 1], String) {
    let text = state.meter().render(Gauges {
        queue_size: state.engine().map_or(0, Engine::n_waiting),
        in_flight: state.n_in_flight(),
        ready: state.health() == HealthStatus::Ready,
        prefix_cache: state
            .engine()
            .map_or_else(PrefixCacheStats::default, |engine| {
                engine.detector().prefix_cache().stats()
            }),
    });
    ([(header::CONTENT_TYPE, TEXT)], text)
}
