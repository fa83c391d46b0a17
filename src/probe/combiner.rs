//! The combiner: how the logits of several readings become one.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite_f32, check_length};
use crate::reading::Logit;

/// Name of a combiner in `config.json`; its numbers are tensors `combiner.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CombinerKind {
    /// The only reading's logit. No tensors.
    Single,
    /// `Σ weight · logit + bias`. Tensors `combiner.weight [n_readings]`, `combiner.bias [1]`.
    WeightedSum,
}

/// How the logits of several readings become one.
#[derive(Debug, Clone, PartialEq)]
pub enum Combiner {
    /// The only reading's logit, as it is.
    Single,
    /// `Σ weight · logit + bias`.
    WeightedSum {
        /// `[n_readings]`.
        weight: Vec<f32>,
        /// Added to the sum.
        bias: f32,
    },
}

impl Combiner {
    /// Its name in `config.json`.
    pub fn kind(&self) -> CombinerKind {
        match self {
            Self::Single => CombinerKind::Single,
            Self::WeightedSum { .. } => CombinerKind::WeightedSum,
        }
    }

    /// Checks that it takes `n_readings` logits.
    ///
    /// # Errors
    /// [`Error::Length`] if it takes another number; [`Error::NonFinite`] for a weight that is NaN or
    /// infinite.
    pub fn check(&self, n_readings: usize) -> Result<()> {
        match self {
            Self::Single => check_length("readings of a single combiner", 1, n_readings),
            Self::WeightedSum { weight, bias } => {
                check_length("weights of the combiner", n_readings, weight.len())?;
                check_finite_f32("weights of the combiner", weight)?;
                check_finite_f32("biases of the combiner", &[*bias])
            }
        }
    }

    /// The combined logit of `logits: [n_readings]`; sums in f64.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of readings; [`Error::NonFinite`] if the sum overflows f32.
    pub fn combine(&self, logits: &[Logit]) -> Result<Logit> {
        match self {
            Self::Single => {
                check_length("readings of a single combiner", 1, logits.len())?;
                Ok(logits[0])
            }
            Self::WeightedSum { weight, bias } => {
                check_length("logits to combine", weight.len(), logits.len())?;
                let sum: f64 = weight
                    .iter()
                    .zip(logits)
                    .map(|(&weight, logit)| f64::from(weight) * logit.as_f64())
                    .sum();
                let value = (sum + f64::from(*bias)) as f32;
                if value.is_finite() {
                    return Ok(Logit(value));
                }
                Err(Error::NonFinite {
                    what: "combined logits".into(),
                    index: 0,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combines_by_hand() {
        let logits = [Logit(2.0), Logit(-1.0)];
        let sum = Combiner::WeightedSum {
            weight: vec![0.5, 3.0],
            bias: 0.25,
        };
        assert_eq!(sum.combine(&logits).unwrap(), Logit(-1.75));
        assert_eq!(Combiner::Single.combine(&logits[..1]).unwrap(), Logit(2.0));
    }

    #[test]
    fn refuses_another_number_of_readings_and_overflow() {
        let sum = Combiner::WeightedSum {
            weight: vec![f32::MAX],
            bias: 0.0,
        };
        assert!(sum.check(1).is_ok());
        assert!(matches!(sum.check(2), Err(Error::Length { .. })));
        assert!(matches!(
            Combiner::Single.check(2),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            sum.combine(&[Logit(2.0)]),
            Err(Error::NonFinite { .. })
        ));
        assert!(matches!(sum.combine(&[]), Err(Error::Length { .. })));
    }
}
