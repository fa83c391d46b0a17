//! The kept files of every format, and the bundle that must stay readable for ever.

use candor_probe::Bundle;

use crate::root;

#[test]
fn there_is_a_kept_file_of_every_format() {
    let folder = root().join("tests/fixtures/contracts");
    for file in [
        "dialogue.jsonl",
        "scores.jsonl",
        "store/manifest.json",
        "store/part-00000.parquet",
        "store/schema.txt",
        "verdict.json",
        "openapi.json",
        "bundle/kept/config.json",
        "openings.jsonl",
    ] {
        assert!(folder.join(file).exists(), "{file}");
    }
}

#[test]
fn the_kept_scores_stay_readable() {
    let kept = root().join("tests/fixtures/contracts/scores.jsonl");
    let scores = candor_dataset::read_scores(&kept).unwrap();
    let read: Vec<(&str, f64, Option<&str>)> = scores
        .iter()
        .map(|score| (score.id.as_str(), score.score, score.model.as_deref()))
        .collect();
    assert_eq!(
        read,
        [
            ("kept-honest", -2.25, None),
            ("kept-deceptive", 1.5, Some("some-model"))
        ]
    );
}

#[test]
fn the_kept_bundle_stays_readable() {
    let bundle = Bundle::read(&root().join("tests/fixtures/contracts/bundle/kept")).unwrap();
    assert_eq!(
        bundle.config().extra["from_the_future"],
        serde_json::json!({"kept": true})
    );
    // By hand: (x - mean) / scale = (1, 1, 1, 1), times the weights, plus the bias.
    let score = bundle.probe().score(&[&[2.0, 3.0, 4.0, 5.0]]).unwrap();
    assert!((score.logit.0 - (0.5 - 1.0 + 1.5 + 2.0 + 0.25)).abs() < 1e-6);
    assert_eq!(bundle.probe().threshold().unwrap().n, 59);

    let again = tempfile::tempdir().unwrap();
    let written = bundle.write(again.path()).unwrap();
    let config = std::fs::read_to_string(written.join("config.json")).unwrap();
    assert!(
        config.contains("from_the_future"),
        "unknown fields are kept"
    );
}

#[test]
fn a_newer_major_of_a_bundle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kept = root().join("tests/fixtures/contracts/bundle/kept");
    std::fs::copy(
        kept.join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let config = std::fs::read_to_string(kept.join("config.json")).unwrap();
    let newer = config.replacen(
        "\"format_version\": \"1.0\"",
        "\"format_version\": \"2.0\"",
        1,
    );
    assert_ne!(newer, config);
    std::fs::write(folder.path().join("config.json"), newer).unwrap();
    let error = Bundle::read(folder.path()).unwrap_err();
    assert!(format!("{error:?}").contains("NewerFormat"), "{error:?}");
}
