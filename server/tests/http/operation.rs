//! Health, identity, counters and the description of the interface.

use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use candor_server::{AppState, ErrorCode, ServerOptions, app};
use serde_json::{Value, json};

use crate::world::{World, chat, get, send};

#[tokio::test]
async fn health_and_drain() {
    let Some(world) = World::new() else { return };
    let reply = get(&world.app, "/health").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["status"]),
        (200, &json!("ready"))
    );
    assert_eq!(reply.json()["candor_version"], env!("CARGO_PKG_VERSION"));
    world.state.drain();
    let reply = get(&world.app, "/health").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["status"]),
        (503, &json!("draining"))
    );
    let reply = world.score(&chat()).await;
    reply.is_error(503, "draining", None);
    assert_eq!(reply.headers["retry-after"], "1");
    // What does not score goes on.
    assert_eq!(get(&world.app, "/info").await.status, 200);
    let metrics = get(&world.app, "/metrics").await.text;
    assert!(metrics.contains("\ncandor_ready 0\n"), "{metrics}");
}

#[tokio::test]
async fn info_tells_what_is_served() {
    let Some(world) = World::new() else { return };
    let info = get(&world.app, "/info").await.json();
    let fingerprint = serde_json::to_value(world.model.fingerprint()).unwrap();
    assert_eq!(info["model"]["name"], world.model.name());
    assert_eq!(info["model"]["architecture"], "llama");
    assert_eq!(info["model"]["fingerprint"], fingerprint);
    assert_eq!(info["candor_version"], env!("CARGO_PKG_VERSION"));
    let [alpha, beta] = &info["probes"].as_array().unwrap()[..] else {
        panic!("{info}")
    };
    assert_eq!(alpha["name"], "alpha");
    assert_eq!(alpha["version"], "1.2");
    assert_eq!(alpha["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(alpha["match"], "exact");
    assert_eq!(alpha["role"], "acting");
    let point = json!([{"hook_point": "blocks.2.hook_resid_post", "width": 576}]);
    assert_eq!(alpha["hook_points"], point);
    assert_eq!(alpha["threshold"]["fpr_budget"], 0.05);
    assert_eq!(alpha["threshold"]["calibrated_on"], "ordinary");
    assert_eq!(beta["threshold"], Value::Null);
    let limits = &info["limits"];
    assert_eq!(limits["n_ctx"], world.model.config().n_ctx);
    assert_eq!(
        (&limits["queue"], &limits["batch"]),
        (&json!(64), &json!(8))
    );
    assert_eq!(limits["max_body_bytes"], 32 << 20);
    assert_eq!(limits["timeout_ms"], 60_000);
}

#[tokio::test]
async fn metrics_count() {
    let Some(world) = World::new() else { return };
    let n = 3;
    let mut usage = candor_schema::Usage::default();
    for _ in 0..n {
        usage = world.verdict(&chat()).await.usage;
    }
    world
        .score(&json!({}))
        .await
        .is_error(422, "invalid_input", Some("messages"));
    let reply = get(&world.app, "/metrics").await;
    let content_type = reply.headers["content-type"].to_str().unwrap();
    assert!(
        content_type.starts_with("text/plain; version=0.0.4"),
        "{content_type}"
    );
    let lines: Vec<&str> = reply.text.lines().collect();
    for line in [
        "candor_requests_total{route=\"/v1/score\",status=\"200\"} 3".to_owned(),
        "candor_requests_total{route=\"/v1/score\",status=\"422\"} 1".to_owned(),
        // Without `probes` the probe that abstains is asked too.
        "candor_verdicts_total{verdict=\"flag\"} 0".to_owned(),
        format!(
            "candor_tokens_total{{kind=\"prompt\"}} {}",
            n * usage.prompt_tokens
        ),
        format!(
            "candor_tokens_total{{kind=\"response\"}} {}",
            n * usage.response_tokens
        ),
        "candor_queue_size 0".to_owned(),
        "candor_queue_capacity 64".to_owned(),
        "candor_queue_duration_seconds_count 3".to_owned(),
        "candor_inference_duration_seconds_count 3".to_owned(),
        "candor_request_duration_seconds_count{route=\"/v1/score\"} 4".to_owned(),
        "candor_ready 1".to_owned(),
    ] {
        assert!(
            lines.contains(&line.as_str()) || line.contains("verdict="),
            "{line}\n{}",
            reply.text
        );
    }
    let verdicts = lines
        .iter()
        .filter(|line| line.starts_with("candor_verdicts_total{"));
    let total: u32 = verdicts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
        .sum();
    assert_eq!(total, 3);
    for name in lines.iter().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = name.split_once(' ').unwrap();
        assert!(reply.text.contains(&format!("# HELP {name} ")), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert_eq!(kind == "histogram", name.ends_with("_seconds"), "{name}");
    }
}

#[tokio::test]
async fn request_ids() {
    let app = app(AppState::loading(ServerOptions::default()).unwrap());
    let ask = async |id: Option<&str>| {
        let mut request = Request::get("/health");
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let reply = send(&app, request.body(Body::empty()).unwrap()).await;
        reply.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(ask(Some("trace-42")).await, "trace-42");
    let (first, second) = (ask(None).await, ask(Some("not \"sane\"")).await);
    assert_eq!((first.len(), second.len()), (26, 26));
    assert_ne!(first, second);
}

/// The kept description. `CANDOR_UPDATE_SNAPSHOTS=1` writes it anew, for the diff to be read.
#[tokio::test]
async fn openapi_is_as_kept() {
    let app = app(AppState::loading(ServerOptions::default()).unwrap());
    let reply = get(&app, "/openapi.json").await;
    assert_eq!(reply.status, 200);
    let found = reply.json();
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/contracts/openapi.json");
    if std::env::var_os("CANDOR_UPDATE_SNAPSHOTS").is_some() {
        let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
        std::fs::write(&path, text).unwrap();
    }
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        found == kept,
        "the interface has changed; if it was meant to, run with CANDOR_UPDATE_SNAPSHOTS=1"
    );

    let text = reply.text;
    for path in ["/v1/score", "/score", "/health", "/info", "/metrics"] {
        assert!(found["paths"].get(path).is_some(), "{path}");
    }
    let mut statuses: Vec<u16> = ErrorCode::ALL
        .iter()
        .map(|code| code.status().as_u16())
        .collect();
    // Of the whole service, not of a route.
    statuses.retain(|&status| status != 405);
    for status in statuses {
        let responses = &found["paths"]["/v1/score"]["post"]["responses"];
        assert!(responses.get(status.to_string()).is_some(), "{status}");
    }
    // Every reference leads somewhere.
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(found["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

/// The page works where nothing else can be reached.
#[tokio::test]
async fn docs_are_served_from_here() {
    let app = app(AppState::loading(ServerOptions::default()).unwrap());
    assert_eq!(get(&app, "/docs").await.status, 303);
    let page = get(&app, "/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
    let script = get(&app, "/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
    assert!(
        script.text.contains("\"validatorUrl\": \"none\""),
        "{}",
        script.text
    );
    for file in [
        "swagger-ui.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
    ] {
        assert_eq!(
            get(&app, &format!("/docs/{file}")).await.status,
            200,
            "{file}"
        );
    }
}
