//! Training is repeatable, and what it writes can be used.

use std::path::Path;

use crate::{bytes, expect_ok, model, shared};

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let folder = tempfile::tempdir().unwrap();
    let (store, controls) = (shared.path("store-tiny"), shared.path("store-controls"));
    let train = |out: &str| {
        let out = folder.path().join(out).display().to_string();
        expect_ok(&[
            "train",
            &store,
            "--controls",
            &controls,
            "--name",
            "again",
            "--out",
            &out,
            "--rows",
            "token",
        ]);
        bytes(&Path::new(&out).join("again"))
    };
    let (first, second) = (train("one"), train("two"));
    // The command line is part of the bundle, and the two differ in `--out`.
    for ((name, a), (_, b)) in first.iter().zip(&second) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("--out one", "--out two");
        assert!(a == b || text(a) == text(b), "{name} differs");
    }
    assert_eq!(first.len(), second.len());
    assert!(first.iter().any(|(name, _)| name == "model.safetensors"));
}

#[test]
fn evaluate_prints_every_baseline_and_a_report() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let folder = tempfile::tempdir().unwrap();
    let model = model.display().to_string();
    let (store, controls) = (shared.path("store-tiny"), shared.path("store-controls"));
    let probes = folder.path().display().to_string();
    expect_ok(&[
        "train",
        &store,
        "--controls",
        &controls,
        "--name",
        "judged",
        "--out",
        &probes,
    ]);
    let probe = folder.path().join("judged").display().to_string();
    let report = folder.path().join("report.html");
    let json = expect_ok(&[
        "evaluate",
        &probe,
        "--store",
        &store,
        "--controls",
        &controls,
        "--model",
        &model,
        "--json",
        "--report",
        &report.display().to_string(),
    ]);
    let evaluation: candor_schema::Evaluation = serde_json::from_str(&json).unwrap();
    let names: Vec<&str> = evaluation
        .detectors
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "judged",
            "tf-idf",
            "surface",
            "surprise",
            "entropy",
            "shuffled labels",
            "random direction"
        ]
    );
    for row in &evaluation.detectors {
        assert!((0.0..=1.0).contains(&row.auroc.value) && row.auroc.low <= row.auroc.high);
    }
    let one_percent = &evaluation.detectors[0].operating_points[1];
    assert_eq!(one_percent.note.as_deref(), Some("needs n ≥ 299, has 60"));
    assert!(one_percent.threshold.is_none());
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("needs n ≥ 299, has 60") && html.contains("tf-idf"));
    assert!(folder.path().join("judged/eval.json").exists());
}
