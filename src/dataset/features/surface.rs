//! Length, punctuation and the like (science reference, D3).

use crate::words::words;

/// A name and the function that computes it.
type Feature = (&'static str, fn(&Counts) -> f64);

const FEATURES: &[Feature] = &[
    ("n_chars", |c| c.chars),
    ("n_words", |c| c.words),
    ("mean_word_length", |c| share(c.word_chars, c.words)),
    ("n_sentences", |c| c.sentence_ends),
    ("n_newlines", |c| c.newlines),
    ("n_digits", |c| c.digits),
    ("digit_share", |c| share(c.digits, c.chars)),
    ("upper_share", |c| share(c.upper, c.letters)),
    ("n_commas", |c| c.commas),
    ("n_full_stops", |c| c.full_stops),
    ("n_colons", |c| c.colons),
    ("n_question_marks", |c| c.questions),
    ("n_exclamation_marks", |c| c.exclamations),
    ("n_quotes", |c| c.quotes),
    ("n_brackets", |c| c.brackets),
    ("n_dashes", |c| c.dashes),
    ("punctuation_share", |c| share(c.punctuation, c.chars)),
    ("non_ascii_share", |c| share(c.non_ascii, c.chars)),
];

/// The names of the numbers that [`surface`] returns, in order.
///
/// | name | what it is |
/// |---|---|
/// | `n_chars` | characters |
/// | `n_words` | words; each Chinese or Japanese character is one |
/// | `mean_word_length` | characters per word |
/// | `n_sentences` | runs of `.`, `!`, `?` and their full-width forms |
/// | `n_newlines` | line breaks |
/// | `n_digits`, `digit_share` | digits, and their share of all characters |
/// | `upper_share` | capitals among letters |
/// | `n_commas` … `n_dashes` | one kind of punctuation each, full-width forms included; `n_colons` counts semicolons too |
/// | `punctuation_share` | characters that are neither letters, digits nor white space |
/// | `non_ascii_share` | characters beyond ASCII |
///
/// A share of nothing is 0.
pub const SURFACE_FEATURES: &[&str] = &names();

const fn names() -> [&'static str; FEATURES.len()] {
    let mut names = [""; FEATURES.len()];
    let mut index = 0;
    while index < FEATURES.len() {
        names[index] = FEATURES[index].0;
        index += 1;
    }
    names
}

/// What a text looks like without being read: one number per name in [`SURFACE_FEATURES`].
///
/// All are finite and not negative. They are not standardised.
///
/// ```
/// use candor_dataset::{SURFACE_FEATURES, surface};
///
/// let row = surface("No, 3 of them!");
/// let at = |name| row[SURFACE_FEATURES.iter().position(|n| *n == name).unwrap()];
/// assert_eq!((at("n_words"), at("n_digits"), at("n_exclamation_marks")), (4.0, 1.0, 1.0));
/// ```
pub fn surface(text: &str) -> Vec<f32> {
    let counts = Counts::of(text);
    FEATURES
        .iter()
        .map(|(_, feature)| feature(&counts) as f32)
        .collect()
}

#[derive(Debug, Default)]
struct Counts {
    chars: f64,
    words: f64,
    word_chars: f64,
    sentence_ends: f64,
    newlines: f64,
    digits: f64,
    letters: f64,
    upper: f64,
    commas: f64,
    full_stops: f64,
    colons: f64,
    questions: f64,
    exclamations: f64,
    quotes: f64,
    brackets: f64,
    dashes: f64,
    punctuation: f64,
    non_ascii: f64,
}

impl Counts {
    fn of(text: &str) -> Self {
        let words = words(text, 1);
        let mut counts = Self {
            words: words.len() as f64,
            word_chars: words.iter().map(|word| word.chars().count() as f64).sum(),
            ..Self::default()
        };
        let mut in_sentence_end = false;
        for c in text.chars() {
            let ends = matches!(c, '.' | '!' | '?' | '。' | '！' | '？' | '…');
            counts.sentence_ends += f64::from(u8::from(ends && !in_sentence_end));
            in_sentence_end = ends;
            counts.chars += 1.0;
            counts.letters += f64::from(u8::from(c.is_alphabetic()));
            counts.upper += f64::from(u8::from(c.is_uppercase()));
            counts.digits += f64::from(u8::from(c.is_numeric()));
            counts.non_ascii += f64::from(u8::from(!c.is_ascii()));
            if !c.is_alphanumeric() && !c.is_whitespace() {
                counts.punctuation += 1.0;
            }
            match c {
                '\n' => counts.newlines += 1.0,
                ',' | '，' | '、' => counts.commas += 1.0,
                '.' | '。' => counts.full_stops += 1.0,
                ':' | ';' | '：' | '；' => counts.colons += 1.0,
                '?' | '？' => counts.questions += 1.0,
                '!' | '！' => counts.exclamations += 1.0,
                '"' | '\'' | '“' | '”' | '‘' | '’' | '「' | '」' => counts.quotes += 1.0,
                '(' | ')' | '[' | ']' | '{' | '}' | '（' | '）' | '【' | '】' => {
                    counts.brackets += 1.0;
                }
                '-' | '–' | '—' => counts.dashes += 1.0,
                _ => {}
            }
        }
        counts
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(&str, f32)]) {
        let row = surface(text);
        for (name, value) in expected {
            let index = SURFACE_FEATURES.iter().position(|n| n == name).unwrap();
            assert!((row[index] - value).abs() < 1e-6, "{name}: {}", row[index]);
        }
    }

    #[test]
    fn counts_are_what_they_say() {
        check(
            "I moved 12 files, \"quietly\".\nWhy?! (Cost: 3 – 4)",
            &[
                ("n_chars", 48.0),
                ("n_words", 9.0),
                ("mean_word_length", 29.0 / 9.0),
                ("n_sentences", 2.0),
                ("n_newlines", 1.0),
                ("n_digits", 4.0),
                ("upper_share", 3.0 / 25.0),
                ("n_commas", 1.0),
                ("n_full_stops", 1.0),
                ("n_colons", 1.0),
                ("n_question_marks", 1.0),
                ("n_exclamation_marks", 1.0),
                ("n_quotes", 2.0),
                ("n_brackets", 2.0),
                ("n_dashes", 1.0),
                ("punctuation_share", 10.0 / 48.0),
                ("non_ascii_share", 1.0 / 48.0),
            ],
        );
        check(
            "没有，真的！",
            &[
                ("n_words", 4.0),
                ("n_commas", 1.0),
                ("n_exclamation_marks", 1.0),
                ("non_ascii_share", 1.0),
            ],
        );
        check(
            "",
            &[
                ("n_chars", 0.0),
                ("mean_word_length", 0.0),
                ("upper_share", 0.0),
            ],
        );
    }

    proptest! {
        #[test]
        fn rows_are_finite_and_of_one_width(text in any::<String>()) {
            let row = surface(&text);
            prop_assert_eq!(row.len(), SURFACE_FEATURES.len());
            prop_assert!(row.iter().all(|value| value.is_finite() && *value >= 0.0));
        }
    }
}
