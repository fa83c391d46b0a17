//! The routes, one file each.

pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod metrics;
pub(crate) mod score;

use axum::http::Method;

use crate::error::{ApiError, ErrorCode};

/// Answers every path that no route has.
pub(crate) async fn not_found() -> ApiError {
    ApiError::new(ErrorCode::RouteNotFound, "there is no such route")
        .hint("`GET /docs` lists the routes")
}

/// Answers a method that a route does not have.
pub(crate) async fn method_not_allowed(method: Method) -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("this route does not take {method}"),
    )
    .hint("the `allow` header of this reply names the methods that it takes")
}
