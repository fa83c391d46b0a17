//! Tokens that are found in text as they are spelled, before anything is cut or merged.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, Result};

/// A token that is spelled out in text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of the `tokenizers` library"
)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// Found only where [`Controls`] allow it.
    pub(super) control: bool,
    /// Found only where no word character touches it.
    pub(super) single_word: bool,
    /// White space before it belongs to no token.
    pub(super) lstrip: bool,
    /// White space after it belongs to no token.
    pub(super) rstrip: bool,
}

impl AddedToken {
    pub(super) fn new(id: u32, text: &str, control: bool) -> Self {
        Self {
            id,
            text: text.to_owned(),
            control,
            single_word: false,
            lstrip: false,
            rstrip: false,
        }
    }
}

/// Where control tokens may be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Controls<'a> {
    /// Nowhere: all of it is somebody's text.
    Nowhere,
    /// Outside these byte ranges, which are in ascending order.
    Outside(&'a [Range<usize>]),
}

impl Controls<'_> {
    fn allow(self, found: &Range<usize>) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Outside(content) => {
                let next = content.partition_point(|part| part.end <= found.start);
                content
                    .get(next)
                    .is_none_or(|part| found.end <= part.start || part.is_empty())
            }
        }
    }
}

/// Which of two tokens counts where both are spelled and overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// The one that starts first, of these the longest: the `tokenizers` library.
    Leftmost,
    /// The longest, of these the one that starts first: llama.cpp.
    Longest,
}

/// A token found in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: u32,
    pub(super) control: bool,
    /// The token itself.
    pub(super) range: Range<usize>,
    /// The token and the white space that it swallows.
    pub(super) around: Range<usize>,
}

/// All tokens of one vocabulary that are spelled out in text.
#[derive(Debug)]
pub(super) struct AddedTokens {
    /// Longest first, then by id.
    tokens: Vec<AddedToken>,
    /// Reports index `i` for `tokens[i]`; `None` without tokens.
    automaton: Option<AhoCorasick>,
    precedence: Precedence,
}

impl AddedTokens {
    pub(super) fn new(mut tokens: Vec<AddedToken>, precedence: Precedence) -> Result<Self> {
        let fail = |what: String| Error::Tokenizer { what };
        if let Some(token) = tokens.iter().find(|token| token.text.is_empty()) {
            let kind = if token.control {
                "a control"
            } else {
                "an added"
            };
            return Err(fail(format!("{kind} token has no text (id {})", token.id)));
        }
        tokens.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.id.cmp(&b.id)));
        let automaton = if tokens.is_empty() {
            None
        } else {
            // Overlapping matches, because which of them are allowed depends on where they stand.
            let automaton = AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .build(tokens.iter().map(|token| token.text.as_bytes()))
                .map_err(|error| fail(format!("the added tokens: {error}")))?;
            Some(automaton)
        };
        Ok(Self {
            tokens,
            automaton,
            precedence,
        })
    }

    pub(super) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Byte ranges at which a control token is spelled, in ascending order; they may overlap.
    pub(super) fn spelled_controls(&self, text: &str) -> Vec<Range<usize>> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        let mut ranges: Vec<Range<usize>> = automaton
            .find_overlapping_iter(text)
            .filter(|found| self.tokens[found.pattern().as_usize()].control)
            .map(|found| found.range())
            .collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        ranges
    }

    /// The tokens in `text`, in order and without overlap.
    pub(super) fn find(&self, text: &str, controls: Controls<'_>) -> Vec<Found> {
        let Some(automaton) = &self.automaton else {
            return Vec::new();
        };
        let spelled = automaton
            .find_overlapping_iter(text)
            .filter(|found| {
                let token = &self.tokens[found.pattern().as_usize()];
                (!token.control || controls.allow(&found.range()))
                    && (!token.single_word || stands_alone(text, &found.range()))
            })
            .map(|found| (found.start(), found.pattern().as_usize()));
        let chosen = match self.precedence {
            Precedence::Leftmost => self.leftmost(spelled),
            Precedence::Longest => self.longest(spelled, text.len()),
        };
        self.with_white_space(text, &chosen)
    }

    fn leftmost(&self, spelled: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
        let mut spelled: Vec<(usize, usize)> = spelled.collect();
        // Of tokens with one start, the longest has the least index.
        spelled.sort_unstable();
        let mut done = 0;
        let mut chosen = Vec::new();
        for (start, token) in spelled {
            if start >= done {
                done = start + self.tokens[token].text.len();
                chosen.push((start, token));
            }
        }
        chosen
    }

    fn longest(
        &self,
        spelled: impl Iterator<Item = (usize, usize)>,
        len: usize,
    ) -> Vec<(usize, usize)> {
        // Runs of one character spell dozens of tokens at each of their bytes, so they are not sorted.
        let mut starts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (start, token) in spelled {
            starts.entry(token).or_default().push(start);
        }
        let mut chosen = Vec::new();
        let mut taken = vec![false; if starts.is_empty() { 0 } else { len }];
        for (token, starts) in starts {
            let n_bytes = self.tokens[token].text.len();
            for start in starts {
                // What is chosen is no shorter, so it overlaps only if it holds the first or last byte.
                if !taken[start] && !taken[start + n_bytes - 1] {
                    taken[start..start + n_bytes].fill(true);
                    chosen.push((start, token));
                }
            }
        }
        chosen.sort_unstable();
        chosen
    }

    fn with_white_space(&self, text: &str, chosen: &[(usize, usize)]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::with_capacity(chosen.len());
        for &(start, token) in chosen {
            let token = &self.tokens[token];
            let range = start..start + token.text.len();
            let done = found.last().map_or(0, |found| found.around.end);
            if range.start < done {
                continue; // Swallowed by the one before.
            }
            let mut around = range.clone();
            if token.lstrip {
                around.start = done + text[done..start].trim_end().len();
            }
            if token.rstrip {
                let after = &text[range.end..];
                around.end += after.len() - after.trim_start().len();
            }
            found.push(Found {
                id: token.id,
                control: token.control,
                range,
                around,
            });
        }
        found
    }
}

fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..range.start].ends_with(word) && !text[range.end..].starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(precedence: Precedence, texts: &[&str]) -> AddedTokens {
        let tokens = texts
            .iter()
            .zip(0..)
            .map(|(text, id)| AddedToken::new(id, text, false));
        AddedTokens::new(tokens.collect(), precedence).unwrap()
    }

    #[track_caller]
    fn check(
        added: &AddedTokens,
        text: &str,
        controls: Controls<'_>,
        expected: &[(u32, Range<usize>)],
    ) {
        let found = added.find(text, controls);
        let found: Vec<_> = found.into_iter().map(|f| (f.id, f.range)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn precedence_decides_overlaps() {
        let texts = ["ab", "bcd", "d"];
        let leftmost = added(Precedence::Leftmost, &texts);
        check(
            &leftmost,
            "abcd",
            Controls::Nowhere,
            &[(0, 0..2), (2, 3..4)],
        );
        let longest = added(Precedence::Longest, &texts);
        check(&longest, "abcd", Controls::Nowhere, &[(1, 1..4)]);
        for precedence in [Precedence::Leftmost, Precedence::Longest] {
            let runs = added(precedence, &["\n", "\n\n", "\n\n\n"]);
            check(
                &runs,
                "a\n\n\n\n\nb",
                Controls::Nowhere,
                &[(2, 1..4), (1, 4..6)],
            );
        }
    }

    #[test]
    fn controls_are_found_outside_content_only() {
        let mut tokens = vec![
            AddedToken::new(0, "<|a|>", true),
            AddedToken::new(1, "<|a", false),
        ];
        tokens.push(AddedToken::new(2, "<b>", true));
        let added = AddedTokens::new(tokens, Precedence::Leftmost).unwrap();
        let text = "<|a|><b><|a|>";
        check(&added, text, Controls::Nowhere, &[(1, 0..3), (1, 8..11)]);
        let all = [(0, 0..5), (2, 5..8), (0, 8..13)];
        check(&added, text, Controls::Outside(&[]), &all);
        let content = [5..5, 7..9];
        check(
            &added,
            text,
            Controls::Outside(&content),
            &[(0, 0..5), (1, 8..11)],
        );
        assert_eq!(added.spelled_controls(text), [0..5, 5..8, 8..13]);
    }

    #[test]
    fn white_space_is_swallowed() {
        let mut token = AddedToken::new(7, "<x>", true);
        token.lstrip = true;
        token.rstrip = true;
        let added = AddedTokens::new(vec![token], Precedence::Leftmost).unwrap();
        let found = added.find("a \n<x>\u{a0} <x>  ", Controls::Outside(&[]));
        let around: Vec<_> = found.iter().map(|found| found.around.clone()).collect();
        assert_eq!(around, [1..9, 9..14]);
    }

    #[test]
    fn single_words_stand_alone() {
        let mut token = AddedToken::new(7, "yes", false);
        token.single_word = true;
        let added = AddedTokens::new(vec![token], Precedence::Leftmost).unwrap();
        check(
            &added,
            "yes eyes yes! éyes",
            Controls::Nowhere,
            &[(7, 0..3), (7, 9..12)],
        );
    }

    #[test]
    fn tokens_without_text_are_refused() {
        let empty = AddedTokens::new(vec![AddedToken::new(3, "", true)], Precedence::Leftmost);
        assert!(empty.unwrap_err().to_string().contains("no text"));
        let none = AddedTokens::new(Vec::new(), Precedence::Leftmost).unwrap();
        check(&none, "text", Controls::Nowhere, &[]);
    }
}
