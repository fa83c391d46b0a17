//! Folders that are refused, each with a message that says why.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::folder::write;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// A folder of three letters, their merge and a special token.
fn valid() -> Value {
    json!({
        "tokenizer.json": {
            "version": "1.0",
            "added_tokens": [{"id": 4, "content": "<|end|>", "special": true}],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Digits", "individual_digits": true},
            "post_processor": null,
            "decoder": {"type": "Fuse"},
            "model": {
                "type": "BPE",
                "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3},
                "merges": [["a", "b"]],
            },
        },
        "tokenizer_config.json": {"eos_token": "<|end|>"},
    })
}

fn open(files: &Value) -> Result<Tokenizer> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    Tokenizer::from_folder(folder.path(), 5)
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut Value), part: &str) {
    let mut files = valid();
    change(&mut files);
    let error = open(&files).unwrap_err();
    assert!(matches!(error, Error::Tokenizer { .. }), "{error:?}");
    assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    assert!(error.hint().is_some());
}

#[test]
fn a_valid_folder() {
    let tokenizer = open(&valid()).unwrap();
    let ids: Vec<u32> = tokenizer
        .encode("abc<|end|>")
        .unwrap()
        .iter()
        .map(|token| token.id)
        .collect();
    assert_eq!(ids, [3, 2]); // Characters outside the vocabulary are dropped.
    let template = tokenizer.encode_template("abc<|end|>", &[]).unwrap();
    assert!(template[2].control && template[2].id == 4);
    assert_eq!(tokenizer.eos(), Some(4));
}

#[test]
fn no_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_folder(folder.path(), 5).unwrap_err();
    assert!(
        error.to_string().contains("tokenizer.json` is missing"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_json() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &valid());
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, "{").unwrap();
        let error = Tokenizer::from_folder(folder.path(), 5).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        write(folder.path(), &valid());
        if name == "generation_config.json" {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(folder.path().join("tokenizer.json"), [0xff, 0xfe]).unwrap();
    assert!(matches!(
        Tokenizer::from_folder(folder.path(), 5),
        Err(Error::Io { .. })
    ));
}

#[test]
fn other_models() {
    for kind in ["Unigram", "WordPiece", "WordLevel"] {
        let change = |files: &mut Value| {
            files["tokenizer.json"]["model"] = json!({"type": kind, "vocab": [["a", -1.0]]});
        };
        check_refused(change, kind);
    }
}

#[test]
fn ids_outside_the_embedding() {
    check_refused(
        |files| files["tokenizer.json"]["model"]["vocab"]["c"] = 5.into(),
        "5 rows",
    );
    check_refused(
        |files| files["tokenizer.json"]["model"]["vocab"]["c"] = 4_294_967_295u32.into(),
        "5 rows",
    );
    check_refused(
        |files| files["tokenizer.json"]["added_tokens"][0]["id"] = 9.into(),
        "5 rows",
    );
}

#[test]
fn ids_and_texts_that_clash() {
    check_refused(
        |files| files["tokenizer.json"]["model"]["vocab"]["c"] = 1.into(),
        "id 1 is both",
    );
    check_refused(
        |files| files["tokenizer.json"]["added_tokens"][0]["id"] = 0.into(),
        "id 0 is both",
    );
    check_refused(
        |files| files["tokenizer.json"]["added_tokens"][0]["content"] = "a".into(),
        "stands at ids 0 and 4",
    );
    let empty = |files: &mut Value| {
        files["tokenizer.json"]["added_tokens"][0]["content"] = "".into();
        files["tokenizer_config.json"]["eos_token"] = Value::Null;
    };
    check_refused(empty, "no text");
}

#[test]
fn merges_that_are_none() {
    for (merge, part) in [
        (json!("ab"), "merge `ab`"),
        (json!("a b c"), "merge `a b c`"),
        (json!(["b", "a"]), "`ba`"),
        (json!(["a", "x"]), "`x`"),
        (json!(["", "a"]), "``"),
        // The library would copy this into a buffer of the longest token.
        (json!(["ab", "ab"]), "`abab`"),
    ] {
        check_refused(
            |files| files["tokenizer.json"]["model"]["merges"][0] = merge,
            part,
        );
    }
}

#[test]
fn parts_that_are_not_supported() {
    for (step, value) in [
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        ),
        (
            "normalizer",
            json!({"type": "Sequence", "normalizers": [{"type": "Nmt"}]}),
        ),
        ("pre_tokenizer", json!({"type": "UnicodeScripts"})),
        ("decoder", json!({"type": "CTC"})),
    ] {
        check_refused(|files| files["tokenizer.json"][step] = value, step);
    }
    let bad_regex = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    check_refused(
        |files| files["tokenizer.json"]["pre_tokenizer"] = bad_regex,
        "pre_tokenizer",
    );
}

#[test]
fn models_that_are_not_supported() {
    check_refused(
        |files| files["tokenizer.json"]["model"]["dropout"] = 0.1.into(),
        "at random",
    );
    check_refused(
        |files| files["tokenizer.json"]["model"]["end_of_word_suffix"] = "</w>".into(),
        "affix",
    );
    check_refused(
        |files| files["tokenizer.json"]["model"]["unk_token"] = "<u>".into(),
        "`<u>`",
    );
}

#[test]
fn roles_of_tokens_that_do_not_exist() {
    check_refused(
        |files| files["tokenizer_config.json"]["bos_token"] = "<s>".into(),
        "`<s>`",
    );
    let ids = |ids: Value| {
        move |files: &mut Value| files["generation_config.json"] = json!({"eos_token_id": ids})
    };
    check_refused(ids(5.into()), "`eos_token_id`");
    check_refused(ids(json!([4, -1])), "`eos_token_id`");
    check_refused(ids("4".into()), "`eos_token_id`");
}

/// Random damage to files that use every kind of step: whatever they hold, reading them and
/// encoding with them returns.
#[test]
fn damaged_folders_are_read_or_refused() {
    let steps = json!({
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "a"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "b"},
            {"type": "Strip", "strip_left": true, "strip_right": false},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\s+(?!\\S)|\\p{L}+"}, "behavior": "Isolated", "invert": false},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "ByteFallback"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
    });
    let mut other = valid();
    for (key, step) in steps.as_object().unwrap() {
        other["tokenizer.json"][key] = step.clone();
    }
    let token = json!({"id": 2, "content": "c", "normalized": true, "lstrip": true, "rstrip": true, "single_word": true});
    let added = other["tokenizer.json"]["added_tokens"].as_array_mut();
    added.unwrap().push(token);
    let seeds = [valid(), other].map(|files| files["tokenizer.json"].to_string().into_bytes());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut n_read = 0;
    for index in 0..6_000 {
        let mut bytes = seeds[index % 2].clone();
        for _ in 0..rng.random_range(0..3) {
            let at = rng.random_range(0..bytes.len() - 12);
            match rng.random_range(0..4) {
                0 => bytes[at] = b"\"{}[],:0919aec<|>\\-e"[rng.random_range(0..20)],
                1 => drop(bytes.drain(at..at + rng.random_range(0..12))),
                2 => {
                    let piece = bytes[at..at + rng.random_range(0..12)].to_vec();
                    let to = rng.random_range(0..bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => bytes[at] = rng.random(),
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_folder(folder.path(), 64) {
            n_read += 1;
            for text in ["", " a  bc ▁é🦊\n", "ab c<|end|> c"] {
                if let Ok(tokens) = tokenizer.encode_template(text, &[]) {
                    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
                    let _ = tokenizer.decode(&ids);
                }
            }
        }
    }
    assert!((100..5_900).contains(&n_read), "{n_read}");
}
