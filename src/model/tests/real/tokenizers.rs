//! Tokenizers and templates of real files against transformers and llama.cpp.
//!
//! Each runs where `CANDOR_MODEL_DIR` has its file; only the first is required under
//! `CANDOR_REQUIRE_MODEL=1`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use candor_model::{ChatTemplate, Json, RenderOptions, Tokenizer};

use crate::checks::{
    check_decoded, check_ids, check_invariants, check_parsed, corpus, fixture, plain,
};

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const QWEN_05B: &str = "qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf";
const QWEN_15B: &str = "qwen2.5-coder-1.5b-instruct-Q4_K_M.gguf";
const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";

/// The file, or `None` after saying why the test is skipped.
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

fn open(name: &str) -> Option<(PathBuf, Tokenizer)> {
    let path = path(name)?;
    let start = Instant::now();
    let tokenizer = Tokenizer::open(&path).unwrap();
    let elapsed = start.elapsed();
    println!("{name}: {} tokens in {elapsed:.2?}", tokenizer.n_vocab());
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
    Some((path, tokenizer))
}

fn check(name: &str) {
    let Some((_, tokenizer)) = open(name) else {
        return;
    };
    let expected = &fixture("tokens.json")["models"][name];
    let texts = corpus();
    assert!(texts.len() >= 300);
    check_ids(name, &expected["ids"], &texts, |text| {
        plain(&tokenizer, text)
    });
    check_parsed(name, &expected["parsed"], &texts, &tokenizer);
    check_decoded(name, &expected["decoded"], &texts, &tokenizer);
    check_invariants(name, &tokenizer, &texts);
    check_long_texts(name, &tokenizer);
}

/// 100 kB in time that is not quadratic, whatever the text.
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
        tokenizer
            .encode_template(&text, &[0..10, 50_000..50_010])
            .unwrap();
        let elapsed = start.elapsed();
        println!("{name}: 100 kB of {what} twice in {elapsed:.2?}");
        assert!(elapsed.as_secs() < 20, "{what}: {elapsed:?}");
    }
}

fn check_chat(name: &str) {
    let Some((path, tokenizer)) = open(name) else {
        return;
    };
    let template = ChatTemplate::open(&path, &tokenizer).unwrap().unwrap();
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/text/chat.json"
    );
    let fixture = Json::parse(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    let Some(Json::Array(cases)) = fixture.get("real").and_then(|real| real.get(name)) else {
        panic!("no cases of {name}");
    };
    assert!(cases.len() >= 6);
    assert_eq!(template.knows_tools(), name != SMOLLM2, "{name}");
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

/// A probe counts only for the model that it was fitted on, and this is part of the model's name.
#[test]
fn the_hash_of_smollm2_stays_that_of_its_probes() {
    let Some((_, tokenizer)) = open(SMOLLM2) else {
        return;
    };
    let hash = "afce41d195a82cdf0c1540cc56adadab216db4883234a84a41f5dc43b6a9ead9";
    assert_eq!(tokenizer.sha256(), hash);
}

#[test]
fn tokens_keep_the_space_that_begins_them() {
    for (name, text) in [
        (SMOLLM2, "the sky"),
        (QWEN_05B, "the sky"),
        (GEMMA, "the sky"),
    ] {
        let Some((_, tokenizer)) = open(name) else {
            continue;
        };
        let ids = plain(&tokenizer, text);
        let texts: Vec<String> = ids
            .iter()
            .map(|&id| tokenizer.token_text(id).unwrap())
            .collect();
        assert_eq!(texts, ["the", " sky"], "{name}");
    }
}
