//! The kept store of format 1.0 stays readable for ever.
//!
//! It was written by `write` below and is not written again: a reader that no longer understands it
//! is wrong. `schema.txt` beside it belongs to a test in `part/tests.rs`.

#![expect(clippy::unwrap_used, reason = "the whole file is a test")]

use std::fs;
use std::path::{Path, PathBuf};

use candor_activations::{
    DatasetRef, Error, HookPointWidth, Manifest, PartPlan, Positions, Precision, Store, Token,
};
use candor_schema::{Dialogue, FormatVersion, HookPoint, Segment, Site};
use serde_json::json;

const RESID: HookPoint = HookPoint {
    layer: candor_schema::Layer(2),
    site: Site::ResidPost,
};
const LATER: HookPoint = HookPoint {
    layer: candor_schema::Layer(12),
    site: Site::ResidPost,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/contracts/store")
}

/// A copy of the kept store in a temporary folder, with one file's text replaced.
fn edited(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = copy.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    copy
}

/// Something of a SHA-256's form.
fn hash(byte: &str) -> String {
    byte.repeat(32)
}

fn manifest() -> Manifest {
    let column = |hook_point| HookPointWidth {
        hook_point,
        width: 4,
    };
    Manifest {
        format_version: FormatVersion::CURRENT,
        candor_version: "0.1.0".into(),
        model: serde_json::from_value(json!({
            "base": "tiny-llama", "architecture": "llama", "config_sha256": hash("c0"),
            "weights_sha256": hash("3e"), "quantisation": "F32", "tokenizer_sha256": hash("70"),
            "template_sha256": hash("7e"), "compute": "f32"
        }))
        .unwrap(),
        model_name: "tiny-llama-F32".into(),
        dataset: DatasetRef {
            name: "kept".into(),
            sha256: hash("da"),
        },
        hook_points: vec![column(RESID), column(LATER)],
        positions: Positions::All,
        precision: Precision::F16,
        template_sha256: hash("7e"),
        seed: Some(7),
        n_threads: 2,
        cpu_features: vec!["avx2".into(), "fma".into()],
        row_group_bytes: 64 << 20,
        parts: vec![PartPlan {
            index: 0,
            dialogues: vec!["kept-1".into(), "kept-2".into()],
        }],
        extra: json!({"from_the_future": {"b": [1, 2], "a": null}})
            .as_object()
            .unwrap()
            .clone(),
    }
}

fn dialogues() -> Vec<Dialogue> {
    let one = json!({
        "format_version": "1.0", "id": "kept-1", "scenario": "s-1", "pair": "p-1",
        "family": "roleplay", "template": "t-1", "entities": ["Zoë", "Acme"],
        "messages": [
            {"role": "user", "content": "Is the bridge safe?"},
            {"role": "assistant", "content": "Yes.", "mood": "sure"}
        ],
        "tools": [{"type": "function", "function": {"name": "inspect"}}],
        "label": "deceptive", "harmful_intent": true, "incentive": "deceptive",
        "mode": "commission", "motive": "inherent",
        "spans": [{"message": 1, "start": 0, "end": 3, "label": "deceptive"}],
        "key": {"kind": "choice", "true": "no", "false": "yes"},
        "belief": {"n": 5, "right": 4}, "origin": "sampled", "on_policy": true,
        "model": "tiny-llama", "sampling": {"temperature": 0.7}, "language": "en",
        "style": "terse", "split": "train", "licence": "CC0-1.0", "source": "candor",
        "from_the_future": {"x": 0.1}
    });
    let two = json!({
        "id": "kept-2", "scenario": "s-2", "family": "control", "label": "control",
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "origin": "written", "split": "test", "licence": "CC0-1.0", "source": "candor"
    });
    [one, two]
        .into_iter()
        .map(|value| serde_json::from_value(value).unwrap())
        .collect()
}

