//! The demo, on the real model.

use crate::{candor, model};

#[test]
fn the_demo_shows_what_it_promises() {
    let Some(model) = model() else { return };
    let out = tempfile::tempdir().unwrap();
    let output = candor(&["demo", "--out", &out.path().display().to_string()])
        .env("CANDOR_MODEL_DIR", model.parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for part in [
        "AUROC [95 % CI]",
        "tf-idf",
        "surprise",
        "shuffled labels",
        "honest reply",
        "deceptive reply",
        "curl -s http://127.0.0.1",
        "\"verdict\":",
        "needs n ≥ 299",
        "report.html",
        "What this shows:",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    for file in ["report.html", "heat-map-light.svg", "heat-map-dark.svg"] {
        assert!(
            out.path().join(file).metadata().unwrap().len() > 1_000,
            "{file}"
        );
    }
    // The released probe's numbers are those that the same recipe gives here, up to the CPU's rounding.
    let read = |path: &std::path::Path| -> candor_schema::Evaluation {
        serde_json::from_str(&std::fs::read_to_string(path.join("eval.json")).unwrap()).unwrap()
    };
    let made = read(&out.path().join("probes/smollm2-135m-demo"));
    let released = read(&crate::root().join("probes/smollm2-135m-demo"));
    for (made, released) in made.detectors.iter().zip(&released.detectors) {
        assert_eq!(made.name, released.name);
        assert!(
            (made.auroc.value - released.auroc.value).abs() < 0.05,
            "{}: {} and {}",
            made.name,
            made.auroc.value,
            released.auroc.value
        );
    }
}
