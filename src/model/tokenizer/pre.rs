//! How text is cut before byte-pair merges: one line per `tokenizer.ggml.pre`.

use tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

use crate::error::{Error, Result};

/// What makes a pre-tokeniser.
type Make = fn() -> PreTokenizerWrapper;

/// Every supported name and what it stands for.
const PRE_TOKENIZERS: &[(&str, Make)] = &[("gpt-2", gpt2), ("smollm", smollm)];

/// GPT-2's pattern, then one symbol per byte.
fn gpt2() -> PreTokenizerWrapper {
    ByteLevel::new(false, true, true).into()
}

/// `SmolLM` and SmolLM2: every digit alone, then GPT-2's pattern.
fn smollm() -> PreTokenizerWrapper {
    Sequence::new(vec![Digits::new(true).into(), gpt2()]).into()
}

pub(super) fn pre_tokenizer(name: &str) -> Result<PreTokenizerWrapper> {
    let entry = PRE_TOKENIZERS.iter().find(|entry| entry.0 == name);
    entry
        .map(|entry| entry.1())
        .ok_or_else(|| Error::PreTokenizer {
            found: name.to_owned(),
            supported: PRE_TOKENIZERS
                .iter()
                .map(|entry| entry.0)
                .collect::<Vec<_>>()
                .join(", "),
        })
}
