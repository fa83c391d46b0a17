//! Scores replies that already exist: batches of texts, token ids or activations.

use std::sync::Arc;

use candor_model::{Hooks, LogitRows, Recorder, Sequence, StepItem};
use candor_schema::{HookPoint, Usage};

use crate::detector::{Detector, LoadedProbe, hook_points};
use crate::error::{Error, Result};
use crate::input::{Prepared, ScoreInput};
use crate::running::RunningProbe;
use crate::vectors::{Vectors, kept};

/// How a forward pass over existing text is run. Every way gives the same scores; `candor verify` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Most replies in one pass.
    pub batch: usize,
    /// Runs the prompt first and the reply on its cache, instead of both at once.
    pub split_at_response: bool,
    /// Stops after the last probed layer.
    pub early_exit: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            batch: 8,
            split_at_response: false,
            early_exit: true,
        }
    }
}

/// The scores of one reply.
#[derive(Debug, Clone)]
pub struct Scored {
    /// One per probe asked for.
    pub probes: Vec<RunningProbe>,
    /// Text of each reply token; empty for activations.
    pub texts: Vec<String>,
    /// Tokens in and out.
    pub usage: Usage,
}

impl Detector {
    /// Scores replies with the given probes. One result per input; what is wrong with one input does
    /// not touch the others.
    pub fn read(
        &self,
        inputs: &[ScoreInput],
        probes: &[Arc<LoadedProbe>],
        options: ReadOptions,
    ) -> Vec<Result<Scored>> {
        let mut results: Vec<Option<Result<Scored>>> = inputs.iter().map(|_| None).collect();
        let mut waiting: Vec<(usize, Prepared)> = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            match input {
                ScoreInput::Activations { n_tokens, values } => {
                    results[index] = Some(self.read_activations(*n_tokens, values, probes));
                }
                _ => match input.prepare(self.model()) {
                    Ok(prepared) => waiting.push((index, prepared)),
                    Err(error) => results[index] = Some(Err(error)),
                },
            }
        }
        for batch in waiting.chunks(options.batch.max(1)) {
            let prepared: Vec<&Prepared> = batch.iter().map(|entry| &entry.1).collect();
            match self.read_batch(&prepared, probes, options) {
                Ok(scored) => {
                    for ((index, _), scored) in batch.iter().zip(scored) {
                        results[*index] = Some(scored);
                    }
                }
                // The engine failed for the batch as a whole: find out whose fault it is.
                Err(_) => {
                    for (index, prepared) in batch {
                        let alone = self.read_batch(&[prepared], probes, options);
                        results[*index] = Some(alone.and_then(|mut scored| scored.remove(0)));
                    }
                }
            }
        }
        results
            .into_iter()
            .map(|result| result.expect("every input was scored or refused"))
            .collect()
    }

    fn read_batch(
        &self,
        batch: &[&Prepared],
        probes: &[Arc<LoadedProbe>],
        options: ReadOptions,
    ) -> Result<Vec<Result<Scored>>> {
        let points = hook_points(probes);
        let depth = self.depth(&points, options.early_exit);
        // The row before the reply is the end of the prompt.
        let first_kept: Vec<usize> = batch
            .iter()
            .map(|prepared| prepared.prompt.len().saturating_sub(1))
            .collect();
        let mut recorder = Recorder::new(&points, first_kept);
        let whole: Vec<Vec<u32>> = batch
            .iter()
            .map(|prepared| [prepared.prompt.as_slice(), &prepared.response].concat())
            .collect();
        let mut sequences: Vec<Sequence> = batch.iter().map(|_| Sequence::new()).collect();
        let mut step = |parts: Vec<&[u32]>| -> Result<()> {
            let items = sequences.iter_mut().zip(parts);
            let mut items: Vec<StepItem<'_>> = items
                .map(|(sequence, tokens)| StepItem {
                    sequence,
                    tokens,
                    logits: LogitRows::None,
                })
                .collect();
            self.model()
                .step(&mut items, depth, &mut Hooks::none().observe(&mut recorder))?;
            Ok(())
        };
        // A reply without a prompt has nothing to run first.
        if options.split_at_response && batch.iter().all(|prepared| !prepared.prompt.is_empty()) {
            step(
                batch
                    .iter()
                    .map(|prepared| prepared.prompt.as_slice())
                    .collect(),
            )?;
            step(
                batch
                    .iter()
                    .map(|prepared| prepared.response.as_slice())
                    .collect(),
            )?;
        } else {
            step(whole.iter().map(Vec::as_slice).collect())?;
        }
        let score = |(item, prepared): (usize, &&Prepared)| {
            score_kept(prepared, kept(&recorder, item), probes)
        };
        Ok(batch.iter().enumerate().map(score).collect())
    }

    fn read_activations(
        &self,
        n_tokens: usize,
        values: &[(HookPoint, Vec<f32>)],
        probes: &[Arc<LoadedProbe>],
    ) -> Result<Scored> {
        if n_tokens == 0 {
            return Err(candor_model::Error::Empty { what: "response" }.into());
        }
        for (point, numbers) in values {
            let width = self.model().hook_width(*point)?;
            if n_tokens.checked_mul(width) != Some(numbers.len()) {
                return Err(Error::ActivationLength {
                    point: *point,
                    found: numbers.len(),
                    n_tokens,
                    width,
                });
            }
            if let Some(index) = numbers.iter().position(|value| !value.is_finite()) {
                return Err(Error::NonFiniteActivation {
                    point: *point,
                    index,
                });
            }
        }
        let (points, numbers): (Vec<HookPoint>, Vec<Vec<f32>>) = values.iter().cloned().unzip();
        let vectors = Vectors::new(&points, &numbers);
        let mut running: Vec<RunningProbe> =
            probes.iter().cloned().map(RunningProbe::new).collect();
        for probe in &mut running {
            for token in 0..n_tokens {
                probe.push(vectors, token)?;
            }
        }
        let usage = Usage {
            prompt_tokens: 0,
            response_tokens: n_tokens,
            computed_tokens: 0,
        };
        Ok(Scored {
            probes: running,
            texts: Vec::new(),
            usage,
        })
    }

    /// Blocks to run: up to the last probed layer, or all.
    pub(crate) fn depth(&self, points: &[HookPoint], early_exit: bool) -> usize {
        let n_layers = self.model().config().n_layers;
        let last = points.iter().map(|point| point.layer.0 + 1).max();
        if early_exit {
            last.unwrap_or(n_layers)
        } else {
            n_layers
        }
    }
}

/// Lets every probe read the end of the prompt and the reply.
fn score_kept(
    prepared: &Prepared,
    vectors: Vectors<'_>,
    probes: &[Arc<LoadedProbe>],
) -> Result<Scored> {
    let n_intent = usize::from(!prepared.prompt.is_empty());
    let mut running: Vec<RunningProbe> = probes.iter().cloned().map(RunningProbe::new).collect();
    for probe in &mut running {
        if n_intent == 1 {
            probe.read_intent(vectors, 0)?;
        }
        for token in 0..prepared.response.len() {
            probe.push(vectors, n_intent + token)?;
        }
    }
    let usage = Usage {
        prompt_tokens: prepared.prompt.len(),
        response_tokens: prepared.response.len(),
        computed_tokens: prepared.n_tokens(),
    };
    Ok(Scored {
        probes: running,
        texts: prepared.texts.clone(),
        usage,
    })
}
