//! Comparing a tokenizer with the fixtures in `tests/fixtures/text`, for the tests of this crate and
//! for those with real files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Tokenizer;

/// Hexadecimal digits of each digest.
const DIGITS: usize = 6;

/// A file of `tests/fixtures/text`.
pub(crate) fn fixture(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/text")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The hard corpus.
pub(crate) fn corpus() -> Vec<String> {
    serde_json::from_value(fixture("tokens.json")["texts"].clone()).unwrap()
}

/// As `digest` in `make_fixtures.py`.
fn digest(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))[..DIGITS].to_owned()
}

/// Compares the ids of every text of the corpus; `expected` is what `pack` writes.
#[track_caller]
pub(crate) fn check_ids(
    what: &str,
    expected: &Value,
    texts: &[String],
    ids: impl Fn(&str) -> Vec<u32>,
) {
    let digests = expected["digests"].as_str().unwrap();
    assert_eq!(
        digests.len(),
        DIGITS * texts.len(),
        "{what}: another corpus"
    );
    for (index, text) in texts.iter().enumerate() {
        let found = ids(text);
        if let Some(full) = expected["full"].get(index.to_string()) {
            let full: Vec<u32> = serde_json::from_value(full.clone()).unwrap();
            assert_eq!(found, full, "{what}: {text:?}");
        }
        let joined: Vec<String> = found.iter().map(u32::to_string).collect();
        let expected = &digests[DIGITS * index..DIGITS * (index + 1)];
        assert_eq!(
            digest(&joined.join(",")),
            expected,
            "{what}: {text:?} gives {found:?}"
        );
    }
}

/// Compares the ids of every text that may spell a control token, where these count.
#[track_caller]
pub(crate) fn check_parsed(what: &str, expected: &Value, texts: &[String], tokenizer: &Tokenizer) {
    let spelled = texts.iter().filter(|text| text.contains('<'));
    let spelled: Vec<String> = spelled.cloned().collect();
    check_ids(what, expected, &spelled, |text| {
        let tokens = tokenizer.encode_template(text, &[]).unwrap();
        tokens.iter().map(|token| token.id).collect()
    });
}

/// Compares what the ids of every text decode to.
#[track_caller]
pub(crate) fn check_decoded(what: &str, digests: &Value, texts: &[String], tokenizer: &Tokenizer) {
    let digests = digests.as_str().unwrap();
    assert_eq!(
        digests.len(),
        DIGITS * texts.len(),
        "{what}: another corpus"
    );
    for (index, text) in texts.iter().enumerate() {
        let decoded = tokenizer.decode(&plain(tokenizer, text)).unwrap();
        let expected = &digests[DIGITS * index..DIGITS * (index + 1)];
        assert_eq!(
            digest(&decoded),
            expected,
            "{what}: {text:?} comes back as {decoded:?}"
        );
    }
}

/// Ids of text in which nothing is a control token.
pub(crate) fn plain(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let tokens = tokenizer.encode(text).unwrap();
    tokens.iter().map(|token| token.id).collect()
}

/// What holds for every tokenizer: ranges are in order and inside the text, begin and end between
/// characters, and text has no control tokens.
pub(crate) fn check_invariants(what: &str, tokenizer: &Tokenizer, texts: &[String]) {
    let mut controls: BTreeMap<u32, bool> = BTreeMap::new();
    let mut is_control = |id: u32| {
        *controls.entry(id).or_insert_with(|| {
            let tokens = tokenizer.encode_template(tokenizer.vocabulary_entry(id).unwrap(), &[]);
            tokens
                .unwrap()
                .iter()
                .any(|token| token.control && token.id == id)
        })
    };
    for text in texts {
        let mut done = 0;
        for token in tokenizer.encode(text).unwrap() {
            assert!(
                !token.control && !is_control(token.id),
                "{what}: {text:?}: {token:?}"
            );
            assert!(
                text.get(token.range.clone()).is_some(),
                "{what}: {text:?}: {token:?}"
            );
            assert!(done <= token.range.end, "{what}: {text:?}: {token:?}");
            done = token.range.end;
        }
        // Everything inside content is text, whatever it spells.
        let all = 0..text.len();
        let inside = tokenizer
            .encode_template(text, std::slice::from_ref(&all))
            .unwrap();
        let inside: Vec<u32> = inside.iter().map(|token| token.id).collect();
        assert_eq!(inside, plain(tokenizer, text), "{what}: {text:?}");
    }
}
