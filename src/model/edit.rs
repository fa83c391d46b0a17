//! Edits of activations during a forward pass, and their registry.

mod ablate;
mod patch;
mod steer;

pub use ablate::Ablate;
pub use patch::Patch;
pub use steer::Steer;

use candor_schema::HookPoint;

/// Changes the vectors of one item at one hook point, row by row.
pub trait Edit {
    /// Where it edits.
    fn point(&self) -> HookPoint;

    /// Width of the vectors it edits.
    fn width(&self) -> usize;

    /// Changes the vector at `position` in place.
    fn apply(&self, position: usize, vector: &mut [f32]);
}

/// Name and one-line description of every kind of edit.
pub const EDITS: &[(&str, &str)] = &[ablate::KIND, patch::KIND, steer::KIND];
