//! Text to token ids and back, from the vocabulary in a GGUF file.
//!
//! candle's `TokenizerFromGguf` is not used: it takes any pre-tokeniser it does not know for GPT-2's,
//! `smollm` among them, and then silently yields other ids (candle-core 0.11.1).

mod pre;

use std::collections::BTreeMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use tokenizers::Decoder as _;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::BPE;

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// Token types of GGUF (`llama.h`, `enum llama_token_type`).
const TYPE_CONTROL: i64 = 3;

/// A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019).
///
/// Control tokens are never read from text: [`Tokenizer::encode`] turns `<|im_start|>` typed by a
/// user into ordinary tokens, and [`Tokenizer::encode_template`] finds control tokens only outside
/// the ranges that hold message content.
#[derive(Debug)]
pub struct Tokenizer {
    /// Knows no added tokens, so it splits nothing out of text.
    bpe: tokenizers::Tokenizer,
    tokens: Vec<String>,
    /// Text of each control token.
    controls: BTreeMap<String, u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    sha256: String,
}

/// A token and the bytes of the text it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token's id.
    pub id: u32,
    /// Byte range in the encoded text. Tokens that share a character share its bytes.
    pub range: Range<usize>,
    /// Whether it is a control token.
    pub control: bool,
}

impl Tokenizer {
    /// Rebuilds the tokenizer and checks that it fits a vocabulary of `n_vocab`.
    pub(crate) fn from_gguf(gguf: &Gguf, n_vocab: usize) -> Result<Self> {
        let fail = |what: String| Error::Tokenizer { what };
        let model = gguf.string("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(fail(format!(
                "`tokenizer.ggml.model` is `{model}`, only byte-level BPE (`gpt2`) is supported"
            )));
        }
        let pre_name = gguf.string("tokenizer.ggml.pre")?;
        let tokens = gguf.strings("tokenizer.ggml.tokens")?;
        let types = gguf.integers("tokenizer.ggml.token_type")?;
        let merges = gguf.strings("tokenizer.ggml.merges")?;
        if tokens.len() != n_vocab || types.len() != n_vocab {
            return Err(fail(format!(
                "{} tokens and {} token types, but the embedding has {n_vocab} rows",
                tokens.len(),
                types.len()
            )));
        }

        let mut vocab = BTreeMap::new();
        for (text, id) in tokens.iter().zip(0u32..) {
            if let Some(other) = vocab.insert(text.clone(), id) {
                return Err(fail(format!(
                    "token `{text}` stands at ids {other} and {id}"
                )));
            }
        }
        let merges = merges.iter().map(|merge| {
            let pair = merge
                .split_once(' ')
                .filter(|(left, right)| !left.is_empty() && !right.is_empty());
            pair.map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| fail(format!("merge `{merge}`")))
        });
        let merges = merges.collect::<Result<Vec<_>>>()?;
        let bpe = BPE::builder().vocab_and_merges(
            vocab
                .clone()
                .into_iter()
                .collect::<tokenizers::models::bpe::Vocab>(),
            merges,
        );
        let bpe = bpe.build().map_err(|error| fail(error.to_string()))?;
        let mut bpe = tokenizers::Tokenizer::new(bpe);
        bpe.with_pre_tokenizer(Some(pre::pre_tokenizer(pre_name)?));
        bpe.with_decoder(Some(ByteLevel::default()));

        let controls = tokens
            .iter()
            .zip(types)
            .zip(0u32..)
            .filter(|((_, kind), _)| **kind == TYPE_CONTROL);
        let controls: BTreeMap<String, u32> =
            controls.map(|((text, _), id)| (text.clone(), id)).collect();
        if controls.contains_key("") {
            return Err(fail("a control token has no text".into()));
        }
        let special = |key: &str| -> Result<Option<u32>> {
            match gguf.get(key) {
                None => Ok(None),
                Some(Value::Unsigned(id)) if *id < n_vocab as u64 => Ok(Some(*id as u32)),
                Some(other) => Err(fail(format!(
                    "`{key}` is {other:?}, outside the vocabulary"
                ))),
            }
        };
        let mut hasher = Sha256::new();
        for part in [pre_name, model] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        for text in tokens.iter().chain(gguf.strings("tokenizer.ggml.merges")?) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for kind in types {
            hasher.update(kind.to_le_bytes());
        }
        Ok(Self {
            bpe,
            tokens: tokens.to_vec(),
            controls,
            bos: special("tokenizer.ggml.bos_token_id")?,
            eos: special("tokenizer.ggml.eos_token_id")?,
            add_bos: gguf.get("tokenizer.ggml.add_bos_token") == Some(&Value::Bool(true)),
            sha256: format!("{:x}", hasher.finalize()),
        })
    }

    /// SHA-256 of vocabulary, merges, token types and pre-tokeniser.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.tokens.len()
    }

    /// The token that begins a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a turn, where the model has one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether plain text is to begin with [`Tokenizer::bos`].
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// Text of a token as it stands in the vocabulary, or `None` outside it.
    pub fn vocabulary_entry(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// Encodes text in which nothing is a control token.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the text cannot be encoded.
    pub fn encode(&self, text: &str) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        self.encode_fragment(text, 0, &mut tokens)?;
        Ok(tokens)
    }

    /// Encodes rendered text. Control tokens count as such only where they lie outside `content`,
    /// the byte ranges of message content in ascending order.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the text cannot be encoded.
    pub fn encode_template(&self, text: &str, content: &[Range<usize>]) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut done = 0;
        while let Some((range, id)) = self.next_control(text, done, content) {
            self.encode_fragment(&text[done..range.start], done, &mut tokens)?;
            done = range.end;
            tokens.push(Token {
                id,
                range,
                control: true,
            });
        }
        self.encode_fragment(&text[done..], done, &mut tokens)?;
        Ok(tokens)
    }

    /// The first control token from byte `from` on that does not touch content; the longest where several start.
    fn next_control(
        &self,
        text: &str,
        from: usize,
        content: &[Range<usize>],
    ) -> Option<(Range<usize>, u32)> {
        let mut best: Option<(Range<usize>, u32)> = None;
        for (control, &id) in &self.controls {
            let matches = text[from..]
                .match_indices(control.as_str())
                .map(|(at, _)| from + at..from + at + control.len());
            let first = matches.into_iter().find(|range| {
                content
                    .iter()
                    .all(|part| range.end <= part.start || part.end <= range.start)
            });
            if let Some(range) = first {
                let better = best.as_ref().is_none_or(|(other, _)| {
                    range.start < other.start
                        || (range.start == other.start && range.end > other.end)
                });
                if better {
                    best = Some((range, id));
                }
            }
        }
        best
    }

    fn encode_fragment(&self, text: &str, offset: usize, tokens: &mut Vec<Token>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let encoding = self
            .bpe
            .encode(text, false)
            .map_err(|error| Error::Tokenizer {
                what: error.to_string(),
            })?;
        let new = encoding.get_ids().iter().zip(encoding.get_offsets());
        tokens.extend(new.map(|(&id, &(start, end))| Token {
            id,
            range: offset + start..offset + end,
            control: false,
        }));
        Ok(())
    }

    /// Text of tokens. Control tokens are left out; bytes that are not UTF-8 become `U+FFFD`.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut text = Vec::with_capacity(ids.len());
        for &id in ids {
            let entry = self.vocabulary_entry(id).ok_or(Error::TokenId {
                token: id,
                n_vocab: self.tokens.len(),
            })?;
            if !self.controls.contains_key(entry) {
                text.push(entry.to_owned());
            }
        }
        if text.is_empty() {
            return Ok(String::new());
        }
        ByteLevel::default()
            .decode(text)
            .map_err(|error| Error::Tokenizer {
                what: error.to_string(),
            })
    }
}
