//! The service as a router.

use std::any::Any;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

use crate::error::ApiError;
use crate::state::AppState;
use crate::{auth, docs, observe, route};

/// The whole service. Clone it to answer requests without a socket, or hand it to a server;
/// [`serve`](crate::serve) also drains.
pub fn app(state: AppState) -> Router {
    layered(docs::router(), state)
}

/// Routes inside what surrounds them all; the last layer is the outermost.
fn layered(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(route::not_found)
        .method_not_allowed_fallback(route::method_not_allowed)
        .layer(from_fn_with_state(state.clone(), auth::check))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

/// The panic's message is not logged again: it could quote what was sent.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::error::ErrorBody;
    use crate::options::ServerOptions;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        async fn boom() {
            panic!("secret");
        }
        let state = AppState::loading(ServerOptions::default()).unwrap();
        let routes = Router::new().route("/boom", get(boom));
        let app = layered(routes, state.clone());
        let request = Request::get("/boom").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(response.headers().contains_key("x-request-id"));
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body: ErrorBody = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body.error.code.as_str(), "internal");
        assert!(!body.error.message.contains("secret"));

        // The server goes on, and has counted it.
        let request = Request::get("/nowhere").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let text = state.meter().render(crate::measure::Gauges {
            queue_size: 0,
            in_flight: 0,
            ready: false,
            prefix_cache: candor_detect::PrefixCacheStats::default(),
        });
        for line in [
            "candor_requests_total{route=\"/boom\",status=\"500\"} 1",
            "candor_requests_total{route=\"unmatched\",status=\"404\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
