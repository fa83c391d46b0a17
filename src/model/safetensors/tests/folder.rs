//! Folders: their settings, their index, and whether the tensors are those of the settings.

use std::path::Path;

use serde_json::{Value, json};

use super::Writer;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::source::tests::fixture;

/// A copy of a tiny model's folder, to be damaged.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(fixture(name)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(file), bytes).unwrap();
    }

    /// Changes a JSON file.
    fn change(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&std::fs::read(self.path(file)).unwrap()).unwrap();
        change(&mut value);
        self.write(file, value.to_string());
    }

    fn open(&self) -> Result<Source> {
        Source::open(self.0.path())
    }

    #[track_caller]
    fn check_refused(&self, part: &str) {
        let error = self.open().unwrap_err();
        assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
        assert!(error.hint().is_some(), "{error} has no hint");
    }
}

const INDEX: &str = "model.safetensors.index.json";

#[test]
fn copies_open() {
    for name in ["llama", "olmo2"] {
        assert!(Copy::of(name).open().is_ok());
    }
}

#[test]
fn missing_files() {
    for (name, file) in [
        ("llama", "config.json"),
        ("llama", "model.safetensors"),
        ("olmo2", INDEX),
        ("olmo2", "model-00002-of-00003.safetensors"),
    ] {
        let copy = Copy::of(name);
        std::fs::remove_file(copy.path(file)).unwrap();
        let error = copy.open().unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{file}: {error:?}");
    }
}

#[test]
fn an_index_that_leaves_the_folder() {
    for name in [
        "../model.safetensors",
        "/etc/model.safetensors",
        "sub/model.safetensors",
        "./model.safetensors",
        "..\\model.safetensors",
        "model.safetensors/",
        "..",
        "",
        "model.bin",
        "model\0.safetensors",
    ] {
        let copy = Copy::of("olmo2");
        copy.change(INDEX, |index| {
            index["weight_map"]["lm_head.weight"] = json!(name);
        });
        copy.check_refused("no safetensors file of the folder");
    }
}

#[test]
fn an_index_that_is_none() {
    for text in [
        "",
        "[]",
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":1}}",
    ] {
        let copy = Copy::of("olmo2");
        copy.write(INDEX, text);
        copy.check_refused(INDEX);
    }
    let copy = Copy::of("olmo2");
    copy.write(INDEX, "{\"weight_map\":{}}");
    copy.check_refused("embed_tokens");
}

#[test]
fn an_index_that_says_otherwise_than_the_files() {
    let copy = Copy::of("olmo2");
    copy.change(INDEX, |index| {
        index["weight_map"]["extra.weight"] = json!("model-00001-of-00003.safetensors");
    });
    copy.check_refused("has no `extra.weight`");
    let copy = Copy::of("olmo2");
    copy.change(INDEX, |index| {
        let map = index["weight_map"].as_object_mut().unwrap();
        map.remove("lm_head.weight").unwrap();
    });
    copy.check_refused("`lm_head.weight`, which is not said");
}

#[test]
fn a_tensor_in_two_files() {
    let copy = Copy::of("olmo2");
    let first = std::fs::read(copy.path("model-00001-of-00003.safetensors")).unwrap();
    copy.write("model-00002-of-00003.safetensors", &first);
    // Whatever the index says of the tensor, one of the files is not as it says.
    copy.check_refused("model-0000");
}

