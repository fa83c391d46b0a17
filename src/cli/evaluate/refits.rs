//! How much the probe depends on its draw of training scenarios.

use candor_probe::metric::auroc;
use candor_probe::resample::ScenarioDraws;
use candor_probe::{Bundle, Combiner, Probe, pooling};
use candor_schema::{DetectorKind, DetectorRow, Interval, Refits};

use super::Data;
use crate::replies::Reply;
use crate::train::{Recipe, fit, score_all};

/// Draws after which a data set in which one class is so rare is given up.
const MAX_DRAWS: usize = 1_000;

/// Fits the recipe at the probe's layer once per seed on scenarios drawn with replacement.
pub(super) fn refits(
    data: &Data<'_>,
    bundle: &Bundle,
) -> anyhow::Result<Option<(DetectorRow, Refits)>> {
    let n_seeds = data.beside.n_seeds;
    if n_seeds == 0 {
        return Ok(None);
    }
    let config = bundle.config();
    let recipe = Recipe::of(config);
    let (point, own) = (config.hook_points[0], &bundle.probe().readings()[0]);
    let labels: Vec<bool> = data
        .split
        .iter()
        .map(|r| r.deceptive() == Some(true))
        .collect();
    let (mut aurocs, mut directions) = (Vec::new(), Vec::new());
    for seed in 1..=n_seeds {
        let train = draw(&data.train, data.seed.wrapping_add(seed))?;
        let reading = fit(&train, point, own.width(), &recipe)?;
        directions.push(reading.direction().to_vec());
        let probe = Probe::new(vec![reading], pooling(&recipe.pooling)?, Combiner::Single)?;
        let scored = score_all(&data.split, &probe)?;
        let logits: Vec<f64> = scored.iter().map(|scored| scored.logit).collect();
        aurocs.push(auroc(&logits, &labels)?);
    }
    let pairs = directions
        .iter()
        .enumerate()
        .flat_map(|(index, a)| directions[..index].iter().map(move |b| cosine(a, b)));
    let refits = Refits {
        cosines: pairs.collect(),
        cosines_to_probe: directions
            .iter()
            .map(|d| cosine(d, own.direction()))
            .collect(),
        aurocs,
    };
    let said = |values: &[f64]| {
        let range = range(values);
        format!("{:.2} ({:.2} to {:.2})", range.value, range.low, range.high)
    };
    let row = DetectorRow {
        name: "refitted".into(),
        kind: DetectorKind::Refit,
        description: format!(
            "the probe's recipe at its layer, fitted {n_seeds} times on scenarios drawn with replacement from its training scenarios; mean and range. Cosine between two of their directions {}, between one and the probe's {}",
            said(&refits.cosines),
            said(&refits.cosines_to_probe),
        ),
        auroc: range(&refits.aurocs),
        probe_minus_this: None,
        same_prompt: None,
        operating_points: Vec::new(),
        roc: Vec::new(),
    };
    Ok(Some((row, refits)))
}

/// Training replies of scenarios drawn with replacement, with both labels among them.
fn draw<'a>(train: &[&'a Reply], seed: u64) -> anyhow::Result<Vec<&'a Reply>> {
    let scenarios: Vec<&str> = train.iter().map(|r| r.dialogue.scenario.as_str()).collect();
    let mut draws = ScenarioDraws::new(&scenarios, seed)?;
    for _ in 0..MAX_DRAWS {
        let rows = draws.draw();
        let drawn: Vec<&Reply> = rows.into_iter().map(|row| train[row]).collect();
        let n_deceptive = drawn.iter().filter(|r| r.deceptive() == Some(true)).count();
        if ![0, drawn.len()].contains(&n_deceptive) {
            return Ok(drawn);
        }
    }
    anyhow::bail!("no draw of training scenarios has honest and deceptive replies")
}

/// Mean and range, all of which is covered.
fn range(values: &[f64]) -> Interval {
    Interval {
        value: values.iter().sum::<f64>() / values.len() as f64,
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        level: 1.0,
    }
}

/// 0 where a direction has no length.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_and_ranges_by_hand() {
        assert!((cosine(&[1.0, 0.0], &[3.0, 3.0]) - 0.5f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[1.0, 2.0], &[-2.0, -4.0]) + 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 1.0]).to_bits(), 0.0f64.to_bits());
        let found = range(&[0.5, 0.75, 1.0]);
        assert!((found.value - 0.75).abs() < 1e-12);
        assert!((found.low - 0.5).abs() < 1e-12 && (found.high - 1.0).abs() < 1e-12);
    }
}
