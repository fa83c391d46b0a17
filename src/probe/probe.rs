//! The probe: what serving executes, however it was fitted.

use candor_schema::HookPoint;

use crate::calibration::Platt;
use crate::combiner::Combiner;
use crate::error::{Error, Result, check_finite_f64, check_length, check_rate};
use crate::pooling::{Pooling, PoolingState};
use crate::reading::{Logit, Reading};
use crate::threshold::Threshold;

/// Readings → pooling → combiner → calibration → threshold.
///
/// Each reading gives one logit per token. These are pooled over the reply reading by reading, and the
/// pooled logits are combined to the probe's logit. A token's own logit combines its readings' logits.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Not empty; hook points differ.
    readings: Vec<Reading>,
    /// `hook_points[i]` is where `readings[i]` reads.
    hook_points: Vec<HookPoint>,
    pooling: &'static dyn Pooling,
    /// Takes as many logits as there are readings.
    combiner: Combiner,
    calibration: Option<Platt>,
    threshold: Option<Threshold>,
}

impl Probe {
    /// A probe that is neither calibrated nor has a threshold.
    ///
    /// # Errors
    /// [`Error::Empty`] without readings, [`Error::DuplicateReading`], or what [`Combiner::check`] finds.
    pub fn new(
        readings: Vec<Reading>,
        pooling: &'static dyn Pooling,
        combiner: Combiner,
    ) -> Result<Self> {
        if readings.is_empty() {
            return Err(Error::Empty { what: "readings" });
        }
        let hook_points: Vec<HookPoint> = readings.iter().map(Reading::hook_point).collect();
        for (index, &hook_point) in hook_points.iter().enumerate() {
            if hook_points[..index].contains(&hook_point) {
                return Err(Error::DuplicateReading { hook_point });
            }
        }
        combiner.check(readings.len())?;
        Ok(Self {
            readings,
            hook_points,
            pooling,
            combiner,
            calibration: None,
            threshold: None,
        })
    }

    /// The same probe with this calibration, or without one.
    ///
    /// # Errors
    /// [`Error::NonFinite`], or [`Error::InvertedCalibration`] for a slope that is not positive.
    pub fn with_calibration(mut self, calibration: Option<Platt>) -> Result<Self> {
        if let Some(platt) = calibration {
            check_finite_f64("numbers of the calibration", &[platt.a, platt.b])?;
            if platt.a <= 0.0 {
                return Err(Error::InvertedCalibration { slope: platt.a });
            }
        }
        self.calibration = calibration;
        Ok(self)
    }

    /// The same probe with this threshold, or without one.
    ///
    /// # Errors
    /// [`Error::NonFinite`], or [`Error::Setting`] for a budget or delta outside `(0, 1)`.
    pub fn with_threshold(mut self, threshold: Option<Threshold>) -> Result<Self> {
        if let Some(threshold) = &threshold {
            check_finite_f64("thresholds", &[threshold.logit])?;
            check_rate("fpr_budget", threshold.fpr_budget)?;
            check_rate("delta", threshold.delta)?;
        }
        self.threshold = threshold;
        Ok(self)
    }

    /// Where the probe reads, without repetition. Vectors are given in this order.
    pub fn hook_points(&self) -> &[HookPoint] {
        &self.hook_points
    }

