//! Tokenizers and templates of real files against transformers and llama.cpp.
//!
//! Each runs where `CANDOR_MODEL_DIR` has its file; only the first is required under
//! `CANDOR_REQUIRE_MODEL=1`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::chat_template::{ChatTemplate, RenderOptions};
use crate::gguf::Gguf;
use crate::json::Json;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::tests::{check_decoded, check_ids, check_invariants, corpus, fixture, parsed, plain};

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const QWEN_05B: &str = "qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf";
const QWEN_15B: &str = "qwen2.5-coder-1.5b-instruct-Q4_K_M.gguf";
const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";

/// The file, or `None` after saying why the test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("CANDOR_MODEL_DIR").map(|folder| Path::new(&folder).join(name));
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        assert!(
            name != SMOLLM2 || std::env::var_os("CANDOR_REQUIRE_MODEL").is_none(),
            "CANDOR_REQUIRE_MODEL is set, but CANDOR_MODEL_DIR has no {name}"
        );
        eprintln!("skipped: CANDOR_MODEL_DIR has no {name}");
    }
    found
}

#[expect(clippy::print_stderr, reason = "tests print what they measure")]
fn open(name: &str) -> Option<(Gguf, Tokenizer)> {
    let gguf = Gguf::open(&path(name)?).unwrap();
    let n_vocab = gguf.tensor_shape("token_embd.weight").unwrap()[0];
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&gguf, n_vocab).unwrap();
    let elapsed = start.elapsed();
    eprintln!("{name}: {n_vocab} tokens in {elapsed:.2?}");
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
    Some((gguf, tokenizer))
}

fn check(name: &str) {
    let Some((_, tokenizer)) = open(name) else {
        return;
    };
    let expected = &fixture("tokens.json")["models"][name];
    let texts = corpus();
    assert!(texts.len() >= 300);
    check_ids(name, &expected["ids"], &texts, |text| plain(&tokenizer, text));
    check_ids(name, &expected["parsed"], &texts, |text| parsed(&tokenizer, text));
    check_decoded(name, &expected["decoded"], &texts, &tokenizer);
    check_invariants(name, &tokenizer, &texts);
    check_long_texts(name, &tokenizer);
}

/// 100 kB in time that is not quadratic, whatever the text.
#[expect(clippy::print_stderr, reason = "tests print what they measure")]
fn check_long_texts(name: &str, tokenizer: &Tokenizer) {
    let texts = [
        ("words", "The capital of France is Paris. ".repeat(3_200)),
        ("one letter", "a".repeat(100_000)),
        ("spaces", " ".repeat(100_000)),
        ("lines", "\n".repeat(100_000)),
        ("chinese", "天空是蓝色的".repeat(5_600)),
        ("control tokens", "<|im_end|><end_of_turn>".repeat(4_400)),
    ];
    for (what, text) in texts {
        let start = Instant::now();
        tokenizer.encode(&text).unwrap();
        tokenizer.encode_template(&text, &[0..10, 50_000..50_010]).unwrap();
        let elapsed = start.elapsed();
        eprintln!("{name}: 100 kB of {what} twice in {elapsed:.2?}");
        assert!(elapsed.as_secs() < 20, "{what}: {elapsed:?}");
    }
}

fn check_chat(name: &str) {
    let Some((gguf, tokenizer)) = open(name) else {
        return;
    };
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/text/chat.json");
    let fixture = Json::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    let Some(Json::Array(cases)) = fixture.get("real").and_then(|real| real.get(name)) else {
        panic!("no cases of {name}");
    };
    assert!(cases.len() >= 6);
    for (index, case) in cases.iter().enumerate() {
        let Some(Json::Array(messages)) = case.get("messages") else {
            panic!("no messages in case {index}");
        };
        let options = RenderOptions {
            add_generation_prompt: case.get("add_generation_prompt") == Some(&Json::Bool(true)),
            tools: case.get("tools"),
            ..RenderOptions::default()
        };
        let text = template.render_json(messages, &options).unwrap();
        let expected = case.get("text").and_then(Json::as_str).unwrap();
        assert_eq!(text, expected, "{name}, case {index}");
    }
}

#[test]
fn smollm2_ids() {
    check(SMOLLM2);
}

#[test]
fn qwen_05b_ids() {
    check(QWEN_05B);
}

#[test]
fn qwen_15b_ids() {
    check(QWEN_15B);
}

#[test]
fn gemma_ids() {
    check(GEMMA);
}

#[test]
fn smollm2_chat() {
    check_chat(SMOLLM2);
}

#[test]
fn qwen_05b_chat() {
    check_chat(QWEN_05B);
}

#[test]
fn qwen_15b_chat() {
    check_chat(QWEN_15B);
}

#[test]
fn ends_of_turns() {
    for (name, bos, adds_bos, ends) in [
        (SMOLLM2, 1, false, vec![0, 2]),
        (QWEN_05B, 151_643, false, vec![151_643, 151_645]),
        (GEMMA, 2, true, vec![1, 106]),
    ] {
        let Some((_, tokenizer)) = open(name) else {
            continue;
        };
        assert_eq!(tokenizer.bos(), Some(bos), "{name}");
        assert_eq!(tokenizer.adds_bos(), adds_bos, "{name}");
        assert_eq!(tokenizer.ends(), ends, "{name}");
    }
}
