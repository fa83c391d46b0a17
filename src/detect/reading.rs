//! Scores replies that already exist: batches of texts, token ids or activations.

use std::sync::Arc;

use candor_model::{Hooks, LogitRows, Recorder, Sequence, StepItem};
use candor_schema::{HookPoint, Usage};

use crate::detector::{Detector, LoadedProbe, hook_points};
use crate::error::{Error, Result};
use crate::input::{Prepared, ScoreInput};
use crate::prefix_cache::{Chain, Wanted};
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
    /// Goes on from prefixes in the prefix cache, and adds to it. Nothing where that is turned off.
    pub reuse: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            batch: 8,
            split_at_response: false,
            early_exit: true,
            reuse: true,
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
        let mut texts = batch
            .iter()
            .map(|prepared| self.begin(prepared, probes, depth, options))
            .collect::<Result<Vec<_>>>()?;
        // Restored prefixes may be deeper than is needed; one pass has one depth.
        let mut depths: Vec<usize> = texts.iter().map(|text| text.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        let mut recorders = Vec::new();
        // Which recorder, and which of its items; none for a text that is known to its end.
        let mut seen: Vec<Option<(usize, usize)>> = vec![None; texts.len()];
        for depth in depths {
            let left = texts.iter_mut().enumerate();
            let (places, mut group): (Vec<usize>, Vec<&mut Text<'_>>) = left
                .filter(|(_, text)| text.depth == depth && !text.is_done())
                .unzip();
            if !group.is_empty() {
                for (item, place) in places.into_iter().enumerate() {
                    seen[place] = Some((recorders.len(), item));
                }
                recorders.push(self.run(&mut group, &points, depth, options)?);
            }
        }
        let scored = texts.into_iter().zip(seen).map(|(text, seen)| {
            let vectors = seen.map_or(Vectors::none(), |(recorder, item)| {
                kept(&recorders[recorder], item)
            });
            let scored = text.scored(text.score(vectors)?);
            self.keep(&text, &scored);
            Ok(scored)
        });
        Ok(scored.collect())
    }

    /// A text with what is known of it already.
    fn begin<'a>(
        &self,
        prepared: &'a Prepared,
        probes: &[Arc<LoadedProbe>],
        depth: usize,
        options: ReadOptions,
    ) -> Result<Text<'a>> {
        let tokens = [prepared.prompt.as_slice(), &prepared.response].concat();
        let chain = (options.reuse && self.prefix_cache().is_on()).then(|| self.chain(&tokens));
        let reused = match &chain {
            None => None,
            Some(chain) => self.prefix_cache().find(
                self.model(),
                &Wanted {
                    chain,
                    depth,
                    n_prompt: prepared.prompt.len(),
                    at_most: tokens.len(),
                    probes,
                },
            )?,
        };
        let (sequence, running) = reused.map_or_else(
            || (Sequence::new(), None),
            |reused| (reused.sequence, reused.probes),
        );
        Ok(Text {
            n_reused: sequence.tokens().len(),
            depth: depth.max(sequence.depth()),
            running: running.unwrap_or_else(|| RunningProbe::start(probes)),
            prepared,
            tokens,
            chain,
            sequence,
        })
    }

    /// Runs what is left of each text, at least one token.
    fn run(
        &self,
        texts: &mut [&mut Text<'_>],
        points: &[HookPoint],
        depth: usize,
        options: ReadOptions,
    ) -> Result<Recorder> {
        let first_kept = texts.iter().map(|text| text.first_kept()).collect();
        let mut recorder = Recorder::new(points, first_kept);
        let splits = |text: &&mut Text<'_>| text.n_reused < text.prepared.prompt.len();
        // A reply without a prompt has nothing to run first.
        let cuts = if options.split_at_response && texts.iter().all(splits) {
            vec![true, false]
        } else {
            vec![false]
        };
        for at_response in cuts {
            let mut items: Vec<StepItem<'_>> = texts
                .iter_mut()
                .map(|text| {
                    let from = text.sequence.tokens().len();
                    let to = if at_response {
                        text.prepared.prompt.len()
                    } else {
                        text.tokens.len()
                    };
                    StepItem {
                        sequence: &mut text.sequence,
                        tokens: &text.tokens[from..to],
                        logits: LogitRows::None,
                    }
                })
                .collect();
            self.model()
                .step(&mut items, depth, &mut Hooks::none().observe(&mut recorder))?;
        }
        Ok(recorder)
    }

    /// Puts a scored text into the prefix cache.
    fn keep(&self, text: &Text<'_>, scored: &Scored) {
        let Some(chain) = &text.chain else {
            return;
        };
        self.prefix_cache().keep(
            self.model(),
            chain,
            &text.sequence,
            text.prepared.prompt.len(),
            scored.probes.clone(),
        );
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
        let mut running = RunningProbe::start(probes);
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

/// A text on its way through the model.
struct Text<'a> {
    prepared: &'a Prepared,
    /// Prompt and response.
    tokens: Vec<u32>,
    /// Where prefixes are reused.
    chain: Option<Chain>,
    sequence: Sequence,
    depth: usize,
    /// Tokens that came from the prefix cache.
    n_reused: usize,
    /// The probes after those tokens, or before the end of the prompt.
    running: Vec<RunningProbe>,
}

impl Text<'_> {
    fn is_done(&self) -> bool {
        self.n_reused == self.tokens.len()
    }

    /// The first row that a probe reads: the end of the prompt, unless it is known already.
    fn first_kept(&self) -> usize {
        let end_of_prompt = self.prepared.prompt.len().saturating_sub(1);
        self.n_reused.max(end_of_prompt)
    }

    /// Lets every probe read the rows from [`Self::first_kept`] on.
    fn score(&self, vectors: Vectors<'_>) -> Result<Vec<RunningProbe>> {
        let n_prompt = self.prepared.prompt.len();
        let first = self.first_kept();
        let mut running = self.running.clone();
        for probe in &mut running {
            for position in first..self.tokens.len() {
                if position < n_prompt {
                    probe.read_intent(vectors, position - first)?;
                } else {
                    probe.push(vectors, position - first)?;
                }
            }
        }
        Ok(running)
    }

    fn scored(&self, probes: Vec<RunningProbe>) -> Scored {
        Scored {
            probes,
            texts: self.prepared.texts.clone(),
            usage: Usage {
                prompt_tokens: self.prepared.prompt.len(),
                response_tokens: self.prepared.response.len(),
                computed_tokens: self.tokens.len() - self.n_reused,
            },
        }
    }
}
