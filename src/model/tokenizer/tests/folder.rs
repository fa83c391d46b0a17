//! Folders of five families against the `tokenizers` library of Python.

use std::path::Path;

use serde_json::Value;

use super::checks::{
    check_decoded, check_ids, check_invariants, check_parsed, corpus, fixture, plain,
};
use crate::chat_template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Writes the files of a folder.
pub(super) fn write(folder: &Path, files: &Value) {
    for (name, content) in files.as_object().unwrap() {
        std::fs::write(folder.join(name), content.to_string()).unwrap();
    }
}

fn open(files: &Value, n_vocab: usize) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    Tokenizer::from_folder(folder.path(), n_vocab).unwrap()
}

#[test]
fn ids_equal_those_of_the_reference() {
    let texts = corpus();
    let fixture = fixture("folders.json");
    let folders = fixture.as_object().unwrap();
    assert_eq!(folders.len(), 5);
    for (name, case) in folders {
        let n_vocab = case["n_vocab"].as_u64().unwrap() as usize;
        let tokenizer = open(&case["files"], n_vocab);
        assert_eq!(tokenizer.n_vocab(), n_vocab, "{name}");
        check_ids(name, &case["ids"], &texts, |text| plain(&tokenizer, text));
        check_parsed(name, &case["parsed"], &texts, &tokenizer);
        check_decoded(name, &case["decoded"], &texts, &tokenizer);
        check_invariants(name, &tokenizer, &texts);

        let expected = &case["expected"];
        let id = |key: &str| expected[key].as_u64().map(|id| id as u32);
        assert_eq!(tokenizer.bos(), id("bos"), "{name}");
        assert_eq!(tokenizer.eos(), id("eos"), "{name}");
        assert_eq!(
            tokenizer.adds_bos(),
            expected["add_bos"].as_bool().unwrap(),
            "{name}"
        );
        let mut ends: Vec<u32> = serde_json::from_value(expected["ends"].clone()).unwrap();
        ends.sort_unstable();
        assert_eq!(tokenizer.ends(), ends, "{name}");
        assert!(ends.iter().all(|&id| tokenizer.is_end(id)));
        assert!(!tokenizer.is_end(300) || ends.contains(&300));
    }
}

#[test]
fn the_embedding_may_have_more_rows_than_tokens() {
    let case = &fixture("folders.json")["prepend"];
    let n_vocab = case["n_vocab"].as_u64().unwrap() as usize;
    let tokenizer = open(&case["files"], n_vocab + 7);
    assert_eq!(tokenizer.n_vocab(), n_vocab);
    assert_eq!(tokenizer.vocabulary_entry(n_vocab as u32), None);
    assert_eq!(tokenizer.decode(&[n_vocab as u32]).unwrap(), "");
    assert!(tokenizer.decode(&[n_vocab as u32 + 7]).is_err());
}

#[test]
fn the_hash_follows_what_decides_the_ids() {
    let case = &fixture("folders.json")["byte_level"];
    let n_vocab = case["n_vocab"].as_u64().unwrap() as usize;
    let hash = |files: &Value| open(files, n_vocab).sha256().to_owned();
    let original = hash(&case["files"]);
    assert_eq!(original.len(), 64);
    assert_eq!(open(&case["files"], n_vocab + 1).sha256(), original);

    let mut other = case["files"].clone();
    other["generation_config.json"] = Value::Null;
    other["tokenizer.json"]["post_processor"] = Value::Null;
    other
        .as_object_mut()
        .unwrap()
        .remove("generation_config.json");
    assert_eq!(hash(&other), original);
    for (key, value) in [
        ("ignore_merges", false.into()),
        ("merges", Value::Array(Vec::new())),
    ] {
        let mut other = case["files"].clone();
        other["tokenizer.json"]["model"][key] = value;
        assert_ne!(hash(&other), original, "{key}");
    }
    let mut other = case["files"].clone();
    other["tokenizer.json"]["normalizer"] = serde_json::json!({"type": "NFC"});
    assert_ne!(hash(&other), original);
}

#[test]
fn the_template_stands_in_the_configuration_or_beside_it() {
    let case = &fixture("folders.json")["byte_level"];
    let n_vocab = case["n_vocab"].as_u64().unwrap() as usize;
    let folder = tempfile::tempdir().unwrap();
    let template = |files: &Value| {
        write(folder.path(), files);
        let tokenizer = Tokenizer::from_folder(folder.path(), n_vocab).unwrap();
        ChatTemplate::from_folder(folder.path(), &tokenizer)
    };
    let render = |template: &ChatTemplate| {
        let message = candor_schema::Message::new(candor_schema::Role::User, " hi ");
        template.render(&[message], false).unwrap()
    };
    let found = template(&case["files"]).unwrap().unwrap();
    let expected = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>";
    assert_eq!(render(&found), expected);

    let mut files = case["files"].clone();
    let config = &mut files["tokenizer_config.json"];
    config["chat_template"] = serde_json::json!([
        {"name": "tool_use", "template": "tools"},
        {"name": "default", "template": "default {{ eos_token }}"},
    ]);
    assert_eq!(
        render(&template(&files).unwrap().unwrap()),
        "default <|eot_id|>"
    );
    files["tokenizer_config.json"]["chat_template"] = 1.into();
    assert!(
        template(&files)
            .unwrap_err()
            .to_string()
            .contains("neither a text")
    );
    files["tokenizer_config.json"]["chat_template"] = Value::Null;
    assert!(template(&files).unwrap().is_none());

    std::fs::write(folder.path().join("chat_template.jinja"), "beside\n").unwrap();
    assert_eq!(
        render(&template(&case["files"]).unwrap().unwrap()),
        "beside"
    );
}
