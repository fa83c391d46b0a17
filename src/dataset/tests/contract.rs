//! The kept file of dialogue format 1.0 stays readable for ever.

use std::fs;
use std::path::{Path, PathBuf};

use candor_dataset::{Error, Severity, check, read, write};
use candor_schema::{FormatVersion, KeyKind, Label, Origin, Split};

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/contracts/dialogue.jsonl")
}

#[test]
fn format_1_0_stays_readable() {
    let dataset = read(&kept()).unwrap();
    assert_eq!(dataset.name, "dialogue");
    assert_eq!(dataset.sha256.len(), 64);
    let [first, second, third] = &dataset.dialogues[..] else {
        panic!("expected three dialogues");
    };

    assert_eq!(first.format_version, FormatVersion { major: 1, minor: 0 });
    assert_eq!(first.key.as_ref().unwrap().kind, KeyKind::Number);
    assert_eq!(first.extra["reviewed_by"]["rounds"][1], 2);

    assert_eq!(second.origin, Origin::Sampled);
    assert_eq!(second.messages[2].extra["tool_call_id"], "call_1");
    let calls = second.messages[1].tool_calls.as_ref().unwrap();
    assert_eq!(calls[0].fields["function"]["name"], "gate");
    assert_eq!(second.split, Split::Calibration);

    assert_eq!(third.label, Label::Deceptive);
    let span = &third.spans[0];
    let text = &third.messages[span.message].content[span.start..span.end];
    assert_eq!(text, "停机时间我没有动过");

    let errors: Vec<_> = check(&dataset)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect();
    assert_eq!(errors, []);
}

#[test]
fn nothing_is_lost_in_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.jsonl");
    let dataset = read(&kept()).unwrap();
    write(&path, &dataset.dialogues).unwrap();
    assert_eq!(read(&path).unwrap().dialogues, dataset.dialogues);

    let values = |path: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    for (old, new) in values(&kept()).iter().zip(&values(&path)) {
        for (field, value) in old.as_object().unwrap() {
            assert_eq!(new.get(field), Some(value), "{field}");
        }
    }
}

#[test]
fn a_newer_major_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.jsonl");
    let newer = fs::read_to_string(kept())
        .unwrap()
        .replace("\"1.0\"", "\"2.0\"");
    fs::write(&path, newer).unwrap();
    let error = read(&path).unwrap_err();
    let Error::BadLines { problems } = &error else {
        panic!("{error}");
    };
    assert_eq!(problems.len(), 1);
    assert!(problems[0].what.contains("format version 2.0"), "{error}");
    assert!(error.hint().contains("update candor"), "{}", error.hint());
}
