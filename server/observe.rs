//! Around every request: an id, a span, a count, a log line. None of them holds what was said.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use ulid::Ulid;

use crate::error::ErrorCode;
use crate::state::AppState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a caller that is taken over.
const MAX_ID: usize = 128;

/// Gives the request its id and span, counts its answer.
pub(crate) async fn observe(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers());
    // The pattern, not the path: what a caller writes there is neither logged nor a label.
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!(
        "request",
        id = %id.to_str().unwrap_or_default(),
        method = %request.method(),
        route,
        probes = tracing::field::Empty,
        n_tokens = tracing::field::Empty,
        queue_ms = tracing::field::Empty,
        inference_ms = tracing::field::Empty,
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let took = start.elapsed();
    state.meter().request(&route, status, took);
    let code = response.extensions().get::<ErrorCode>();
    let code = code.map_or("", |code| code.as_str());
    let took_ms = took.as_secs_f64() * 1e3;
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(status, code, took_ms, "answered");
        } else {
            tracing::info!(status, code, took_ms, "answered");
        }
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The caller's id if it is short and plain, otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let sane = |id: &&HeaderValue| {
        let id = id.as_bytes();
        (1..=MAX_ID).contains(&id.len()) && id.iter().all(plain)
    };
    headers
        .get(REQUEST_ID)
        .filter(sane)
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::try_from(Ulid::new().to_string()).expect("a ULID is letters and digits")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_sane_ids_only() {
        let answer = |given: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given).unwrap());
            request_id(&headers)
        };
        for sane in ["a", "01J9ZC7Q", "trace-1_2.3", &"x".repeat(MAX_ID)] {
            assert_eq!(answer(sane.as_bytes()), sane);
        }
        for other in [
            &b""[..],
            b"a b",
            b"a\"",
            b"\xff",
            b"a;b",
            &[b'x'; MAX_ID + 1],
        ] {
            let id = answer(other);
            assert!(Ulid::from_string(id.to_str().unwrap()).is_ok(), "{other:?}");
        }
        let id = request_id(&HeaderMap::new());
        assert!(Ulid::from_string(id.to_str().unwrap()).is_ok());
    }
}
