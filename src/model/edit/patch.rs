//! Activation patching (Meng et al. 2022, arXiv 2202.05262): put recorded vectors in place.

use std::collections::BTreeMap;

use candor_schema::HookPoint;

use crate::edit::Edit;

pub(super) const KIND: (&str, &str) = ("patch", "replace the vector at chosen positions");

/// Replaces the vectors at some positions.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Where it edits.
    pub point: HookPoint,
    /// Width of the vectors.
    pub width: usize,
    /// New vector per position, each `[width]`.
    pub vectors: BTreeMap<usize, Vec<f32>>,
}

impl Edit for Patch {
    fn point(&self) -> HookPoint {
        self.point
    }

    fn width(&self) -> usize {
        self.width
    }

    fn apply(&self, position: usize, vector: &mut [f32]) {
        if let Some(new) = self.vectors.get(&position) {
            vector.copy_from_slice(new);
        }
    }
}