    /// Its readings, in the order of [`hook_points`](Self::hook_points).
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// How token logits become one.
    pub fn pooling(&self) -> &'static dyn Pooling {
        self.pooling
    }

    /// How readings become one.
    pub fn combiner(&self) -> &Combiner {
        &self.combiner
    }

    /// The calibration, if there is one.
    pub fn calibration(&self) -> Option<Platt> {
        self.calibration
    }

    /// The certified threshold, if there is one.
    pub fn threshold(&self) -> Option<&Threshold> {
        self.threshold.as_ref()
    }

    /// The calibrated probability of deception at a pooled logit; `None` where the probe is not
    /// calibrated.
    pub fn probability(&self, logit: Logit) -> Option<f64> {
        self.calibration
            .map(|platt| platt.probability(logit.as_f64()))
    }

    /// Whether a pooled logit reaches the threshold; `None` where none is certified.
    pub fn flags(&self, logit: Logit) -> Option<bool> {
        self.threshold
            .as_ref()
            .map(|threshold| threshold.flags(logit.as_f64()))
    }

    /// The logit of one token, leaving no trace. At the end of a prompt this is the intent.
    ///
    /// `vectors[i]: [width]` is what was seen at `hook_points()[i]`.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of vectors; what [`Reading::logit`] and
    /// [`Combiner::combine`] find.
    pub fn token_logit(&self, vectors: &[&[f32]]) -> Result<Logit> {
        self.combiner.combine(&self.reading_logits(vectors)?)
    }

    /// A state that has seen no token.
    pub fn start(&self) -> ProbeState {
        ProbeState {
            pooled: self.readings.iter().map(|_| self.pooling.start()).collect(),
            logit: None,
            n_tokens: 0,
        }
    }

    /// Scores a whole reply: `vectors[i]: [token, width]` (row-major) is what was seen at
    /// `hook_points()[i]`. Gives the bits that pushing token by token gives.
    ///
    /// # Errors
    /// [`Error::Empty`] for a reply without tokens, [`Error::Length`] where the hook points disagree on
    /// the number of tokens, and what [`ProbeState::push`] finds.
    pub fn score(&self, vectors: &[&[f32]]) -> Result<ReplyScore> {
        check_length("hook points", self.readings.len(), vectors.len())?;
        let n_tokens = vectors[0].len() / self.readings[0].width();
        for (reading, rows) in self.readings.iter().zip(vectors) {
            let what = format!("numbers at `{}`", reading.hook_point());
            check_length(&what, n_tokens * reading.width(), rows.len())?;
        }
        let mut state = self.start();
        let mut tokens = Vec::with_capacity(n_tokens);
        let mut running = Vec::with_capacity(n_tokens);
        for token in 0..n_tokens {
            let vectors: Vec<&[f32]> = self
                .readings
                .iter()
                .zip(vectors)
                .map(|(reading, rows)| &rows[token * reading.width()..][..reading.width()])
                .collect();
            tokens.push(state.push(self, &vectors)?);
            running.extend(state.logit());
        }
        Ok(ReplyScore {
            logit: state.logit().ok_or(Error::Empty { what: "tokens" })?,
            readings: state.readings(),
            tokens,
            running,
        })
    }

    fn reading_logits(&self, vectors: &[&[f32]]) -> Result<Vec<Logit>> {
        check_length("hook points", self.readings.len(), vectors.len())?;
        self.readings
            .iter()
            .zip(vectors)
            .map(|(reading, x)| reading.logit(x))
            .collect()
    }
}

/// What a probe says about a whole reply.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyScore {
    /// Pooled and combined.
    pub logit: Logit,
    /// Pooled logit of each reading, in the order of the probe's hook points.
    pub readings: Vec<Logit>,
    /// `[token]`, combined but not pooled.
    pub tokens: Vec<Logit>,
    /// `[token]`, pooled over the tokens up to each and combined; the last is `logit`.
    pub running: Vec<Logit>,
}

/// A probe at work on one reply. A clone goes its own way, for snapshots and branches.
#[derive(Debug, Clone)]
pub struct ProbeState {
    /// One per reading.
    pooled: Vec<Box<dyn PoolingState>>,
    logit: Option<Logit>,
    n_tokens: usize,
}

impl ProbeState {
    /// Takes the next token and returns its logit. `probe` is the one that started this state, and
    /// `vectors[i]: [width]` is what was seen at its `hook_points()[i]`.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of vectors; what [`Reading::logit`] and
    /// [`Combiner::combine`] find. The state is then unchanged.
    pub fn push(&mut self, probe: &Probe, vectors: &[&[f32]]) -> Result<Logit> {
        check_length(
            "readings of the state",
            probe.readings.len(),
            self.pooled.len(),
        )?;
        let logits = probe.reading_logits(vectors)?;
        let token = probe.combiner.combine(&logits)?;
        // A copy takes the token first, so that a failing combination leaves the state as it was.
        let mut pooled = self.pooled.clone();
        for (state, logit) in pooled.iter_mut().zip(&logits) {
            state.push(logit.0);
        }
        let combined = probe.combiner.combine(&values(&pooled))?;
        self.pooled = pooled;
        self.logit = Some(combined);
        self.n_tokens += 1;
        Ok(token)
    }

    /// The pooled and combined logit so far; `None` before the first token.
    pub fn logit(&self) -> Option<Logit> {
        self.logit
    }

    /// The pooled logit of each reading so far, in the order of the probe's hook points; empty before
    /// the first token.
    pub fn readings(&self) -> Vec<Logit> {
        values(&self.pooled)
    }

    /// Tokens taken.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }
}

