//! Vectors of consecutive tokens, from a forward pass or from a request.

use candor_model::Recorder;
use candor_schema::HookPoint;

/// Vectors of consecutive tokens at several hook points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors<'a> {
    points: &'a [HookPoint],
    /// Per point, row-major `[token, width]`.
    values: &'a [Vec<f32>],
}

impl<'a> Vectors<'a> {
    pub(crate) fn new(points: &'a [HookPoint], values: &'a [Vec<f32>]) -> Self {
        Self { points, values }
    }

    /// No token at no point.
    pub(crate) fn none() -> Self {
        Self::new(&[], &[])
    }

    /// The vector of one token at one point, `[width]`.
    pub(crate) fn get(&self, point: HookPoint, width: usize, token: usize) -> Option<&'a [f32]> {
        let index = self.points.iter().position(|&other| other == point)?;
        self.values[index].get(token * width..(token + 1) * width)
    }
}

/// What a recorder kept of one item.
pub(crate) fn kept(recorder: &Recorder, item: usize) -> Vectors<'_> {
    Vectors::new(recorder.hook_points(), recorder.item(item))
}
