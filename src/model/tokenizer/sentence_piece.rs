//! `SentencePiece` vocabularies, encoded as llama.cpp does it.
//!
//! Text is cut into characters, and the adjacent pair whose concatenation has the best score is
//! joined until none is in the vocabulary; what is left over is spelled in bytes. This is the BPE of
//! Kudo & Richardson 2018 (`SentencePiece`), not its unigram model, which finds another segmentation.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use tokenizers::models::bpe::Vocab;

use super::Token;
use crate::error::{Error, Result};

/// What stands for a space in the vocabulary.
pub(super) const SPACE: char = '\u{2581}';

/// Vocabulary and scores.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// Ordinary pieces only: text never becomes a control, unknown or byte token by joining.
    pieces: Vocab,
    /// One per token of the vocabulary, finite.
    scores: Vec<f32>,
    /// The token of each byte, where there is one.
    bytes: Vec<Option<u32>>,
    unknown: Option<u32>,
    /// Whether text after a control token, or at the start, gets a space in front.
    pub(super) space_prefix: bool,
}

/// A run of characters, linked to its neighbours.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// Where it starts in the escaped text, and its length; 0 once it is part of another.
    start: u32,
    len: u32,
    /// The bytes of the original text that it stands for.
    from: u32,
    to: u32,
    previous: u32,
    next: u32,
}

/// No neighbour.
const NONE: u32 = u32::MAX;

/// Two neighbours that could be joined.
#[derive(Debug, Clone, Copy)]
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    len: u32,
}

impl Ord for Pair {
    /// The best score first, of equals the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        let score = self.score.total_cmp(&other.score);
        score.then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl SentencePiece {
    /// `scores` has one finite number for each id in `pieces`, and `bytes` has 256 entries.
    pub(super) fn new(
        pieces: Vocab,
        scores: &[f32],
        bytes: Vec<Option<u32>>,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Self {
        Self {
            pieces,
            // Minus zero and zero are one score.
            scores: scores.iter().map(|score| score + 0.0).collect(),
            bytes,
            unknown,
            space_prefix,
        }
    }

    /// Appends the tokens of `text`, which starts at byte `offset` of the whole.
    pub(super) fn encode(
        &self,
        text: &str,
        offset: usize,
        space_prefix: bool,
        tokens: &mut Vec<Token>,
    ) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if text.len() > (u32::MAX / 4) as usize {
            return Err(Error::Tokenizer {
                what: format!("a text of {} bytes is too long", text.len()),
            });
        }
        let (escaped, mut symbols) = symbols(text, space_prefix);
        self.join(&escaped, &mut symbols);

        let mut index = 0;
        while index != NONE {
            let symbol = symbols[index as usize];
            let piece = &escaped[symbol.start as usize..(symbol.start + symbol.len) as usize];
            let range = offset + symbol.from as usize..offset + symbol.to as usize;
            let token = |id: u32| Token {
                id,
                range: range.clone(),
                control: false,
            };
            if let Some(&id) = self.pieces.get(piece) {
                tokens.push(token(id));
            } else {
                let bytes = piece.bytes().map(|byte| self.bytes[usize::from(byte)]);
                match bytes.collect::<Option<Vec<u32>>>() {
                    Some(ids) => tokens.extend(ids.into_iter().map(token)),
                    None => tokens.push(token(self.unknown.ok_or_else(|| Error::Tokenizer {
                        what: format!("the vocabulary has neither {piece:?} nor its bytes"),
                    })?)),
                }
            }
            index = symbol.next;
        }
        Ok(())
    }

    /// Joins pairs until none is in the vocabulary, in O(n log n).
    fn join(&self, escaped: &str, symbols: &mut [Symbol]) {
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() as u32 {
            queue.extend(self.pair(escaped, symbols, right - 1, right));
        }
        while let Some(pair) = queue.pop() {
            let left = symbols[pair.left as usize];
            let right = symbols[pair.right as usize];
            // One of them was joined with another neighbour in the meantime.
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            symbols[pair.right as usize].len = 0;
            let joined = &mut symbols[pair.left as usize];
            joined.len = pair.len;
            joined.to = right.to;
            joined.next = right.next;
            let (previous, next) = (joined.previous, joined.next);
            if next != NONE {
                symbols[next as usize].previous = pair.left;
                queue.extend(self.pair(escaped, symbols, pair.left, next));
            }
            if previous != NONE {
                queue.extend(self.pair(escaped, symbols, previous, pair.left));
            }
        }
    }

    fn pair(&self, escaped: &str, symbols: &[Symbol], left: u32, right: u32) -> Option<Pair> {
        let start = symbols[left as usize].start;
        let len = symbols[left as usize].len + symbols[right as usize].len;
        let piece = &escaped[start as usize..(start + len) as usize];
        let &id = self.pieces.get(piece)?;
        Some(Pair {
            score: self.scores[id as usize],
            left,
            right,
            len,
        })
    }
}

/// The text with its spaces escaped, and its characters.
fn symbols(text: &str, space_prefix: bool) -> (String, Vec<Symbol>) {
    let mut escaped = String::with_capacity(text.len() + text.len() / 2 + SPACE.len_utf8());
    let mut symbols = Vec::with_capacity(text.len() + 1);
    let mut push = |c: char, from: usize, to: usize| {
        let start = escaped.len() as u32;
        escaped.push(c);
        let index = symbols.len() as u32;
        symbols.push(Symbol {
            start,
            len: c.len_utf8() as u32,
            from: from as u32,
            to: to as u32,
            previous: index.checked_sub(1).unwrap_or(NONE),
            next: index + 1,
        });
    };
    if space_prefix {
        push(SPACE, 0, 0);
    }
    for (at, c) in text.char_indices() {
        let piece = if c == ' ' { SPACE } else { c };
        push(piece, at, at + c.len_utf8());
    }
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    (escaped, symbols)
}