fn values(pooled: &[Box<dyn PoolingState>]) -> Vec<Logit> {
    pooled
        .iter()
        .filter_map(|state| state.value().map(Logit))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pooling::{POOLINGS, pooling};

    fn reading(layer: usize, weight: &[f32]) -> Reading {
        let width = weight.len();
        Reading::new(
            HookPoint::resid_post(layer),
            vec![0.0; width],
            vec![1.0; width],
            weight.to_vec(),
            vec![0.0],
        )
        .unwrap()
    }

    fn single(name: &str) -> Probe {
        Probe::new(
            vec![reading(4, &[1.0, -1.0])],
            pooling(name).unwrap(),
            Combiner::Single,
        )
        .unwrap()
    }

    fn double(pooling: &'static dyn Pooling) -> Probe {
        let combiner = Combiner::WeightedSum {
            weight: vec![1.0, 0.5],
            bias: -0.25,
        };
        let readings = vec![reading(4, &[1.0, -1.0]), reading(2, &[2.0])];
        Probe::new(readings, pooling, combiner).unwrap()
    }

    #[test]
    fn scores_by_hand() {
        let probe = double(pooling("max").unwrap());
        let score = probe.score(&[&[1.0, 0.0, 0.0, 3.0], &[-1.0, 5.0]]).unwrap();
        // Token logits of the readings: 1, -3 and -2, 10; each maximum is taken on its own.
        assert_eq!(score.tokens, [Logit(-0.25), Logit(1.75)]);
        assert_eq!(score.readings, [Logit(1.0), Logit(10.0)]);
        assert_eq!(score.logit, Logit(5.75));
    }

    #[test]
    fn probability_and_flag_only_where_promised() {
        let probe = single("mean");
        assert_eq!(probe.probability(Logit(1.0)), None);
        assert_eq!(probe.flags(Logit(1.0)), None);
        let threshold = crate::threshold::threshold(&[0.5; 59], 0.05, 0.05).unwrap();
        let probe = probe
            .with_calibration(Some(Platt { a: 2.0, b: 0.0 }))
            .unwrap()
            .with_threshold(Some(threshold))
            .unwrap();
        assert!((probe.probability(Logit(0.0)).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(probe.flags(Logit(0.5)), Some(false));
        assert_eq!(probe.flags(Logit(0.5f32.next_up())), Some(true));
    }

    #[test]
    fn an_error_leaves_the_state_as_it_was() {
        let probe = single("mean");
        let mut state = probe.start();
        assert_eq!(state.logit(), None);
        assert!(state.readings().is_empty());
        state.push(&probe, &[&[3.0, 1.0]]).unwrap();
        for vectors in [&[&[f32::NAN, 1.0][..]][..], &[&[1.0][..]][..], &[][..]] {
            assert!(state.push(&probe, vectors).is_err());
        }
        assert_eq!((state.n_tokens(), state.logit()), (1, Some(Logit(2.0))));
    }

    #[test]
    fn malformed_replies_are_refused() {
        let probe = double(pooling("mean").unwrap());
        assert!(matches!(
            probe.score(&[&[], &[]]),
            Err(Error::Empty { what: "tokens" })
        ));
        assert!(matches!(
            probe.score(&[&[1.0, 2.0], &[1.0, 2.0]]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            probe.score(&[&[1.0, 2.0, 3.0], &[1.0]]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            probe.score(&[&[1.0, 2.0]]),
            Err(Error::Length { .. })
        ));
    }

    #[test]
    fn malformed_probes_are_refused() {
        let mean = pooling("mean").unwrap();
        assert!(matches!(
            Probe::new(vec![], mean, Combiner::Single),
            Err(Error::Empty { .. })
        ));
        let twice = vec![reading(4, &[1.0]), reading(4, &[2.0])];
        assert!(matches!(
            Probe::new(twice, mean, Combiner::Single),
            Err(Error::DuplicateReading { .. })
        ));
        let two = vec![reading(4, &[1.0]), reading(5, &[2.0])];
        assert!(matches!(
            Probe::new(two, mean, Combiner::Single),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            single("mean").with_calibration(Some(Platt { a: -1.0, b: 0.0 })),
            Err(Error::InvertedCalibration { .. })
        ));
        let mut threshold = crate::threshold::threshold(&[0.5; 59], 0.05, 0.05).unwrap();
        threshold.logit = f64::NAN;
        assert!(matches!(
            single("mean").with_threshold(Some(threshold)),
            Err(Error::NonFinite { .. })
        ));
    }

    proptest! {
        #[test]
        fn streamed_equals_whole(rows in prop::collection::vec((-9.0f32..9.0, -9.0f32..9.0, -9.0f32..9.0), 1..60)) {
            for &pooling in POOLINGS {
                let probe = double(pooling);
                let first: Vec<f32> = rows.iter().flat_map(|&(a, b, _)| [a, b]).collect();
                let second: Vec<f32> = rows.iter().map(|&(_, _, c)| c).collect();
                let whole = probe.score(&[&first, &second]).unwrap();
                let mut state = probe.start();
                for (index, &(a, b, c)) in rows.iter().enumerate() {
                    // Every token goes through a clone, as a restored snapshot would.
                    state = state.clone();
                    let token = state.push(&probe, &[&[a, b], &[c]]).unwrap();
                    prop_assert_eq!(token, whole.tokens[index]);
                    prop_assert_eq!(token, probe.token_logit(&[&[a, b], &[c]]).unwrap());
                }
                prop_assert_eq!(state.logit(), Some(whole.logit));
                prop_assert_eq!(state.readings(), whole.readings);
                prop_assert_eq!(state.n_tokens(), rows.len());
            }
        }
    }
}
