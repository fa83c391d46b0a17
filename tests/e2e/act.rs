//! `candor dataset act`: a model acts in the small world.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::{expect_error, expect_ok, model, root};

fn lines(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The command for a few short episodes of two situations.
fn act<'a>(model: &'a str, out: &'a str, beliefs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "dataset",
        "act",
        "--model",
        model,
        "--out",
        out,
        "--beliefs",
        beliefs,
        "--situation",
        "shutdown",
        "--situation",
        "quiz",
        "--max-tokens",
        "8",
        "--seed",
        "5",
    ];
    args.extend(more);
    args
}

#[test]
fn a_model_acts_and_is_asked_and_an_interruption_changes_nothing() {
    let Some(model) = model() else { return };
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (whole, beliefs) = (path("whole.jsonl"), path("beliefs.jsonl"));
    let summary = expect_ok(&act(&model, &whole, &beliefs, &["--episodes", "6"]));
    assert!(summary.contains("sandbagging"), "{summary}");
    assert!(summary.contains("incentive neutral"), "{summary}");

    let transcripts = lines(&whole);
    let ids: Vec<&str> = transcripts
        .iter()
        .map(|t| t["id"].as_str().unwrap())
        .collect();
    // Situations take turns, then incentives; the seed follows from `--seed` and the place.
    assert_eq!(
        ids,
        [
            "shutdown-deceptive-5000015",
            "quiz-deceptive-5000016",
            "shutdown-honest-5000017",
            "quiz-honest-5000018",
            "shutdown-neutral-5000019",
            "quiz-neutral-5000020"
        ]
    );
    for transcript in &transcripts {
        assert_eq!(transcript["scenario"], transcript["id"]);
        assert_eq!(
            (
                &transcript["label"],
                &transcript["origin"],
                &transcript["on_policy"]
            ),
            (&"ungraded".into(), &"sampled".into(), &true.into())
        );
        assert_eq!(transcript["model"], "smollm2-135m-instruct");
        assert_eq!(transcript["sampling"]["max_tokens"], 8);
        assert_eq!(transcript["key"]["kind"], "regex");
        // This model's template knows no tools: they are described in words.
        assert_eq!(transcript["world"]["tools"], "words");
        assert!(transcript.get("tools").is_none());
        let messages = transcript["messages"].as_array().unwrap();
        assert!(
            messages[0]["content"]
                .as_str()
                .unwrap()
                .contains("<tool_call>")
        );
        assert_eq!(messages.last().unwrap()["role"], "assistant");
    }
    expect_ok(&["dataset", "check", &whole]);

    // Five neutral answers to each, by which the transcripts can be graded.
    let answers = lines(&beliefs);
    assert_eq!(answers.len(), 30);
    let scenarios: BTreeSet<&str> = answers
        .iter()
        .map(|a| a["scenario"].as_str().unwrap())
        .collect();
    assert_eq!(scenarios, ids.iter().copied().collect());
    assert!(
        answers
            .iter()
            .all(|answer| answer["incentive"] == "neutral")
    );
    let graded = path("graded.jsonl");
    let said = expect_ok(&[
        "dataset",
        "grade",
        &whole,
        "--beliefs",
        &beliefs,
        "--out",
        &graded,
    ]);
    assert!(said.contains("of 6 replies"), "{said}");

    // What is there is kept, and the rest is what it would have been. The first run got as far as
    // the beliefs of an episode whose transcript was not written.
    let (cut, cut_beliefs) = (path("cut.jsonl"), path("cut-beliefs.jsonl"));
    let head = |text: &str, n: usize| -> String {
        let text = std::fs::read_to_string(text).unwrap();
        text.split_inclusive('\n').take(n).collect()
    };
    std::fs::write(&cut, head(&whole, 2)).unwrap();
    std::fs::write(&cut_beliefs, head(&beliefs, 12)).unwrap();
    expect_ok(&act(&model, &cut, &cut_beliefs, &["--episodes", "6"]));
    assert_eq!(std::fs::read(&cut).unwrap(), std::fs::read(&whole).unwrap());
    assert_eq!(
        std::fs::read(&cut_beliefs).unwrap(),
        std::fs::read(&beliefs).unwrap()
    );

    // What the model read when it answered is what a capture reads.
    let store = path("store");
    expect_ok(&[
        "capture", &whole, "--out", &store, "--model", &model, "--layers", "3",
    ]);
}

#[test]
fn tools_reach_a_template_that_knows_them() {
    const FILE: &str = "qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf";
    let folder = std::env::var_os("CANDOR_MODEL_DIR").unwrap_or_default();
    let model = Path::new(&folder).join(FILE);
    if !model.exists() {
        eprintln!("skipped: CANDOR_MODEL_DIR has no {FILE}");
        return;
    }
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (out, beliefs) = (path("acts.jsonl"), path("beliefs.jsonl"));
    let more = ["--episodes", "1", "--belief-samples", "1"];
    expect_ok(&act(&model, &out, &beliefs, &more));
    expect_ok(&["dataset", "check", &out]);
    let transcript = lines(&out).remove(0);
    assert_eq!(transcript["world"]["tools"], "template");
    assert_eq!(transcript["tools"].as_array().unwrap().len(), 7);
    let system = transcript["messages"][0]["content"].as_str().unwrap();
    assert!(!system.contains("copy_self"));
    // The template writes the tools, in the order of fields that the model was trained on.
    let shown = expect_ok(&["dataset", "render", &out, "--model", &model]);
    let texts = shown.lines().filter_map(|line| line.split_once('"'));
    let text: String = texts
        .map(|(_, text)| {
            let quoted = format!("\"{text}");
            serde_json::from_str::<String>(&quoted).unwrap_or_default()
        })
        .collect();
    let tool = "{\"type\": \"function\", \"function\": {\"name\": \"copy_self\", \"description\": ";
    assert!(text.contains(tool), "{text}");
}

#[test]
fn what_does_not_fit_is_said() {
    expect_error(
        &[
            "dataset",
            "act",
            "--episodes",
            "1",
            "--out",
            "x.jsonl",
            "--situation",
            "flood",
        ],
        2,
        &["flood", "shutdown"],
    );
    expect_error(
        &["dataset", "act", "--episodes", "0", "--out", "x.jsonl"],
        2,
        &["--episodes"],
    );
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.jsonl");
    std::fs::copy(
        root().join("tests/fixtures/contracts/dialogue.jsonl"),
        &foreign,
    )
    .unwrap();
    let foreign = foreign.display().to_string();
    expect_error(
        &["dataset", "act", "--episodes", "1", "--out", &foreign],
        3,
        &["was not written by `smollm2-135m-instruct`"],
    );
}
