//! Text to token ids and back, from a GGUF file or a Hugging Face folder.

mod added;
mod folder;
mod gguf;
mod pipeline;
mod pre;
mod sentence_piece;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::gguf::Gguf;
pub(crate) use folder::{read_json, read_text};

use added::{AddedTokens, Controls, Found};
use pipeline::Pipeline;
use sentence_piece::{SPACE, SentencePiece};

/// A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019) or a `SentencePiece` one
/// (Kudo & Richardson 2018).
///
/// Control tokens are never read from text: [`Tokenizer::encode`] turns `<|im_start|>` typed by a
/// user into ordinary tokens, and [`Tokenizer::encode_template`] finds control tokens only outside
/// the ranges that hold message content.
#[derive(Debug)]
pub struct Tokenizer {
    engine: Engine,
    /// Control tokens, and tokens that are found in any text as they are spelled.
    added: AddedTokens,
    /// Text of each token; empty for an id that has none.
    tokens: Vec<String>,
    /// One per token.
    kinds: Vec<Kind>,
    /// Rows of the embedding, at least the number of tokens.
    n_vocab: usize,
    special: SpecialIds,
    add_bos: bool,
    /// Ascending.
    ends: Vec<u32>,
    sha256: String,
}

/// What turns the text between added tokens into ids.
#[derive(Debug)]
enum Engine {
    Pipeline(Box<Pipeline>),
    SentencePiece(Box<SentencePiece>),
}

/// What a token is for (`llama.h`, `enum llama_token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// Tokens with a role of their own.
#[derive(Debug, Clone, Default)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    pad: Option<u32>,
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

/// Control tokens that end a turn or a text in the models we know, whatever their file says.
const ENDS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|eot|>",
    "<|eom|>",
];

impl Kind {
    fn from_gguf(kind: i64) -> Self {
        match kind {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    /// Never read from text. The unknown token is not either: text does not become it by its name.
    fn is_control(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }

    fn is_added(self) -> bool {
        self.is_control() || self == Self::UserDefined
    }
}

/// The ids that end a turn: those that the file names, and those known by their text.
fn ends(mut named: Vec<u32>, tokens: &[String], kinds: &[Kind]) -> Vec<u32> {
    let known = tokens.iter().zip(kinds).zip(0u32..);
    named.extend(
        known
            .filter(|((text, kind), _)| kind.is_control() && ENDS.contains(&text.as_str()))
            .map(|(_, id)| id),
    );
    named.sort_unstable();
    named.dedup();
    named
}

/// More rows than any embedding has; bounds what a folder's ids may ask for.
const MAX_VOCAB: usize = 1 << 21;

impl Tokenizer {
    /// Reads only the tokenizer, of a GGUF file or of a Hugging Face folder.
    ///
    /// # Errors
    /// Any [`Error`] that tells what in the file is missing, malformed or not supported.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::from_folder(path, MAX_VOCAB);
        }
        let gguf = Gguf::open(path)?;
        let shape = gguf.tensor_shape("token_embd.weight")?;
        Self::from_gguf(&gguf, shape[0])
    }

    /// SHA-256 of vocabulary, merges or scores, token types and pre-tokeniser.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Number of tokens. The embedding may have more rows.
    pub fn n_vocab(&self) -> usize {
        self.tokens.len()
    }

