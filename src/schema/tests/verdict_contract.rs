//! The kept verdict stays readable: whoever stored verdicts of format 1.0 can read them for ever.

#![expect(
    clippy::unwrap_used,
    reason = "all of this is tests, but clippy knows only the functions marked so"
)]

use candor_schema::{
    ActionKind, Error, FormatVersion, HookPoint, OnPolicy, ProbeMatch, ProbeRole, ScoreSource,
    Verdict, VerdictKind,
};
use serde_json::{Value, json};

const KEPT: &str = include_str!("../../../tests/fixtures/contracts/verdict.json");

fn kept() -> Value {
    serde_json::from_str(KEPT).unwrap()
}

/// Reads as every reader should: the version first, since a newer major may have any other shape.
fn read(json: &Value) -> Result<Verdict, Error> {
    let version: FormatVersion = json["format_version"].as_str().unwrap().parse()?;
    version.accept("verdict")?;
    Ok(serde_json::from_value(json.clone()).unwrap())
}

#[test]
fn the_kept_verdict_is_read() {
    let verdict = read(&kept()).unwrap();
    assert_eq!(verdict.format_version, FormatVersion { major: 1, minor: 0 });
    assert_eq!(verdict.verdict, VerdictKind::Flag);
    assert_eq!(verdict.action.as_ref().unwrap().kind, ActionKind::Annotate);
    assert_eq!(verdict.scores.deception, Some(0.875));
    assert_eq!(verdict.scores.harmful_intent, None);
    assert_eq!(verdict.source, ScoreSource::Read);
    assert_eq!(verdict.probe_match, ProbeMatch::Exact);
    assert_eq!(verdict.on_policy, OnPolicy::Unknown);
    assert_eq!(verdict.usage.computed_tokens, 34);
    let [acting, shadow] = &verdict.probes[..] else {
        panic!("two probes were kept");
    };
    assert_eq!(acting.certified.as_ref().unwrap().n, 299);
    assert_eq!(acting.first_flag_token, Some(1));
    let readings = acting.readings.as_ref().unwrap();
    assert_eq!(readings[0].hook_point, HookPoint::resid_post(12));
    let tokens = acting.tokens.as_ref().unwrap();
    assert_eq!(
        (tokens[1].text.as_ref(), tokens[1].logit),
        (None, Some(4.0))
    );
    // A token that could not be scored is not a zero.
    assert_eq!(tokens[2].logit, None);
    assert_eq!(shadow.role, ProbeRole::Shadow);
    assert_eq!(
        (shadow.probability, shadow.threshold, shadow.intent),
        (None, None, None)
    );
}

/// Nothing is lost or renamed on the way through.
#[test]
fn the_kept_verdict_is_written_as_it_was() {
    let verdict = read(&kept()).unwrap();
    assert_eq!(serde_json::to_value(&verdict).unwrap(), kept());
}

#[test]
fn unknown_fields_and_newer_minors_are_read() {
    let mut json = kept();
    json["format_version"] = json!("1.9");
    json["added_later"] = json!({"any": ["shape"]});
    json["probes"][0]["added_later"] = json!(1);
    json["probes"][0]["tokens"][0]["added_later"] = json!(null);
    json["usage"]["added_later"] = json!(7);
    let mut verdict = read(&json).unwrap();
    assert_eq!(verdict.format_version.minor, 9);
    verdict.format_version = FormatVersion { major: 1, minor: 0 };
    assert_eq!(verdict, read(&kept()).unwrap());
}

/// What a verdict may leave out.
#[test]
fn optional_fields_may_be_absent() {
    let mut json = kept();
    for field in ["reason", "action", "format_version"] {
        json.as_object_mut().unwrap().remove(field);
    }
    let probe = json["probes"][0].as_object_mut().unwrap();
    for field in [
        "percentile",
        "first_flag_token",
        "readings",
        "tokens",
        "ood",
    ] {
        probe.remove(field);
    }
    let verdict: Verdict = serde_json::from_value(json).unwrap();
    assert_eq!(verdict.format_version, FormatVersion::CURRENT);
    assert!(verdict.reason.is_none() && verdict.probes[0].tokens.is_none());
    // But not what it is about.
    for field in ["verdict", "probes", "scores", "exact", "model"] {
        let mut json = kept();
        json.as_object_mut().unwrap().remove(field);
        assert!(serde_json::from_value::<Verdict>(json).is_err(), "{field}");
    }
}

#[test]
fn a_newer_major_is_refused() {
    let mut json = kept();
    json["format_version"] = json!("2.0");
    let error = read(&json).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::NewerFormat {
                what: "verdict",
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.hint().is_empty());
}
