//! `manifest.json`: the immutable plan of a store.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use candor_schema::{FormatVersion, HookPoint, ModelFingerprint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable::{read_bounded, sha256_hex};
use crate::{Error, Precision};

/// Name of the plan's file.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
/// Most bytes of a manifest that are read: some millions of dialogue ids.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// Widest vector that is stored; Llama 3.1 405B's MLP, among the widest, has 53 248 neurons.
const MAX_WIDTH: usize = 1 << 20;
/// [`Manifest::row_group_bytes`] where nothing else is wanted.
pub const DEFAULT_ROW_GROUP_BYTES: usize = 16 << 20;

/// Everything that decides the bytes of a store, written before the first part and never changed.
///
/// It holds no time and no absolute path, so the same plan, binary and CPU give the same bytes on
/// every machine. Two plans are the same if their JSON is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the store's format.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// Version of candor that captures.
    pub candor_version: String,
    /// The model that is captured.
    pub model: ModelFingerprint,
    /// Its name for people, for example `SmolLM2-135M-Instruct-Q4_1`.
    pub model_name: String,
    /// The dialogues' origin.
    pub dataset: DatasetRef,
    /// The vector columns, in the order in which vectors are passed and columns stand.
    pub hook_points: Vec<HookPointWidth>,
    /// Which tokens are stored.
    pub positions: Positions,
    /// How far values are rounded.
    #[serde(default)]
    pub precision: Precision,
    /// SHA-256 of the chat template that rendered the dialogues.
    pub template_sha256: String,
    /// Seed of the run, where anything in it is random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Threads that compute: their number can change sums.
    pub n_threads: usize,
    /// Features of the CPU that choose its kernels, for example `avx2`.
    pub cpu_features: Vec<String>,
    /// Bytes of vectors in a row group, before compression.
    #[serde(default = "default_row_group_bytes")]
    pub row_group_bytes: usize,
    /// The parts, in order.
    pub parts: Vec<PartPlan>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Name and content of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRef {
    /// Its name, without the folder that it lies in.
    pub name: String,
    /// SHA-256 of its data file.
    pub sha256: String,
}

/// A vector column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPointWidth {
    /// Where the vectors are read.
    pub hook_point: HookPoint,
    /// Values per vector.
    pub width: usize,
}

/// Which tokens of a dialogue are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// Every token.
    All,
    /// The tokens of the scored assistant turn.
    Response,
}

/// The dialogues of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlan {
    /// The part's place in the plan, from 0.
    pub index: usize,
    /// Ids of its dialogues, in the order of its rows.
    pub dialogues: Vec<String>,
}

impl Manifest {
    /// Width of a hook point's vectors, if the store holds it.
    pub fn width(&self, hook_point: HookPoint) -> Option<usize> {
        self.hook_points
            .iter()
            .find(|column| column.hook_point == hook_point)
            .map(|column| column.width)
    }

    /// Ids of all dialogues, in the order of the parts.
    pub fn dialogue_ids(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .flat_map(|part| part.dialogues.iter().map(String::as_str))
    }

    /// The text of `manifest.json`: indented JSON with sorted keys and a final newline.
    pub fn to_json(&self) -> String {
        sorted_json(serde_json::to_value(self).expect("a manifest has string keys only"))
    }

    /// Values per token over all hook points.
    pub(crate) fn row_width(&self) -> usize {
        self.hook_points.iter().map(|column| column.width).sum()
    }

