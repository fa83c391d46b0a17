//! Many requests at once, too many, too slow, and callers who leave.

use std::time::Duration;

use candor_server::ServerOptions;
use serde_json::{Value, json};

use crate::world::{World, chat, close, get, post};

fn texts() -> Vec<Value> {
    (0..12)
        .map(|n| {
            let prompt = "The log says: ".repeat(1 + n % 4);
            let response = format!("valve {n} was {}shut.", "not ".repeat(n % 3));
            json!({"prompt": prompt, "response": response, "probes": if n % 2 == 0 { json!(["beta"]) } else { Value::Null }})
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn together_they_score_as_alone() {
    let options = ServerOptions {
        batch: 4,
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let mut alone = Vec::new();
    for body in texts() {
        alone.push(world.verdict(&body).await);
    }
    // Held back until all wait, so that they share passes.
    let gate = world.hold();
    let tasks: Vec<_> = texts()
        .into_iter()
        .map(|body| {
            let app = world.app.clone();
            tokio::spawn(async move { post(&app, "/v1/score", &body).await.verdict() })
        })
        .collect();
    world.until_waiting(tasks.len()).await;
    drop(gate);
    for (task, alone) in tasks.into_iter().zip(alone) {
        let together = task.await.unwrap();
        assert_eq!(together.usage, alone.usage);
        assert_eq!(together.probes.len(), alone.probes.len());
        for (together, alone) in together.probes.iter().zip(&alone.probes) {
            assert_eq!(together.name, alone.name);
            close(together.logit, alone.logit, 1e-4);
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let options = ServerOptions {
        queue: 1,
        batch: 1,
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let gate = world.hold();
    let app = world.app.clone();
    let waiting = tokio::spawn(async move { post(&app, "/score", &chat()).await });
    world.until_waiting(1).await;
    let metrics = get(&world.app, "/metrics").await.text;
    assert!(metrics.contains("\ncandor_queue_size 1\n"), "{metrics}");
    assert!(metrics.contains("\ncandor_queue_capacity 1\n"), "{metrics}");

    let refused = world.score(&chat()).await;
    refused.is_error(429, "queue_full", None);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");

    drop(gate);
    assert_eq!(waiting.await.unwrap().status, 200);
    assert_eq!(world.score(&chat()).await.status, 200);
}

#[tokio::test]
async fn a_late_verdict_is_an_error() {
    let options = ServerOptions {
        timeout: Duration::from_millis(150),
        ..ServerOptions::default()
    };
    let Some(world) = World::with(options) else {
        return;
    };
    let gate = world.hold();
    let start = std::time::Instant::now();
    let reply = world.score(&chat()).await;
    reply.is_error(504, "deadline_exceeded", None);
    assert!(start.elapsed() >= Duration::from_millis(150));
    drop(gate);
    world.until_waiting(0).await;
    assert_eq!(world.state.n_in_flight(), 0);
}

#[tokio::test]
async fn a_caller_who_leaves_leaves_nothing_behind() {
    let Some(world) = World::new() else { return };
    let gate = world.hold();
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let app = world.app.clone();
        tasks.push(tokio::spawn(
            async move { post(&app, "/score", &chat()).await },
        ));
    }
    world.until_waiting(5).await;
    assert_eq!(world.state.n_in_flight(), 5);
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(world.state.n_in_flight(), 0);
    drop(gate);
    assert_eq!(world.score(&chat()).await.status, 200);
    world.until_waiting(0).await;
}

/// If the engine's thread dies, the service says so instead of letting everything pass.
#[tokio::test]
async fn a_dead_engine_is_not_silently_off() {
    let Some(world) = World::new() else { return };
    let engine = world.state.engine().unwrap();
    let input = candor_detect::ScoreInput::TokenIds {
        prompt: vec![],
        response: vec![1],
    };
    let probes = engine.detector().probes().to_vec();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let die = move |_| {
        let _ = wait.recv();
        panic!("as a bug in a kernel would");
    };
    engine
        .submit(input, probes, Duration::from_mins(1), die)
        .unwrap();
    let app = world.app.clone();
    let waiting = tokio::spawn(async move { post(&app, "/score", &chat()).await });
    world.until_waiting(1).await;
    drop(go);
    waiting.await.unwrap().is_error(500, "internal", None);
    let reply = get(&world.app, "/health").await;
    assert_eq!(
        (reply.status.as_u16(), &reply.json()["status"]),
        (503, &json!("failed"))
    );
    world.score(&chat()).await.is_error(503, "not_ready", None);
}
