//! Offline, HTTP and token-by-token scores agree, and the check can fail.

use crate::{expect_error, expect_ok, model, shared, tiny_dataset};

#[test]
fn every_way_of_scoring_agrees_in_f32() {
    let Some(model) = model() else { return };
    let shared = shared(&model);
    let (model, probe) = (model.display().to_string(), shared.path("probes/tiny"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d.jsonl");
    tiny_dataset(&data, 16);
    let data = data.display().to_string();
    let args = ["verify", &data, "--model", &model, "--probe", &probe];
    let report = expect_ok(&[args.as_slice(), &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert!(report["n_dialogues"].as_u64().unwrap() >= 32);
    assert_eq!(report["ways"].as_object().unwrap().len(), 19);
    let largest = report["largest"].as_f64().unwrap();
    assert!(largest <= 1e-3, "{report}");
    expect_error(
        &[args.as_slice(), &["--dialogues", "2", "--tolerance=-1"]].concat(),
        5,
        &["differ", "hint:"],
    );
}