    /// Refuses a plan that no store can follow.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |field, problem: String| Err(Error::BadPlan { field, problem });
        if self.hook_points.is_empty() {
            return bad("hook_points", "is empty".into());
        }
        let mut hook_points = HashSet::new();
        for column in &self.hook_points {
            let hook_point = column.hook_point;
            if !hook_points.insert(hook_point) {
                return bad("hook_points", format!("names `{hook_point}` twice"));
            }
            if column.width == 0 || column.width > MAX_WIDTH {
                let problem = format!(
                    "gives `{hook_point}` a width of {} (expected 1 to {MAX_WIDTH})",
                    column.width
                );
                return bad("hook_points", problem);
            }
        }
        if self.row_group_bytes == 0 {
            return bad("row_group_bytes", "is 0".into());
        }
        if Path::new(&self.dataset.name).is_absolute() {
            let problem = format!("is the absolute path `{}`", self.dataset.name);
            return bad("dataset.name", problem);
        }
        let mut dialogues = HashSet::new();
        for (index, part) in self.parts.iter().enumerate() {
            if part.index != index {
                let problem = format!("has index {} in place {index}", part.index);
                return bad("parts", problem);
            }
            if part.dialogues.is_empty() {
                return bad("parts", format!("has no dialogue in part {index}"));
            }
            for id in &part.dialogues {
                if !dialogues.insert(id) {
                    return bad("parts", format!("names dialogue `{id}` twice"));
                }
            }
        }
        Ok(())
    }
}

/// A manifest as it stands on disk.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    pub(crate) manifest: Manifest,
    /// The file's JSON, with the unknown fields of nested objects too.
    json: Value,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub(crate) sha256: String,
}

impl ManifestFile {
    /// Reads and checks a folder's manifest.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Err(Error::NotAStore {
                folder: folder.to_owned(),
            });
        }
        let bytes = read_bounded(&path, MAX_MANIFEST_BYTES)?;
        let json: Value = read_versioned_json(&path, &bytes, "activation store")?;
        let manifest: Manifest =
            serde_json::from_value(json.clone()).map_err(|e| Error::damaged(&path, e))?;
        let version = manifest.model.format_version;
        version
            .accept("model fingerprint")
            .map_err(|source| Error::Version {
                path: path.clone(),
                source,
            })?;
        manifest.check().map_err(|e| Error::damaged(&path, e))?;
        let sha256 = sha256_hex(&bytes);
        Ok(Self {
            manifest,
            json,
            sha256,
        })
    }

    /// Refuses a plan that differs from the one on disk, naming the first field that does.
    ///
    /// A field that only the file has counts too: what a newer candor planned is not known here.
    pub(crate) fn require_same(&self, wanted: &Manifest, folder: &Path) -> Result<(), Error> {
        let wanted = serde_json::to_value(wanted).expect("a manifest has string keys only");
        match first_difference(&self.json, &wanted, String::new()) {
            None => Ok(()),
            Some((field, found, wanted)) => Err(Error::PlanMismatch {
                folder: PathBuf::from(folder),
                field,
                found,
                wanted,
            }),
        }
    }
}

/// Indented JSON with sorted keys and a final newline.
pub(crate) fn sorted_json(mut value: Value) -> String {
    // serde_json's own order depends on a feature that any crate of the build may switch on.
    value.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&value).expect("a JSON value has a text");
    text.push('\n');
    text
}

