//! Runs of words as numbers, for finding texts that share them.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Hashes of every run of `n` words; none for fewer words.
pub(crate) fn shingles(words: &[String], n: usize) -> BTreeSet<u64> {
    words.windows(n).map(shingle).collect()
}

/// The hash of one run.
pub(crate) fn shingle(words: &[String]) -> u64 {
    // `DefaultHasher::new` has a fixed key, and nothing of it is stored.
    let mut hasher = DefaultHasher::new();
    words.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;

    #[test]
    fn runs_are_counted_once() {
        let of = |text: &str| shingles(&words(text, 1), 2);
        assert_eq!(of("a b a b").len(), 2);
        assert_eq!(of("a b c").intersection(&of("b c d")).count(), 1);
        assert!(of("a").is_empty());
    }
}
