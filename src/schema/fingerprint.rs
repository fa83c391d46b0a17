//! What makes two models the same to a probe.

use serde::{Deserialize, Serialize};

use crate::FormatVersion;

/// Identity of a loaded model, recorded in every store and bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelFingerprint {
    /// Version of this record.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub format_version: FormatVersion,
    /// Name of the base model, for example `SmolLM2-135M-Instruct`.
    pub base: String,
    /// Architecture, for example `llama`.
    pub architecture: String,
    /// SHA-256 of the canonical JSON of the decoder's sizes and constants.
    pub config_sha256: String,
    /// SHA-256 of the weight file's bytes.
    pub weights_sha256: String,
    /// Type that most weights are stored in, for example `Q4_1`.
    pub quantisation: String,
    /// SHA-256 of vocabulary, merges, token types and pre-tokeniser.
    pub tokenizer_sha256: String,
    /// SHA-256 of the chat template's text, or of nothing where the model has none.
    pub template_sha256: String,
    /// Low-rank adapters in use.
    #[serde(default)]
    pub adapters: Vec<Adapter>,
    /// Arithmetic of the forward pass, for example `f32`.
    pub compute: String,
}

/// A low-rank adapter applied to a base model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Adapter {
    /// SHA-256 of its weights.
    pub sha256: String,
    /// Factor on its contribution.
    pub scale: f64,
}

/// How closely a loaded model matches the one that a probe was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProbeMatch {
    /// All fields are equal.
    Exact,
    /// Only the weights' quantisation or the arithmetic differ.
    Requantised,
    /// Only the adapters differ.
    Adapted,
    /// Anything else; an error unless a transfer is allowed.
    Transferred,
}

impl ModelFingerprint {
    /// How closely `loaded` matches `self`, the fingerprint recorded in a bundle.
    pub fn compare(&self, loaded: &Self) -> ProbeMatch {
        let same_model = self.base == loaded.base
            && self.architecture == loaded.architecture
            && self.config_sha256 == loaded.config_sha256
            && self.tokenizer_sha256 == loaded.tokenizer_sha256
            && self.template_sha256 == loaded.template_sha256;
        let same_weights = self.weights_sha256 == loaded.weights_sha256
            && self.quantisation == loaded.quantisation
            && self.compute == loaded.compute;
        // Different weights of one type and arithmetic are another fine-tune, not another rounding.
        let requantised = self.quantisation != loaded.quantisation
            || (self.weights_sha256 == loaded.weights_sha256 && self.compute != loaded.compute);
        match (same_model, same_weights, self.adapters == loaded.adapters) {
            (true, true, true) => ProbeMatch::Exact,
            (true, true, false) => ProbeMatch::Adapted,
            (true, false, true) if requantised => ProbeMatch::Requantised,
            _ => ProbeMatch::Transferred,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint() -> ModelFingerprint {
        ModelFingerprint {
            format_version: FormatVersion::CURRENT,
            base: "m".into(),
            architecture: "llama".into(),
            config_sha256: "c".into(),
            weights_sha256: "w".into(),
            quantisation: "Q4_1".into(),
            tokenizer_sha256: "t".into(),
            template_sha256: "p".into(),
            adapters: Vec::new(),
            compute: "f32".into(),
        }
    }

    #[test]
    fn match_levels() {
        let recorded = fingerprint();
        assert_eq!(recorded.compare(&fingerprint()), ProbeMatch::Exact);

        let requantised = ModelFingerprint {
            weights_sha256: "v".into(),
            quantisation: "Q8_0".into(),
            ..fingerprint()
        };
        assert_eq!(recorded.compare(&requantised), ProbeMatch::Requantised);
        let compute = ModelFingerprint {
            compute: "bf16".into(),
            ..fingerprint()
        };
        assert_eq!(recorded.compare(&compute), ProbeMatch::Requantised);

        let adapted = ModelFingerprint {
            adapters: vec![Adapter {
                sha256: "a".into(),
                scale: 1.0,
            }],
            ..fingerprint()
        };
        assert_eq!(recorded.compare(&adapted), ProbeMatch::Adapted);

        let fine_tuned = ModelFingerprint {
            weights_sha256: "v".into(),
            ..fingerprint()
        };
        assert_eq!(recorded.compare(&fine_tuned), ProbeMatch::Transferred);
        let tokenizer = ModelFingerprint {
            tokenizer_sha256: "u".into(),
            ..fingerprint()
        };
        assert_eq!(recorded.compare(&tokenizer), ProbeMatch::Transferred);
    }
}