/// Parses an object, looking at `format_version` before anything else.
pub(crate) fn read_versioned_json(
    path: &Path,
    bytes: &[u8],
    what: &'static str,
) -> Result<Value, Error> {
    let json: Value = serde_json::from_slice(bytes).map_err(|e| Error::damaged(path, e))?;
    if let Some(version) = json.get("format_version") {
        let text = version.as_str().unwrap_or_default();
        text.parse::<FormatVersion>()
            .and_then(|version| version.accept(what))
            .map_err(|source| Error::Version {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(json)
}

/// Path and both values of the first place where two JSON values differ, by sorted key.
fn first_difference(found: &Value, wanted: &Value, at: String) -> Option<(String, String, String)> {
    match (found, wanted) {
        (Value::Object(f), Value::Object(w)) => {
            let mut keys: Vec<&String> = f.keys().chain(w.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let at = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                compare(f.get(key), w.get(key), at)
            })
        }
        (Value::Array(f), Value::Array(w)) => (0..f.len().max(w.len()))
            .find_map(|i| compare(f.get(i), w.get(i), format!("{at}[{i}]"))),
        _ => (found != wanted).then(|| (at, shorten(Some(found)), shorten(Some(wanted)))),
    }
}

fn compare(
    found: Option<&Value>,
    wanted: Option<&Value>,
    at: String,
) -> Option<(String, String, String)> {
    match (found, wanted) {
        (Some(found), Some(wanted)) => first_difference(found, wanted, at),
        _ => Some((at, shorten(found), shorten(wanted))),
    }
}

/// A value's JSON, short enough for a message.
fn shorten(value: Option<&Value>) -> String {
    const MAX_CHARS: usize = 80;
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What stores had that do not say.
fn default_row_group_bytes() -> usize {
    64 << 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::manifest;

    fn on_disk(json: &str) -> Result<ManifestFile, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_FILE), json).unwrap();
        ManifestFile::read(folder.path())
    }

    fn check_difference(edit: impl FnOnce(&mut Manifest), field: &str) {
        let file = on_disk(&manifest().to_json()).unwrap();
        let mut other = manifest();
        edit(&mut other);
        match file.require_same(&other, Path::new("x")) {
            Err(Error::PlanMismatch { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_text_is_sorted_and_reads_back() {
        let plan = manifest();
        let text = plan.to_json();
        let file = on_disk(&text).unwrap();
        assert_eq!(file.manifest, plan);
        assert_eq!(file.sha256, sha256_hex(text.as_bytes()));
        file.require_same(&plan, Path::new("x")).unwrap();
        let keys: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("  \""))
            .collect();
        assert!(keys.is_sorted(), "{text}");
    }

    #[test]
    fn a_difference_is_named() {
        check_difference(
            |m| m.model.weights_sha256 = "x".into(),
            "model.weights_sha256",
        );
        check_difference(|m| m.seed = Some(1), "seed");
        check_difference(|m| m.precision = Precision::Bf16, "precision");
        check_difference(|m| m.hook_points[1].width = 5, "hook_points[1].width");
        check_difference(
            |m| m.parts[0].dialogues.push("new".into()),
            "parts[0].dialogues[2]",
        );
        let unknown = |m: &mut Manifest| {
            m.extra.insert("zeal".into(), Value::Bool(true));
        };
        check_difference(unknown, "zeal");
    }

    #[test]
    fn unknown_fields_are_kept() {
        let text = manifest().to_json().replacen('{', "{\"zeal\": [1, {}],", 1);
        let file = on_disk(&text).unwrap();
        assert_eq!(file.manifest.extra["zeal"], serde_json::json!([1, {}]));
        assert!(file.manifest.to_json().contains("zeal"));
        // What this version does not know cannot be part of its plan.
        assert!(matches!(
            file.require_same(&manifest(), Path::new("x")),
            Err(Error::PlanMismatch { field, .. }) if field == "zeal"
        ));
    }

    #[test]
    fn a_newer_major_is_refused_before_its_fields_are_read() {
        let newer = on_disk(r#"{"format_version": "2.0"}"#);
        assert!(matches!(newer, Err(Error::Version { .. })));
        let wrong = on_disk(r#"{"format_version": 2}"#);
        assert!(matches!(wrong, Err(Error::Version { .. })));
    }

    #[test]
    fn malformed_manifests_are_refused() {
        for text in ["", "[]", "{}", "{\"format_version\": \"1.0\"}"] {
            assert!(
                matches!(on_disk(text), Err(Error::Damaged { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn impossible_plans_are_refused() {
        fn check(edit: impl FnOnce(&mut Manifest), field: &str) {
            let mut plan = manifest();
            edit(&mut plan);
            match plan.check() {
                Err(Error::BadPlan { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{other:?}"),
            }
        }
        check(|m| m.hook_points.clear(), "hook_points");
        check(|m| m.hook_points[1] = m.hook_points[0], "hook_points");
        check(|m| m.hook_points[0].width = 0, "hook_points");
        check(|m| m.hook_points[0].width = usize::MAX, "hook_points");
        check(|m| m.row_group_bytes = 0, "row_group_bytes");
        check(|m| m.dataset.name = "/home/me/d".into(), "dataset.name");
        check(|m| m.parts[1].index = 0, "parts");
        check(|m| m.parts[1].dialogues.clear(), "parts");
        check(
            |m| m.parts[1].dialogues = m.parts[0].dialogues.clone(),
            "parts",
        );
    }
}
