//! Tokenizers that cannot be rebuilt are refused.

use super::read;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// Adds a vocabulary of four tokens: two bytes, their pair and a control token.
pub(super) fn add_to(writer: Writer) -> Writer {
    writer
        .string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", &["a", "b", "ab", "<|end|>"])
        .i32s("tokenizer.ggml.token_type", &[1, 1, 1, 3])
        .strings("tokenizer.ggml.merges", &["a b"])
        .u32("tokenizer.ggml.eos_token_id", 3)
}

fn valid() -> Writer {
    add_to(Writer::new())
}

fn build(writer: &Writer, n_vocab: usize) -> Result<Tokenizer> {
    Tokenizer::from_gguf(&read(&writer.bytes()).unwrap(), n_vocab)
}

#[track_caller]
fn check_refused(writer: &Writer, part: &str) {
    let error = build(writer, 4).unwrap_err();
    assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    assert!(error.hint().is_some());
}

#[test]
fn a_valid_vocabulary_encodes() {
    let tokenizer = build(&valid(), 4).unwrap();
    let ids = |text: &str| -> Vec<u32> {
        let tokens = tokenizer.encode(text).unwrap();
        tokens.into_iter().map(|token| token.id).collect()
    };
    assert_eq!(ids("ab"), [2]);
    assert_eq!(ids("ba"), [1, 0]);
    assert_eq!(tokenizer.decode(&[2, 3, 1]).unwrap(), "abb");
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (None, Some(3)));
    let template = tokenizer.encode_template("ab<|end|>", &[]).unwrap();
    assert_eq!(template[1].id, 3);
    assert!(template[1].control);
}

#[test]
fn wrong_vocabulary_size() {
    let error = build(&valid(), 3).unwrap_err();
    assert!(
        matches!(error, Error::Tokenizer { ref what } if what.contains("4 tokens")),
        "{error:?}"
    );
    // Rows of the embedding that no token has.
    let padded = build(&valid(), 6).unwrap();
    assert_eq!((padded.n_vocab(), padded.vocabulary_entry(5)), (4, None));
    assert_eq!(padded.decode(&[2, 5]).unwrap(), "ab");
    assert!(padded.decode(&[6]).is_err());
    check_refused(
        &valid().i32s("tokenizer.ggml.token_type", &[1, 1, 3]),
        "3 token types",
    );
}

#[test]
fn unknown_pre_tokenizer() {
    let error = build(&valid().string("tokenizer.ggml.pre", "qwen9"), 4).unwrap_err();
    let Error::PreTokenizer { found, supported } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(found, "qwen9");
    assert!(
        supported.contains("gpt-2") && supported.contains("smollm"),
        "{supported}"
    );
}

#[test]
fn unknown_model() {
    check_refused(
        &valid().string("tokenizer.ggml.model", "llama9"),
        "`llama9`",
    );
}

#[test]
fn missing_parts() {
    for key in ["model", "pre", "tokens", "token_type", "merges"] {
        let key = format!("tokenizer.ggml.{key}");
        check_refused(&valid().without(&key), &key);
        check_refused(&valid().u32(&key, 1), &key);
    }
}

#[test]
fn merges_that_are_no_pair() {
    for merge in ["ab", "", " ", "a ", " b"] {
        let writer = valid().strings("tokenizer.ggml.merges", &[merge]);
        check_refused(&writer, &format!("merge `{merge}`"));
    }
}

#[test]
fn merges_outside_the_vocabulary() {
    check_refused(&valid().strings("tokenizer.ggml.merges", &["a c"]), "`c`");
    check_refused(&valid().strings("tokenizer.ggml.merges", &["b a"]), "`ba`");
}

#[test]
fn duplicate_token() {
    let writer = valid().strings("tokenizer.ggml.tokens", &["a", "b", "ab", "a"]);
    check_refused(&writer, "`a` stands at ids 0 and 3");
}

#[test]
fn control_token_without_text() {
    let writer = valid().strings("tokenizer.ggml.tokens", &["a", "b", "ab", ""]);
    check_refused(&writer, "no text");
}

#[test]
fn special_token_outside_the_vocabulary() {
    for key in ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"] {
        check_refused(&valid().u32(key, 4), key);
        check_refused(&valid().string(key, "3"), key);
    }
}
