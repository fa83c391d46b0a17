//! Scenarios drawn with replacement: another training set of the same kind.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// Draws as many scenarios as there are, with replacement (the cluster bootstrap of Field & Welsh 2007).
#[derive(Debug)]
pub struct ScenarioDraws {
    /// Rows of each scenario, in the order of the scenarios' names.
    rows: Vec<Vec<usize>>,
    rng: ChaCha8Rng,
}

impl ScenarioDraws {
    /// `scenarios: [row]`. The draws depend on the names and the seed, not on the order of rows.
    ///
    /// # Errors
    /// [`Error::Empty`] without a row.
    pub fn new(scenarios: &[&str], seed: u64) -> Result<Self> {
        if scenarios.is_empty() {
            return Err(Error::Empty { what: "scenarios" });
        }
        let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, scenario) in scenarios.iter().enumerate() {
            rows.entry(scenario).or_default().push(row);
        }
        Ok(Self {
            rows: rows.into_values().collect(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        })
    }

    /// The rows of one draw; those of a scenario that was drawn twice stand in it twice.
    pub fn draw(&mut self) -> Vec<usize> {
        let n = self.rows.len();
        let mut drawn = Vec::new();
        for _ in 0..n {
            let scenario = self.rng.random_range(0..n as u64) as usize;
            drawn.extend_from_slice(&self.rows[scenario]);
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_scenarios_are_drawn_and_some_more_than_once() {
        let names: Vec<String> = (0..200).map(|row| format!("s{}", row / 2)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let drawn = ScenarioDraws::new(&names, 1).unwrap().draw();
        assert_eq!(drawn.len(), 200);
        assert!(drawn.chunks_exact(2).all(|two| two[0] + 1 == two[1]));
        let distinct: std::collections::BTreeSet<usize> = drawn.iter().copied().collect();
        // 1 − 1/e of 100 scenarios: 126 rows, give or take 4 standard deviations.
        assert!((100..=152).contains(&distinct.len()), "{}", distinct.len());
        let again = ScenarioDraws::new(&names, 1).unwrap().draw();
        assert_eq!(drawn, again);
        assert_ne!(drawn, ScenarioDraws::new(&names, 2).unwrap().draw());
        assert!(matches!(
            ScenarioDraws::new(&[], 1),
            Err(Error::Empty { .. })
        ));
    }
}
