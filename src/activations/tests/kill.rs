//! A capture killed at any moment, and run again, ends with the bytes of an uninterrupted one.

#![expect(clippy::unwrap_used, reason = "the whole file is a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{env, fs, thread};

use candor_activations::{
    DatasetRef, HookPointWidth, Manifest, PartPlan, Positions, Precision, Store, Token,
};
use candor_schema::{Dialogue, FormatVersion, HookPoint, Segment};
use serde_json::{Map, json};

const FOLDER: &str = "CANDOR_TEST_KILL_FOLDER";
const WIDTH: usize = 64;
const N_PARTS: usize = 20;

fn manifest() -> Manifest {
    let part = |index| PartPlan {
        index,
        dialogues: vec![format!("d-{index}")],
    };
    Manifest {
        format_version: FormatVersion::CURRENT,
        candor_version: "0.1.0".into(),
        model: serde_json::from_value(json!({
            "base": "m", "architecture": "llama", "config_sha256": "", "weights_sha256": "",
            "quantisation": "F32", "tokenizer_sha256": "", "template_sha256": "", "compute": "f32"
        }))
        .unwrap(),
        model_name: "m".into(),
        dataset: DatasetRef {
            name: "d".into(),
            sha256: String::new(),
        },
        hook_points: vec![HookPointWidth {
            hook_point: HookPoint::resid_post(0),
            width: WIDTH,
        }],
        positions: Positions::All,
        precision: Precision::Bf16,
        template_sha256: String::new(),
        seed: None,
        n_threads: 1,
        cpu_features: Vec::new(),
        row_group_bytes: 10_000,
        parts: (0..N_PARTS).map(part).collect(),
        extra: Map::new(),
    }
}

fn dialogue(id: &str) -> Dialogue {
    serde_json::from_value(json!({
        "id": id, "scenario": "s", "family": "f", "label": "honest", "origin": "written",
        "messages": [], "split": "train", "licence": "CC0-1.0", "source": "us"
    }))
    .unwrap()
}

fn capture(folder: &Path) {
    let plan = manifest();
    let mut store = Store::create_or_resume(folder, &plan).unwrap();
    if !store.has_dialogues() {
        let dialogues: Vec<Dialogue> = plan.dialogue_ids().map(dialogue).collect();
        store.write_dialogues(&dialogues).unwrap();
    }
    for index in store.remaining() {
        let n_tokens = 100 + index;
        let token = |i| Token {
            message: 0,
            token_index: u32::try_from(i).unwrap(),
            token_id: 1,
            segment: Segment::User,
            in_response: false,
            in_span: false,
            from_end: None,
            logprob: None,
            entropy: None,
        };
        let tokens: Vec<Token> = (0..n_tokens).map(token).collect();
        let vectors: Vec<f32> = (0..n_tokens * WIDTH)
            .map(|i| ((i * 31 + index) as f32).sin())
            .collect();
        let mut part = store.begin_part(index).unwrap();
        part.append(&format!("d-{index}"), &tokens, &[&vectors])
            .unwrap();
        part.finish().unwrap();
    }
    assert!(store.is_complete());
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Captures when started by the other test, and does nothing otherwise.
#[test]
fn child() {
    if let Some(folder) = env::var_os(FOLDER) {
        capture(Path::new(&folder));
    }
}

#[test]
fn a_killed_capture_completes_to_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    capture(whole.path());
    let whole = contents(whole.path());

    let folder = tempfile::tempdir().unwrap();
    let mut n_killed = 0;
    // Each run is allowed a little longer, so that runs die at all stages.
    for delay_ms in 3.. {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(FOLDER, folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(delay_ms));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert_eq!(status.code(), None, "the capture failed by itself");
        n_killed += 1;
    }
    assert!(n_killed > 0);
    assert_eq!(contents(folder.path()), whole);
}
