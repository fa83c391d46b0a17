//! Poolings: how the logits of a reply's tokens become one.

mod ema;
mod last;
mod max;
mod max_rolling_mean;
mod mean;
mod rolling_mean;
mod segment_coherence;
mod softmax;
mod swim;

mod soft_mean;
mod window;

use std::fmt;

use crate::error::{Error, Result};

/// Every pooling, in the order `candor train --help` shows them.
pub const POOLINGS: &[&dyn Pooling] = &[
    &mean::Mean,
    &max::Max,
    &last::Last,
    &rolling_mean::W10,
    &rolling_mean::W40,
    &max_rolling_mean::W10,
    &max_rolling_mean::W40,
    &softmax::Softmax,
    &ema::Ema,
    &swim::Swim,
    &segment_coherence::SegmentCoherence,
];

/// A way of turning token logits into one logit.
pub trait Pooling: fmt::Debug + Sync {
    /// Name in files and flags, for example `mean`.
    fn name(&self) -> &'static str;

    /// One sentence for help texts.
    fn describe(&self) -> &'static str;

    /// The pooled logit of `logits: [token]`, all finite, as it is defined; `None` where there is no
    /// token. Probes score by [`Pooling::start`], token by token.
    fn pool(&self, logits: &[f32]) -> Option<f32>;

    /// A state that has seen no token.
    fn start(&self) -> Box<dyn PoolingState>;
}

/// A pooling at work, token by token. After any tokens its value is what [`Pooling::pool`] gives for
/// them, but for rounding: within 1e-6 of the largest logit.
pub trait PoolingState: fmt::Debug + Send + Sync {
    /// Takes the next token's logit, which is finite.
    fn push(&mut self, logit: f32);

    /// The pooled logit so far; `None` before the first token.
    fn value(&self) -> Option<f32>;

    /// A copy that goes its own way, for snapshots and branches.
    fn clone_box(&self) -> Box<dyn PoolingState>;

    /// Bytes in memory; no state of this crate has any elsewhere.
    fn n_bytes(&self) -> usize {
        size_of_val(self)
    }
}

impl Clone for Box<dyn PoolingState> {
    fn clone(&self) -> Self {
        self.as_ref().clone_box()
    }
}

/// The pooling with this name.
///
/// # Errors
/// [`Error::UnknownName`] if there is none.
pub fn pooling(name: &str) -> Result<&'static dyn Pooling> {
    POOLINGS
        .iter()
        .copied()
        .find(|pooling| pooling.name() == name)
        .ok_or_else(|| Error::UnknownName {
            registry: "pooling",
            name: name.to_owned(),
            known: POOLINGS
                .iter()
                .map(|pooling| pooling.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_by_hand() {
        let check = |name: &str, logits: &[f32], expected: f32| {
            let pooled = pooling(name).unwrap().pool(logits).unwrap();
            assert!((pooled - expected).abs() < 1e-5, "{name}: {pooled}");
        };
        let logits = [1.0, -2.0, 4.0, 0.5];
        for (name, expected) in [("mean", 0.875), ("max", 4.0), ("last", 0.5)] {
            check(name, &logits, expected);
        }
        // No window is full: each of them is the mean.
        for name in [
            "rolling-mean-10",
            "rolling-mean-40",
            "max-rolling-mean-10",
            "max-rolling-mean-40",
            "swim",
            "segment-coherence",
        ] {
            check(name, &logits, 0.875);
        }
        // Weights 1 and e^(−1) at temperature 5: 5 / (1 + e^(−1)).
        check("softmax", &[5.0, 0.0], 3.655_293);
        // 17 · 15/17, then 15 · 15/17 + 17 · 2/17: the first is the largest.
        check("ema", &[17.0, 0.0, 17.0], 17.0);
        check("ema", &[0.0, 17.0, 17.0], 2.0 + 30.0 / 17.0);
        // Ten tokens at 1 and ten at 3 after twenty at 0.
        let steps: Vec<f32> = [[0.0; 20].as_slice(), &[1.0; 10], &[3.0; 10], &[0.0; 5]].concat();
        check("rolling-mean-10", &steps, 1.5);
        check("max-rolling-mean-10", &steps, 3.0);
        check("rolling-mean-40", &steps, 1.0);
        check("max-rolling-mean-40", &steps, 1.0);
        // Two windows of 16 tokens: means 0 and 1, weights 1 and e.
        let seventeen: Vec<f32> = [[0.0; 16].as_slice(), &[16.0]].concat();
        check("swim", &seventeen, 0.731_058_6);
        check("segment-coherence", &seventeen, 0.5);
        // Ten windows, one spike in the last eight of them: means 0, 0 and eight times 1.
        let late: Vec<f32> = [[0.0; 17].as_slice(), &[16.0], &[0.0; 7]].concat();
        check("segment-coherence", &late, 1.0);
    }

    #[test]
    fn nothing_pools_to_nothing_and_one_token_to_itself() {
        for pooling in POOLINGS {
            assert_eq!(pooling.pool(&[]), None);
            assert_eq!(pooling.start().value(), None);
            assert_eq!(pooling.pool(&[-3.25]), Some(-3.25));
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for registered in POOLINGS {
            assert_eq!(
                pooling(registered.name()).unwrap().describe(),
                registered.describe()
            );
            let same = POOLINGS.iter().filter(|p| p.name() == registered.name());
            assert_eq!(same.count(), 1);
        }
        assert!(matches!(pooling("median"), Err(Error::UnknownName { .. })));
    }

    fn close(a: Option<f32>, b: Option<f32>, logits: &[f32]) -> bool {
        let largest = logits.iter().fold(1e-30, |max: f32, z| max.max(z.abs()));
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * largest,
            (a, b) => a == b,
        }
    }

    proptest! {
        #[test]
        fn streamed_equals_batch(
            logits in prop::collection::vec(-1.0f32..1.0, 1..200),
            unit in prop::sample::select(vec![1e-3f32, 1.0, 30.0, 1e6]),
            cut in 0usize..200,
        ) {
            let logits: Vec<f32> = logits.into_iter().map(|z| z * unit).collect();
            for pooling in POOLINGS {
                let mut state = pooling.start();
                let mut branch = None;
                for (index, &logit) in logits.iter().enumerate() {
                    if index == cut {
                        branch = Some(state.clone());
                    }
                    state.push(logit);
                    let seen = &logits[..=index];
                    let (streamed, batch) = (state.value(), pooling.pool(seen));
                    prop_assert!(
                        close(streamed, batch, seen),
                        "{} after {} tokens: {:?} {:?}", pooling.name(), index + 1, streamed, batch
                    );
                }
                // A copy made on the way is not moved by what came after, and can go on from there.
                if let Some(mut branch) = branch {
                    let other: Vec<f32> = logits[..cut].iter().copied().chain([0.7 * unit]).collect();
                    prop_assert!(close(branch.value(), pooling.pool(&logits[..cut]), &other));
                    branch.push(0.7 * unit);
                    prop_assert!(close(branch.value(), pooling.pool(&other), &other));
                }
            }
        }
    }
}
