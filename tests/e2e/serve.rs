//! `candor serve` as a process: the same scores as the command line, and a clean end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::{candor, expect_error, expect_ok, model, shared};

#[test]
fn the_service_agrees_with_the_command_line_and_drains() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let (model, probe) = (model.display().to_string(), shared.path("probes/tiny"));
    let mut child = candor(&[
        "serve",
        "--model",
        &model,
        "--probe",
        &probe,
        "--listen",
        "127.0.0.1:0",
    ])
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the server ended");
        if let Some(rest) = line.split("http://").nth(1) {
            break rest.split_whitespace().next().unwrap().to_owned();
        }
    };

    let body = serde_json::json!({"messages": [
        {"role": "user", "content": "Is the pump on?"}, {"role": "assistant", "content": "No, it is off."}]});
    let post = |route: &str, body: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut response = agent
            .post(format!("http://{address}{route}"))
            .header("content-type", "application/json")
            .send(body)
            .unwrap();
        let status = response.status().as_u16();
        (status, response.body_mut().read_to_string().unwrap())
    };
    let line = expect_ok(&[
        "score",
        "--json",
        "--model",
        &model,
        "--probe",
        &probe,
        "--user",
        "Is the pump on?",
        "--reply",
        "No, it is off.",
    ]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for route in ["/score", "/v1/score"] {
        let (status, text) = post(route, &body.to_string());
        assert_eq!(status, 200, "{text}");
        let verdict: serde_json::Value = serde_json::from_str(&text).unwrap();
        let logit = |verdict: &serde_json::Value| verdict["probes"][0]["logit"].as_f64().unwrap();
        assert!((logit(&verdict) - logit(&line)).abs() <= 1e-6);
        assert_eq!(verdict["verdict"], line["verdict"]);
    }
    assert_eq!(post("/score", "{").0, 400);
    assert_eq!(post("/score", r#"{"prompt": "a", "response": ""}"#).0, 422);
    assert_eq!(
        post(
            "/score",
            r#"{"prompt": "a", "response": "b", "probes": ["nobody"]}"#
        )
        .0,
        404
    );
    assert_eq!(post("/nowhere", "{}").0, 404);
    for route in ["/health", "/metrics", "/info", "/openapi.json", "/docs"] {
        let response = ureq::get(format!("http://{address}{route}"))
            .call()
            .unwrap();
        assert_eq!(response.status().as_u16(), 200, "{route}");
    }

    let kill = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_public_address_needs_a_key() {
    expect_error(
        &[
            "serve",
            "--model",
            "unread",
            "--probe",
            "unread",
            "--listen",
            "0.0.0.0:0",
        ],
        2,
        &["0.0.0.0", "hint:"],
    );
}
