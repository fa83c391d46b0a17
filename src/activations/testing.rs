//! A small plan and its rows, for the tests of this crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candor_schema::{Dialogue, FormatVersion, HookPoint, Segment, Site};
use serde_json::{Map, json};

use crate::{
    DatasetRef, Error, HookPointWidth, Manifest, PartPlan, PartWriter, Positions, Precision, Store,
    Token,
};

/// The first vector column, of width 4.
pub(crate) const POINT: HookPoint = HookPoint {
    layer: candor_schema::Layer(2),
    site: Site::ResidPost,
};
/// The second vector column, of width 3.
pub(crate) const OTHER: HookPoint = HookPoint {
    layer: candor_schema::Layer(10),
    site: Site::MlpOut,
};

/// A plan of three parts and five dialogues.
pub(crate) fn manifest() -> Manifest {
    let part = |index: usize, ids: &[&str]| PartPlan {
        index,
        dialogues: ids.iter().map(|&id| id.to_owned()).collect(),
    };
    Manifest {
        format_version: FormatVersion::CURRENT,
        candor_version: "0.1.0".into(),
        model: serde_json::from_value(json!({
            "base": "tiny", "architecture": "llama", "config_sha256": "c", "weights_sha256": "w",
            "quantisation": "F32", "tokenizer_sha256": "t", "template_sha256": "p",
            "adapters": [{"sha256": "a", "scale": 0.1}], "compute": "f32"
        }))
        .unwrap(),
        model_name: "tiny".into(),
        dataset: DatasetRef {
            name: "example".into(),
            sha256: "d".into(),
        },
        hook_points: vec![
            HookPointWidth {
                hook_point: POINT,
                width: 4,
            },
            HookPointWidth {
                hook_point: OTHER,
                width: 3,
            },
        ],
        positions: Positions::All,
        precision: Precision::F16,
        template_sha256: "p".into(),
        seed: Some(u64::MAX),
        n_threads: 2,
        cpu_features: vec!["avx2".into(), "fma".into()],
        row_group_bytes: 300, // ten rows
        parts: vec![part(0, &["a", "b"]), part(1, &["c"]), part(2, &["d", "e"])],
        extra: Map::new(),
    }
}

/// The dialogue of an id.
pub(crate) fn dialogue(id: &str) -> Dialogue {
    serde_json::from_value(json!({
        "id": id, "scenario": "s", "family": "f", "label": "deceptive", "origin": "written",
        "messages": [{"role": "user", "content": "é?"}, {"role": "assistant", "content": "No."}],
        "split": "train", "licence": "CC0-1.0", "source": "us", "unknown": {"b": 1, "a": [0.1]}
    }))
    .unwrap()
}

/// The plan's dialogues.
pub(crate) fn dialogues(manifest: &Manifest) -> Vec<Dialogue> {
    manifest.dialogue_ids().map(dialogue).collect()
}

/// A token that follows all rules.
pub(crate) fn token(index: u32) -> Token {
    Token {
        message: -1,
        token_index: index,
        token_id: 100 + index,
        segment: Segment::Template,
        in_response: false,
        in_span: true,
        from_end: None,
        logprob: Some(-0.5),
        entropy: Some(1.5),
    }
}

/// Tokens and both blocks of vectors of a dialogue, which differ by its id.
pub(crate) fn rows(id: &str) -> (Vec<Token>, [Vec<f32>; 2]) {
    let seed = u32::from(id.as_bytes()[0]);
    let n_tokens = 7 + seed % 6;
    let tokens = (0..n_tokens).map(token).collect();
    let block = |width: u32, factor: f32| {
        (0..n_tokens * width)
            .map(|i| ((seed * 31 + i) as f32).sin() * factor)
            .collect()
    };
    (tokens, [block(4, 10.0), block(3, 0.01)])
}

/// Appends the dialogues that a part still expects.
pub(crate) fn fill(part: &mut PartWriter<'_>) -> Result<(), Error> {
    while let Some(id) = part.next_dialogue() {
        let (tokens, [one, two]) = rows(id);
        part.append(id, &tokens, &[&one, &two])?;
    }
    Ok(())
}

/// Runs a capture to its end.
pub(crate) fn capture(folder: &Path, manifest: &Manifest) -> Result<Store, Error> {
    let mut store = Store::create_or_resume(folder, manifest)?;
    if !store.has_dialogues() {
        store.write_dialogues(&dialogues(manifest))?;
    }
    for index in store.remaining() {
        let mut part = store.begin_part(index)?;
        fill(&mut part)?;
        part.finish()?;
    }
    assert!(store.is_complete());
    Ok(store)
}

/// Names and contents of a folder's files.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}
