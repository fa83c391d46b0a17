//! The key that every route but `/health` asks for.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::{ApiError, ErrorCode};
use crate::options::ApiKey;
use crate::state::AppState;

/// Lets a request pass that has the key, or that needs none.
pub(crate) async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if let Some(key) = &state.options().api_key
        && request.uri().path() != "/health"
        && let Err(error) = check_key(key, &request)
    {
        return error.into_response();
    }
    next.run(request).await
}

fn check_key(key: &ApiKey, request: &Request) -> Result<(), ApiError> {
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| bearer(value.as_bytes()));
    match given {
        Some(given) if key.is(given) => Ok(()),
        Some(_) => Err(ApiError::new(
            ErrorCode::InvalidApiKey,
            "the API key is not the server's",
        )),
        None => Err(
            ApiError::new(ErrorCode::MissingApiKey, "this server asks for an API key")
                .hint("send the header `authorization: Bearer <key>`"),
        ),
    }
    .map_err(|error| error.param("authorization"))
}

/// What follows `Bearer `, in any case as RFC 9110 §11.1 has it.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bearer_scheme_only() {
        assert_eq!(bearer(b"Bearer k"), Some(&b"k"[..]));
        assert_eq!(bearer(b"bearer  k "), Some(&b"k"[..]));
        assert_eq!(bearer(b"Bearer "), Some(&b""[..]));
        for other in ["", "k", "Bearer", "Basic azprZXk=", "Bearerk k"] {
            assert_eq!(bearer(other.as_bytes()), None, "{other}");
        }
    }
}
