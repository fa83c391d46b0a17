//! Byte-pair encoding by the steps of the `tokenizers` library: normalise, cut, merge.
//!
//! The library's own `Tokenizer` is not used: it finds special tokens in any text, and it cannot be
//! told to do so in some parts only. These are its steps (`tokenizer/mod.rs`, `encode_char_offsets`)
//! with our own search for added tokens in their place.

use std::collections::BTreeSet;

use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizer::Range as Referential;
use tokenizers::{
    Decoder as _, DecoderWrapper, Model as _, NormalizedString, Normalizer as _, NormalizerWrapper,
    OffsetType, PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper, SplitDelimiterBehavior,
    Token as Piece,
};

use super::Token;
use super::added::{AddedTokens, Controls, Found, Precedence};
use super::pre::{Cut, Pre};
use crate::error::{Error, Result};

/// The steps, in order.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) normalizer: Option<NormalizerWrapper>,
    /// Added tokens that are found in normalised text; none is a control token.
    pub(super) normalized_added: AddedTokens,
    pub(super) cutting: Cutting,
    pub(super) bpe: BPE,
    pub(super) decoder: Option<DecoderWrapper>,
}

/// How text is cut into pieces within which merges happen.
#[derive(Debug)]
pub(super) enum Cutting {
    /// By the table of [`Pre`], then one symbol per byte.
    Table(Vec<Cut>),
    /// As a `tokenizer.json` says.
    File(Option<PreTokenizerWrapper>),
}

/// What distinguishes one BPE model from another, besides its vocabulary and merges.
#[derive(Debug, Default)]
pub(super) struct BpeOptions {
    pub(super) unknown: Option<String>,
    pub(super) fuse_unknown: bool,
    pub(super) byte_fallback: bool,
    /// A piece that is a token is that token, without merges.
    pub(super) whole_pieces: bool,
}

impl Pipeline {
    /// Byte-level BPE as GGUF describes it.
    pub(super) fn byte_level(pre: &Pre, bpe: BPE) -> Result<Self> {
        Ok(Self {
            normalizer: None,
            normalized_added: AddedTokens::new(Vec::new(), Precedence::Leftmost)?,
            cutting: Cutting::Table(pre.cuts()),
            bpe,
            decoder: Some(ByteLevel::default().into()),
        })
    }

    pub(super) fn encode(
        &self,
        text: &str,
        added: &AddedTokens,
        controls: Controls<'_>,
    ) -> Result<Vec<Token>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let mut controls_found = BTreeSet::new();
        let mut run = || -> tokenizers::Result<tokenizers::Encoding> {
            let mut pieces = PreTokenizedString::from(text);
            pieces.split(|_, whole| {
                let found = added.find(whole.get(), controls);
                let places = found.iter().filter(|found| found.control);
                controls_found.extend(places.map(|found| (found.range.start, found.id)));
                cut_out(whole, &found)
            })?;
            if self.normalizer.is_some() || !self.normalized_added.is_empty() {
                pieces.split(|_, mut piece| {
                    if let Some(normalizer) = &self.normalizer {
                        normalizer.normalize(&mut piece)?;
                    }
                    let found = self.normalized_added.find(piece.get(), Controls::Nowhere);
                    cut_out(piece, &found)
                })?;
            }
            self.cutting.cut(&mut pieces)?;
            pieces.tokenize(|piece| self.bpe.tokenize(piece.get()))?;
            pieces.into_encoding(None, 0, OffsetType::Byte)
        };
        let encoding = run().map_err(|error| Error::Tokenizer {
            what: error.to_string(),
        })?;
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(tokens
            .map(|(&id, &(start, end))| Token {
                id,
                range: start..end,
                control: controls_found.contains(&(start, id)),
            })
            .collect())
    }

    pub(super) fn decode(&self, pieces: Vec<String>) -> Result<String> {
        let Some(decoder) = &self.decoder else {
            return Ok(pieces.concat());
        };
        decoder.decode(pieces).map_err(|error| Error::Tokenizer {
            what: error.to_string(),
        })
    }
}

impl Cutting {
    fn cut(&self, pieces: &mut PreTokenizedString) -> tokenizers::Result<()> {
        match self {
            Self::File(None) => Ok(()),
            Self::File(Some(cutter)) => cutter.pre_tokenize(pieces),
            Self::Table(cuts) => {
                for cut in cuts {
                    pieces.split(|_, piece| piece.split(cut, SplitDelimiterBehavior::Isolated))?;
                }
                ByteLevel::new(false, true, false).pre_tokenize(pieces)
            }
        }
    }
}

type Part = (NormalizedString, Option<Vec<Piece>>);

/// Cuts the found tokens out of a piece; the white space that they swallow has no token.
fn cut_out(piece: NormalizedString, found: &[Found]) -> tokenizers::Result<Vec<Part>> {
    if found.is_empty() {
        return Ok(vec![(piece, None)]);
    }
    let len = piece.get().len();
    let mut parts: Vec<Part> = Vec::with_capacity(2 * found.len() + 1);
    let mut add = |range: std::ops::Range<usize>, tokens: Option<Vec<Piece>>| {
        if range.is_empty() {
            return Ok(());
        }
        let part = piece.slice(Referential::Normalized(range));
        parts.push((part.ok_or("an added token splits a character")?, tokens));
        tokenizers::Result::Ok(())
    };
    let mut done = 0;
    for found in found {
        add(done..found.around.start, None)?;
        add(found.around.start..found.range.start, Some(Vec::new()))?;
        let token = Piece::new(found.id, String::new(), (0, found.range.len()));
        add(found.range.clone(), Some(vec![token]))?;
        add(found.range.end..found.around.end, Some(Vec::new()))?;
        done = found.around.end;
    }
    add(done..len, None)?;
    Ok(parts)
}

/// Builds the model after checking what the library does not: it trusts merges to be in the
/// vocabulary before it copies them. Merges of `excluded` tokens, which no text may become, are
/// left out, as are the tokens themselves.
pub(super) fn bpe(
    mut vocab: Vocab,
    merges: &[(String, String)],
    excluded: &BTreeSet<u32>,
    options: BpeOptions,
) -> Result<BPE> {
    let fail = |what: String| Error::Tokenizer { what };
    let mut kept = Vec::with_capacity(merges.len());
    let mut joined = String::new();
    for (left, right) in merges {
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        let mut keep = true;
        for part in [left, right, &joined] {
            let id = vocab.get(part).ok_or_else(|| {
                fail(format!(
                    "merge `{left} {right}`: `{part}` is not in the vocabulary"
                ))
            })?;
            keep &= !excluded.contains(id);
        }
        if keep {
            kept.push((left.clone(), right.clone()));
        }
    }
    // The model asks the vocabulary for its unknown token, which a whole piece could spell.
    let unknown = options.unknown.filter(|_| !options.whole_pieces);
    if let Some(unknown) = &unknown
        && !vocab.contains_key(unknown)
    {
        return Err(fail(format!(
            "the unknown token `{unknown}` is not in the vocabulary"
        )));
    }
    vocab.retain(|text, id| !excluded.contains(id) || unknown.as_ref() == Some(text));
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, kept)
        .fuse_unk(options.fuse_unknown)
        .byte_fallback(options.byte_fallback)
        .ignore_merges(options.whole_pieces);
    if let Some(unknown) = unknown {
        builder = builder.unk_token(unknown);
    }
    builder.build().map_err(|error| fail(error.to_string()))
}
