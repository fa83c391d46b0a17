//! Words and word pairs, weighted by how rare they are (science reference, D4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Error;
use crate::words::words;

/// Texts that a term must occur in to be counted.
const MIN_DF: usize = 2;
/// Characters that a word must have, as in scikit-learn's default pattern.
const MIN_WORD_CHARS: usize = 2;

/// Weights of words and word pairs, fitted on some texts: scikit-learn's
/// `TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)`.
///
/// Term frequency is `1 + ln(count)`, inverse document frequency `ln((1 + n) / (1 + df)) + 1`, rows
/// have length 1. The one difference: a Chinese or Japanese character is a word of its own, where
/// scikit-learn would take a whole clause for one word.
///
/// Fit on the training texts only; a term that they do not hold is ignored later.
///
/// ```
/// use candor_dataset::TfIdf;
///
/// let tfidf = TfIdf::fit(&["the log is empty", "the log is full", "nothing"])?;
/// assert_eq!(tfidf.terms(), ["is", "log", "log is", "the", "the log"]);
/// assert_eq!(tfidf.transform("an empty log"), [0.0, 1.0, 0.0, 0.0, 0.0]);
/// # Ok::<(), candor_dataset::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TfIdf {
    /// Sorted, so that columns do not depend on the order of texts.
    terms: Vec<String>,
    /// One per term.
    idf: Vec<f64>,
    /// Column of each term.
    column_of: HashMap<String, usize>,
}

impl TfIdf {
    /// Learns the terms of some texts and how rare they are.
    ///
    /// # Errors
    /// [`Error::NoTerms`] if no term occurs in two texts.
    pub fn fit(texts: &[&str]) -> Result<Self, Error> {
        let mut n_texts_with: BTreeMap<String, usize> = BTreeMap::new();
        for text in texts {
            let distinct: BTreeSet<String> = terms(text).into_iter().collect();
            for term in distinct {
                *n_texts_with.entry(term).or_default() += 1;
            }
        }
        n_texts_with.retain(|_, n| *n >= MIN_DF);
        if n_texts_with.is_empty() {
            return Err(Error::NoTerms {
                n_texts: texts.len(),
                min_df: MIN_DF,
            });
        }
        let n = texts.len() as f64;
        let idf = n_texts_with
            .values()
            .map(|df| ((1.0 + n) / (1.0 + *df as f64)).ln() + 1.0)
            .collect();
        let terms: Vec<String> = n_texts_with.into_keys().collect();
        let column_of = terms
            .iter()
            .enumerate()
            .map(|(column, term)| (term.clone(), column))
            .collect();
        Ok(Self {
            terms,
            idf,
            column_of,
        })
    }

    /// The terms, one per column.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// A text's row, one weight per term; all zero for a text without a known term.
    pub fn transform(&self, text: &str) -> Vec<f32> {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
        for term in terms(text) {
            if let Some(column) = self.column_of.get(&term) {
                *counts.entry(*column).or_default() += 1.0;
            }
        }
        for (column, value) in &mut counts {
            *value = (1.0 + value.ln()) * self.idf[*column];
        }
        let norm = counts
            .values()
            .map(|value| value * value)
            .sum::<f64>()
            .sqrt();
        let mut row = vec![0.0; self.terms.len()];
        for (column, value) in counts {
            row[column] = (value / norm) as f32;
        }
        row
    }
}

/// Every word, then every pair of neighbours.
fn terms(text: &str) -> Vec<String> {
    let mut terms = words(text, MIN_WORD_CHARS);
    let pairs: Vec<String> = terms.windows(2).map(|pair| pair.join(" ")).collect();
    terms.extend(pairs);
    terms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// Made by `tests/fixtures/tfidf/make_fixture.py` with scikit-learn 1.9.1.
    const FIXTURE: &str = include_str!("../../../tests/fixtures/tfidf/expected.json");

    #[derive(Deserialize)]
    struct Fixture {
        train: Vec<String>,
        other: Vec<String>,
        terms: Vec<String>,
        idf: Vec<f64>,
        train_rows: Vec<Vec<f64>>,
        other_rows: Vec<Vec<f64>>,
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let fixture: Fixture = serde_json::from_str(FIXTURE).unwrap();
        let train: Vec<&str> = fixture.train.iter().map(String::as_str).collect();
        let tfidf = TfIdf::fit(&train).unwrap();
        assert_eq!(tfidf.terms(), fixture.terms);
        for (found, expected) in tfidf.idf.iter().zip(&fixture.idf) {
            assert!((found - expected).abs() < 1e-12);
        }
        let texts = fixture.train.iter().chain(&fixture.other);
        let rows = fixture.train_rows.iter().chain(&fixture.other_rows);
        for (text, expected) in texts.zip(rows) {
            let row = tfidf.transform(text);
            assert_eq!(row.len(), expected.len());
            for (found, expected) in row.iter().zip(expected) {
                // Rows are stored as f32, so seven digits are all there is.
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{text}");
            }
        }
    }

    #[test]
    fn chinese_texts_share_terms() {
        let tfidf = TfIdf::fit(&["我没有复制自己", "它没有停止", "好"]).unwrap();
        assert_eq!(tfidf.terms(), ["有", "没", "没 有"]);
    }

    #[test]
    fn texts_that_share_nothing_are_refused() {
        for texts in [
            &[][..],
            &["one text"],
            &["some words", "other text"],
            &["", "a b c"],
        ] {
            assert!(matches!(
                TfIdf::fit(texts),
                Err(Error::NoTerms { min_df: 2, .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn rows_have_length_one_or_none(texts in proptest::collection::vec("[a-c]{2} [a-c]{2}( x{2,3})?", 4..9), other in any::<String>()) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).chain(["so so", "so be"]).collect();
            let tfidf = TfIdf::fit(&texts).unwrap();
            for text in texts.iter().copied().chain([other.as_str()]) {
                let row = tfidf.transform(text);
                let norm: f32 = row.iter().map(|value| value * value).sum();
                prop_assert!(norm == 0.0 || (norm - 1.0).abs() < 1e-5);
            }
        }
    }
}
