//! Poolings: how the logits of a reply's tokens become one.

mod last;
mod max;
mod mean;

use std::fmt;

use crate::error::{Error, Result};

/// Every pooling, in the order `candor train --help` shows them.
pub const POOLINGS: &[&dyn Pooling] = &[&mean::Mean, &max::Max, &last::Last];

/// A way of turning token logits into one logit.
pub trait Pooling: fmt::Debug + Sync {
    /// Name in files and flags, for example `mean`.
    fn name(&self) -> &'static str;

    /// One sentence for help texts.
    fn describe(&self) -> &'static str;

    /// The pooled logit of `logits: [token]`, all finite; `None` where there is no token.
    fn pool(&self, logits: &[f32]) -> Option<f32>;

    /// A state that has seen no token.
    fn start(&self) -> Box<dyn PoolingState>;
}

/// A pooling at work, token by token. After any tokens its value has the bits that
/// [`Pooling::pool`] gives for them.
pub trait PoolingState: fmt::Debug + Send + Sync {
    /// Takes the next token's logit, which is finite.
    fn push(&mut self, logit: f32);

    /// The pooled logit so far; `None` before the first token.
    fn value(&self) -> Option<f32>;

    /// A copy that goes its own way, for snapshots and branches.
    fn clone_box(&self) -> Box<dyn PoolingState>;
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
        let logits = [1.0, -2.0, 4.0, 0.5];
        for (name, expected) in [("mean", 0.875), ("max", 4.0), ("last", 0.5)] {
            assert_eq!(pooling(name).unwrap().pool(&logits), Some(expected));
        }
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

    proptest! {
        #[test]
        fn streamed_equals_batch(
            logits in prop::collection::vec(-1.0e6f32..1.0e6, 1..200),
            cut in 0usize..200,
        ) {
            for pooling in POOLINGS {
                let mut state = pooling.start();
                let mut branch = None;
                for (index, &logit) in logits.iter().enumerate() {
                    if index == cut {
                        branch = Some(state.clone());
                    }
                    state.push(logit);
                    prop_assert_eq!(state.value(), pooling.pool(&logits[..=index]));
                }
                // A copy made on the way is not moved by what came after, and can go on from there.
                if let Some(mut branch) = branch {
                    prop_assert_eq!(branch.value(), pooling.pool(&logits[..cut]));
                    branch.push(7.0);
                    let other: Vec<f32> = logits[..cut].iter().copied().chain([7.0]).collect();
                    prop_assert_eq!(branch.value(), pooling.pool(&other));
                }
            }
        }
    }
}
