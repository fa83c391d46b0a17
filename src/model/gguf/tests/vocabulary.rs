//! Tiny vocabularies in GGUF files against `tokenizers` and llama.cpp's rules.

use serde_json::Value;

use super::read;
use super::writer::{ARRAY, F32_VALUE, Writer, array, f32s};
use crate::error::Result;
use crate::tokenizer::Tokenizer;
use crate::tokenizer::tests::checks::{
    check_ids, check_invariants, check_parsed, corpus, fixture, plain,
};

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn writer(model: &str, vocabulary: &Value) -> Writer {
    let tokens = strings(&vocabulary["tokens"]);
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let types: Vec<i32> = serde_json::from_value(vocabulary["types"].clone()).unwrap();
    Writer::new()
        .string("tokenizer.ggml.model", model)
        .strings("tokenizer.ggml.tokens", &tokens)
        .i32s("tokenizer.ggml.token_type", &types)
}

fn sentence_piece(vocabulary: &Value) -> Writer {
    let scores: Vec<f32> = serde_json::from_value(vocabulary["scores"].clone()).unwrap();
    let scores = array(F32_VALUE, scores.len() as u64, f32s(&scores));
    writer("llama", vocabulary).entry("tokenizer.ggml.scores", ARRAY, scores)
}

fn build(writer: &Writer) -> Result<Tokenizer> {
    Tokenizer::from_gguf(&read(&writer.bytes()).unwrap(), 100_000)
}

fn parsed(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let tokens = tokenizer.encode_template(text, &[]).unwrap();
    tokens.iter().map(|token| token.id).collect()
}

#[test]
fn every_pre_tokenizer() {
    let texts = corpus();
    let tiny = &fixture("tiny.json")["byte_level"];
    let merges = strings(&tiny["merges"]);
    let merges: Vec<&str> = merges.iter().map(String::as_str).collect();
    let writer = writer("gpt2", tiny).strings("tokenizer.ggml.merges", &merges);
    let aliases = [
        ("olmo", "gpt-2"),
        ("smaug-bpe", "dbrx"),
        ("llama3", "llama-bpe"),
        ("llama-v3", "llama-bpe"),
        ("deepseek-r1-qwen", "qwen2"),
        ("llama4", "gpt-4o"),
    ];
    let named = tiny["pre"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| (name.as_str(), name.as_str()));
    let names: Vec<(&str, &str)> = named.chain(aliases).collect();
    assert_eq!(names.len(), 13);
    for (name, reference) in names {
        let tokenizer = build(&writer.clone().string("tokenizer.ggml.pre", name)).unwrap();
        let expected = &tiny["pre"][reference];
        check_ids(name, &expected["ids"], &texts, |text| {
            plain(&tokenizer, text)
        });
        check_parsed(name, &expected["parsed"], &texts, &tokenizer);
        check_invariants(name, &tokenizer, &texts);
        for text in &texts {
            assert_eq!(
                tokenizer.decode(&plain(&tokenizer, text)).unwrap(),
                *text,
                "{name}"
            );
        }
        let bos = matches!(reference, "llama-bpe" | "tekken");
        assert_eq!(tokenizer.adds_bos(), bos, "{name}");
    }
}

#[test]
fn pieces_are_joined_as_in_llama_cpp() {
    let texts = corpus();
    let tiny = &fixture("tiny.json")["sentence_piece"];
    for case in tiny["cases"].as_array().unwrap() {
        let prefix = case["space_prefix"].as_bool().unwrap();
        let writer = sentence_piece(tiny).entry(
            "tokenizer.ggml.add_space_prefix",
            7,
            vec![u8::from(prefix)],
        );
        let tokenizer = build(&writer).unwrap();
        let what = format!("space prefix {prefix}");
        check_ids(&what, &case["ids"], &texts, |text| plain(&tokenizer, text));
        check_parsed(&what, &case["parsed"], &texts, &tokenizer);
        check_invariants(&what, &tokenizer, &texts);
        assert!(tokenizer.adds_bos());
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(1), Some(2)));
        assert!(tokenizer.is_end(2) && tokenizer.ends().len() == 2);
        // After an added token text gets a space of its own, and `▁` reads as a space.
        let types: Vec<i32> = serde_json::from_value(tiny["types"].clone()).unwrap();
        for text in texts.iter().filter(|text| !text.contains('▁')) {
            let ids = plain(&tokenizer, text);
            if !prefix || ids.iter().all(|&id| types[id as usize] != 4) {
                assert_eq!(tokenizer.decode(&ids).unwrap(), *text, "{what}");
            }
        }
    }
}

