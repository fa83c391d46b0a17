//! How text is cut before byte-pair merges: one line per `tokenizer.ggml.pre`.
//!
//! The expressions are those of the models' own `tokenizer.json` files (tiktoken's, for most), with
//! one change: `\s+(?!\S)|\s+` is written `\s+`, and [`Cut`] gives the last white space of such a
//! match back, which is what the look-ahead does. So they run on an engine without backtracking,
//! which takes linear time and has no limit after which it stops cutting in silence.

use regex::Regex;
use tokenizers::tokenizer::pattern::Pattern;
use tokenizers::{Offsets, Result as TokenizersResult};

use crate::error::{Error, Result};

/// What one name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    name: &'static str,
    /// Expressions, each applied to the pieces of the one before.
    cuts: &'static [&'static str],
    /// A piece that is a token is that token, without merges (`ignore_merges`).
    pub(super) whole_pieces: bool,
    /// Whether text begins with the beginning-of-text token where the file does not say.
    pub(super) add_bos: bool,
}

const DIGIT: &str = r"\p{N}";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
/// cl100k, as Llama 3, DBRX, `OLMo` 2 and phi-4 use it.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
/// As cl100k, but every digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";

/// Every supported name and what it stands for.
const PRE_TOKENIZERS: &[Pre] = &[
    pre("gpt-2", &[GPT2]),
    pre("olmo", &[GPT2]),
    pre("smollm", &[DIGIT, GPT2]),
    pre("dbrx", &[CL100K]),
    pre("smaug-bpe", &[CL100K]),
    pre("llama-bpe", &[CL100K]).whole_pieces().begins_with_bos(),
    pre("llama3", &[CL100K]).whole_pieces().begins_with_bos(),
    pre("llama-v3", &[CL100K]).whole_pieces().begins_with_bos(),
    pre("qwen2", &[QWEN2]),
    pre("deepseek-r1-qwen", &[QWEN2]),
    pre("tekken", &[TEKKEN]).whole_pieces().begins_with_bos(),
    pre("gpt-4o", &[O200K]),
    pre("llama4", &[O200K]),
];

const fn pre(name: &'static str, cuts: &'static [&'static str]) -> Pre {
    Pre {
        name,
        cuts,
        whole_pieces: false,
        add_bos: false,
    }
}

impl Pre {
    pub(super) fn find(name: &str) -> Result<&'static Self> {
        let entry = PRE_TOKENIZERS.iter().find(|entry| entry.name == name);
        entry.ok_or_else(|| Error::PreTokenizer {
            found: name.to_owned(),
            supported: PRE_TOKENIZERS
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    pub(super) fn cuts(&self) -> Vec<Cut> {
        self.cuts.iter().map(|cut| Cut::new(cut)).collect()
    }

    const fn whole_pieces(self) -> Self {
        Self {
            whole_pieces: true,
            ..self
        }
    }

    const fn begins_with_bos(self) -> Self {
        Self {
            add_bos: true,
            ..self
        }
    }
}

/// One expression of the table, compiled. Every match is a piece, and so is all text between two.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    regex: Regex,
    /// Whether white space up to a line's end is an alternative of its own.
    lines: bool,
}

impl Cut {
    fn new(expression: &str) -> Self {
        Self {
            regex: Regex::new(expression).expect("the table's expressions are valid"),
            lines: expression.contains(r"\s*[\r\n]+"),
        }
    }

    /// Where a match ends once white space has given its last character back to what follows it.
    fn end(&self, text: &str, start: usize, end: usize) -> usize {
        let piece = &text[start..end];
        let mut chars = piece.char_indices();
        let (Some((_, first)), Some((at, last))) = (chars.next(), chars.next_back()) else {
            return end;
        };
        let line_end = self.lines && matches!(last, '\r' | '\n');
        // No alternative but `\s+` begins and ends in white space without ending in a line's end.
        if end < text.len() && first.is_whitespace() && last.is_whitespace() && !line_end {
            start + at
        } else {
            end
        }
    }
}

impl Pattern for &Cut {
    fn find_matches(&self, inside: &str) -> TokenizersResult<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut pieces = Vec::new();
        let mut done = 0;
        while let Some(found) = self.regex.find_at(inside, done) {
            if done < found.start() {
                pieces.push(((done, found.start()), false));
            }
            let end = self.end(inside, found.start(), found.end());
            pieces.push(((found.start(), end), true));
            done = end;
        }
        if done < inside.len() {
            pieces.push(((done, inside.len()), false));
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The expressions as their models' files have them, for an engine with look-ahead.
    fn with_look_ahead(cut: &str) -> tokenizers::utils::SysRegex {
        let cut = match cut.strip_suffix(r"|\s+") {
            Some(rest) => format!(r"{rest}|\s+(?!\S)|\s+"),
            None => cut.to_owned(),
        };
        tokenizers::utils::SysRegex::new(&cut).unwrap()
    }

    proptest! {
        #[test]
        fn giving_white_space_back_equals_the_look_ahead(
            text in "([ \t\n\r\u{a0}\u{3000}]{0,4}[a-zA-Z'ſdé中0-9٣./_🦊\u{301}]{0,3}){0,12}"
        ) {
            for expression in [DIGIT, GPT2, CL100K, QWEN2, TEKKEN, O200K] {
                let own = (&Cut::new(expression)).find_matches(&text).unwrap();
                let reference = (&with_look_ahead(expression)).find_matches(&text).unwrap();
                prop_assert_eq!(own, reference, "{}", expression);
            }
        }
    }

    #[test]
    fn long_white_space_is_cut_as_short() {
        for n in [10, 1_000_000] {
            let text = " ".repeat(n) + "x";
            for expression in [GPT2, CL100K] {
                let pieces = (&Cut::new(expression)).find_matches(&text).unwrap();
                let expected = [((0, n - 1), true), ((n - 1, n + 1), true)];
                assert_eq!(pieces, expected, "{expression}");
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, entry) in PRE_TOKENIZERS.iter().enumerate() {
            let first = PRE_TOKENIZERS
                .iter()
                .position(|other| other.name == entry.name);
            assert_eq!(first, Some(index), "{}", entry.name);
        }
    }
}