/// The tensors of a folder with some of them changed: renamed, reshaped or left out.
fn rewrite(copy: &Copy, change: impl Fn(&str) -> Option<(String, Vec<u64>, &'static str)>) {
    let path = copy.path("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = super::read(&bytes).unwrap();
    let mut writer = Writer::new();
    for (name, info) in &tensors {
        let data = &bytes[info.start..info.start + info.n_bytes];
        let shape: Vec<u64> = info.shape.iter().map(|&dim| dim as u64).collect();
        writer = match change(name) {
            None => writer.tensor(name, info.dtype.name(), &shape, data),
            Some((name, _, _)) if name.is_empty() => writer,
            Some((name, shape, dtype)) => writer.tensor(&name, dtype, &shape, data),
        };
    }
    copy.write("model.safetensors", writer.bytes());
}

const Q: &str = "model.layers.1.self_attn.q_proj.weight";

#[test]
fn missing_renamed_reshaped_and_retyped_tensors() {
    let changed = |new: (&str, &[u64], &'static str)| {
        let copy = Copy::of("llama");
        let (name, shape) = (new.0.to_owned(), new.1.to_vec());
        rewrite(&copy, |old| {
            (old == Q).then(|| (name.clone(), shape.clone(), new.2))
        });
        copy
    };
    changed(("", &[], "F32")).check_refused(Q);
    changed(("model.layers.1.self_attn.z_proj.weight", &[64, 32], "F32")).check_refused(Q);
    changed((Q, &[32, 64], "F32")).check_refused("has shape [32, 64], expected [64, 32]");
    changed((Q, &[2048], "F32")).check_refused("has shape [2048]");
    changed((Q, &[1, 64, 32], "F32")).check_refused("has shape [1, 64, 32]");
    // A type of the right size that is no weight is found when it is read.
    let source = changed((Q, &[64, 32], "I32")).open().unwrap();
    let error = source
        .weights()
        .dense("blk.1.attn_q.weight", &[64, 32])
        .unwrap_err();
    assert!(error.to_string().contains("I32"), "{error}");
}

#[test]
fn tensors_without_a_use() {
    for name in [
        "model.layers.1.self_attn.o_proj.bias",
        "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.q_norm.weight",
        "score.weight",
    ] {
        let copy = Copy::of("llama");
        let bytes = std::fs::read(copy.path("model.safetensors")).unwrap();
        let mut writer = Writer::new().f32s(name, &[2], &[1.0, 2.0]);
        for (name, info) in super::read(&bytes).unwrap() {
            let shape: Vec<u64> = info.shape.iter().map(|&dim| dim as u64).collect();
            let data = &bytes[info.start..info.start + info.n_bytes];
            writer = writer.tensor(&name, info.dtype.name(), &shape, data);
        }
        copy.write("model.safetensors", writer.bytes());
        let error = copy.open().unwrap_err();
        assert!(
            matches!(&error, Error::UnusedTensor { tensor, .. } if tensor == name),
            "{error:?}"
        );
    }
    // Tied embeddings beside an output matrix of its own.
    let copy = Copy::of("llama");
    copy.change("config.json", |config| {
        config["tie_word_embeddings"] = json!(true);
    });
    copy.check_refused("`lm_head.weight` has no place");
}

#[test]
fn an_output_matrix_that_is_the_embedding_again_may_stand_beside_it() {
    let copy = Copy::of("llama3");
    let bytes = std::fs::read(copy.path("model.safetensors")).unwrap();
    let mut writer = Writer::new();
    for (name, info) in super::read(&bytes).unwrap() {
        let shape: Vec<u64> = info.shape.iter().map(|&dim| dim as u64).collect();
        let data = &bytes[info.start..info.start + info.n_bytes];
        if name == "model.embed_tokens.weight" {
            writer = writer.tensor("lm_head.weight", info.dtype.name(), &shape, data);
        }
        writer = writer.tensor(&name, info.dtype.name(), &shape, data);
    }
    copy.write("model.safetensors", writer.bytes());
    assert!(copy.open().is_ok());
}

#[test]
fn weights_that_are_not_finite() {
    let copy = Copy::of("llama");
    let path = copy.path("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let start = super::read(&bytes).unwrap()[Q].start;
    bytes[start..start + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    copy.write("model.safetensors", &bytes);
    let source = copy.open().unwrap();
    let error = source
        .weights()
        .dense("blk.1.attn_q.weight", &[64, 32])
        .unwrap_err();
    assert!(matches!(error, Error::NonFiniteWeight { .. }), "{error:?}");
}

#[test]
fn unaligned_data() {
    let copy = Copy::of("llama");
    let reference = copy.open().unwrap();
    let values = |source: &Source| source.weights().dense("blk.1.attn_q.weight", &[64, 32]);
    let expected = values(&reference).unwrap();
    let path = copy.path("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for padding in 0..4 {
        // Spaces after the header's object move the data.
        let mut longer = bytes[8..8 + header].to_vec();
        longer.extend(vec![b' '; padding]);
        let file = super::file(&longer, &bytes[8 + header..]);
        let moved = Copy::of("llama");
        moved.write("model.safetensors", file);
        assert_eq!(values(&moved.open().unwrap()).unwrap(), expected);
    }
}

#[test]
fn a_folder_and_a_stray_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Source::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    let error = Source::open(&fixture("llama/model.safetensors")).unwrap_err();
    assert!(matches!(error, Error::NotGguf { .. }), "{error:?}");
    assert!(Source::open(Path::new("/nowhere/at/all")).is_err());
}