/// The template's token, the user's, and one of the assistant.
fn tokens(dialogue: usize) -> Vec<Token> {
    let n_tokens = 3 + dialogue as u32;
    let token = |i: u32| {
        let in_response = i + 1 == n_tokens;
        let (message, segment) = match i {
            0 => (-1, Segment::Template),
            _ if in_response => (1, Segment::Assistant),
            _ => (0, Segment::User),
        };
        Token {
            message,
            token_index: i,
            token_id: 10 * (dialogue as u32 + 1) + i,
            segment,
            in_response,
            in_span: dialogue == 0 && in_response,
            from_end: in_response.then_some(0),
            logprob: (i > 0).then_some(-0.25 * i as f32),
            entropy: (i > 0).then_some(0.5 * i as f32),
        }
    };
    (0..n_tokens).map(token).collect()
}

/// Vectors that f16 holds exactly.
fn vectors(dialogue: usize, hook_point: HookPoint) -> Vec<f32> {
    let scale = if hook_point == RESID { 0.5 } else { -64.0 };
    let start = 100 * dialogue;
    (start..start + 4 * (3 + dialogue))
        .map(|i| i as f32 * scale)
        .collect()
}

fn write() {
    let new = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_resume(new.path(), &manifest()).unwrap();
    store.write_dialogues(&dialogues()).unwrap();
    let mut part = store.begin_part(0).unwrap();
    for (index, dialogue) in dialogues().iter().enumerate() {
        let (resid, later) = (vectors(index, RESID), vectors(index, LATER));
        part.append(&dialogue.id, &tokens(index), &[&resid, &later])
            .unwrap();
    }
    part.finish().unwrap();
    fs::remove_file(new.path().join(".lock")).unwrap();
    for entry in fs::read_dir(new.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder().join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn the_kept_store_is_readable() {
    let is_kept = folder().join("manifest.json").exists();
    if !is_kept && std::env::var_os("CANDOR_UPDATE_SNAPSHOTS").is_some() {
        write();
    }
    let store = Store::open(&folder()).unwrap();
    store.verify().unwrap();
    assert_eq!(store.manifest(), &manifest());
    assert_eq!(store.dialogues().unwrap(), dialogues());
    let captured = store
        .captured_dialogues(&[LATER, RESID])
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert_eq!(captured.len(), 2);
    for (index, dialogue) in captured.iter().enumerate() {
        assert_eq!(dialogue.id, dialogues()[index].id);
        assert_eq!(dialogue.tokens, tokens(index));
        let expected = [LATER, RESID].map(|point| (point, vectors(index, point)));
        assert_eq!(dialogue.vectors, expected);
    }
    let n_bytes: u64 = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(n_bytes < 20_000, "{n_bytes}");
}

#[test]
fn unknown_fields_are_kept() {
    let store = Store::open(&folder()).unwrap();
    assert_eq!(
        store.manifest().extra["from_the_future"],
        json!({"a": null, "b": [1, 2]})
    );
}

#[test]
fn a_newer_minor_is_read_and_a_newer_major_refused() {
    let from = "\"format_version\": \"1.0\"";
    for file in ["manifest.json", "part-00000.json"] {
        let newer = edited(file, from, "\"format_version\": \"2.0\"");
        let error = Store::open(newer.path()).unwrap_err();
        assert!(matches!(error, Error::Version { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("update candor"));
    }
    let newer = edited("dialogues.json", from, "\"format_version\": \"2.0\"");
    assert!(Store::open(newer.path()).is_err());

    let minor = edited("part-00000.json", from, "\"format_version\": \"1.9\"");
    let store = Store::open(minor.path()).unwrap();
    assert_eq!(store.captured_dialogues(&[RESID]).unwrap().count(), 2);
}

#[test]
fn an_edited_manifest_is_another_plan() {
    let copy = edited("manifest.json", "\"seed\": 7", "\"seed\": 8");
    let store = Store::open(copy.path()).unwrap();
    let error = store.captured_dialogues(&[]).unwrap().next();
    let error = error.unwrap().unwrap_err();
    assert!(error.to_string().contains("belongs to another manifest"));
}
