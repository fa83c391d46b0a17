//! Activation addition (Turner et al. 2023, arXiv 2308.10248): `x ← x + α·v`.

use candor_schema::HookPoint;

use crate::edit::Edit;

pub(super) const KIND: (&str, &str) = ("steer", "add a multiple of a direction at every position");

/// Adds `alpha · direction`. With `alpha = 0` nothing changes, to the bit.
#[derive(Debug, Clone)]
pub struct Steer {
    /// Where it edits.
    pub point: HookPoint,
    /// The direction, `[width]`.
    pub direction: Vec<f32>,
    /// Its factor.
    pub alpha: f32,
}

impl Edit for Steer {
    fn point(&self) -> HookPoint {
        self.point
    }

    fn width(&self) -> usize {
        self.direction.len()
    }

    fn apply(&self, _position: usize, vector: &mut [f32]) {
        // Adding `0 · v` would turn -0 into +0.
        if self.alpha == 0.0 {
            return;
        }
        for (x, v) in vector.iter_mut().zip(&self.direction) {
            *x += self.alpha * v;
        }
    }
}
