//! Tokenizers as GGUF files describe them: `gpt2` (byte-level BPE) and `llama` (`SentencePiece`).
//!
//! candle's `TokenizerFromGguf` is not used: it takes any pre-tokeniser it does not know for GPT-2's,
//! `smollm` among them, and then silently yields other ids (candle-core 0.11.1).

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use tokenizers::models::bpe::Vocab;

use super::added::{AddedToken, AddedTokens, Precedence};
use super::pipeline::{self, BpeOptions, Pipeline};
use super::pre::Pre;
use super::sentence_piece::SentencePiece;
use super::{Engine, Kind, SpecialIds, Tokenizer, ends};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// Tokens and their types, checked against each other.
struct Vocabulary<'a> {
    tokens: &'a [String],
    types: &'a [i64],
    kinds: Vec<Kind>,
    /// Token to id.
    ids: Vocab,
}

impl Tokenizer {
    /// Rebuilds the tokenizer and checks that it fits an embedding of `n_vocab` rows, which may be
    /// more than there are tokens.
    pub(crate) fn from_gguf(gguf: &Gguf, n_vocab: usize) -> Result<Self> {
        let model = gguf.string("tokenizer.ggml.model")?;
        match model {
            "gpt2" => byte_level(gguf, model, n_vocab),
            "llama" => sentence_piece(gguf, model, n_vocab),
            _ => Err(fail(format!(
                "`tokenizer.ggml.model` is `{model}`, only byte-level BPE (`gpt2`) and SentencePiece \
                 (`llama`) are supported"
            ))),
        }
    }
}

fn fail(what: String) -> Error {
    Error::Tokenizer { what }
}

fn byte_level(gguf: &Gguf, model: &str, n_vocab: usize) -> Result<Tokenizer> {
    let pre_name = gguf.string("tokenizer.ggml.pre")?;
    let Vocabulary {
        tokens,
        types,
        kinds,
        ids,
    } = vocabulary(gguf, n_vocab)?;
    let merge_lines = gguf.strings("tokenizer.ggml.merges")?;
    let pre = Pre::find(pre_name)?;

    let merges = merge_lines.iter().map(|merge| {
        let pair = merge
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty());
        pair.map(|(left, right)| (left.to_owned(), right.to_owned()))
            .ok_or_else(|| fail(format!("merge `{merge}`")))
    });
    let merges = merges.collect::<Result<Vec<_>>>()?;
    let options = BpeOptions {
        whole_pieces: pre.whole_pieces,
        ..BpeOptions::default()
    };
    let bpe = pipeline::bpe(ids, &merges, &unmergeable(&kinds), options)?;

    let mut hasher = Sha256::new();
    for part in [pre_name, model] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hash_texts(&mut hasher, tokens.iter().chain(merge_lines));
    for kind in types {
        hasher.update(kind.to_le_bytes());
    }
    let special = special_ids(gguf, tokens.len(), &SpecialIds::default())?;
    Ok(Tokenizer {
        engine: Engine::Pipeline(Box::new(Pipeline::byte_level(pre, bpe)?)),
        added: AddedTokens::new(added_tokens(gguf, tokens, &kinds), Precedence::Leftmost)?,
        add_bos: add_bos(gguf).unwrap_or(pre.add_bos),
        ends: all_ends(gguf, tokens, &kinds, &special)?,
        special,
        tokens: tokens.to_vec(),
        kinds,
        n_vocab,
        sha256: format!("{:x}", hasher.finalize()),
    })
}

fn sentence_piece(gguf: &Gguf, model: &str, n_vocab: usize) -> Result<Tokenizer> {
    let Vocabulary {
        tokens,
        types,
        kinds,
        ids,
    } = vocabulary(gguf, n_vocab)?;
    let scores = gguf.floats("tokenizer.ggml.scores")?;
    if scores.len() != tokens.len() {
        return Err(fail(format!(
            "{} tokens, but {} scores",
            tokens.len(),
            scores.len()
        )));
    }
    if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
        return Err(fail(format!("token `{}` has no finite score", tokens[id])));
    }
    // llama.cpp's defaults for this kind of vocabulary.
    let control = |id: u32| {
        kinds
            .get(id as usize)
            .is_some_and(|kind| kind.is_control())
            .then_some(id)
    };
    let defaults = SpecialIds {
        unknown: control(0),
        bos: control(1),
        eos: control(2),
        pad: None,
    };
    let special = special_ids(gguf, tokens.len(), &defaults)?;
    let space_prefix = flag(gguf, "tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let bytes = (0..=u8::MAX)
        .map(|byte| {
            let id = ids.get(format!("<0x{byte:02X}>").as_str());
            id.copied()
                .filter(|&id| kinds[id as usize] == Kind::Byte)
                // Old files have the byte itself.
                .or_else(|| {
                    let text = std::str::from_utf8(std::slice::from_ref(&byte)).ok()?;
                    ids.get(text).copied()
                })
        })
        .collect();

    let mut hasher = Sha256::new();
    hasher.update(model.as_bytes());
    hasher.update([0, u8::from(space_prefix)]);
    hash_texts(&mut hasher, tokens.iter());
    for score in scores {
        hasher.update(score.to_bits().to_le_bytes());
    }
    for kind in types {
        hasher.update(kind.to_le_bytes());
    }
    let pieces: Vocab = ids
        .into_iter()
        .filter(|&(_, id)| {
            let kind = kinds[id as usize];
            !kind.is_control() && kind != Kind::Byte
        })
        .collect();
    let engine = SentencePiece::new(pieces, scores, bytes, special.unknown, space_prefix);
    Ok(Tokenizer {
        engine: Engine::SentencePiece(Box::new(engine)),
        added: AddedTokens::new(added_tokens(gguf, tokens, &kinds), Precedence::Longest)?,
        add_bos: add_bos(gguf).unwrap_or(true),
        ends: all_ends(gguf, tokens, &kinds, &special)?,
        special,
        tokens: tokens.to_vec(),
        kinds,
        n_vocab,
        sha256: format!("{:x}", hasher.finalize()),
    })
}

