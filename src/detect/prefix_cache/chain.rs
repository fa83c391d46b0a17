//! The key of a prefix: a chain of hashes over (fingerprint, edits, token ids).

use candor_schema::ModelFingerprint;
use sha2::{Digest, Sha256};

use super::PREFIX_BLOCK;

/// Identity of a prefix: of the model, its edits and every token up to the end of a block.
pub(super) type Link = [u8; 32];

/// The links of a text, one per whole block. Tokens after the last whole block are in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    links: Vec<Link>,
}

/// What all texts of a model and its edits begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root(Link);

impl Root {
    /// `edits` tells one set of edits from every other; it is empty where there is none.
    pub(crate) fn new(fingerprint: &ModelFingerprint, edits: &[u8]) -> Self {
        let fingerprint =
            serde_json::to_vec(fingerprint).expect("a struct of numbers and strings serialises");
        let mut hasher = Sha256::new();
        // Lengths, so that no part can be mistaken for the beginning of the next.
        for part in [fingerprint.as_slice(), edits] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The chain of a text.
    pub(crate) fn chain(&self, tokens: &[u32]) -> Chain {
        let mut previous = self.0;
        let links = tokens.chunks_exact(PREFIX_BLOCK).map(|block| {
            let mut hasher = Sha256::new();
            hasher.update(previous);
            for token in block {
                hasher.update(token.to_le_bytes());
            }
            previous = hasher.finalize().into();
            previous
        });
        Chain {
            links: links.collect(),
        }
    }
}

impl Chain {
    /// The links, each one block longer than the last.
    pub(super) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Tokens in whole blocks.
    pub(crate) fn n_tokens(&self) -> usize {
        self.links.len() * PREFIX_BLOCK
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::FormatVersion;
    use proptest::prelude::*;

    use super::*;

    fn fingerprint(weights: &str) -> ModelFingerprint {
        ModelFingerprint {
            format_version: FormatVersion::CURRENT,
            base: "m".into(),
            architecture: "llama".into(),
            config_sha256: "c".into(),
            weights_sha256: weights.into(),
            quantisation: "Q4_1".into(),
            tokenizer_sha256: "t".into(),
            template_sha256: "p".into(),
            adapters: Vec::new(),
            compute: "f32".into(),
        }
    }

    #[test]
    fn another_model_and_other_edits_share_no_link() {
        let tokens = [7; 3 * PREFIX_BLOCK];
        let roots = [
            Root::new(&fingerprint("w"), b""),
            Root::new(&fingerprint("v"), b""),
            Root::new(&fingerprint("w"), b"steer"),
            Root::new(&fingerprint("w"), b"steer2"),
        ];
        let chains: Vec<Chain> = roots.iter().map(|root| root.chain(&tokens)).collect();
        let mut links: Vec<Link> = chains
            .iter()
            .flat_map(|chain| chain.links.clone())
            .collect();
        links.sort_unstable();
        links.dedup();
        assert_eq!(links.len(), 12);
    }

    proptest! {
        #[test]
        fn links_are_shared_as_far_as_the_tokens_are(
            a in prop::collection::vec(0u32..3, 0..80),
            b in prop::collection::vec(0u32..3, 0..80),
            n_shared in 0usize..80,
        ) {
            let b: Vec<u32> = a.iter().take(n_shared).copied().chain(b).collect();
            let root = Root::new(&fingerprint("w"), b"");
            let n_tokens = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            let (a, b) = (root.chain(&a), root.chain(&b));
            let n_links = a.links.iter().zip(&b.links).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(n_links, n_tokens / PREFIX_BLOCK);
        }
    }
}
