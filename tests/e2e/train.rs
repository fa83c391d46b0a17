//! Training is repeatable, and what it writes can be used.

use std::path::Path;

use candor_schema::LightColour;

use crate::{bytes, expect_error, expect_ok, model, shared, tiny_dataset};

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
    // One hard negative in a hundred: every class, one after another in the file.
    let negatives = std::fs::read_to_string("datasets/hard-negatives/dialogues.jsonl").unwrap();
    let negatives: Vec<&str> = negatives.lines().step_by(100).collect();
    let (data, hard) = (
        folder.path().join("negatives.jsonl").display().to_string(),
        folder.path().join("store-negatives").display().to_string(),
    );
    std::fs::write(&data, negatives.join("\n")).unwrap();
    expect_ok(&[
        "capture", &data, "--out", &hard, "--model", &model, "--layers", "3,12",
    ]);
    let json = expect_ok(&[
        "evaluate",
        &probe,
        "--store",
        &store,
        "--controls",
        &controls,
        "--negatives",
        &hard,
        "--model",
        &model,
        "--json",
        "--report",
        &report.display().to_string(),
    ]);
    // What does not belong to the probe, or holds nothing, is refused, and the bundle stays.
    let before = bytes(Path::new(&probe));
    for (negatives, compute, code, message) in [
        (&hard, "f32", 4, "the model is of"),
        (&store, "int8", 3, "has none in the test split"),
        (
            &store_in_f32(&data, &model, folder.path()),
            "int8",
            4,
            "`--negatives` is of",
        ),
    ] {
        let arguments = [
            "evaluate",
            &probe,
            "--store",
            &store,
            "--controls",
            &controls,
            "--negatives",
            negatives,
            "--model",
            &model,
            "--compute",
            compute,
        ];
        expect_error(&arguments, code, &[message, "hint:"]);
    }
    assert_eq!(before, bytes(Path::new(&probe)));
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
            "refitted",
            "tf-idf",
            "surface",
            "prompt",
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
    let light = |check: &str| {
        let mut lights = evaluation.lights.iter();
        lights.find(|light| light.check == check).unwrap().colour
    };
    assert_eq!(light("nothing in two splits"), LightColour::Green);
    assert_eq!(light("lies of its own"), LightColour::Red);
    // Up to where two replies differ, their activations are the same.
    let parting = evaluation.divergence.unwrap();
    assert_eq!(parting.points[0].n_tokens, 0);
    assert!((parting.points[0].auroc.value - 0.5).abs() < 1e-12);
    assert!(parting.points.len() > 2 && parting.lead.is_some());
    let of_classes: usize = evaluation
        .hard_negatives
        .iter()
        .map(|r| r.n_scenarios)
        .sum();
    assert_eq!(
        (evaluation.hard_negatives.len(), of_classes),
        (9, negatives.len())
    );
    for row in &evaluation.hard_negatives {
        // One threshold: there are too few controls for the other.
        assert_eq!(row.alarms.len(), 1, "{}", row.label);
        assert_eq!(row.alarms[0].alarms.n, row.n_scenarios as u64);
    }
    let html = std::fs::read_to_string(report).unwrap();
    assert!(html.contains("False alarms on hard negatives") && html.contains("Lead time"));
    assert!(html.contains("needs n ≥ 299, has 60") && html.contains("tf-idf"));
    assert!(folder.path().join("judged/eval.json").exists());
}

/// The same dialogues captured with another arithmetic, which is another model to a threshold.
fn store_in_f32(data: &str, model: &str, folder: &Path) -> String {
    let out = folder.join("store-f32").display().to_string();
    expect_ok(&[
        "capture",
        data,
        "--out",
        &out,
        "--model",
        model,
        "--layers",
        "3,12",
        "--compute",
        "f32",
    ]);
    out
}

#[test]
fn published_recipes_train_and_can_be_evaluated() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (store, controls) = (shared.path("store-tiny"), shared.path("store-controls"));
    let (model, probes) = (model.display().to_string(), path("probes"));
    for (recipe, kind) in [("geometry-of-truth", "mass-mean"), ("repe", "lat")] {
        expect_ok(&[
            "train",
            &store,
            "--controls",
            &controls,
            "--recipe",
            recipe,
            "--name",
            recipe,
            "--out",
            &probes,
        ]);
        let config =
            std::fs::read_to_string(path(&format!("probes/{recipe}/config.json"))).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(
            (&config["kind"], &config["pooling"]),
            (&kind.into(), &"last".into())
        );
        assert_eq!(
            (&config["fit_rows"], &config["recipe"]),
            (&"last".into(), &recipe.into())
        );
        let probe = path(&format!("probes/{recipe}"));
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
        ]);
        let evaluation: candor_schema::Evaluation = serde_json::from_str(&json).unwrap();
        assert!(!evaluation.detectors[0].description.starts_with("logistic"));
    }

    // The recipe's layer is not there; where it is, it is taken.
    let apollo = |store: &str| {
        let args = [
            "train", store, "--recipe", "apollo", "--name", "apollo", "--out", &probes,
        ];
        args.map(str::to_owned)
    };
    let args = apollo(&store);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    expect_error(&args, 3, &["no residual stream near 27.5 %", "--layers 7"]);
    let (data, other) = (path("tiny.jsonl"), path("store"));
    tiny_dataset(Path::new(&data), 8);
    expect_ok(&[
        "capture", &data, "--out", &other, "--model", &model, "--layers", "7-9",
    ]);
    let args = apollo(&other);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    expect_ok(&args);
    let config = std::fs::read_to_string(path("probes/apollo/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["hook_points"][0], "blocks.7.hook_resid_post");
    assert_eq!(config["metrics"]["n_layers_tried"], 1.0);
    assert_eq!(
        (&config["fit_rows"], &config["fit_drop_last"]),
        (&"token".into(), &5.into())
    );

    let usage = [
        "train", &store, "--recipe", "apollo", "--kind", "lda", "--name", "x", "--out", &probes,
    ];
    expect_error(&usage, 2, &["cannot be used with"]);
}
