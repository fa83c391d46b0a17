//! What a word is, for grading, features and near-duplicates alike.

/// Whether a character is part of a word.
///
/// Python's `\w`, up to a few combining marks.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a character belongs to a script that does not set words apart: Han and kana.
///
/// Hangul is not among them: Korean writes spaces.
pub(crate) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3005}'..='\u{3007}'       // iteration mark, closing mark, zero
        | '\u{3040}'..='\u{30ff}'     // hiragana, katakana
        | '\u{3400}'..='\u{4dbf}'     // extension A
        | '\u{4e00}'..='\u{9fff}'     // unified ideographs
        | '\u{f900}'..='\u{faff}'     // compatibility ideographs
        | '\u{20000}'..='\u{323af}'   // extensions B to H
    ) && is_word(c)
}

/// The words of a text in lower case: runs of word characters, each CJK character by itself.
///
/// Runs shorter than `min_chars` are left out; a CJK character always counts.
pub(crate) fn words(text: &str, min_chars: usize) -> Vec<String> {
    let mut words = Vec::new();
    let (mut run, mut n_chars) = (String::new(), 0);
    let text = text.to_lowercase();
    for c in text.chars().chain(std::iter::once(' ')) {
        if is_word(c) && !is_cjk(c) {
            run.push(c);
            n_chars += 1;
            continue;
        }
        if n_chars >= min_chars.max(1) {
            words.push(std::mem::take(&mut run));
        }
        run.clear();
        n_chars = 0;
        if is_cjk(c) {
            words.push(c.to_string());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_and_cjk_characters() {
        assert_eq!(
            words("It's 3.5 km, OK_2?", 1),
            ["it", "s", "3", "5", "km", "ok_2"]
        );
        assert_eq!(words("It's 3.5 km, OK_2?", 2), ["it", "km", "ok_2"]);
        assert_eq!(words("我有GPU两块。", 2), ["我", "有", "gpu", "两", "块"]);
        assert_eq!(words("한국어 단어", 2), ["한국어", "단어"]);
        assert_eq!(words("", 1), [""; 0]);
    }
}
