//! What the probe's probabilities are worth on the split.

use candor_probe::Probe;
use candor_probe::evaluate::{CONFIDENCE, Scored};
use candor_probe::metric::{
    Bin, Bootstrap, brier, ece, ece_if_right, probability_metric_interval, proportion, reliability,
};
use candor_schema::{Calibration, ReliabilityBin};

/// Calibration error, Brier score and reliability curve; `None` where the probe gives no probability.
pub(super) fn calibration(
    probe: &Probe,
    scored: &[Scored],
    seed: u64,
) -> anyhow::Result<Option<Calibration>> {
    let Some(platt) = probe.calibration() else {
        return Ok(None);
    };
    let probabilities: Vec<f64> = scored.iter().map(|s| platt.probability(s.logit)).collect();
    let labels: Vec<bool> = scored.iter().map(|scored| scored.deceptive).collect();
    let scenarios: Vec<&str> = scored.iter().map(|s| s.scenario.as_str()).collect();
    let bootstrap = Bootstrap::seeded(seed);
    let bin = |bin: Bin| {
        Ok(ReliabilityBin {
            probability: bin.probability,
            deceptive: proportion(bin.n_deceptive as u64, bin.n as u64, CONFIDENCE)?,
        })
    };
    let bins = reliability(&probabilities, &labels)?.into_iter().map(bin);
    let n_deceptive = labels.iter().filter(|deceptive| **deceptive).count();
    let share = n_deceptive as f64 / labels.len() as f64;
    Ok(Some(Calibration {
        ece: ece(&probabilities, &labels)?,
        ece_if_right: ece_if_right(&probabilities, &bootstrap)?,
        brier: probability_metric_interval(brier, &probabilities, &labels, &scenarios, &bootstrap)?,
        brier_of_share: share * (1.0 - share),
        bins: bins.collect::<anyhow::Result<_>>()?,
    }))
}

#[cfg(test)]
mod tests {
    use candor_probe::{Combiner, Platt, Reading, pooling};
    use candor_schema::HookPoint;

    use super::*;

    #[test]
    fn a_probe_that_says_one_half_errs_by_its_distance_from_the_truth() {
        let point = HookPoint::resid_post(0);
        let reading = Reading::new(point, vec![0.0], vec![1.0], vec![1.0], vec![0.0]).unwrap();
        let probe = Probe::new(vec![reading], pooling("mean").unwrap(), Combiner::Single).unwrap();
        let scored: Vec<Scored> = (0..40)
            .map(|row| Scored {
                scenario: format!("s{row}"),
                deceptive: row % 4 == 0,
                logit: 0.0,
            })
            .collect();
        assert_eq!(calibration(&probe, &scored, 0).unwrap(), None);
        let probe = probe
            .with_calibration(Some(Platt { a: 1.0, b: 0.0 }))
            .unwrap();
        let found = calibration(&probe, &scored, 0).unwrap().unwrap();
        assert_eq!(found.bins.len(), 1);
        assert_eq!(
            (found.bins[0].deceptive.k, found.bins[0].deceptive.n),
            (10, 40)
        );
        assert!((found.ece - 0.25).abs() < 1e-12);
        assert!((found.brier.value - 0.25).abs() < 1e-12);
        assert!((found.brier_of_share - 0.1875).abs() < 1e-12);
    }
}
