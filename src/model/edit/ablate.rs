//! Directional ablation (Arditi et al. 2024, arXiv 2406.11717): `x ← x − r̂ r̂ᵀ x`.

use candor_schema::HookPoint;

use crate::edit::Edit;

pub(super) const KIND: (&str, &str) = ("ablate", "remove a direction at every position");

/// Removes the component along a direction.
#[derive(Debug, Clone)]
pub struct Ablate {
    point: HookPoint,
    /// Of length 1, or all zero.
    unit: Vec<f32>,
}

impl Ablate {
    /// Ablates `direction`, `[width]`, at `point`. A zero direction removes nothing.
    pub fn new(point: HookPoint, direction: &[f32]) -> Self {
        let norm = direction
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        Self {
            point,
            unit: direction
                .iter()
                .map(|v| (f64::from(*v) * scale) as f32)
                .collect(),
        }
    }
}

impl Edit for Ablate {
    fn point(&self) -> HookPoint {
        self.point
    }

    fn width(&self) -> usize {
        self.unit.len()
    }

    fn apply(&self, _position: usize, vector: &mut [f32]) {
        let along: f64 = vector
            .iter()
            .zip(&self.unit)
            .map(|(x, r)| f64::from(*x) * f64::from(*r))
            .sum();
        for (x, r) in vector.iter_mut().zip(&self.unit) {
            *x -= along as f32 * r;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_orthogonal() {
        let edit = Ablate::new(HookPoint::resid_post(0), &[3.0, 4.0]);
        let mut vector = [1.0, 2.0];
        edit.apply(0, &mut vector);
        assert!((vector[0] * 3.0 + vector[1] * 4.0).abs() < 1e-5);
        assert!((vector[0] - (1.0 - 11.0 * 3.0 / 25.0)).abs() < 1e-5);
    }
}
