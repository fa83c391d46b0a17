//! Every status that is not 200.

use axum::body::Body;
use axum::http::Request;
use candor_server::{ApiKey, AppState, ServerOptions, app};
use serde_json::json;

use crate::world::{World, chat, get, post, post_bytes, send, with};

fn loading(options: ServerOptions) -> AppState {
    AppState::loading(options).unwrap()
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let Some(world) = World::new() else { return };
    for body in ["", "{", "nonsense", "{\"messages\": [}"] {
        let reply = post_bytes(&world.app, "/v1/score", body).await;
        reply.is_error(400, "invalid_json", None);
    }
    post_bytes(&world.app, "/score", "[]")
        .await
        .is_error(400, "invalid_body", None);
    let reply = world.score(&json!({"prompt": 1})).await;
    reply.is_error(400, "invalid_body", Some("prompt"));
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let mut request = Request::post("/score");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Body::from(chat().to_string())).unwrap();
        let reply = send(&world.app, request).await;
        reply.is_error(400, "invalid_content_type", Some("content-type"));
    }
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/x+json",
    ] {
        let request = Request::post("/score").header("content-type", content_type);
        let request = request.body(Body::from(chat().to_string())).unwrap();
        assert_eq!(
            send(&world.app, request).await.status,
            200,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn keys() {
    let options = ServerOptions {
        api_key: Some(ApiKey::new("sk-right").unwrap()),
        ..ServerOptions::default()
    };
    let app = app(loading(options));
    let ask = |path: &str, key: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(key) = key {
            request = request.header("authorization", key);
        }
        request.body(Body::empty()).unwrap()
    };
    let param = Some("authorization");
    let paths = [
        "/info",
        "/metrics",
        "/openapi.json",
        "/docs/",
        "/v1/score",
        "/nowhere",
    ];
    for path in paths {
        for none in [None, Some("sk-right"), Some("Basic c2stcmlnaHQ=")] {
            let reply = send(&app, ask(path, none)).await;
            reply.is_error(401, "missing_api_key", param);
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
        }
        for wrong in ["Bearer sk-wrong", "Bearer sk-right2", "Bearer "] {
            let reply = send(&app, ask(path, Some(wrong))).await;
            reply.is_error(403, "invalid_api_key", param);
        }
        let reply = send(&app, ask(path, Some("bearer sk-right"))).await;
        assert!(![401, 403].contains(&reply.status.as_u16()), "{path}");
    }
    // Whoever routes traffic here needs no key to see whether to.
    assert_eq!(get(&app, "/health").await.status, 503);
}

#[tokio::test]
async fn names_that_do_not_exist() {
    let app = app(loading(ServerOptions::default()));
    for path in [
        "/",
        "/v1",
        "/v2/score",
        "/score/",
        "/%00",
        "/docs-of-another",
    ] {
        get(&app, path).await.is_error(404, "route_not_found", None);
    }
    let Some(world) = World::new() else { return };
    let reply = world
        .score(&with(&chat(), &json!({"probes": ["gamma"]})))
        .await;
    reply.is_error(404, "probe_not_found", Some("probes"));
    assert!(reply.text.contains("alpha, beta"), "{}", reply.text);
    let reply = world
        .score(&with(&chat(), &json!({"model": "gpt-4"})))
        .await;
    reply.is_error(404, "model_not_found", Some("model"));
}

#[tokio::test]
async fn methods_that_do_not_exist() {
    let app = app(loading(ServerOptions::default()));
    for (path, allow) in [("/v1/score", "POST"), ("/score", "POST")] {
        let reply = get(&app, path).await;
        reply.is_error(405, "method_not_allowed", None);
        assert_eq!(reply.headers["allow"], allow);
    }
    for path in ["/health", "/info", "/metrics"] {
        let reply = post(&app, path, &json!({})).await;
        reply.is_error(405, "method_not_allowed", None);
        assert_eq!(reply.headers["allow"], "GET,HEAD");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let options = ServerOptions {
        max_body_bytes: 1024,
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let body = with(&chat(), &json!({"padding": "x".repeat(1024)})).to_string();
    // Told by its length before it is read, and found out while it is.
    let request = Request::post("/score")
        .header("content-type", "application/json")
        .header("content-length", body.len());
    let request = request.body(Body::from(body.clone())).unwrap();
    send(&world.app, request)
        .await
        .is_error(413, "body_too_large", None);
    post_bytes(&world.app, "/score", body)
        .await
        .is_error(413, "body_too_large", None);

    let fits = chat().to_string();
    let padding = "x".repeat(1024 - fits.len() - ",\"p\":\"\"".len());
    let fits = with(&chat(), &json!({"p": padding})).to_string();
    assert_eq!(fits.len(), 1024);
    assert_eq!(post_bytes(&world.app, "/score", fits).await.status, 200);
}

#[tokio::test]
async fn replies_that_cannot_be_scored() {
    let Some(world) = World::new() else { return };
    let check = async |body: serde_json::Value, code: &str, param: Option<&str>| {
        world.score(&body).await.is_error(422, code, param);
    };
    check(json!({}), "invalid_input", Some("messages")).await;
    check(
        with(&chat(), &json!({"prompt": "x"})),
        "invalid_input",
        Some("prompt"),
    )
    .await;
    check(json!({"prompt": "x", "response": ""}), "empty_input", None).await;
    check(
        json!({"token_ids": {"prompt": [1], "response": []}}),
        "empty_input",
        None,
    )
    .await;
    let silent = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": null}]);
    check(json!({"messages": silent}), "empty_input", None).await;
    let unanswered = json!([{"role": "user", "content": "x"}]);
    check(
        json!({"messages": unanswered}),
        "invalid_input",
        Some("messages"),
    )
    .await;
    let n_vocab = world.model.config().n_vocab;
    for ids in [json!([n_vocab]), json!([u32::MAX])] {
        let body = json!({"token_ids": {"prompt": [], "response": ids}});
        check(body, "invalid_token", Some("token_ids")).await;
    }
    let n_ctx = world.model.config().n_ctx;
    let long = json!({"token_ids": {"prompt": [1], "response": vec![1; n_ctx]}});
    check(long, "input_too_long", None).await;
    let long = json!({"prompt": "", "response": "word ".repeat(n_ctx + 1)});
    check(long, "input_too_long", None).await;
    let long = json!({"prompt": "", "response": "x".repeat(n_ctx * 512 + 1)});
    check(long, "input_too_long", Some("prompt")).await;
}

/// Before a model is there, nothing is scored and nobody is told otherwise.
#[tokio::test]
async fn no_model_yet() {
    let state = loading(ServerOptions::default());
    let app = app(state.clone());
    let reply = post(&app, "/score", &chat()).await;
    reply.is_error(503, "not_ready", None);
    assert_eq!(reply.headers["retry-after"], "1");
    get(&app, "/info").await.is_error(503, "not_ready", None);
    let reply = get(&app, "/health").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["status"]),
        (503, &json!("loading"))
    );

    let Some(model) = crate::world::model() else {
        return;
    };
    let empty = candor_detect::Detector::new(std::sync::Arc::clone(&model));
    assert!(
        state.load(empty).is_err(),
        "without probes nothing would ever be flagged"
    );
    assert_eq!(get(&app, "/health").await.status, 503);
    state.load(crate::world::detector(&model)).unwrap();
    assert!(state.load(crate::world::detector(&model)).is_err());
    assert_eq!(get(&app, "/health").await.status, 200);
    assert_eq!(post(&app, "/score", &chat()).await.status, 200);
}