fn vocabulary(gguf: &Gguf, n_vocab: usize) -> Result<Vocabulary<'_>> {
    let tokens = gguf.strings("tokenizer.ggml.tokens")?;
    let types = gguf.integers("tokenizer.ggml.token_type")?;
    if tokens.is_empty() || tokens.len() > n_vocab || types.len() != tokens.len() {
        return Err(fail(format!(
            "{} tokens and {} token types, but the embedding has {n_vocab} rows",
            tokens.len(),
            types.len()
        )));
    }
    let kinds: Vec<Kind> = types.iter().map(|&kind| Kind::from_gguf(kind)).collect();
    let mut ids = Vocab::with_capacity(tokens.len());
    for (text, id) in tokens.iter().zip(0u32..) {
        // An empty text is a hole in the vocabulary; a control token may not be one.
        if text.is_empty() && !kinds[id as usize].is_control() {
            continue;
        }
        if let Some(other) = ids.insert(text.clone(), id) {
            return Err(fail(format!(
                "token `{text}` stands at ids {other} and {id}"
            )));
        }
    }
    Ok(Vocabulary {
        tokens,
        types,
        kinds,
        ids,
    })
}

/// Tokens that no merge may lead to or from.
fn unmergeable(kinds: &[Kind]) -> BTreeSet<u32> {
    let ids = kinds
        .iter()
        .zip(0u32..)
        .filter(|(kind, _)| kind.is_control());
    ids.map(|(_, id)| id).collect()
}

/// Control and user-defined tokens. As in llama.cpp, those of Phi-3 swallow the white space after
/// them, which its file cannot say.
fn added_tokens(gguf: &Gguf, tokens: &[String], kinds: &[Kind]) -> Vec<AddedToken> {
    let name = gguf
        .string("general.name")
        .unwrap_or_default()
        .to_lowercase();
    let phi3_architecture = gguf
        .string("general.architecture")
        .is_ok_and(|name| name == "phi3");
    let phi3 = gguf
        .string("tokenizer.ggml.model")
        .is_ok_and(|model| model == "llama")
        && (phi3_architecture || name.contains("phi-3") || name.contains("phi3"));
    let added = tokens
        .iter()
        .zip(kinds)
        .zip(0u32..)
        .filter(|((_, kind), _)| kind.is_added());
    added
        .map(|((text, kind), id)| AddedToken {
            rstrip: phi3 && !matches!(text.as_str(), "<unk>" | "<s>" | "<|endoftext|>"),
            ..AddedToken::new(id, text, kind.is_control())
        })
        .collect()
}

fn flag(gguf: &Gguf, key: &str) -> Option<bool> {
    match gguf.get(key) {
        Some(Value::Bool(value)) => Some(*value),
        _ => None,
    }
}

fn add_bos(gguf: &Gguf) -> Option<bool> {
    flag(gguf, "tokenizer.ggml.add_bos_token")
}

fn special_id(gguf: &Gguf, key: &str, n_tokens: usize) -> Result<Option<u32>> {
    match gguf.get(key) {
        None => Ok(None),
        Some(Value::Unsigned(id)) if *id < n_tokens as u64 => Ok(Some(*id as u32)),
        Some(other) => Err(fail(format!(
            "`{key}` is {other:?}, outside the vocabulary"
        ))),
    }
}

fn special_ids(gguf: &Gguf, n_tokens: usize, defaults: &SpecialIds) -> Result<SpecialIds> {
    let id = |key: &str| special_id(gguf, key, n_tokens);
    Ok(SpecialIds {
        bos: id("tokenizer.ggml.bos_token_id")?.or(defaults.bos),
        eos: id("tokenizer.ggml.eos_token_id")?.or(defaults.eos),
        unknown: id("tokenizer.ggml.unknown_token_id")?.or(defaults.unknown),
        pad: id("tokenizer.ggml.padding_token_id")?.or(defaults.pad),
    })
}

fn all_ends(
    gguf: &Gguf,
    tokens: &[String],
    kinds: &[Kind],
    special: &SpecialIds,
) -> Result<Vec<u32>> {
    let mut named: Vec<u32> = special.eos.into_iter().collect();
    for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        named.extend(special_id(gguf, key, tokens.len())?);
    }
    Ok(ends(named, tokens, kinds))
}

fn hash_texts<'a>(hasher: &mut Sha256, texts: impl Iterator<Item = &'a String>) {
    for text in texts {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
}