    /// The token that begins a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The token that ends a text, where the model has one. Others may end a turn too: [`Tokenizer::is_end`].
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// Every token that ends a turn or a text, ascending.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Whether the model ends its turn, or its text, with this token.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// Whether plain text is to begin with [`Tokenizer::bos`].
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// Text of a token as it stands in the vocabulary, or `None` outside it.
    pub fn vocabulary_entry(&self, id: u32) -> Option<&str> {
        let entry = self.tokens.get(id as usize);
        entry.map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The special tokens that transformers hands to a chat template, by their names there.
    pub(crate) fn named_tokens(&self) -> Vec<(&'static str, &str)> {
        let SpecialIds {
            bos,
            eos,
            unknown,
            pad,
        } = self.special;
        [
            ("bos_token", bos),
            ("eos_token", eos),
            ("unk_token", unknown),
            ("pad_token", pad),
        ]
        .into_iter()
        .filter_map(|(name, id)| Some((name, self.vocabulary_entry(id?)?)))
        .collect()
    }

    /// Where the text spells a control token, in ascending order; ranges may overlap.
    pub(crate) fn spelled_controls(&self, text: &str) -> Vec<Range<usize>> {
        self.added.spelled_controls(text)
    }

    /// Encodes text in which nothing is a control token.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the text cannot be encoded.
    pub fn encode(&self, text: &str) -> Result<Vec<Token>> {
        self.encode_with(text, Controls::Nowhere)
    }

    /// Encodes rendered text. Control tokens count as such only where they lie outside `content`,
    /// the byte ranges of message content in ascending order.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the text cannot be encoded.
    pub fn encode_template(&self, text: &str, content: &[Range<usize>]) -> Result<Vec<Token>> {
        self.encode_with(text, Controls::Outside(content))
    }

    fn encode_with(&self, text: &str, controls: Controls<'_>) -> Result<Vec<Token>> {
        let engine = match &self.engine {
            Engine::Pipeline(pipeline) => return pipeline.encode(text, &self.added, controls),
            Engine::SentencePiece(engine) => engine,
        };
        let mut tokens = Vec::new();
        let mut done = 0;
        // A space goes in front of the first piece, and of those after an added token.
        let mut prefix = engine.space_prefix;
        for Found {
            id,
            control,
            range,
            around,
        } in self.added.find(text, controls)
        {
            engine.encode(&text[done..around.start], done, prefix, &mut tokens)?;
            done = around.end;
            prefix = engine.space_prefix;
            tokens.push(Token { id, range, control });
        }
        engine.encode(&text[done..], done, prefix, &mut tokens)?;
        Ok(tokens)
    }

    /// Text of tokens. Control tokens are left out; bytes that are not UTF-8 become `U+FFFD`.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id outside the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let pieces = self.pieces(ids)?;
        match &self.engine {
            Engine::Pipeline(_) if pieces.is_empty() => Ok(String::new()),
            Engine::Pipeline(pipeline) => {
                pipeline.decode(pieces.iter().map(|(_, text)| (*text).to_owned()).collect())
            }
            Engine::SentencePiece(engine) => {
                let mut bytes = Vec::new();
                for &(id, text) in &pieces {
                    sentence_piece_bytes(self.kinds[id as usize], text, &mut bytes);
                }
                // The space that encoding put in front, unless a control token took its place.
                let follows_control = pieces.first().map(|piece| piece.0) != ids.first().copied();
                if engine.space_prefix && !follows_control && bytes.first() == Some(&b' ') {
                    bytes.remove(0);
                }
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Text of one token as it reads in the middle of a text: with the space that begins it, which
    /// [`Tokenizer::decode`] takes away where it begins the text. Empty for a control token.
    ///
    /// # Errors
    /// [`Error::TokenId`] for an id outside the vocabulary.
    pub fn token_text(&self, id: u32) -> Result<String> {
        // Of two, only the first can lose a space, whatever the decoder does.
        let first = self.decode(&[id])?;
        let mut both = self.decode(&[id, id])?;
        if both.starts_with(&first) {
            both.drain(..first.len());
        }
        Ok(both)
    }

    /// The tokens' texts, without control tokens and rows that pad the embedding.
    fn pieces(&self, ids: &[u32]) -> Result<Vec<(u32, &str)>> {
        let mut pieces = Vec::with_capacity(ids.len());
        for &id in ids {
            if id as usize >= self.n_vocab {
                return Err(Error::TokenId {
                    token: id,
                    n_vocab: self.n_vocab,
                });
            }
            if let Some(text) = self.vocabulary_entry(id)
                && !self.kinds[id as usize].is_control()
            {
                pieces.push((id, text));
            }
        }
        Ok(pieces)
    }
}

/// The bytes that a `SentencePiece` token stands for.
fn sentence_piece_bytes(kind: Kind, text: &str, bytes: &mut Vec<u8>) {
    let digits = text
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    match (kind, digits.map(|digits| u8::from_str_radix(digits, 16))) {
        (Kind::Byte, Some(Ok(byte))) => bytes.push(byte),
        (Kind::UserDefined, _) => bytes.extend(text.bytes()),
        _ => bytes.extend(text.replace(SPACE, " ").bytes()),
    }
}