#[test]
fn ranges_cover_the_text() {
    let tiny = &fixture("tiny.json")["sentence_piece"];
    let tokenizer = build(&sentence_piece(tiny)).unwrap();
    let text = "naïve  🦊<s>x";
    let tokens = tokenizer.encode(text).unwrap();
    let mut done = 0;
    for token in &tokens {
        assert!(
            token.range.start <= done && done <= token.range.end,
            "{token:?}"
        );
        done = token.range.end;
    }
    assert_eq!(done, text.len());
    let fox: Vec<_> = tokens
        .iter()
        .filter(|token| &text[token.range.clone()] == "🦊")
        .collect();
    assert!(fox.len() == 1 || fox.len() == 4, "{fox:?}");
}

#[test]
fn a_long_text_takes_no_quadratic_time() {
    let tiny = &fixture("tiny.json")["sentence_piece"];
    let tokenizer = build(&sentence_piece(tiny)).unwrap();
    for text in [
        "a".repeat(100_000),
        "doesn't jump over ".repeat(6_000),
        "\n".repeat(100_000),
    ] {
        let start = std::time::Instant::now();
        tokenizer.encode(&text).unwrap();
        tokenizer.encode_template(&text, &[1..2, 5..6]).unwrap();
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}

#[test]
fn broken_sentence_piece_vocabularies() {
    let tiny = &fixture("tiny.json")["sentence_piece"];
    let refused = |writer: Writer, part: &str| {
        let error = build(&writer).unwrap_err();
        assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
        assert!(error.hint().is_some());
    };
    let scores = "tokenizer.ggml.scores";
    refused(sentence_piece(tiny).without(scores), scores);
    refused(sentence_piece(tiny).i32s(scores, &[1, 2]), scores);
    let few = array(F32_VALUE, 2, f32s(&[1.0, 2.0]));
    refused(sentence_piece(tiny).set(scores, ARRAY, few), "2 scores");
    let n = tiny["tokens"].as_array().unwrap().len();
    let infinite = array(F32_VALUE, n as u64, f32s(&vec![f32::NAN; n]));
    refused(
        sentence_piece(tiny).set(scores, ARRAY, infinite),
        "no finite score",
    );
    refused(
        sentence_piece(tiny).u32("tokenizer.ggml.unknown_token_id", 99_999),
        "unknown_token_id",
    );
}

#[test]
fn what_a_vocabulary_lacks_is_unknown_or_an_error() {
    let tokens = serde_json::json!({
        "tokens": ["<unk>", "a", "▁a"], "types": [2, 1, 1], "scores": [0.0, -1.0, -2.0],
    });
    let tokenizer = build(&sentence_piece(&tokens)).unwrap();
    assert_eq!(plain(&tokenizer, "aé🦊a"), [2, 0, 0, 1]);
    assert_eq!(tokenizer.decode(&[2, 0, 1]).unwrap(), "aa");
    assert_eq!(tokenizer.decode(&[2]).unwrap(), "a");
    assert_eq!(tokenizer.token_text(2).unwrap(), " a");
    assert_eq!(tokenizer.token_text(0).unwrap(), "");
    let tokens = serde_json::json!({"tokens": ["a"], "types": [1], "scores": [0.0]});
    let tokenizer = build(&sentence_piece(&tokens)).unwrap();
    assert!(
        tokenizer
            .encode("b")
            .unwrap_err()
            .to_string()
            .contains("neither")
    );
}

#[test]
fn phi_3_swallows_white_space_after_its_tokens() {
    let tokens = serde_json::json!({
        "tokens": ["<unk>", "<s>", "<|end|>", "▁", "a", "<0x0A>"],
        "types": [2, 3, 3, 1, 1, 6],
        "scores": [0.0, 0.0, 0.0, -1.0, -2.0, 0.0],
    });
    let text = "<|end|>\n a<s> a";
    let other = build(&sentence_piece(&tokens)).unwrap();
    assert_eq!(parsed(&other, text), [2, 3, 5, 3, 4, 1, 3, 3, 4]);
    let phi = sentence_piece(&tokens).string("general.name", "Phi-3 mini");
    assert_eq!(parsed(&build(&phi).unwrap(), text), [2, 3, 4, 1, 3, 3, 4]);
    let phi = sentence_piece(&tokens).string("general.architecture", "phi3");
    assert_eq!(parsed(&build(&phi).unwrap(), text), [2, 3, 4, 1, 3, 3, 4]);
}
