//! Settings of the sampler, and their ranges.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// How the next token is chosen. What is not given does nothing.
///
/// The steps are those of transformers' `GenerationMixin._get_logits_processor`, in its order: bias,
/// repetition penalty, \[frequency and presence penalty,\] temperature, top-k, top-p, min-p. The two
/// penalties in brackets do not exist there; they have OpenAI's definition and vLLM's place.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Divides the scores; 0 chooses the highest score, the lowest id among equals. 0 to 100.
    pub temperature: f64,
    /// Keeps this many of the highest scores, and what equals the last of them (Fan et al. 2018);
    /// 0 keeps all.
    pub top_k: u32,
    /// Keeps the smallest set of tokens that holds this much probability (Holtzman et al. 2020), the
    /// lowest ids among equals. Above 0, at most 1; 1 keeps all.
    pub top_p: f64,
    /// Keeps the tokens that have at least this fraction of the highest probability (Nguyen et al.
    /// 2024). 0 to 1; 0 keeps all.
    pub min_p: f64,
    /// Divides the positive scores of every token of prompt and reply, and multiplies the negative
    /// ones (Keskar et al. 2019). Above 0, at most 100; 1 does nothing.
    pub repetition_penalty: f64,
    /// Taken off the score of every token that the reply already has. −2 to 2.
    pub presence_penalty: f64,
    /// Taken off a token's score once for each time the reply has it. −2 to 2.
    pub frequency_penalty: f64,
    /// Added to the scores of single tokens, before anything else. −100 to 100.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Seed of the generator; the same seed gives the same tokens.
    pub seed: u64,
}

impl Default for Sampling {
    /// The model's own distribution: temperature 1 and nothing else.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            ..Self::GREEDY
        }
    }
}

impl Sampling {
    /// The most likely token, the lowest id among equals.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        logit_bias: BTreeMap::new(),
        seed: 0,
    };

    /// Checks every range. NaN is in none.
    ///
    /// # Errors
    /// [`Error::Sampling`] for the first setting out of range.
    pub fn check(&self) -> Result<()> {
        let above_0 = |value: f64, most: f64| value > 0.0 && value <= most;
        let checks = [
            (
                "temperature",
                self.temperature,
                (0.0..=100.0).contains(&self.temperature),
                "0 to 100",
            ),
            (
                "top_p",
                self.top_p,
                above_0(self.top_p, 1.0),
                "above 0, at most 1",
            ),
            (
                "min_p",
                self.min_p,
                (0.0..=1.0).contains(&self.min_p),
                "0 to 1",
            ),
            (
                "repetition_penalty",
                self.repetition_penalty,
                above_0(self.repetition_penalty, 100.0),
                "above 0, at most 100",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                (-2.0..=2.0).contains(&self.presence_penalty),
                "-2 to 2",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                (-2.0..=2.0).contains(&self.frequency_penalty),
                "-2 to 2",
            ),
        ];
        let biases = self.logit_bias.values().map(|&bias| {
            (
                "logit_bias",
                f64::from(bias),
                (-100.0..=100.0).contains(&bias),
                "-100 to 100",
            )
        });
        match checks.into_iter().chain(biases).find(|check| !check.2) {
            Some((name, value, _, expected)) => Err(Error::Sampling {
                name,
                value,
                expected,
            }),
            None => Ok(()),
        }
    }
}
