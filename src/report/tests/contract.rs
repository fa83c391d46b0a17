//! The kept evaluation of format 1.0 stays readable for ever, and nothing in one can become markup.

use candor_report::{Error, Theme, heat_map_svg, html, markdown_table, parse};
use candor_schema::DetectorKind;
use serde_json::{Value, json};

const KEPT: &str = include_str!("../../../tests/fixtures/report/evaluation.json");

/// Text that would run if any of it reached the page as it is.
const HOSTILE: &str =
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)></style></title>-->&lt;\u{0}\u{202e}";

#[test]
fn format_1_0_stays_readable() {
    let evaluation = parse(KEPT).unwrap();
    assert_eq!(evaluation.layers.len(), 30);
    assert_eq!(evaluation.detectors.len(), 6);
    assert_eq!(evaluation.traces.len(), 2);
}

#[test]
fn what_older_versions_did_not_measure_may_be_absent() {
    let mut value: Value = serde_json::from_str(KEPT).unwrap();
    for name in [
        "calibration",
        "refits",
        "lights",
        "divergence",
        "hard_negatives",
    ] {
        value.as_object_mut().unwrap().remove(name).unwrap();
    }
    let evaluation = parse(&value.to_string()).unwrap();
    assert_eq!(
        (&evaluation.calibration, &evaluation.refits),
        (&None, &None)
    );
    assert!(html(&evaluation).contains("<h2>Results"));
    // What was not measured is not written.
    let written = serde_json::to_value(&evaluation).unwrap();
    assert!(written.get("calibration").is_none() && written.get("refits").is_none());
}

#[test]
fn every_kind_of_detector_is_read_and_shown() {
    for kind in ["rival", "other_model", "refit", "held_out", "prompt"] {
        let mut value: Value = serde_json::from_str(KEPT).unwrap();
        value["detectors"][1]["kind"] = json!(kind);
        let evaluation = parse(&value.to_string()).unwrap();
        assert_eq!(
            serde_json::to_value(evaluation.detectors[1].kind).unwrap(),
            kind
        );
        assert!(html(&evaluation).contains("tf-idf"));
    }
}

#[test]
fn an_unknown_field_is_ignored() {
    let mut value: Value = serde_json::from_str(KEPT).unwrap();
    value["later"] = json!({"a": [1]});
    value["detectors"][0]["later"] = json!(true);
    assert_eq!(parse(&value.to_string()).unwrap(), parse(KEPT).unwrap());
}

#[test]
fn a_newer_major_is_refused_before_anything_else_is_read() {
    let error = parse("{\"format_version\": \"2.0\", \"all\": \"changed\"}").unwrap_err();
    assert!(matches!(error, Error::Format(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("evaluation has format version 2.0")
    );
    assert!(error.hint().contains("update candor"));
    let minor = KEPT.replacen("\"1.0\"", "\"1.8\"", 1);
    assert!(parse(&minor).is_ok());
}

#[test]
fn no_text_of_an_evaluation_becomes_markup() {
    let mut value: Value = serde_json::from_str(KEPT).unwrap();
    let n_replaced = poison(&mut value);
    assert!(n_replaced > 400, "{n_replaced}");
    let evaluation = parse(&value.to_string()).unwrap();
    let clean = html(&parse(KEPT).unwrap());
    let page = html(&evaluation);
    // Whatever the text, the page has the elements that it has anyway.
    for tag in [
        "<script", "<img", "<style", "</style", "<title", "<svg", "<span", "<p",
    ] {
        assert_eq!(
            page.matches(tag).count(),
            clean.matches(tag).count(),
            "{tag}"
        );
    }
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert!(!page.contains(['\u{0}', '\u{202e}']));
    assert!(page.contains("&lt;script&gt;alert(1)"));

    for theme in [Theme::Light, Theme::Dark] {
        let svg = heat_map_svg(&evaluation.traces, theme);
        assert!(!svg.contains("<script") && !svg.contains("<img"));
    }
    let table = markdown_table(&evaluation);
    let cells = table.split("Command: ").next().unwrap();
    assert!(!cells.contains("<script"), "{table}");
}

/// Puts hostile text into every string that is free to hold any.
fn poison(value: &mut Value) -> usize {
    match value {
        Value::Array(items) => items.iter_mut().map(poison).sum(),
        Value::Object(fields) => fields
            .iter_mut()
            // These are closed vocabularies: anything else does not parse.
            .filter(|(name, value)| match name.as_str() {
                "format_version" | "hook_point" | "hook_points" | "label" | "split" | "colour" => {
                    false
                }
                "kind" => !is_detector_kind(value),
                _ => true,
            })
            .map(|(_, value)| poison(value))
            .sum(),
        Value::String(text) => {
            HOSTILE.clone_into(text);
            1
        }
        _ => 0,
    }
}

fn is_detector_kind(value: &Value) -> bool {
    serde_json::from_value::<DetectorKind>(value.clone()).is_ok()
}
