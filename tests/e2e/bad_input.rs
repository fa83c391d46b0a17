//! Wrong input: a clear error, a hint, the right exit code, and nothing lost.

use std::path::Path;

use crate::{expect_error, expect_ok, model, run, shared, tiny_dataset};

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
}

#[test]
fn model_files_that_are_no_good() {
    let Some(real) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let text = path.display().to_string();
    let info = ["model", "info", "--model", &text];
    let real = std::fs::read(real).unwrap();

    std::fs::write(&path, &real[..real.len() / 2]).unwrap();
    expect_error(&info, 3, &["truncated", "hint:"]);
    std::fs::write(&path, b"not a model").unwrap();
    expect_error(&info, 3, &["not a GGUF file", "hint:"]);
    let mut hostile = b"GGUF\x03\0\0\0".to_vec();
    hostile.extend([0xff; 16]);
    std::fs::write(&path, hostile).unwrap();
    expect_error(&info, 3, &["truncated"]);

    let mut other = real.clone();
    // The value of `general.architecture`: a string of 5 bytes, `llama`.
    replace(
        &mut other,
        b"\x05\0\0\0\0\0\0\0llama",
        b"\x05\0\0\0\0\0\0\0alpha",
    );
    std::fs::write(&path, &other).unwrap();
    expect_error(&info, 3, &["architecture `alpha`", "llama", "hint:"]);
    let mut other = real;
    replace(
        &mut other,
        b"\x06\0\0\0\0\0\0\0smollm",
        b"\x06\0\0\0\0\0\0\0mystic",
    );
    std::fs::write(&path, &other).unwrap();
    expect_error(&info, 3, &["pre-tokeniser `mystic`", "hint:"]);

    expect_error(
        &["model", "info", "--model", "no-such-model"],
        3,
        &["no-such-model", "hint:"],
    );
}

#[test]
fn a_broken_line_is_named_by_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    tiny_dataset(&path, 2);
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"id\": \"x\", oops}\n");
    std::fs::write(&path, &text).unwrap();
    let stderr = expect_error(
        &["dataset", "check", &path.display().to_string()],
        3,
        &["hint:"],
    );
    assert!(
        stderr.contains("d.jsonl:5:13") || stderr.contains("d.jsonl:5:"),
        "{stderr}"
    );
    std::fs::write(&path, "").unwrap();
    expect_error(
        &["dataset", "check", &path.display().to_string()],
        3,
        &["hint:"],
    );
}

#[test]
fn a_check_that_finds_something_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    tiny_dataset(&path, 2);
    let text = std::fs::read_to_string(&path).unwrap().replacen(
        "\"split\":\"train\"",
        "\"split\":\"test\"",
        1,
    );
    std::fs::write(&path, text).unwrap();
    expect_error(
        &["dataset", "check", &path.display().to_string()],
        5,
        &["hint:"],
    );
}

#[test]
fn the_shipped_data_sets_are_clean() {
    expect_ok(&["dataset", "check", "datasets/written-pairs"]);
    expect_ok(&[
        "dataset",
        "check",
        "datasets/ordinary/ordinary-smollm2-135m.jsonl",
    ]);
}

#[test]
fn the_shipped_data_sets_pass_the_audit() {
    expect_ok(&["dataset", "check", "--audit", "datasets/written-pairs"]);
    expect_ok(&["dataset", "check", "--audit", "datasets/hard-negatives"]);
}

#[test]
fn replies_are_graded_by_key_and_belief() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let line = |id: &str, reply: &str| {
        serde_json::json!({
            "id": id, "scenario": "s", "family": "f", "label": "ungraded", "split": "test",
            "messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": reply}],
            "key": {"kind": "number", "true": 3, "false": 1}, "origin": "sampled", "on_policy": true,
            "model": "m", "sampling": {}, "licence": "CC0-1.0", "source": "us",
        })
        .to_string()
    };
    let neutral: Vec<String> = (0..5)
        .map(|i| line(&format!("n{i}"), "3 of them"))
        .collect();
    let replies = [
        line("a", "There are 3."),
        line("b", "Just 1."),
        line("c", "Many."),
    ];
    std::fs::write(path("neutral.jsonl"), neutral.join("\n")).unwrap();
    std::fs::write(path("replies.jsonl"), replies.join("\n")).unwrap();
    let (replies, neutral, out) = (
        path("replies.jsonl"),
        path("neutral.jsonl"),
        path("out.jsonl"),
    );
    let grade = [
        "dataset",
        "grade",
        &replies,
        "--beliefs",
        &neutral,
        "--out",
        &out,
    ];
    let said = expect_ok(&grade);
    assert!(said.contains("ungraded (left out)"), "{said}");
    let graded = std::fs::read_to_string(&out).unwrap();
    let labels: Vec<serde_json::Value> = graded
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["label"].clone())
        .collect();
    assert_eq!(labels, ["honest", "deceptive"]);

    let keyless = line("d", "3").replace(r#""key""#, r#""no_key""#);
    std::fs::write(path("keyless.jsonl"), keyless).unwrap();
    let keyless = path("keyless.jsonl");
    expect_error(
        &[
            "dataset",
            "grade",
            &keyless,
            "--beliefs",
            &neutral,
            "--out",
            &out,
        ],
        3,
        &["`d` has no key", "hint:"],
    );
}

