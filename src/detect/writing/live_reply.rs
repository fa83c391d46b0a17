//! A reply in the making, which can be rewound and branched with its scores.

use std::sync::Arc;

use candor_model::{Hooks, LogitRows, Model, Recorder, Sequence, Snapshot, StepItem};
use candor_schema::{HookPoint, Usage};

use crate::detector::{Detector, LoadedProbe, hook_points};
use crate::error::{Error, Result};
use crate::input::ScoreInput;
use crate::prefix_cache::Wanted;
use crate::reading::Scored;
use crate::running::RunningProbe;
use crate::vectors::kept;

/// A reply in the making and what the probes say about it so far.
#[derive(Debug)]
pub struct LiveReply {
    detector: Detector,
    /// Never empty.
    sequence: Sequence,
    /// Blocks that are run.
    depth: usize,
    scores: Scores,
}

/// A place to go back to: tokens, caches, pooling states and token logits of the prefix. It stands by
/// itself, so that several replies can go on from it.
#[derive(Debug, Clone)]
pub struct LiveSnapshot {
    detector: Detector,
    snapshot: Arc<Snapshot>,
    scores: Scores,
}

/// All of a reply that is not the model's.
#[derive(Debug, Clone)]
struct Scores {
    probes: Vec<RunningProbe>,
    points: Vec<HookPoint>,
    /// Whether every block is run, so that there are next-token logits.
    has_logits: bool,
    n_prompt: usize,
    /// Tokens that came from the prefix cache.
    n_reused: usize,
    texts: Vec<String>,
}

impl LiveReply {
    /// Appends tokens of the reply, scores each, and returns the next-token logits where every block
    /// was run.
    ///
    /// # Errors
    /// What the model or a probe refuses; the reply is then as it was.
    pub fn push(&mut self, tokens: &[u32]) -> Result<Option<Vec<f32>>> {
        let n_before = self.tokens().len();
        let result = self.step(tokens);
        if result.is_err() {
            self.cut(n_before);
        }
        result
    }

    fn step(&mut self, tokens: &[u32]) -> Result<Option<Vec<f32>>> {
        let texts = tokens
            .iter()
            .map(|&id| self.model().tokenizer().token_text(id));
        let texts: Vec<String> = texts.collect::<candor_model::Result<_>>()?;
        let first = self.sequence.tokens().len();
        let mut recorder = Recorder::new(&self.scores.points, vec![first]);
        let logits = self.run(tokens, &mut recorder)?;
        for probe in &mut self.scores.probes {
            for token in 0..tokens.len() {
                probe.push(kept(&recorder, 0), token)?;
            }
        }
        self.scores.texts.extend(texts);
        Ok(logits)
    }

    fn run(&mut self, tokens: &[u32], recorder: &mut Recorder) -> Result<Option<Vec<f32>>> {
        let item = StepItem {
            sequence: &mut self.sequence,
            tokens,
            logits: if self.scores.has_logits {
                LogitRows::Last
            } else {
                LogitRows::None
            },
        };
        let hooks = &mut Hooks::none().observe(recorder);
        let mut out = self.detector.model().step(&mut [item], self.depth, hooks)?;
        Ok(out.remove(0).pop())
    }

    fn model(&self) -> &Model {
        self.detector.model()
    }

    /// The probes so far.
    pub fn probes(&self) -> &[RunningProbe] {
        &self.scores.probes
    }

