//! The routes together with their description: `/openapi.json`, and `/docs` for people.

use axum::Router;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::route::{health, info, metrics, score};
use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "candor",
        description = "A lie detector for open-weights language models: scores how strongly a model's \
                       activations look like deception while it reads or writes a reply.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "score", description = "Verdicts"),
        (name = "operation", description = "Health, identity and counters"),
    ),
    security((), ("api_key" = [])),
    modifiers(&Key),
)]
struct Api;

/// The key is a bearer token.
struct Key;

impl Modify for Key {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

/// All routes, described.
pub(crate) fn router() -> Router<AppState> {
    let (router, api) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(score::score))
        .routes(routes!(score::score_alias))
        .routes(routes!(health::health))
        .routes(routes!(info::info))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    // The page is served from this binary, and its validator would be asked over the internet.
    let page = SwaggerUi::new("/docs")
        .url("/openapi.json", api)
        .config(Config::default().validator_url("none"));
    router.merge(page)
}
