//! Folders that are refused, each with a message that says why.

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
    let ids: Vec<u32> = tokenizer.encode("abc<|end|>").unwrap().iter().map(|token| token.id).collect();
    assert_eq!(ids, [3, 2]); // Characters outside the vocabulary are dropped.
    let template = tokenizer.encode_template("abc<|end|>", &[]).unwrap();
    assert!(template[2].control && template[2].id == 4);
    assert_eq!(tokenizer.eos(), Some(4));
}

#[test]
fn no_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_folder(folder.path(), 5).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json` is missing"), "{error}");
}

#[test]
fn files_that_are_not_json() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &valid());
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
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
    assert!(matches!(Tokenizer::from_folder(folder.path(), 5), Err(Error::Io { .. })));
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
    check_refused(|files| files["tokenizer.json"]["model"]["vocab"]["c"] = 5.into(), "5 rows");
    check_refused(|files| files["tokenizer.json"]["model"]["vocab"]["c"] = 4_294_967_295u32.into(), "5 rows");
    check_refused(|files| files["tokenizer.json"]["added_tokens"][0]["id"] = 9.into(), "5 rows");
}

#[test]
fn ids_and_texts_that_clash() {
    check_refused(|files| files["tokenizer.json"]["model"]["vocab"]["c"] = 1.into(), "id 1 is both");
    check_refused(|files| files["tokenizer.json"]["added_tokens"][0]["id"] = 0.into(), "id 0 is both");
    check_refused(|files| files["tokenizer.json"]["added_tokens"][0]["content"] = "a".into(), "stands at ids 0 and 4");
    check_refused(|files| files["tokenizer.json"]["added_tokens"][0]["content"] = "".into(), "no text");
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
        check_refused(|files| files["tokenizer.json"]["model"]["merges"][0] = merge, part);
    }
}

#[test]
fn parts_that_are_not_supported() {
    for (step, value) in [
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        ("normalizer", json!({"type": "Sequence", "normalizers": [{"type": "Nmt"}]})),
        ("pre_tokenizer", json!({"type": "UnicodeScripts"})),
        ("decoder", json!({"type": "CTC"})),
    ] {
        check_refused(|files| files["tokenizer.json"][step] = value, step);
    }
    let bad_regex = json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    check_refused(|files| files["tokenizer.json"]["pre_tokenizer"] = bad_regex, "pre_tokenizer");
}

#[test]
fn models_that_are_not_supported() {
    check_refused(|files| files["tokenizer.json"]["model"]["dropout"] = 0.1.into(), "at random");
    check_refused(|files| files["tokenizer.json"]["model"]["end_of_word_suffix"] = "</w>".into(), "affix");
    check_refused(|files| files["tokenizer.json"]["model"]["unk_token"] = "<u>".into(), "`<u>`");
}

#[test]
fn roles_of_tokens_that_do_not_exist() {
    check_refused(|files| files["tokenizer_config.json"]["bos_token"] = "<s>".into(), "`<s>`");
    let ids = |ids: Value| move |files: &mut Value| files["generation_config.json"] = json!({"eos_token_id": ids});
    check_refused(ids(5.into()), "`eos_token_id`");
    check_refused(ids(json!([4, -1])), "`eos_token_id`");
    check_refused(ids("4".into()), "`eos_token_id`");
}