    /// The reply's tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.sequence.tokens()[self.scores.n_prompt..]
    }

    /// The scores so far.
    pub fn scored(&self) -> Scored {
        let n_tokens = self.sequence.tokens().len();
        let usage = Usage {
            prompt_tokens: self.scores.n_prompt,
            response_tokens: n_tokens - self.scores.n_prompt,
            computed_tokens: n_tokens - self.scores.n_reused,
        };
        Scored {
            probes: self.scores.probes.clone(),
            texts: self.scores.texts.clone(),
            usage,
        }
    }

    /// Goes back to the first `n_tokens` tokens of the reply. Nothing is computed: the scores are those
    /// that were there then, to the bit.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`] if the reply is shorter.
    pub fn truncate(&mut self, n_tokens: usize) -> Result<()> {
        let found = self.tokens().len();
        if n_tokens > found {
            return Err(Error::NoSuchToken {
                n_tokens: found,
                wanted: n_tokens,
            });
        }
        self.cut(n_tokens);
        Ok(())
    }

    fn cut(&mut self, n_tokens: usize) {
        self.sequence.truncate(self.scores.n_prompt + n_tokens);
        self.scores.texts.truncate(n_tokens);
        for probe in &mut self.scores.probes {
            probe.truncate(n_tokens);
        }
    }

    /// Next-token logits after the last token, where every block is run; for going on after
    /// [`LiveReply::truncate`]. Runs that token once more; no score changes.
    ///
    /// # Errors
    /// What the model reports; the reply is then without use.
    pub fn next_logits(&mut self) -> Result<Option<Vec<f32>>> {
        if !self.scores.has_logits {
            return Ok(None);
        }
        let n_before = self.sequence.tokens().len() - 1;
        let last = self.sequence.tokens()[n_before];
        self.sequence.truncate(n_before);
        self.run(&[last], &mut Recorder::new(&[], vec![0]))
    }

    /// A place to go back to.
    pub fn snapshot(&self) -> LiveSnapshot {
        LiveSnapshot {
            detector: self.detector.clone(),
            snapshot: Arc::new(self.model().snapshot(&self.sequence)),
            scores: self.scores.clone(),
        }
    }

    /// Goes back to a snapshot; later tokens and their scores are forgotten.
    ///
    /// # Errors
    /// What the model reports.
    pub fn rewind(&mut self, to: &LiveSnapshot) -> Result<()> {
        *self = to.branch()?;
        Ok(())
    }

    /// Puts prompt and reply, with their scores, into the detector's prefix cache.
    pub fn keep(&self) {
        let cache = self.detector.prefix_cache();
        if !cache.is_on() {
            return;
        }
        let chain = self.detector.chain(self.sequence.tokens());
        cache.keep(
            self.model(),
            &chain,
            &self.sequence,
            self.scores.n_prompt,
            self.scores.probes.clone(),
        );
    }
}

impl LiveSnapshot {
    /// The reply's tokens up to here.
    pub fn tokens(&self) -> &[u32] {
        &self.snapshot.tokens()[self.scores.n_prompt..]
    }

    /// A reply that goes on from here, whatever others do.
    ///
    /// # Errors
    /// What the model reports.
    pub fn branch(&self) -> Result<LiveReply> {
        Ok(LiveReply {
            depth: self.snapshot.depth(),
            sequence: self.detector.model().restore(&self.snapshot)?,
            detector: self.detector.clone(),
            scores: self.scores.clone(),
        })
    }
}

impl Detector {
    /// Runs a prompt and starts scoring the reply. With `early_exit` only the probed layers are run
    /// and no next-token logits are to be had.
    ///
    /// # Errors
    /// What the model or a probe refuses; [`candor_model::Error::Empty`] for an empty prompt.
    pub fn start(
        &self,
        prompt: &[u32],
        probes: &[Arc<LoadedProbe>],
        early_exit: bool,
    ) -> Result<(LiveReply, Option<Vec<f32>>)> {
        self.model().check_tokens(prompt)?;
        let points = hook_points(probes);
        let depth = self.depth(&points, early_exit);
        let chain = self.chain(prompt);
        let wanted = Wanted {
            chain: &chain,
            depth,
            n_prompt: prompt.len(),
            // The last token is run in any case, for the intent and the next-token logits.
            at_most: prompt.len() - 1,
            probes,
        };
        let reused = self.prefix_cache().find(self.model(), &wanted)?;
        let mut sequence = reused.map_or_else(Sequence::new, |reused| reused.sequence);
        let n_reused = sequence.tokens().len();
        let has_logits = depth == self.model().config().n_layers;
        let mut recorder = Recorder::new(&points, vec![prompt.len() - 1]);
        let depth = depth.max(sequence.depth());
        let item = StepItem {
            sequence: &mut sequence,
            tokens: &prompt[n_reused..],
            logits: if has_logits {
                LogitRows::Last
            } else {
                LogitRows::None
            },
        };
        let mut out = self.model().step(
            &mut [item],
            depth,
            &mut Hooks::none().observe(&mut recorder),
        )?;
        let mut running = RunningProbe::start(probes);
        for probe in &mut running {
            probe.read_intent(kept(&recorder, 0), 0)?;
        }
        let reply = LiveReply {
            detector: self.clone(),
            depth,
            sequence,
            scores: Scores {
                probes: running,
                points,
                has_logits,
                n_prompt: prompt.len(),
                n_reused,
                texts: Vec::new(),
            },
        };
        Ok((reply, out.remove(0).pop()))
    }

    /// Scores a reply one token at a time, as it would be while it is written.
    ///
    /// # Errors
    /// As [`Detector::start`]; activations have no tokens to go through.
    pub fn read_incrementally(
        &self,
        input: &ScoreInput,
        probes: &[Arc<LoadedProbe>],
        early_exit: bool,
    ) -> Result<Scored> {
        let prepared = input.prepare(self.model())?;
        let (mut reply, _) = self.start(&prepared.prompt, probes, early_exit)?;
        for &token in &prepared.response {
            reply.push(&[token])?;
        }
        Ok(reply.scored())
    }
}
