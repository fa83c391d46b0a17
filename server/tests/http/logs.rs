//! What the log tells, and what it never does.

use std::io;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use candor_server::{ApiKey, ServerOptions};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{World, send};

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn requests_are_logged_without_what_was_said() {
    let options = ServerOptions {
        api_key: Some(ApiKey::new("secret-key").unwrap()),
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    // For the whole process: what a thread without a subscriber meets first would stay switched off.
    // So the log holds what the other tests did too, which must not be told either.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::callsite::rebuild_interest_cache();

    let bodies = [
        json!({"prompt": "secret-prompt ", "response": "secret-reply", "tokens": true}),
        json!({"messages": [{"role": "assistant", "content": "secret-reply"}]}),
        json!({"messages": [{"role": "secret-role", "content": "secret-reply"}]}),
        json!({"prompt": ["secret-prompt"]}),
        json!({"prompt": "secret-prompt", "response": "x", "probes": ["secret-probe"]}),
        json!({"activations": {"n_tokens": 1, "values": [{"hook_point": "secret", "dtype": "f32", "data": ""}]}}),
    ];
    for body in bodies {
        let request = Request::post("/v1/score?secret-query")
            .header("authorization", "Bearer secret-key")
            .header("content-type", "application/json")
            .header("x-request-id", "trace-logs");
        send(
            &world.app,
            request.body(Body::from(body.to_string())).unwrap(),
        )
        .await;
    }
    let request = Request::get("/secret-path").header("authorization", "Bearer secret-wrong");
    send(&world.app, request.body(Body::empty()).unwrap()).await;

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("secret"), "{log}");
    let mut mine = log.lines().filter(|line| line.contains("id=trace-logs"));
    let first = mine.find(|line| line.contains("answered")).unwrap();
    for field in [
        "id=trace-logs",
        "method=POST",
        "route=\"/v1/score\"",
        "probes=\"alpha,beta\"",
        "n_tokens=",
        "queue_ms=",
        "inference_ms=",
        "status=200",
    ] {
        assert!(first.contains(field), "{field}: {first}");
    }
    assert!(log.contains("code=\"invalid_input\""), "{log}");
    assert!(log.contains("code=\"invalid_api_key\""), "{log}");
}
