//! `candor dataset sample`: a model's own replies.

use std::path::Path;

use serde_json::Value;

use crate::{expect_error, expect_ok, model, tiny_dataset};

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_prompt_is_answered_as_often_as_asked_and_again_after_an_interruption() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (data, whole, cut) = (path("d.jsonl"), path("whole.jsonl"), path("cut.jsonl"));
    tiny_dataset(Path::new(&data), 2);
    let sample = |out: &str, samples: &str| -> Vec<String> {
        [
            "dataset",
            "sample",
            &data,
            "--out",
            out,
            "--model",
            &model,
            "--samples",
            samples,
            "--drop-replies",
            "--max-tokens",
            "6",
            "--temperature",
            "1",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        expect_ok(&args)
    };
    run(&sample(&whole, "3"));
    let replies = lines(&whole);
    // Two scenarios, whose honest and deceptive dialogues have one prompt each, three replies to each.
    let ids: Vec<&str> = replies.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "s0-honest-1",
            "s0-honest-2",
            "s0-honest-3",
            "s1-honest-1",
            "s1-honest-2",
            "s1-honest-3"
        ]
    );
    for reply in &replies {
        assert_eq!(reply["label"], "ungraded");
        assert_eq!(
            (&reply["origin"], &reply["on_policy"]),
            (&"sampled".into(), &true.into())
        );
        assert_eq!(reply["messages"].as_array().unwrap().len(), 2);
    }
    let said = |reply: &Value| reply["messages"][1]["content"].clone();
    assert!(
        (1..3).any(|i| said(&replies[i]) != said(&replies[0])),
        "samples of one prompt have seeds of their own"
    );

    // What is there is kept, and the rest is what it would have been.
    let first: String = std::fs::read_to_string(&whole)
        .unwrap()
        .split_inclusive('\n')
        .take(2)
        .collect();
    std::fs::write(&cut, first).unwrap();
    run(&sample(&cut, "3"));
    let strip = |replies: Vec<Value>| -> Vec<Value> { replies.iter().map(said).collect() };
    assert_eq!(strip(lines(&cut)), strip(replies));

    expect_error(
        &[
            "dataset",
            "sample",
            &data,
            "--out",
            &path("x.jsonl"),
            "--model",
            &model,
        ],
        3,
        &["already has a reply"],
    );
}
