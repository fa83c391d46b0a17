//! Tokens to text, piece by piece, without breaking a character that is spread over tokens.

use crate::error::Result;

/// Tokens that are waited for before bytes that are no character are let through as `U+FFFD`. A
/// character has at most four bytes.
const MAX_OPEN: usize = 8;

/// Tokens that are decoded again for the sake of the next one.
const MAX_WINDOW: usize = 32;

/// Turns a growing list of tokens into text.
///
/// The pieces together are what decoding the whole list gives. Every piece is decoded with the tokens
/// of the piece before it, since some tokenizers leave out a space at the beginning of a text.
#[derive(Clone, Default)]
pub(super) struct TokenText {
    /// Tokens of the last piece, then those whose text is still open.
    window: Vec<u32>,
    /// Tokens of the last piece.
    n_done: usize,
    /// Their text.
    done: String,
}

/// Text that is now certain.
#[derive(Default)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Where each of its tokens begins, in bytes of the text. A token within a character begins where
    /// the character does.
    pub(super) starts: Vec<usize>,
}

impl std::fmt::Debug for TokenText {
    /// Sizes only: texts are user data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenText")
            .field("n_done", &self.n_done)
            .field("n_open", &(self.window.len() - self.n_done))
            .finish_non_exhaustive()
    }
}

impl TokenText {
    /// Takes the next token and returns the text that is now certain; none within a character.
    ///
    /// # Errors
    /// What `decode` reports.
    pub(super) fn push(
        &mut self,
        token: u32,
        decode: impl Fn(&[u32]) -> Result<String>,
    ) -> Result<Piece> {
        self.window.push(token);
        let text = decode(&self.window)?;
        let is_open = text.ends_with(char::REPLACEMENT_CHARACTER);
        if is_open && self.window.len() - self.n_done < MAX_OPEN {
            return Ok(Piece::default());
        }
        self.close(&text, &decode)
    }

    /// Returns the text of an unfinished character, as `U+FFFD`.
    ///
    /// # Errors
    /// What `decode` reports.
    pub(super) fn finish(&mut self, decode: impl Fn(&[u32]) -> Result<String>) -> Result<Piece> {
        if self.window.len() == self.n_done {
            return Ok(Piece::default());
        }
        let text = decode(&self.window)?;
        self.close(&text, &decode)
    }

    /// Everything in the window, whose text is `text`, is done.
    fn close(&mut self, text: &str, decode: &impl Fn(&[u32]) -> Result<String>) -> Result<Piece> {
        let first = n_shared(&self.done, text);
        let mut starts = vec![0];
        for end in self.n_done + 1..self.window.len() {
            let start = n_shared(&decode(&self.window[..end])?, text).saturating_sub(first);
            starts.push(start.max(starts[starts.len() - 1]));
        }
        let text = text[first..].to_owned();
        // A token without text, such as a control token, is no context for the next one.
        if !text.is_empty() || self.window.len() > MAX_WINDOW {
            self.window.drain(..self.n_done);
        }
        self.n_done = self.window.len();
        self.done = decode(&self.window)?;
        Ok(Piece { text, starts })
    }
}

/// Bytes of the characters with which both texts begin.
fn n_shared(a: &str, b: &str) -> usize {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    same.map(|(a, _)| a.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tokenizer of bytes, as byte-level BPE is one.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "stands in for a tokenizer's decode"
    )]
    fn bytes(tokens: &[u32]) -> Result<String> {
        let bytes: Vec<u8> = tokens.iter().map(|&token| token as u8).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A tokenizer whose every token begins with a space, except the first of a text.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "stands in for a tokenizer's decode"
    )]
    fn spaced(tokens: &[u32]) -> Result<String> {
        let words: Vec<String> = tokens.iter().map(|token| format!("w{token}")).collect();
        Ok(words.join(" "))
    }

    fn pieces(tokens: &[u32], decode: fn(&[u32]) -> Result<String>) -> Vec<String> {
        let mut text = TokenText::default();
        let mut pieces: Vec<String> = tokens
            .iter()
            .map(|&token| text.push(token, decode).unwrap().text)
            .collect();
        pieces.push(text.finish(decode).unwrap().text);
        pieces
    }

    #[test]
    fn a_character_over_tokens_comes_whole() {
        let tokens: Vec<u32> = "a☃b".bytes().map(u32::from).collect();
        assert_eq!(pieces(&tokens, bytes), ["a", "", "", "☃", "b", ""]);
        let cut: Vec<u32> = "a☃".bytes().map(u32::from).take(3).collect();
        assert_eq!(pieces(&cut, bytes), ["a", "", "", "\u{fffd}"]);
    }

    #[test]
    fn tokens_begin_where_their_characters_do() {
        let mut text = TokenText::default();
        let mut starts = Vec::new();
        // Broken, broken and then whole: the last two tokens are the character.
        for token in [0xc3, 0xc3, 0xa9] {
            starts.extend(text.push(token, bytes).unwrap().starts);
        }
        assert_eq!(starts, [0, 3, 3]);
    }

    #[test]
    fn spaces_between_pieces_are_kept() {
        assert_eq!(pieces(&[1, 2, 3], spaced), ["w1", " w2", " w3", ""]);
    }

    #[test]
    fn bytes_that_are_no_text_are_not_held_for_ever() {
        let shown = pieces(&[0xff; 20], bytes);
        assert!(shown[7].starts_with('\u{fffd}'));
        assert_eq!(shown.concat(), "\u{fffd}".repeat(20));
    }

    proptest! {
        #[test]
        fn pieces_together_are_the_text(text in "[a é☃😀]{0,20}") {
            let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
            let shown = pieces(&tokens, bytes);
            prop_assert_eq!(shown.concat(), text);
            prop_assert!(shown.iter().all(|piece| !piece.contains(char::REPLACEMENT_CHARACTER)));
        }

        #[test]
        fn any_bytes_are_decoded_as_at_once(tokens in prop::collection::vec(0u32..256, 0..40)) {
            let shown = pieces(&tokens, bytes).concat();
            // Only where more bytes than a character has are no text may the pieces fall elsewhere.
            let whole = bytes(&tokens).unwrap();
            if !whole.contains("\u{fffd}\u{fffd}\u{fffd}") {
                prop_assert_eq!(shown, whole);
            }
        }
    }
}