#[test]
fn text_past_the_context_and_empty_text() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let (model, probe) = (model.display().to_string(), shared.path("probes/tiny"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d.jsonl");
    tiny_dataset(&data, 1);
    let long =
        std::fs::read_to_string(&data)
            .unwrap()
            .replacen("How many", &"word ".repeat(9_000), 1);
    std::fs::write(&data, long).unwrap();
    let (data, out) = (data.display().to_string(), folder.path().join("out"));
    expect_error(
        &[
            "capture",
            &data,
            "--out",
            &out.display().to_string(),
            "--model",
            &model,
        ],
        3,
        &["s0-honest", "8192", "hint:"],
    );
    assert!(!out.exists(), "nothing is begun that cannot be finished");
    expect_error(
        &[
            "score", "--model", &model, "--probe", &probe, "--user", "hi", "--reply", "",
        ],
        3,
        &["empty", "hint:"],
    );
    expect_error(
        &["score", "--model", &model, "--probe", &probe],
        2,
        &["nothing to score", "hint:"],
    );
    let messages = folder.path().join("m.json");
    std::fs::write(&messages, "[{\"role\": \"user\"").unwrap();
    expect_error(
        &[
            "score",
            "--model",
            &model,
            "--probe",
            &probe,
            "--messages",
            &messages.display().to_string(),
        ],
        3,
        &["m.json", "hint:"],
    );
}

#[test]
fn a_probe_of_another_model_is_refused_or_abstains() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let model = model.display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let probe = folder.path().join("tiny");
    std::fs::create_dir(&probe).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(
            Path::new(&shared.path("probes/tiny")).join(name),
            probe.join(name),
        )
        .unwrap();
    }
    let config_path = probe.join("config.json");
    let config = std::fs::read_to_string(&config_path).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&config).unwrap();
    other["fingerprint"]["base"] = "another-model".into();
    std::fs::write(&config_path, other.to_string()).unwrap();
    let probe_path = probe.display().to_string();
    let args = [
        "score",
        "--json",
        "--model",
        &model,
        "--probe",
        &probe_path,
        "--user",
        "Well?",
        "--reply",
        "Yes.",
    ];
    expect_error(&args, 4, &["tiny", "base", "hint:"]);
    let verdict = expect_ok(&[args.as_slice(), &["--allow-transfer"]].concat());
    let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict["verdict"], "abstain");
    assert_eq!(verdict["probe_match"], "transferred");
    assert!(
        verdict["probes"][0]["threshold"].is_null()
            && verdict["probes"][0]["probability"].is_null()
    );

    // A tensor that was changed is not the one that the configuration speaks of.
    std::fs::write(&config_path, &config).unwrap();
    let tensors = probe.join("model.safetensors");
    let mut bytes = std::fs::read(&tensors).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&tensors, bytes).unwrap();
    expect_error(&args, 3, &["hint:"]);
}

#[test]
fn usage_errors_have_their_own_code() {
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(
        run(&["probe", "info", "no-such-folder"]).status.code(),
        Some(3)
    );
}

#[test]
fn folders_and_adapters_of_models() {
    let tiny = crate::root().join("tests/fixtures/tiny");
    let path = |name: &str| tiny.join(name).display().to_string();
    let (llama, adapter) = (path("llama"), path("llama_lora"));
    let info = |more: &[&str]| -> Vec<String> {
        let words = ["model", "info", "--json", "--model", &llama];
        let words = words.iter().chain(more);
        words.map(ToString::to_string).collect()
    };
    let run_info = |more: &[&str]| -> serde_json::Value {
        let words = info(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        serde_json::from_str(&expect_ok(&words)).unwrap()
    };
    let plain = run_info(&[]);
    assert_eq!(plain["config"]["architecture"], "llama");
    assert_eq!(plain["fingerprint"]["compute"], "f32");
    let adapted = run_info(&["--adapter", &format!("{adapter}=0.5")]);
    assert_eq!(adapted["fingerprint"]["adapters"][0]["scale"], 0.5);
    let silent = run_info(&["--adapter", &format!("{adapter}=0")]);
    assert_eq!(silent["fingerprint"], plain["fingerprint"]);

    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display().to_string();
    expect_error(
        &["model", "info", "--model", &empty],
        3,
        &["config.json", "hint:"],
    );
    for (adapter, code, part) in [
        (format!("{adapter}=nan"), 2, "not a number"),
        (empty.clone(), 3, "adapter_config.json"),
    ] {
        let words = info(&["--adapter", &adapter]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        expect_error(&words, code, &[part]);
    }
    expect_error(
        &["bench", "--model", &llama, "--rounds", "0"],
        2,
        &["--rounds"],
    );
    // An adapter of another model, whose matrices have other names and shapes.
    let phi3 = path("phi3");
    expect_error(
        &["model", "info", "--model", &phi3, "--adapter", &adapter],
        3,
        &["hint:"],
    );
    // Its vocabulary ends before the workload's ids.
    expect_error(
        &["bench", "--model", &llama, "--what", "prefill"],
        3,
        &["outside the vocabulary"],
    );
}
