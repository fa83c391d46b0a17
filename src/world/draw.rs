//! Choices that follow from a seed.

use std::ops::RangeInclusive;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of choices. The same seed and purpose give the same choices, and what is drawn for one
/// purpose does not move what is drawn for another.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    rng: ChaCha8Rng,
}

impl Draw {
    /// The choices that belong to a seed and a purpose.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // FNV-1a: a stream of its own for each purpose.
        let stream = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        rng.set_stream(stream);
        Self { rng }
    }

    /// A whole number of the range, each equally likely.
    pub(crate) fn whole(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.rng.random_range(range)
    }

    /// An index into a list of `n_items`, which must not be empty.
    pub(crate) fn index(&mut self, n_items: usize) -> usize {
        self.rng.random_range(0..n_items)
    }

    /// One of the items; there must be some.
    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// True in `n` of `of` cases.
    pub(crate) fn chance(&mut self, n: u32, of: u32) -> bool {
        self.whole(1..=of) <= n
    }

    /// The items in another order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_purpose_give_the_same_choices() {
        let draws = |seed, purpose| {
            let mut draw = Draw::new(seed, purpose);
            [0; 8].map(|_| draw.whole(0..=1000))
        };
        assert_eq!(draws(7, "facts"), draws(7, "facts"));
        assert_ne!(draws(7, "facts"), draws(8, "facts"));
        assert_ne!(draws(7, "facts"), draws(7, "names"));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Draw::new(1, "order").shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
